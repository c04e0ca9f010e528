//! Passwords, TLS, and how a session begins.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use pgwire::messages::startup::{Authentication as Asked, PasswordMessageFamily, SASLInitialResponse, SASLResponse};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use wharf_pgwire_server::{Options, Tls};

use crate::support::client::{Client, PARAMETERS};
use crate::support::dump::dump;
use crate::support::{Server, trust};

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";

/// What PostgreSQL would store for a password.
pub(crate) fn verifier(password: &str) -> String {
    let salt = b"0123456789abcdef";
    let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, 4096);
    let key = |name: &[u8]| {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&salted).unwrap();
        mac.update(name);
        mac.finalize().into_bytes()
    };
    let stored = BASE64.encode(Sha256::digest(key(b"Client Key")));
    format!("SCRAM-SHA-256$4096:{}${stored}:{}", BASE64.encode(salt), BASE64.encode(key(b"Server Key")))
}

/// A server that asks for passwords and knows `ann` with the password `pencil`.
pub(crate) async fn guarded(options: Options) -> Server {
    let server = Server::start(options).await;
    server.engine.verifiers.lock().insert("ann".to_owned(), verifier("pencil"));
    server
}

/// Goes through SCRAM; gives the lines of everything that came, and the server's first message.
async fn scram(client: &mut Client, mechanism: &str, password: &str, binding: ChannelBinding) -> (Vec<String>, String) {
    let mut lines = Vec::new();
    let mut first = String::new();
    let mut exchange = ScramSha256::new(password.as_bytes(), binding);
    while let Some(message) = client.message().await {
        lines.push(dump(&message));
        let answer = match message {
            PgWireBackendMessage::Authentication(Asked::SASL(_)) => {
                let message = Bytes::copy_from_slice(exchange.message());
                PasswordMessageFamily::SASLInitialResponse(SASLInitialResponse::new(
                    mechanism.to_owned(),
                    Some(message),
                ))
            }
            PgWireBackendMessage::Authentication(Asked::SASLContinue(data)) => {
                first = String::from_utf8(data.to_vec()).unwrap();
                exchange.update(&data).unwrap();
                PasswordMessageFamily::SASLResponse(SASLResponse::new(Bytes::copy_from_slice(exchange.message())))
            }
            PgWireBackendMessage::Authentication(Asked::SASLFinal(data)) => {
                exchange.finish(&data).expect("the server has proved itself, too");
                continue;
            }
            PgWireBackendMessage::ReadyForQuery(_) => break,
            _ => continue,
        };
        client.send(vec![PgWireFrontendMessage::PasswordMessageFamily(answer)]).await;
    }
    (lines, first)
}

async fn log_in(server: &Server, user: &str, password: &str) -> (Vec<String>, String) {
    let mut client = Client::open(server.address).await;
    client.start(3, 0, &[("user", user), ("database", "d")]).await;
    scram(&mut client, "SCRAM-SHA-256", password, ChannelBinding::unsupported()).await
}

#[tokio::test]
async fn the_right_password_opens_a_session() {
    let server = guarded(Options::default()).await;
    let (lines, _) = log_in(&server, "ann", "pencil").await;
    assert_eq!(
        lines[..4],
        [
            "AuthenticationSASL SCRAM-SHA-256",
            "AuthenticationSASLContinue",
            "AuthenticationSASLFinal",
            "AuthenticationOk"
        ]
    );
    assert_eq!(lines.last().unwrap(), "ReadyForQuery Idle");
}

#[tokio::test]
async fn a_wrong_user_and_a_wrong_password_cannot_be_told_apart() {
    let server = guarded(Options::default()).await;
    let (wrong_password, first_of_ann) = log_in(&server, "ann", "pen").await;
    let (wrong_user, first_of_eve) = log_in(&server, "eve", "pencil").await;
    let expected = |user: &str| {
        let error = format!("ErrorResponse FATAL 28P01 password authentication failed for user \"{user}\"");
        vec!["AuthenticationSASL SCRAM-SHA-256".to_owned(), "AuthenticationSASLContinue".to_owned(), error]
    };
    assert_eq!(wrong_password, expected("ann"));
    assert_eq!(wrong_user, expected("eve"));
    // The same form, and the same salt when asked again: as for a user who exists.
    let parts = |first: &str| first.split(',').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(first_of_ann.len(), first_of_eve.len());
    assert_eq!(parts(&first_of_ann)[2], parts(&first_of_eve)[2]);
    let (_, again) = log_in(&server, "eve", "pencil").await;
    assert_eq!(parts(&first_of_eve)[1], parts(&again)[1]);
    assert_ne!(parts(&first_of_eve)[0], parts(&again)[0], "nonces are fresh");
}

#[tokio::test]
async fn a_client_that_does_not_answer_with_scram_is_refused() {
    let server = guarded(Options::default()).await;
    for (bytes, error) in [
        (&b"p\0\0\0\x0bpencil\0"[..], "FATAL 08P01 insufficient data left in message"),
        (b"p\0\0\0\x0fMD5\0\0\0\0\x03abc", "FATAL 08P01 client selected an invalid SASL authentication mechanism"),
        (
            b"p\0\0\0\x1bSCRAM-SHA-256\0\0\0\0\x05n,,x,",
            "FATAL 08P01 malformed SCRAM message | detail: Expected the attribute \"n\".",
        ),
        (b"Q\0\0\0\x0dSELECT 1\0", "FATAL 08P01 expected password response, got message type 81"),
    ] {
        let mut client = Client::open(server.address).await;
        client.start(3, 0, &[("user", "ann")]).await;
        client.until(&["AuthenticationSASL"]).await;
        client.send_raw(bytes).await;
        assert_eq!(client.until(&["closed"]).await, [format!("ErrorResponse {error}"), "closed".to_owned()]);
    }
}

/// A certificate for `localhost`, the server's side of it, and the client's.
fn certificate() -> (Tls, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let tls = Tls::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap();
    (tls, made.cert.der().clone())
}

fn connector(certificate: &CertificateDer<'static>, alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Connects under TLS, asking first or at once.
async fn encrypted(
    server: &Server,
    certificate: &CertificateDer<'static>,
    at_once: bool,
    alpn: &[&[u8]],
) -> std::io::Result<Client> {
    let mut stream = TcpStream::connect(server.address).await?;
    if !at_once {
        stream.write_all(SSL_REQUEST).await?;
        assert_eq!(stream.read_u8().await?, b'S');
    }
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector(certificate, alpn).connect(name, stream).await?;
    Ok(Client::over(server.address, stream))
}

#[tokio::test]
async fn passwords_are_bound_to_the_channel_under_tls() {
    let (tls, certificate) = certificate();
    let server = guarded(Options { tls: Some(tls), ..Options::default() }).await;
    let hash = Sha256::digest(&certificate).to_vec();
    let log_in = async |mechanism: &str, binding: ChannelBinding| {
        let mut client = encrypted(&server, &certificate, false, &[]).await.unwrap();
        client.start(3, 0, &[("user", "ann")]).await;
        scram(&mut client, mechanism, "pencil", binding).await.0
    };
    let lines = log_in("SCRAM-SHA-256-PLUS", ChannelBinding::tls_server_end_point(hash.clone())).await;
    assert_eq!(lines[0], "AuthenticationSASL SCRAM-SHA-256-PLUS SCRAM-SHA-256");
    assert_eq!(lines.last().unwrap(), "ReadyForQuery Idle");

    let lines = log_in("SCRAM-SHA-256", ChannelBinding::unsupported()).await;
    assert_eq!(lines.last().unwrap(), "ReadyForQuery Idle");

    // Bound to another certificate: somebody is in between.
    let lines = log_in("SCRAM-SHA-256-PLUS", ChannelBinding::tls_server_end_point(vec![0; 32])).await;
    assert_eq!(lines.last().unwrap(), "ErrorResponse FATAL 28000 SCRAM channel binding check failed");

    // A client that could bind was told that the server cannot.
    let lines = log_in("SCRAM-SHA-256", ChannelBinding::unrequested()).await;
    assert!(lines.last().unwrap().starts_with("ErrorResponse FATAL 28000 SCRAM channel binding negotiation error"));
}

#[tokio::test]
async fn tls_can_be_opened_at_once_by_its_protocols_name() {
    let (tls, certificate) = certificate();
    let server = Server::start(Options { tls: Some(tls), require_tls: true, ..trust() }).await;
    let mut client = encrypted(&server, &certificate, true, &[b"postgresql"]).await.unwrap();
    client.start(3, 0, PARAMETERS).await;
    client.until(&["ReadyForQuery"]).await;
    assert_eq!(client.query("SELECT 1").await[1], "DataRow \"1\"");

    let mut client = encrypted(&server, &certificate, true, &[]).await.unwrap();
    let lines = client.until(&["closed"]).await;
    assert!(lines[0].starts_with("ErrorResponse FATAL 08P01 direct SSL connection request without ALPN"), "{lines:?}");

    assert!(encrypted(&server, &certificate, true, &[b"http/1.1"]).await.is_err());
}

#[tokio::test]
async fn tls_that_is_required_is_required() {
    let (tls, certificate) = certificate();
    let server = Server::start(Options { tls: Some(tls), require_tls: true, ..trust() }).await;
    let mut client = Client::open(server.address).await;
    client.start(3, 0, PARAMETERS).await;
    let lines = client.until(&["closed"]).await;
    assert!(lines[0].starts_with("ErrorResponse FATAL 28000 connections without encryption are refused"), "{lines:?}");
    let mut client = encrypted(&server, &certificate, false, &[]).await.unwrap();
    client.start(3, 0, PARAMETERS).await;
    client.until(&["ReadyForQuery"]).await;
}

#[tokio::test]
async fn plain_bytes_after_a_request_for_tls_are_refused() {
    let (tls, _) = certificate();
    let server = Server::start(Options { tls: Some(tls), ..trust() }).await;
    let mut client = Client::open(server.address).await;
    client.send_raw(&[SSL_REQUEST, b"\0\0\0\x08"].concat()).await;
    let lines = client.until(&["closed"]).await;
    assert!(lines[0].starts_with("ErrorResponse FATAL 08P01 received unencrypted data after SSL request"), "{lines:?}");
}

#[tokio::test]
async fn a_server_without_tls_says_so_and_goes_on_in_the_clear() {
    let server = Server::trusting().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for request in [GSS_REQUEST, SSL_REQUEST] {
        stream.write_all(request).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'N');
    }
    let mut client = Client::over(server.address, stream);
    client.start(3, 0, PARAMETERS).await;
    client.until(&["ReadyForQuery"]).await;
    // Asking twice is no startup packet.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[SSL_REQUEST, SSL_REQUEST].concat()).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'N');
    let lines = Client::over(server.address, stream).until(&["closed"]).await;
    assert!(lines[0].starts_with("ErrorResponse FATAL 08P01"), "{lines:?}");
}

#[tokio::test]
async fn a_client_that_dawdles_is_disconnected() {
    let server = guarded(Options { authentication_timeout: Duration::from_millis(300), ..Options::default() }).await;
    let began = Instant::now();
    // One says nothing, one half of a startup packet, one waits with its password.
    let mut silent = Client::open(server.address).await;
    let mut half = Client::open(server.address).await;
    half.send_raw(b"\0\0\0\x20\0\x03").await;
    let mut waiting = Client::open(server.address).await;
    waiting.start(3, 0, &[("user", "ann")]).await;
    waiting.until(&["AuthenticationSASL"]).await;
    for client in [&mut silent, &mut half, &mut waiting] {
        let lines = client.until(&["closed"]).await;
        assert_eq!(lines[0], "ErrorResponse FATAL 57014 canceling authentication due to timeout");
    }
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn the_engine_hears_who_wants_a_session() {
    let server = Server::trusting().await;
    let mut client = Client::open(server.address).await;
    let parameters = [("user", "ann"), ("application_name", "test"), ("options", "-c search_path=a,b")];
    client.start(3, 2, &parameters).await;
    client.until(&["ReadyForQuery"]).await;
    let startup = server.engine.startups.lock()[0].clone();
    assert_eq!((startup.user.as_str(), startup.database.as_str()), ("ann", "ann"));
    let settings: HashMap<_, _> = startup.parameters.into_iter().collect();
    assert_eq!(settings["application_name"], "test");
    assert_eq!(settings["search_path"], "a,b");
    assert!(startup.peer.starts_with("127.0.0.1:"));
    assert_eq!(client.key(), (startup.process, 32), "protocol 3.2 has long secrets");
    assert_eq!(Client::connect(server.address).await.key().1, 4, "protocol 3.0 has short ones");
}
