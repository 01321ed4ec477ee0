//! Services that every gRPC server has: health and reflection.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use hyper::body::Incoming;
use protocol::v2;
use tower::Service;

use super::body::{Arriving, Inflow, Reply};
use super::unary;

type Answering = Pin<Box<dyn Future<Output = http::Response<tonic::body::Body>>>>;
type Answer = Box<dyn Fn(http::Request<Inflow>) -> Answering + Send + Sync>;

/// Services beside the one that messaging clients call.
pub struct Services {
    by_name: Vec<(&'static str, Answer)>,
    arriving: Arc<Arriving>,
}

impl Services {
    /// All of them.
    pub fn new() -> Services {
        let (reporter, health) = tonic_health::server::health_reporter();
        // Ends at once: nobody else holds the table of statuses.
        let serving = tonic_health::ServingStatus::Serving;
        let _ = reporter.set_service_status(v2::SERVICE, serving).now_or_never();
        let mut by_name = vec![("grpc.health.v1.Health", answering(health))];
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(v2::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        match (reflection().build_v1(), reflection().build_v1alpha()) {
            (Ok(now), Ok(before)) => {
                by_name.push(("grpc.reflection.v1.ServerReflection", answering(now)));
                by_name.push(("grpc.reflection.v1alpha.ServerReflection", answering(before)));
            }
            (now, before) => {
                let error = now.err().or(before.err());
                tracing::error!(?error, "reflection is not offered: the protocol cannot be described");
            }
        }
        Services { by_name, arriving: Arc::default() }
    }

    /// Requests on their way, over all connections.
    pub fn arriving(&self) -> Arc<Arriving> {
        self.arriving.clone()
    }

    /// Answers a call of one of them.
    pub async fn answer(&self, request: http::Request<Incoming>) -> http::Response<Reply> {
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        match self.by_name.iter().find(|(name, _)| *name == service) {
            Some((_, answer)) => {
                let request = request.map(|body| Inflow::new(body, self.arriving.clone()));
                answer(request).await.map(Reply::Other)
            }
            None => unary::unknown(request.uri().path()),
        }
    }
}

fn answering<S>(service: S) -> Answer
where
    S: Service<http::Request<Inflow>, Response = http::Response<tonic::body::Body>, Error = std::convert::Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: 'static,
{
    Box::new(move |request| {
        let answer = service.clone().call(request);
        Box::pin(async move {
            match answer.await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        })
    })
}
