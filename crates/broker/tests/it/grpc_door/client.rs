//! A gRPC client that says exactly what a test wants.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use prost::Message;
use protocol::v2::SERVICE;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of all answers together that may lie unread.
const UNREAD_BYTES_MAX: u32 = 16 << 20;

/// How a call ended.
#[derive(Debug)]
pub struct Outcome {
    /// Messages that came.
    pub messages: Vec<Bytes>,
    /// `grpc-status`; none if the call was cut off.
    pub status: Option<String>,
    /// `grpc-message`, or what cut the call off.
    pub text: String,
}

/// A call that was made.
pub struct Asked {
    response: ResponseFuture,
    send: SendStream<Bytes>,
}

impl Asked {
    /// Cancels it.
    pub fn cancel(mut self) {
        self.send.send_reset(h2::Reason::CANCEL);
    }

    /// The body of the answer, for who reads it piece by piece.
    pub async fn body(self) -> RecvStream {
        self.response.await.unwrap().into_body()
    }
}

/// A connection.
pub struct Client {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    /// Headers of every call.
    pub headers: Vec<(&'static str, String)>,
}

impl Client {
    /// Connects in clear text.
    pub fn connect(address: SocketAddr) -> Client {
        Client::over(async move { TcpStream::connect(address).await.unwrap() })
    }

    /// Speaks HTTP/2 over what `open` gives.
    pub fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(open: impl Future<Output = S>) -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            // Answers lie there unread until a test asks for them.
            let mut builder = h2::client::Builder::new();
            builder.initial_connection_window_size(UNREAD_BYTES_MAX).data_frame_budget(UNREAD_BYTES_MAX as usize);
            let (sender, connection) = builder.handshake(open.await).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        let headers = vec![
            ("x-mq-client-id", "tests@1@0@abc".to_owned()),
            ("x-mq-language", "GO".to_owned()),
            ("x-mq-client-version", "5.1.4".to_owned()),
        ];
        Client { runtime, sender, headers }
    }

    /// Calls and returns the one answer.
    #[track_caller]
    pub fn call<A: Message + Default>(&mut self, rpc: &str, question: &impl Message) -> A {
        let outcome = self.raw(&format!("/{SERVICE}/{rpc}"), framed(&question.encode_to_vec()));
        assert_eq!((outcome.status.as_deref(), outcome.messages.len()), (Some("0"), 1), "{outcome:?}");
        A::decode(outcome.messages[0].clone()).unwrap()
    }

    /// Calls and returns all answers.
    #[track_caller]
    pub fn call_streamed<A: Message + Default>(&mut self, rpc: &str, question: &impl Message) -> Vec<A> {
        let asked = self.ask(rpc, question);
        self.answers(asked)
    }

    /// Calls, and leaves the answers for later.
    pub fn ask(&mut self, rpc: &str, question: &impl Message) -> Asked {
        let (response, mut send) = self.begin(&format!("/{SERVICE}/{rpc}"));
        send.send_data(framed(&question.encode_to_vec()), true).unwrap();
        Asked { response, send }
    }

    /// All answers to a call.
    #[track_caller]
    pub fn answers<A: Message + Default>(&self, asked: Asked) -> Vec<A> {
        let outcome = self.wait(finish(asked.response));
        assert_eq!(outcome.status.as_deref(), Some("0"), "{outcome:?}");
        outcome.messages.into_iter().map(|message| A::decode(message).unwrap()).collect()
    }

    /// Sends bytes as the whole body of a call.
    pub fn raw(&mut self, path: &str, body: Bytes) -> Outcome {
        let (response, mut send) = self.begin(path);
        // A refusal may come before the body is through.
        let _ = send.send_data(body, true);
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, finish(response)).await.expect("no answer") })
    }

    /// Opens a stream.
    pub fn open(&mut self, rpc: &str) -> Stream<'_> {
        let (response, send) = self.begin(&format!("/{SERVICE}/{rpc}"));
        let receive = self.wait(response).unwrap().into_body();
        Stream { runtime: &self.runtime, send, receive, read: BytesMut::new() }
    }

    /// Begins a call.
    pub fn begin(&mut self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::post(format!("http://door.example:8081{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(()).unwrap();
        let sender = self.sender.clone();
        let mut ready = self.wait(sender.ready()).unwrap();
        ready.send_request(request, false).unwrap()
    }

    /// Waits for something that happens in the broker and tells nobody; what was asked goes out meanwhile.
    pub fn until(&self, happened: impl Fn() -> bool) {
        self.wait(async {
            while !happened() {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Waits for something that the connection brings.
    pub fn wait<T>(&self, event: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, event).await.expect("nothing came") })
    }
}

/// A stream both ways.
pub struct Stream<'c> {
    runtime: &'c Runtime,
    send: SendStream<Bytes>,
    receive: RecvStream,
    read: BytesMut,
}

impl Stream<'_> {
    /// Says something.
    pub fn say(&mut self, message: &impl Message) {
        self.send.send_data(framed(&message.encode_to_vec()), false).unwrap();
    }

    /// Says that nothing more comes.
    pub fn half_close(&mut self) {
        self.send.send_data(Bytes::new(), true).unwrap();
    }

    /// What the other side says next; how the call ended if that is nothing.
    pub fn hear<A: Message + Default>(&mut self) -> Result<A, Outcome> {
        let next = async {
            loop {
                if let Some(message) = take_message(&mut self.read) {
                    return Ok(A::decode(message).unwrap());
                }
                match self.receive.data().await {
                    Some(Ok(data)) => {
                        self.receive.flow_control().release_capacity(data.len()).unwrap();
                        self.read.extend_from_slice(&data);
                    }
                    Some(Err(_)) => return Err(outcome(Vec::new(), None)),
                    None => return Err(outcome(Vec::new(), self.receive.trailers().await.ok().flatten().as_ref())),
                }
            }
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, next).await.expect("nothing came") })
    }
}

async fn finish(response: ResponseFuture) -> Outcome {
    let response = match response.await {
        Ok(response) => response,
        Err(error) => return cut_off(&error),
    };
    if response.headers().contains_key("grpc-status") {
        return outcome(Vec::new(), Some(response.headers()));
    }
    let mut body = response.into_body();
    let mut read = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = match data {
            Ok(data) => data,
            Err(error) => return cut_off(&error),
        };
        let _ = body.flow_control().release_capacity(data.len());
        read.extend_from_slice(&data);
    }
    let messages = std::iter::from_fn(|| take_message(&mut read)).collect();
    let trailers = body.trailers().await.ok().flatten();
    outcome(messages, trailers.as_ref())
}

fn cut_off(error: &h2::Error) -> Outcome {
    Outcome { messages: Vec::new(), status: None, text: error.to_string() }
}

fn outcome(messages: Vec<Bytes>, headers: Option<&HeaderMap>) -> Outcome {
    let text = |name: &str| headers?.get(name)?.to_str().ok().map(str::to_owned);
    Outcome { messages, status: text("grpc-status"), text: text("grpc-message").unwrap_or_default() }
}

fn take_message(read: &mut BytesMut) -> Option<Bytes> {
    let size = u32::from_be_bytes(read.get(1..5)?.try_into().unwrap()) as usize;
    if read.len() < 5 + size {
        return None;
    }
    let _ = read.split_to(5);
    Some(read.split_to(size).freeze())
}

/// A message with what goes before it.
pub fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + message.len());
    bytes.put_u8(0);
    bytes.put_u32(message.len() as u32);
    bytes.put_slice(message);
    bytes.freeze()
}
