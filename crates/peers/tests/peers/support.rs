//! An authority and its certificates, a port with some services, and a service for every need.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use wharf_peers::{Identity, MessageService, PeerChannels, PeerOptions, Services, TlsFiles, serve};

/// Longer than anything that works takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
pub(crate) struct Certificate {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Certificate { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A certificate for a node at `name`.
    pub(crate) fn node(&self, name: &str) -> Certificate {
        self.sign(name, |_| {})
    }

    /// One whose time is over.
    pub(crate) fn expired(&self, name: &str) -> Certificate {
        self.sign(name, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    /// What a node at 127.0.0.1 needs, in a folder.
    pub(crate) fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &self.pem(), &self.node("127.0.0.1"));
        folder
    }

    pub(crate) fn identity(&self) -> Arc<Identity> {
        Identity::load(files(self.folder().path())).unwrap()
    }
}

pub(crate) fn write(folder: &Path, authority: &str, node: &Certificate) {
    let files = files(folder);
    std::fs::write(files.authority, authority).unwrap();
    std::fs::write(files.certificate, &node.certificate).unwrap();
    std::fs::write(files.key, &node.key).unwrap();
}

pub(crate) fn files(folder: &Path) -> TlsFiles {
    TlsFiles {
        authority: folder.join("ca.pem"),
        certificate: folder.join("node.pem"),
        key: folder.join("node.key.pem"),
    }
}

/// An open port; it closes when this is dropped.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    pub(crate) services: Services,
    /// How many calls of "sleep" are being answered.
    pub(crate) sleeping: Arc<AtomicUsize>,
    _shutdown: DropGuard,
}

impl Port {
    pub(crate) async fn open(identity: Option<Arc<Identity>>, options: PeerOptions) -> Port {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (services, shutdown) = (Services::new(&options), CancellationToken::new());
        let sleeping = Arc::new(AtomicUsize::new(0));
        services.set_messages("echo", Arc::new(Echo));
        services.set_messages("sleep", Arc::new(Sleep(Arc::clone(&sleeping))));
        services.set_messages("swell", Arc::new(Swell));
        services.set_messages("panic", Arc::new(Panic));
        tokio::spawn(serve(listener, services.clone(), identity, options, shutdown.clone()));
        Port { address, services, sleeping, _shutdown: shutdown.drop_guard() }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }
}

/// Answers what it was sent.
struct Echo;

#[async_trait::async_trait]
impl MessageService for Echo {
    async fn answer(&self, request: Bytes) -> Bytes {
        request
    }
}

/// Never answers.
struct Sleep(Arc<AtomicUsize>);

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl MessageService for Sleep {
    async fn answer(&self, _: Bytes) -> Bytes {
        self.0.fetch_add(1, Ordering::SeqCst);
        let _counted = Counted(Arc::clone(&self.0));
        std::future::pending().await
    }
}

/// Answers so many bytes as the request says.
struct Swell;

#[async_trait::async_trait]
impl MessageService for Swell {
    async fn answer(&self, request: Bytes) -> Bytes {
        Bytes::from(vec![7; std::str::from_utf8(&request).unwrap().parse().unwrap()])
    }
}

struct Panic;

#[async_trait::async_trait]
impl MessageService for Panic {
    async fn answer(&self, _: Bytes) -> Bytes {
        panic!("as asked")
    }
}

pub(crate) fn channels(identity: Option<Arc<Identity>>) -> Arc<PeerChannels> {
    PeerChannels::new(identity, PeerOptions::default())
}

/// Waits until something is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it never became so");
}
