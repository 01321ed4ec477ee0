//! The port for gRPC clients: its certificate, and the task that accepts.

use std::net::TcpListener;
use std::sync::Arc;

use net::streams::{StreamOptions, serve_streams};
use net::tls::{CertificateFiles, Tls, TlsError};
use net::workers::Workers;

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::grpc::GrpcDoor;

/// The certificate that is configured, or one of our own, made at the first start and kept with the data: clients that
/// remember it find it again.
pub(super) fn certificate(config: &BrokerConfig) -> Result<Arc<Tls>, TlsError> {
    let folder = config.data_dir.join("tls");
    let given = |path: &Option<std::path::PathBuf>, name| path.clone().unwrap_or_else(|| folder.join(name));
    let files = CertificateFiles {
        certificate: given(&config.tls_certificate, "certificate.pem"),
        key: given(&config.tls_key, "key.pem"),
    };
    if config.tls_certificate.is_none() && config.tls_key.is_none() {
        let mut names = vec!["localhost".to_owned(), config.advertised_ip.to_string()];
        names.extend(host_name());
        files.make_unless_there(names)?;
    }
    Ok(Arc::new(Tls::load(files)?))
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_owned();
    // A name that no certificate can carry is left out.
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    is_name.then_some(name)
}

/// Accepts connections until the broker stops.
pub(super) fn start(broker: &Arc<Broker>, workers: &Workers, listener: TcpListener, tls: Arc<Tls>) {
    let (shared, spread, watched) = (broker.clone(), workers.clone(), tls.clone());
    workers.spawn_on(0, move || async move {
        let (door, stop) = (GrpcDoor::new(shared.clone()), shared.shutdown.clone());
        let options = StreamOptions { tls: Some(tls), ..StreamOptions::default() };
        if let Err(error) = serve_streams(listener, door, spread, options, stop).await {
            tracing::error!(%error, "the port for gRPC clients cannot be served");
        }
    });
    let shared = broker.clone();
    workers.spawn_on(0, move || watch(shared, watched));
}

/// Loads the certificate again whenever its files change.
async fn watch(broker: Arc<Broker>, tls: Arc<Tls>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(broker.config.tls_watch_period.get()) => {}
            () = broker.shutdown.cancelled() => return,
        }
        match tls.reload_if_changed() {
            Ok(true) => tracing::info!("the certificate for gRPC clients has changed"),
            Ok(false) => {}
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "the changed certificate cannot be used; the old one stays");
            }
        }
    }
}
