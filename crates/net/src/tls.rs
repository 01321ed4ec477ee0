//! TLS for connections that come in: certificates, and the one that is in force.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or written.
    #[error("{} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {what}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not fit, or are of a kind that is not supported.
    #[error("certificate {} cannot be used with key {}", certificate.display(), key.display())]
    Pair {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// No certificate could be made.
    #[error("a certificate cannot be made")]
    Make(#[from] rcgen::Error),
}

/// Where certificate and key lie, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those that it rests on.
    pub certificate: PathBuf,
    /// Its private key, not encrypted.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Makes a certificate that vouches for itself, for these names and addresses, unless both files are there.
    pub fn make_unless_there(&self, names: Vec<String>) -> Result<(), TlsError> {
        if self.certificate.exists() && self.key.exists() {
            return Ok(());
        }
        let made = rcgen::generate_simple_self_signed(names)?;
        if let Some(folder) = self.certificate.parent() {
            std::fs::create_dir_all(folder).map_err(|source| TlsError::File { path: folder.into(), source })?;
        }
        write_private(&self.key, &made.signing_key.serialize_pem())?;
        std::fs::write(&self.certificate, made.cert.pem())
            .map_err(|source| TlsError::File { path: self.certificate.clone(), source })
    }

    fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let read = |path: &PathBuf| std::fs::read(path).map_err(|source| TlsError::File { path: path.clone(), source });
        let (certificate, key) = (read(&self.certificate)?, read(&self.key)?);
        let wrong = |path: &PathBuf, what, source| TlsError::Pem { path: path.clone(), what, source };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&certificate)
            .collect::<Result<_, _>>()
            .map_err(|source| wrong(&self.certificate, "certificate", source))?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|source| wrong(&self.key, "private key", source))?;
        let unfit = |source| TlsError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), source };
        // Named, since a process with two of them would have no default one.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unfit)?;
        // A client that offers nothing is served too: what it speaks shows in its first bytes.
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key].map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok())
    }
}

fn write_private(path: &PathBuf, text: &str) -> Result<(), TlsError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|source| TlsError::File { path: path.clone(), source })
}

/// The certificate in force. It changes when its files do.
pub struct Tls {
    files: CertificateFiles,
    config: RwLock<Arc<ServerConfig>>,
    loaded_from: RwLock<[Option<SystemTime>; 2]>,
}

impl Tls {
    /// Loads certificate and key.
    pub fn load(files: CertificateFiles) -> Result<Tls, TlsError> {
        let loaded_from = RwLock::new(files.changed_at());
        let config = RwLock::new(files.load()?);
        Ok(Tls { files, config, loaded_from })
    }

    /// Loads certificate and key again if both files have changed; says whether they are in force. What cannot be
    /// loaded leaves the old ones.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let now = self.files.changed_at();
        let before = *self.loaded_from.read().unwrap_or_else(PoisonError::into_inner);
        if now.iter().zip(&before).any(|(now, before)| now == before) {
            // One of them alone does not fit the other.
            return Ok(false);
        }
        let loaded = self.files.load()?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        *self.loaded_from.write().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(true)
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone().into()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_another_counts_once_both_files_have_changed() {
        let folder = std::env::temp_dir().join(format!("apogee-tls-{}", std::process::id()));
        let files = CertificateFiles { certificate: folder.join("c.pem"), key: folder.join("k.pem") };
        files.make_unless_there(vec!["localhost".to_owned()]).unwrap();
        let made = std::fs::read(&files.certificate).unwrap();
        files.make_unless_there(vec!["localhost".to_owned()]).unwrap();
        assert_eq!(std::fs::read(&files.certificate).unwrap(), made);

        let tls = Tls::load(files.clone()).unwrap();
        assert!(!tls.reload_if_changed().unwrap());
        let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        std::fs::write(&files.key, other.signing_key.serialize_pem()).unwrap();
        File::options().append(true).open(&files.key).unwrap().set_modified(later).unwrap();
        assert!(!tls.reload_if_changed().unwrap(), "the key alone is that of another certificate");
        std::fs::write(&files.certificate, other.cert.pem()).unwrap();
        File::options().append(true).open(&files.certificate).unwrap().set_modified(later).unwrap();
        assert!(tls.reload_if_changed().unwrap());
        assert!(!tls.reload_if_changed().unwrap());

        std::fs::write(&files.certificate, "no certificate").unwrap();
        assert!(Tls::load(files).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
