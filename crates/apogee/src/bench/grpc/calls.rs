//! One connection of the load generator to a gRPC server, and calls on it.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::header::HeaderValue;
use http::{HeaderMap, Request, Uri};
use prost::Message;
use protocol::v2::SERVICE;
use tokio::net::TcpStream;

/// Bytes that the other side may send of one response, and of all of them, before we have read them.
const CALL_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Bytes before each message: whether it is compressed, and its size.
const PREFIX_BYTES: usize = 5;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rpc {
    /// SendMessage.
    Send,
    /// ReceiveMessage.
    Receive,
    /// AckMessage.
    Ack,
    /// Telemetry.
    Telemetry,
}

impl Rpc {
    const ALL: [Rpc; 4] = [Rpc::Send, Rpc::Receive, Rpc::Ack, Rpc::Telemetry];

    fn name(self) -> &'static str {
        match self {
            Rpc::Send => "SendMessage",
            Rpc::Receive => "ReceiveMessage",
            Rpc::Ack => "AckMessage",
            Rpc::Telemetry => "Telemetry",
        }
    }
}

/// Why a call brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What kind of fault that is.
    pub kind: String,
    /// What was said about it.
    pub text: String,
    /// Whether the connection can be used no more.
    pub is_cut_off: bool,
}

impl Failed {
    fn new(kind: &str, text: impl Into<String>) -> Failed {
        Failed { kind: kind.to_owned(), text: text.into(), is_cut_off: false }
    }
}

impl From<h2::Error> for Failed {
    fn from(error: h2::Error) -> Failed {
        // A stream that the other side resets ends the call alone.
        let is_cut_off = error.is_io() || error.is_go_away() || !error.is_reset();
        Failed { kind: "call cut off".to_owned(), text: error.to_string(), is_cut_off }
    }
}

/// A connection on which calls are made. It ends when it is dropped.
#[derive(Debug)]
pub struct Calls {
    sender: SendRequest<Bytes>,
    headers: HeaderMap,
    /// By the number of the call.
    uris: Vec<Uri>,
    /// A stream that stays open as long as the connection does.
    pub kept: Option<(SendStream<Bytes>, Incoming)>,
}

impl Calls {
    /// Connects in clear text, as the client of that id.
    pub async fn connect(endpoint: &str, client_id: &str) -> io::Result<Calls> {
        let stream = TcpStream::connect(endpoint).await?;
        stream.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(CALL_WINDOW_BYTES).initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let (sender, connection) = builder.enable_push(false).handshake(stream).await.map_err(io::Error::other)?;
        // Why it ends is seen by the calls.
        tokio::task::spawn_local(async { drop(connection.await) });
        let uri = |rpc: Rpc| format!("http://{endpoint}/{SERVICE}/{}", rpc.name()).parse::<Uri>();
        let uris = Rpc::ALL.iter().map(|rpc| uri(*rpc)).collect::<Result<_, _>>();
        let uris = uris.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let client_id = HeaderValue::from_str(client_id).map_err(io::Error::other)?;
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("x-mq-client-id", client_id);
        headers.insert("x-mq-language", HeaderValue::from_static("JAVA"));
        headers.insert("x-mq-client-version", HeaderValue::from_static("5.0.7"));
        headers.insert("x-mq-protocol", HeaderValue::from_static("v2"));
        Ok(Calls { sender, headers, uris, kept: None })
    }

    /// Makes a call with one message each way.
    pub async fn unary<A: Message + Default>(&self, rpc: Rpc, question: Bytes) -> Result<A, Failed> {
        let (_, mut answers) = self.open(rpc, question, None, true).await?;
        let answer = answers.next().await?.ok_or_else(|| Failed::new("answer without its message", rpc.name()))?;
        match answers.next::<A>().await? {
            None => Ok(answer),
            Some(_) => Err(Failed::new("more than one answer", rpc.name())),
        }
    }

    /// Makes a call and sends its first message, which is also the last one if `is_last`. The server has so many
    /// seconds, if that is said.
    pub async fn open(
        &self,
        rpc: Rpc,
        question: Bytes,
        seconds: Option<u64>,
        is_last: bool,
    ) -> Result<(SendStream<Bytes>, Incoming), Failed> {
        let mut request = Request::new(());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uris[rpc as usize].clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(limit) = seconds.and_then(|seconds| HeaderValue::from_str(&format!("{seconds}S")).ok()) {
            request.headers_mut().insert("grpc-timeout", limit);
        }
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut stream) = sender.send_request(request, false)?;
        stream.send_data(question, is_last)?;
        let response = response.await?;
        if !response.status().is_success() {
            return Err(Failed::new("HTTP error", response.status().to_string()));
        }
        if let Some(failed) = failure(response.headers()) {
            return Err(failed);
        }
        Ok((stream, Incoming { body: response.into_body(), received: BytesMut::new() }))
    }
}

/// A message as it travels.
pub fn framed(message: &impl Message) -> Bytes {
    let size = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + size);
    bytes.put_u8(0);
    bytes.put_u32(size as u32);
    // Cannot fail: there is as much room as it said it needs.
    let _ = message.encode(&mut bytes);
    bytes.freeze()
}

/// What comes back.
#[derive(Debug)]
pub struct Incoming {
    body: RecvStream,
    received: BytesMut,
}

impl Incoming {
    /// The next message; `None` when the call has ended well.
    pub async fn next<A: Message + Default>(&mut self) -> Result<Option<A>, Failed> {
        loop {
            if let Some(message) = take_message(&mut self.received)? {
                let decoded = A::decode(message);
                return decoded.map(Some).map_err(|error| Failed::new("answer cannot be read", error.to_string()));
            }
            match self.body.data().await {
                Some(data) => {
                    let data = data?;
                    self.body.flow_control().release_capacity(data.len())?;
                    self.received.extend_from_slice(&data);
                }
                None => break,
            }
        }
        if !self.received.is_empty() {
            return Err(Failed::new("answer ended within a message", String::new()));
        }
        let trailers = self.body.trailers().await?.unwrap_or_default();
        match failure(&trailers) {
            Some(failed) => Err(failed),
            None => Ok(None),
        }
    }
}

/// Takes a whole message from the front of what was received.
fn take_message(received: &mut BytesMut) -> Result<Option<Bytes>, Failed> {
    let Some(prefix) = received.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let [compressed, size @ ..] = *prefix;
    if compressed != 0 {
        return Err(Failed::new("answer cannot be read", "it is compressed"));
    }
    let size = u32::from_be_bytes(size) as usize;
    if received.len() < PREFIX_BYTES + size {
        return Ok(None);
    }
    received.advance(PREFIX_BYTES);
    Ok(Some(received.split_to(size).freeze()))
}

/// How a call failed, by headers or trailers.
fn failure(headers: &HeaderMap) -> Option<Failed> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let status = headers.get("grpc-status")?;
    (status != "0").then(|| Failed::new(&format!("gRPC status {}", text("grpc-status")), text("grpc-message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_when_they_are_whole() {
        let mut received = BytesMut::new();
        let whole = framed(&protocol::v2::Resource { resource_namespace: String::new(), name: "orders".to_owned() });
        received.extend_from_slice(&whole[..3]);
        assert_eq!(take_message(&mut received), Ok(None));
        received.extend_from_slice(&whole[3..9]);
        assert_eq!(take_message(&mut received), Ok(None));
        received.extend_from_slice(&whole[9..]);
        received.extend_from_slice(&whole);
        assert_eq!(take_message(&mut received).unwrap().unwrap(), whole[5..]);
        assert_eq!(take_message(&mut received).unwrap().unwrap(), whole[5..]);
        assert_eq!(take_message(&mut received), Ok(None));
        received.extend_from_slice(&[1, 0, 0, 0, 0]);
        assert!(take_message(&mut received).is_err());
    }

    #[test]
    fn a_call_has_failed_if_its_trailers_say_so() {
        let mut trailers = HeaderMap::new();
        assert_eq!(failure(&trailers), None);
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        assert_eq!(failure(&trailers), None);
        trailers.insert("grpc-status", HeaderValue::from_static("13"));
        trailers.insert("grpc-message", HeaderValue::from_static("broken"));
        assert_eq!(failure(&trailers), Some(Failed::new("gRPC status 13", "broken")));
    }
}
