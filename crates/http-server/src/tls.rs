//! TLS as the port offers it: HTTP/2 and HTTP/1.1, with ring. Certificates come as PEM texts; reading files is not done here.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// The certificate and key of the server.
#[derive(Clone)]
pub struct Tls {
    pub(crate) acceptor: TlsAcceptor,
}

/// Why the certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text of the certificates cannot be read.
    #[error("cannot read the certificate: {0}")]
    Certificate(rustls::pki_types::pem::Error),
    /// The PEM text of the key cannot be read.
    #[error("cannot read the private key: {0}")]
    Key(rustls::pki_types::pem::Error),
    /// They do not belong together, or rustls cannot use them.
    #[error("cannot use the certificate and key: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Tls {
    /// TLS with a certificate chain, the server's own first, and its private key, both PEM.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Tls, TlsError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(certificates).collect::<Result<_, _>>().map_err(TlsError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}
