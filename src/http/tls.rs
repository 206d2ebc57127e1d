//! TLS: the certificate and its key, read again on SIGHUP. A pair that cannot be used is told in the log, and the one
//! before it stays. HTTP/2 is offered by ALPN; plain connections speak HTTP/1.1.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::Signal;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::TlsFiles;

/// Why a certificate cannot be served, with the file that is at fault.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// What connections are encrypted with. Cheap to clone: the clones are renewed together.
#[derive(Clone)]
pub struct Tls {
    files: Arc<TlsFiles>,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// Reads certificate and key.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let config = read(files)?;
        Ok(Self { files: Arc::new(files.clone()), current: Arc::new(RwLock::new(Arc::new(config))) })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Reads the files again; connections from now on get what they hold.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = Arc::new(read(&self.files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Reloads at each signal, until the end.
    pub(super) async fn reload_on(self, mut hangup: Signal, end: CancellationToken) {
        while let Some(Some(())) = end.run_until_cancelled(hangup.recv()).await {
            match self.reload() {
                Ok(()) => tracing::info!(cert = %self.files.cert.display(), "certificate read again"),
                Err(error) => tracing::error!(%error, "the new certificate cannot be used; the one before it stays"),
            }
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let TlsFiles { cert, key } = files;
    let wrong = |path: &std::path::Path, error: pem::Error| match error {
        pem::Error::Io(error) => TlsError(format!("cannot read {}: {error}", path.display())),
        pem::Error::NoItemsFound => TlsError(format!("{} holds none in PEM", path.display())),
        error => TlsError(format!("{} is not PEM: {error}", path.display())),
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(cert, error))?;
    if chain.is_empty() {
        return Err(TlsError(format!("{} holds no certificate", cert.display())));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error))?;
    let unusable =
        |error| TlsError(format!("{} and {} cannot be used together: {error}", cert.display(), key.display()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
