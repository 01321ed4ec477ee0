//! The least a gRPC server can do with SendMessage: HTTP/2 and the call by tonic as it comes, the request decoded, an
//! answer of the same fields encoded. Nothing is checked and nothing is stored.
//!
//! usage: bare-tonic HOST:PORT [THREADS]

use std::convert::Infallible;
use std::task::{Context, Poll};

use protocol::v2::{Code, SERVICE, SendMessageRequest, SendMessageResponse, SendResultEntry, Status};
use tonic::codegen::{BoxFuture, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;

/// The service of messaging clients, of which it serves one call.
#[derive(Clone)]
struct Messaging;

impl NamedService for Messaging {
    const NAME: &'static str = SERVICE;
}

impl tower::Service<http::Request<tonic::body::Body>> for Messaging {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async move {
            if !request.uri().path().ends_with("/SendMessage") {
                return Ok(tonic::Status::unimplemented("only SendMessage").into_http());
            }
            let codec = tonic_prost::ProstCodec::<SendMessageResponse, SendMessageRequest>::default();
            Ok(Grpc::new(codec).unary(Answering, request).await)
        })
    }
}

struct Answering;

impl UnaryService<SendMessageRequest> for Answering {
    type Response = SendMessageResponse;
    type Future = std::future::Ready<Result<tonic::Response<SendMessageResponse>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<SendMessageRequest>) -> Self::Future {
        let ok = || Some(Status { code: Code::Ok.into(), message: "OK".to_owned() });
        let entries = request.into_inner().messages.into_iter().map(|message| {
            let message_id = message.system_properties.map(|system| system.message_id).unwrap_or_default();
            SendResultEntry {
                status: ok(),
                transaction_id: message_id.clone(),
                message_id,
                offset: 0,
                recall_handle: String::new(),
            }
        });
        let entries = entries.collect();
        std::future::ready(Ok(tonic::Response::new(SendMessageResponse { status: ok(), entries })))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: bare-tonic HOST:PORT [THREADS]")?.parse()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = arguments.next() {
        runtime.worker_threads(threads.parse()?);
    }
    let serving = Server::builder().tcp_nodelay(true).add_service(Messaging).serve(address);
    Ok(runtime.enable_all().build()?.block_on(serving)?)
}
