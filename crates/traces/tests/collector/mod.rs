//! An OpenTelemetry collector: takes spans as the official schema has them.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// Longest wait for a span.
const PATIENCE: Duration = Duration::from_secs(20);

/// Listens on a port of its own until it is dropped.
pub struct Collector {
    pub address: SocketAddr,
    /// What came; nothing for a batch that was refused.
    requests: Receiver<Option<ExportTraceServiceRequest>>,
    stop: CancellationToken,
}

impl Collector {
    /// Answers the first calls with `codes` of gRPC, one each, and takes what comes after.
    pub fn start(codes: &[u8]) -> Collector {
        let (address_sender, address) = channel();
        let (sender, requests) = channel();
        let stop = CancellationToken::new();
        let until = stop.clone();
        let mut codes = codes.to_vec();
        codes.reverse();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                address_sender.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(listener, codes, sender) => {}
                    () = until.cancelled() => {}
                }
            });
        });
        Collector { address: address.recv().unwrap(), requests, stop }
    }

    /// Waits for the next batch that is taken.
    pub fn batch(&self) -> ExportTraceServiceRequest {
        self.requests.recv_timeout(PATIENCE).unwrap().expect("a batch that is taken")
    }

    /// Waits until so many batches were refused.
    #[allow(dead_code, reason = "not all tests refuse")]
    pub fn wait_for_refusals(&self, count: usize) {
        for _ in 0..count {
            assert!(self.requests.recv_timeout(PATIENCE).unwrap().is_none());
        }
    }

    /// Waits until so many spans came.
    pub fn spans(&self, count: usize) -> Vec<Span> {
        let mut spans = Vec::new();
        while spans.len() < count {
            spans.extend(self.batch().resource_spans.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans));
        }
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(listener: TcpListener, mut codes: Vec<u8>, sender: Sender<Option<ExportTraceServiceRequest>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert_eq!(request.uri().path(), EXPORT);
            assert_eq!(request.headers()["content-type"], "application/grpc");
            let mut body = request.into_body();
            let mut bytes = Vec::new();
            // A connection moves on only when it is asked for its next call.
            let reading = async {
                while let Some(data) = body.data().await {
                    let data = data.unwrap();
                    body.flow_control().release_capacity(data.len()).unwrap();
                    bytes.extend_from_slice(&data);
                }
            };
            tokio::select! {
                () = reading => {}
                call = connection.accept() => assert!(call.is_none(), "one call at a time"),
            }
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            let code = codes.pop().unwrap_or(0);
            if code == 0 {
                assert_eq!(bytes[0], 0, "not compressed");
                assert_eq!(u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize, bytes.len() - 5);
                let _ = sender.send(Some(ExportTraceServiceRequest::decode(&bytes[5..]).unwrap()));
                stream.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
            } else {
                let _ = sender.send(None);
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from(u16::from(code)));
            stream.send_trailers(trailers).unwrap();
        }
    }
}

/// Value of an attribute as text.
pub fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}
