//! Who a node is and whom it believes: a certificate, its key, and the authority that signed it and all others of the cluster.
//!
//! What always holds: a certificate that the authority does not vouch for today is not taken, neither at the start nor when the
//! files change; what cannot be taken when they change is said in the log, and the old ones stay. TLS 1.3 only, with ring; no
//! session is resumed, so that every connection is checked anew.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::error::reasons;

/// The protocol inside of TLS (ALPN).
const HTTP2: &[u8] = b"h2";

/// Where the certificates are, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authorities whose nodes are believed; several while one takes the place of another.
    pub authority: PathBuf,
    /// The node's certificate, followed by those between it and the authority, if any.
    pub certificate: PathBuf,
    /// The certificate's private key, not encrypted.
    pub key: PathBuf,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} is not a PEM file of {what}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
    },
    /// Certificate and key do not belong together, or rustls cannot use them.
    #[error("cannot use {} with {}", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        #[source]
        source: rustls::Error,
    },
    /// The authority does not vouch for the certificate: another signed it, it is for something else, or its time is over.
    #[error("{} is not valid under {}", certificate.display(), authority.display())]
    NotVouchedFor {
        /// The certificate's file.
        certificate: PathBuf,
        /// The authority's file.
        authority: PathBuf,
        /// What rustls says.
        #[source]
        source: rustls::Error,
    },
    /// The authority's certificate cannot be one.
    #[error("cannot use the authority's certificate {}", authority.display())]
    Authority {
        /// The authority's file.
        authority: PathBuf,
        /// What rustls says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A node's certificates, as they are now.
#[derive(Debug)]
pub struct Identity {
    files: TlsFiles,
    current: RwLock<Arc<Material>>,
}

/// What was made of the files.
#[derive(Debug)]
struct Material {
    texts: Texts,
    generation: u64,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// What is in the files.
#[derive(PartialEq, Eq)]
struct Texts {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Texts(..)")
    }
}

impl Identity {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// Whatever makes the certificate useless to the node, [`IdentityError`] says.
    pub fn load(files: TlsFiles) -> Result<Arc<Identity>, IdentityError> {
        let material = Material::new(&files, Texts::read(&files)?, 1)?;
        Ok(Arc::new(Identity { files, current: RwLock::new(Arc::new(material)) }))
    }

    /// Reads the files again and uses what is in them for connections that are made from now on, if it is something new.
    /// Returns whether it was. Blocks.
    ///
    /// # Errors
    /// Those of [`Identity::load`]; the node goes on with what it had.
    pub fn reload(&self) -> Result<bool, IdentityError> {
        let texts = Texts::read(&self.files)?;
        let current = Arc::clone(&self.current.read());
        if texts == current.texts {
            return Ok(false);
        }
        let material = Material::new(&self.files, texts, current.generation + 1)?;
        *self.current.write() = Arc::new(material);
        Ok(true)
    }

    /// Reads the files again every `interval` until `shutdown`.
    pub async fn watch(self: Arc<Self>, interval: Duration, shutdown: CancellationToken) {
        // The same thing is not said again at every look.
        let mut complained = None;
        while tokio::time::timeout(interval, shutdown.cancelled()).await.is_err() {
            let identity = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || identity.reload()).await {
                Ok(Ok(true)) => {
                    complained = None;
                    tracing::info!(certificate = %self.files.certificate.display(), "certificates reloaded");
                }
                Ok(Ok(false)) => complained = None,
                Ok(Err(error)) => {
                    // Files that are being replaced one after the other do not fit together for a moment.
                    let reasons = reasons(&error);
                    if complained.as_ref() != Some(&reasons) {
                        tracing::warn!(error = reasons, "the changed certificates cannot be used; the old ones stay");
                    }
                    complained = Some(reasons);
                }
                Err(error) => tracing::error!(%error, "reading the certificates ended abnormally"),
            }
        }
    }

    /// How a connection is accepted now.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().server)
    }

    /// How a connection is made now.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.read().client)
    }

    /// Another number whenever the files had something new.
    pub(crate) fn generation(&self) -> u64 {
        self.current.read().generation
    }
}

impl Texts {
    fn read(files: &TlsFiles) -> Result<Texts, IdentityError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| IdentityError::Unreadable { path: path.to_owned(), source })
        };
        Ok(Texts { authority: read(&files.authority)?, certificate: read(&files.certificate)?, key: read(&files.key)? })
    }
}

impl Material {
    fn new(files: &TlsFiles, texts: Texts, generation: u64) -> Result<Material, IdentityError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(authorities(&files.authority, &texts.authority)?);
        let chain = certificates(&files.certificate, &texts.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&texts.key)
            .map_err(|_| IdentityError::NotPem { path: files.key.clone(), what: "a private key" })?;
        let unusable =
            |source| IdentityError::Unusable { certificate: files.certificate.clone(), key: files.key.clone(), source };
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build().map_err(
                |error| IdentityError::Authority { authority: files.authority.clone(), source: error.into() },
            )?;
        // What others will say of the certificate is better heard now.
        verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now()).map_err(|source| {
            IdentityError::NotVouchedFor {
                certificate: files.certificate.clone(),
                authority: files.authority.clone(),
                source,
            }
        })?;

        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(unusable)?;
        server.alpn_protocols = vec![HTTP2.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let client = client_config(provider, roots, chain, key).map_err(unusable)?;
        Ok(Material { texts, generation, server: Arc::new(server), client: Arc::new(client) })
    }
}

fn client_config(
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    client.alpn_protocols = vec![HTTP2.to_vec()];
    client.resumption = Resumption::disabled();
    Ok(client)
}

/// All certificates of a PEM text, at least one.
fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(IdentityError::NotPem { path: path.to_owned(), what: "certificates" }),
    }
}

fn authorities(path: &Path, text: &[u8]) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, text)? {
        roots
            .add(certificate)
            .map_err(|error| IdentityError::Authority { authority: path.to_owned(), source: error.into() })?;
    }
    Ok(roots)
}
