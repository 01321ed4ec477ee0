//! The connection to a collector: one gRPC call at a time.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Request};
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::otlp::{EXPORT, ExportRequest, ExportResponse, PartialSuccess};
use crate::target::Target;

/// Time for one batch, with the connection if there is none.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer says next to nothing; more is none of a collector.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Before each message of a stream: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Why a batch did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The collector cannot be reached.
    #[error("no connection: {0}")]
    Connect(#[from] std::io::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Http2(#[from] h2::Error),
    /// The collector took too long.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Timeout,
    /// It is none, or something that stands before it.
    #[error("the answer has status {0}, as no collector has")]
    Http(http::StatusCode),
    /// The answer is not that of a collector.
    #[error("the answer cannot be read")]
    Answer,
    /// The collector did not take the batch.
    #[error("it refuses with code {code}: {message}")]
    Refused {
        /// Code of gRPC.
        code: u8,
        /// What it says.
        message: String,
    },
}

impl ExportError {
    /// Whether the same may be taken later, as OTLP says.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Http2(_) | Self::Timeout => true,
            // Gateways say so while the collector behind them starts.
            Self::Http(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Answer => false,
            // Cancelled, deadline exceeded, aborted, out of range, unavailable, data loss.
            Self::Refused { code, .. } => matches!(code, 1 | 4 | 10 | 11 | 14 | 15),
        }
    }
}

/// A collector.
pub struct Collector {
    target: Target,
    open: Option<Open>,
}

struct Open {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Collector {
    /// One that is connected to when there is something to tell.
    pub fn new(target: Target) -> Collector {
        Collector { target, open: None }
    }

    /// Tells it a batch; returns what it did not take of it.
    pub async fn export(&mut self, request: &ExportRequest) -> Result<Option<PartialSuccess>, ExportError> {
        let result = tokio::time::timeout(PATIENCE, self.call(request)).await.unwrap_or(Err(ExportError::Timeout));
        if !matches!(result, Ok(_) | Err(ExportError::Refused { .. })) {
            self.open = None;
        }
        Ok(result?.partial_success)
    }

    async fn call(&mut self, message: &ExportRequest) -> Result<ExportResponse, ExportError> {
        let uri = format!("http://{}{EXPORT}", self.target.authority());
        let mut request = Request::post(uri).body(()).map_err(|_| ExportError::Answer)?;
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        request.headers_mut().insert("user-agent", HeaderValue::from_static("apogee"));
        let sender = self.sender().await?;
        let mut sender = sender.clone().ready().await?;
        let (response, mut stream) = sender.send_request(request, false)?;
        stream.send_data(framed(message), true)?;
        let response = response.await?;
        if response.status() != http::StatusCode::OK {
            return Err(ExportError::Http(response.status()));
        }
        // A call that fails at once has its status among the headers.
        check_status(response.headers())?;
        let (body, trailers) = read(response.into_body()).await?;
        check_status(&trailers)?;
        let message = body.get(PREFIX_BYTES..).unwrap_or_default();
        ExportResponse::decode(message).map_err(|_| ExportError::Answer)
    }

    async fn sender(&mut self) -> Result<&SendRequest<Bytes>, ExportError> {
        if self.open.as_ref().is_some_and(|open| open.driver.is_finished()) {
            self.open = None;
        }
        if self.open.is_none() {
            let stream = TcpStream::connect((self.target.host.as_str(), self.target.port)).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = h2::client::handshake(stream).await?;
            let driver = tokio::spawn(async {
                // Whoever calls is told.
                let _ = connection.await;
            });
            self.open = Some(Open { sender, driver });
        }
        self.open.as_ref().map(|open| &open.sender).ok_or(ExportError::Answer)
    }
}

fn framed(message: &ExportRequest) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + length);
    bytes.put_u8(0);
    bytes.put_u32(length as u32);
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}

async fn read(mut body: RecvStream) -> Result<(Vec<u8>, HeaderMap), ExportError> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        if bytes.len() + data.len() > ANSWER_BYTES_MAX {
            return Err(ExportError::Answer);
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, body.trailers().await?.unwrap_or_default()))
}

fn check_status(headers: &HeaderMap) -> Result<(), ExportError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status").map(str::parse::<u8>) {
        None | Some(Ok(0)) => Ok(()),
        Some(Ok(code)) => {
            Err(ExportError::Refused { code, message: text("grpc-message").unwrap_or_default().to_owned() })
        }
        Some(Err(_)) => Err(ExportError::Answer),
    }
}
