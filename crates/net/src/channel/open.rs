//! From a host name to a connected socket.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host name means nothing, or the text is no `host:port`.
    #[error("address `{address}` cannot be resolved")]
    Unresolved {
        /// Address as it was given.
        address: String,
        /// What the resolver says.
        #[source]
        source: io::Error,
    },
    /// Nobody listens there, or the network fails. Of several addresses, the last one's failure.
    #[error("cannot connect to `{address}`")]
    Failed {
        /// Address as it was given.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Nothing came back in time.
    #[error("cannot connect to `{address}`: no reply within {after:?}")]
    Timeout {
        /// Address as it was given.
        address: String,
        /// The time that had been given.
        after: Duration,
    },
}

/// Resolves `address` and connects to the first of its addresses that takes us, all within `timeout`.
pub(super) async fn open(address: &str, timeout: Duration) -> Result<TcpStream, ConnectError> {
    match tokio::time::timeout(timeout, resolve_and_connect(address)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectError::Timeout { address: address.to_owned(), after: timeout }),
    }
}

async fn resolve_and_connect(address: &str) -> Result<TcpStream, ConnectError> {
    let unresolved = |source| ConnectError::Unresolved { address: address.to_owned(), source };
    let found = tokio::net::lookup_host(address).await.map_err(unresolved)?;
    let mut failure = None;
    for candidate in found {
        match TcpStream::connect(candidate).await {
            Ok(stream) => {
                // Requests are small and somebody waits for each.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failure = Some(error),
        }
    }
    Err(match failure {
        Some(source) => ConnectError::Failed { address: address.to_owned(), source },
        None => unresolved(io::Error::from(io::ErrorKind::NotFound)),
    })
}
