//! TLS on the same port, with the certificate that the broker made for itself.

use std::sync::Arc;

use protocol::v2::{Code, SendMessageRequest, SendMessageResponse};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::Client;
use super::{code, message};
use crate::server::Server;

fn connect(server: &Server, protocols: &[&[u8]]) -> Client {
    let mut roots = rustls::RootCertStore::empty();
    let file = server.data_dir().join("tls/certificate.pem");
    roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let address = server.grpc_address();
    Client::over(async move {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    })
}

#[test]
fn a_client_with_tls_is_served_with_and_without_alpn_and_finds_the_same_certificate_later() {
    let mut server = Server::start();
    let kept = std::fs::read(server.data_dir().join("tls/certificate.pem")).unwrap();
    for protocols in [&[&b"h2"[..]][..], &[]] {
        let mut client = connect(&server, protocols);
        let request = SendMessageRequest { messages: vec![message("orders", "id", b"x")] };
        let answer: SendMessageResponse = client.call("SendMessage", &request);
        assert_eq!(code(&answer.status), Code::Ok);
    }
    server.restart();
    assert_eq!(std::fs::read(server.data_dir().join("tls/certificate.pem")).unwrap(), kept);
}
