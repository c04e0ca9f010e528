//! Who is let in, in both directions. Adversaries that our own code would not let start are made of rustls by hand.

use std::sync::Arc;

use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wharf_peers::{CallError, Identity, IdentityError, PeerOptions};

use crate::support::{Authority, Certificate, PATIENCE, Port, channels, files, write};

#[track_caller]
fn assert_refused(answer: Result<Bytes, CallError>, why: &str) {
    match answer.unwrap_err() {
        CallError::Refused(said) if said.contains(why) => {}
        other => panic!("expected a refusal because of {why}: {other:?}"),
    }
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    Arc::new(roots)
}

fn chain(certificate: &Certificate) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = vec![CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).unwrap()];
    (chain, PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap())
}

/// Shakes hands with a port by hand; what comes of it once the port has looked at the certificate.
async fn knock(port: &Port, authority: &Authority, certificate: Option<&Certificate>) -> std::io::Result<usize> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let builder = builder.with_root_certificates(roots(authority));
    let mut config = match certificate.map(chain) {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(port.address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    stream.read(&mut [0; 64]).await
}

#[tokio::test]
async fn the_port_takes_certificates_of_its_authority_and_no_others() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let port = Port::open(Some(ours.identity()), PeerOptions::default()).await;
    assert!(knock(&port, &ours, Some(&ours.node("127.0.0.1"))).await.unwrap() > 0);
    let refusal = async |certificate: Option<Certificate>| {
        knock(&port, &ours, certificate.as_ref()).await.unwrap_err().to_string()
    };
    let refused = refusal(None).await;
    assert!(refused.contains("CertificateRequired"), "{refused}");
    let refused = refusal(Some(theirs.node("127.0.0.1"))).await;
    assert!(refused.contains("received fatal alert: UnknownCA"), "{refused}");
    let refused = refusal(Some(ours.expired("127.0.0.1"))).await;
    assert!(refused.contains("received fatal alert: CertificateExpired"), "{refused}");
}

#[tokio::test]
async fn a_call_from_outside_of_the_cluster_is_refused() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let port = Port::open(Some(ours.identity()), PeerOptions::default()).await;
    let call = async |identity| channels(identity).call(&port.address(), "echo", Bytes::new(), PATIENCE).await;
    // It does not believe the port.
    assert_refused(call(Some(theirs.identity())).await, "invalid peer certificate: UnknownIssuer");
    // It does, and is not believed.
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &format!("{}{}", ours.pem(), theirs.pem()), &theirs.node("127.0.0.1"));
    let foreign = Identity::load(files(folder.path())).unwrap();
    assert_refused(call(Some(foreign)).await, "received fatal alert: UnknownCA");
    // Without TLS nobody is heard.
    let error = call(None).await.unwrap_err();
    assert!(matches!(&error, CallError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_call_to_a_port_that_proves_nothing_is_refused() {
    let ours = Authority::new("ours");
    let serve = async |certificate: Certificate| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots(&ours), Arc::clone(&provider)).build().unwrap();
        let (chain, key) = chain(&certificate);
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            drop(TlsAcceptor::from(Arc::new(config)).accept(stream).await);
        });
        channels(Some(ours.identity())).call(&address, "echo", Bytes::new(), PATIENCE).await
    };
    assert_refused(serve(ours.expired("127.0.0.1")).await, "invalid peer certificate: certificate expired");
    assert_refused(serve(ours.node("another.host")).await, "not valid for name \"127.0.0.1\"");
    assert_refused(serve(Authority::new("theirs").node("127.0.0.1")).await, "UnknownIssuer");
    // And one that does not even speak TLS.
    let plain = Port::open(None, PeerOptions::default()).await;
    let error =
        channels(Some(ours.identity())).call(&plain.address(), "echo", Bytes::new(), PATIENCE).await.unwrap_err();
    assert!(matches!(&error, CallError::Unreachable(_)), "{error:?}");
}

#[test]
fn a_certificate_that_nobody_would_take_is_not_loaded() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let load = |authority: &str, node: &Certificate| {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), authority, node);
        Identity::load(files(folder.path())).unwrap_err()
    };
    let error = load(&ours.pem(), &ours.expired("127.0.0.1"));
    assert!(matches!(&error, IdentityError::NotVouchedFor { .. }), "{error:?}");
    let error = load(&ours.pem(), &theirs.node("127.0.0.1"));
    assert!(matches!(&error, IdentityError::NotVouchedFor { .. }), "{error:?}");
    let strange = Certificate { key: ours.node("x").key, ..ours.node("127.0.0.1") };
    let error = load(&ours.pem(), &strange);
    assert!(matches!(&error, IdentityError::Unusable { .. }), "{error:?}");
    let error = load("nonsense", &ours.node("127.0.0.1"));
    assert!(matches!(&error, IdentityError::NotPem { what: "certificates", .. }), "{error:?}");
    let error = Identity::load(files(std::path::Path::new("/nowhere"))).unwrap_err();
    assert!(matches!(&error, IdentityError::Unreadable { .. }), "{error:?}");
}
