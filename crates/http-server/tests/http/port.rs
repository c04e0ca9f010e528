//! The port: plain and encrypted, limited, and how it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wharf_http_server::{Options, Tls, serve};

use crate::support::{Catalog, catalog_options};

const REQUEST: &[u8] = b"GET /iceberg/v1/config HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn options() -> Options {
    Options { drain_timeout: Duration::from_secs(5), ..Options::default() }
}

async fn start(
    catalog: &Catalog,
    options: Options,
) -> (SocketAddr, CancellationToken, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let served =
        tokio::spawn(serve(listener, Arc::clone(&catalog.engine), catalog_options(), options, shutdown.clone()));
    (address, shutdown, served)
}

/// Sends a request and gives the first line of the answer.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(REQUEST).await.unwrap();
    let mut answer = vec![0; 64 * 1024];
    let length = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_and_stops() {
    let catalog = Catalog::open().await;
    let (address, shutdown, served) = start(&catalog, options()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(&mut client).await, "HTTP/1.1 200 OK");
    assert_eq!(ask(&mut client).await, "HTTP/1.1 200 OK", "the connection stays");
    let begun = Instant::now();
    shutdown.cancel();
    served.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "idle connections end at once");
    // The socket goes with the task that held it.
    while TcpStream::connect(address).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the port is still open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_wait_for_a_place_and_silent_ones_end() {
    let catalog = Catalog::open().await;
    let limited = Options { max_connections: 1, silence_timeout: Duration::from_millis(800), ..options() };
    let (address, shutdown, served) = start(&catalog, limited).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"GET /iceberg").await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    assert_eq!(ask(&mut second).await, "HTTP/1.1 200 OK");
    assert!(begun.elapsed() > Duration::from_millis(300), "not before the first one was ended");
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest).await;
    shutdown.cancel();
    served.await.unwrap().unwrap();
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_it_speaks_tls_alone() {
    let catalog = Catalog::open().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let tls = Tls::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let (address, shutdown, served) = start(&catalog, Options { tls: Some(tls), ..options() }).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(address).await.unwrap();
    let mut client = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    assert_eq!(ask(&mut client).await, "HTTP/1.1 200 OK");

    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    shutdown.cancel();
    served.await.unwrap().unwrap();
    catalog.close().await;
}
