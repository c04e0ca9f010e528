//! From an accepted socket to a session: TLS, the startup packet, authentication, the first `ReadyForQuery`.
//!
//! What always holds: TLS is asked for at most once, and never with plain bytes left over that a man in the middle could
//! have put there; a cancel request is answered with nothing; nobody gets a session before they are authenticated. How
//! long all this may take is watched by the caller.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::server::TlsStream;
use wharf_values::{SqlError, SqlState};

use crate::authentication::authenticate;
use crate::backend::{Backend, Session, SessionStartup, TransactionStatus};
use crate::cancel::{CancelHandle, KEY_BYTES_3_0, KEY_BYTES_3_2, Registration};
use crate::encode::messages;
use crate::error::{End, protocol_violation};
use crate::limits::Place;
use crate::listener::Shared;
use crate::socket::Socket;
use crate::startup_packet::{ProtocolVersion, StartupPacket, next_packet};
use crate::tls::{ALPN, Tls};
use crate::wire::Wire;

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// A session and what belongs to it.
pub(crate) struct Started<S> {
    pub(crate) session: S,
    pub(crate) cancel: Arc<CancelHandle>,
    pub(crate) registration: Registration,
    pub(crate) place: Place,
}

/// Brings a connection to its first `ReadyForQuery`. `None` when it was a cancel request, which is done with.
pub(crate) async fn start<B: Backend>(
    wire: &mut Wire,
    shared: &Shared<B>,
    peer: SocketAddr,
) -> Result<Option<Started<B::Session>>, End> {
    let (version, parameters) = match negotiate(wire, shared).await? {
        StartupPacket::Startup { version, parameters } => (version, parameters),
        StartupPacket::Cancel { process, key } => {
            shared.cancels.request(process, key).await;
            return Ok(None);
        }
        StartupPacket::TlsRequest | StartupPacket::GssEncryptionRequest => {
            return Err(End::from(protocol_violation("encryption was negotiated already")));
        }
    };
    let Requested { mut startup, unknown_options } = requested(parameters, peer)?;
    let spoken = if version >= ProtocolVersion::V3_2 { ProtocolVersion::V3_2 } else { ProtocolVersion::V3_0 };
    if version > ProtocolVersion::V3_2 || !unknown_options.is_empty() {
        messages::negotiate_protocol_version(&mut wire.output, spoken, &unknown_options);
    }
    if shared.options.require_tls && !wire.socket.is_encrypted() {
        return Err(End::from(
            SqlError::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "connections without encryption are refused")
                .with_hint("Connect with sslmode=require."),
        ));
    }
    let Some(place) = shared.limit.session() else {
        return Err(End::fatal(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already"));
    };
    authenticate(wire, &shared.options, &startup.user, shared.backend.scram_verifier(&startup.user)).await?;

    messages::authentication_ok(&mut wire.output);

    let key_bytes = if spoken >= ProtocolVersion::V3_2 { KEY_BYTES_3_2 } else { KEY_BYTES_3_0 };
    let mut key = vec![0; key_bytes];
    getrandom::fill(&mut key).expect("the operating system has randomness");
    let registration = shared.cancels.register(key.into_boxed_slice());
    startup.process = registration.process;
    let mut session = shared.backend.open_session(startup).await?;
    let cancel = CancelHandle::new(session.canceller());
    registration.attach(cancel.clone());

    for (name, value) in session.settings_to_report() {
        messages::parameter_status(&mut wire.output, name, &value);
    }
    messages::backend_key_data(&mut wire.output, registration.process, &registration.key);
    for notice in session.notices() {
        messages::notice_response(&mut wire.output, &notice);
    }
    messages::ready_for_query(&mut wire.output, TransactionStatus::Idle);
    wire.expect_session(shared.options.max_message_bytes);
    wire.flush().await?;
    Ok(Some(Started { session, cancel, registration, place }))
}

/// Encrypts the connection as the client wants and gives the packet that says what it is for.
async fn negotiate<B: Backend>(wire: &mut Wire, shared: &Shared<B>) -> Result<StartupPacket, End> {
    let tls = shared.options.tls.as_ref();
    if first_byte(wire).await? == TLS_HANDSHAKE {
        let Some(tls) = tls else {
            // The client would not understand anything but TLS.
            return Err(End::Disconnected);
        };
        let stream = encrypt(wire, tls).await?;
        let negotiated = stream.get_ref().1.alpn_protocol() == Some(ALPN);
        // What is said from here on, refusals too, is said under TLS.
        wire.socket = Socket::Tls(Box::new(stream));
        if !negotiated {
            return Err(End::from(protocol_violation(
                "direct SSL connection request without ALPN protocol negotiation extension",
            )));
        }
    }
    let mut gss_refused = false;
    let mut tls_refused = false;
    loop {
        match packet(wire).await? {
            StartupPacket::TlsRequest if !wire.socket.is_encrypted() && !tls_refused => match tls {
                Some(tls) => {
                    // Bytes that came with the request would be taken for what the client says under TLS.
                    if !wire.input.is_empty() {
                        return Err(End::from(
                            protocol_violation("received unencrypted data after SSL request").with_detail(
                                "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
                            ),
                        ));
                    }
                    wire.socket.write_all(b"S").await?;
                    wire.socket = Socket::Tls(Box::new(encrypt(wire, tls).await?));
                }
                None => {
                    tls_refused = true;
                    wire.socket.write_all(b"N").await?;
                }
            },
            StartupPacket::GssEncryptionRequest if !wire.socket.is_encrypted() && !gss_refused => {
                gss_refused = true;
                wire.socket.write_all(b"N").await?;
            }
            packet => return Ok(packet),
        }
    }
}

/// The first byte of a connection, which stays where it is.
async fn first_byte(wire: &mut Wire) -> Result<u8, End> {
    match &mut wire.socket {
        Socket::Plain(stream) => {
            let mut byte = [0];
            match stream.peek(&mut byte).await? {
                0 => Err(End::Disconnected),
                _ => Ok(byte[0]),
            }
        }
        Socket::Tls(_) | Socket::Closed => Err(End::Disconnected),
    }
}

/// Shakes hands. The connection is closed when that fails: what was sent under TLS cannot be answered in the clear.
async fn encrypt(wire: &mut Wire, tls: &Tls) -> Result<TlsStream<tokio::net::TcpStream>, End> {
    match std::mem::replace(&mut wire.socket, Socket::Closed) {
        Socket::Plain(stream) => Ok(tls.acceptor.accept(stream).await?),
        Socket::Tls(_) | Socket::Closed => Err(End::Disconnected),
    }
}

/// The next packet.
async fn packet(wire: &mut Wire) -> Result<StartupPacket, End> {
    loop {
        if let Some(packet) = next_packet(&mut wire.input)? {
            return Ok(packet);
        }
        wire.input.reserve(512);
        if wire.socket.read_buf(&mut wire.input).await? == 0 {
            return Err(End::Disconnected);
        }
    }
}

/// What a startup packet asks for.
#[derive(Debug)]
struct Requested {
    startup: SessionStartup,
    /// The names of protocol options (`_pq_.name`); none is known yet.
    unknown_options: Vec<String>,
}

/// Sorts the parameters of a startup packet.
fn requested(parameters: Vec<(String, String)>, peer: SocketAddr) -> Result<Requested, End> {
    let (mut user, mut database) = (String::new(), String::new());
    let mut settings = Vec::new();
    let mut unknown_options = Vec::new();
    let mut command_line = Vec::new();
    for (name, value) in parameters {
        match name.as_str() {
            "user" => user = value,
            "database" => database = value,
            "options" => command_line = command_line_settings(&value)?,
            "replication" if is_off(&value) => {}
            "replication" => {
                return Err(End::from(
                    SqlError::unsupported("replication connections are not supported")
                        .with_hint("Connect without the parameter \"replication\"."),
                ));
            }
            option if option.starts_with("_pq_.") => unknown_options.push(name),
            _ => settings.push((name, value)),
        }
    }
    if user.is_empty() {
        return Err(End::fatal(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "no PostgreSQL user name specified in startup packet",
        ));
    }
    if database.is_empty() {
        database.clone_from(&user);
    }
    // As in PostgreSQL, the packet's own settings win over those of `options`.
    command_line.append(&mut settings);
    let startup = SessionStartup { user, database, parameters: command_line, peer: peer.to_string(), process: 0 };
    Ok(Requested { startup, unknown_options })
}

/// True for the values PostgreSQL reads as false.
fn is_off(value: &str) -> bool {
    ["0", "off", "false", "no", "f", "n"].iter().any(|off| value.eq_ignore_ascii_case(off))
}

/// The settings in the parameter `options`: `-c name=value` and `--name=value`, separated by blanks, with a backslash
/// before blanks that belong to a value.
fn command_line_settings(options: &str) -> Result<Vec<(String, String)>, End> {
    let mut settings = Vec::new();
    let mut arguments = arguments(options).into_iter();
    while let Some(argument) = arguments.next() {
        let setting = match (argument.strip_prefix("-c"), argument.strip_prefix("--")) {
            (Some(""), _) => arguments.next(),
            (Some(setting), _) | (None, Some(setting)) => Some(setting.to_owned()),
            (None, None) => None,
        };
        let Some((name, value)) = setting.as_deref().and_then(|setting| setting.split_once('=')) else {
            return Err(End::fatal(
                SqlState::SYNTAX_ERROR,
                format!("invalid command-line argument for server process: {argument}"),
            ));
        };
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn arguments(options: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut argument: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            blank if blank.is_ascii_whitespace() => arguments.extend(argument.take()),
            '\\' => argument.get_or_insert_default().extend(characters.next()),
            character => argument.get_or_insert_default().push(character),
        }
    }
    arguments.extend(argument);
    arguments
}

/// A connection that has not said anything yet.
pub(crate) fn wire(stream: tokio::net::TcpStream) -> Wire {
    Wire::new(Socket::Plain(stream), BytesMut::new())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ask(parameters: &[(&str, &str)]) -> Result<Requested, End> {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        requested(parameters, SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    #[test]
    fn options_are_taken_apart_and_yield_to_the_packets_own_settings() {
        let asked = ask(&[
            ("user", "ann"),
            ("application_name", "test"),
            ("options", r"-c geqo=off  --search-path=a,\ b -cwork_mem=4MB"),
            ("_pq_.new", "1"),
        ])
        .unwrap();
        let names: Vec<&str> = asked.startup.parameters.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["geqo", "search_path", "work_mem", "application_name"]);
        assert_eq!(asked.startup.parameters[1].1, "a, b");
        assert_eq!(asked.startup.database, "ann");
        assert_eq!(asked.unknown_options, ["_pq_.new"]);
    }

    #[test]
    fn a_packet_without_a_user_or_with_broken_options_is_refused() {
        let code = |parameters: &[(&str, &str)]| match ask(parameters) {
            Err(End::Fatal(error)) => error.code.as_str().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(code(&[("database", "d")]), "28000");
        assert_eq!(code(&[("user", "u"), ("options", "-x")]), "42601");
        assert_eq!(code(&[("user", "u"), ("options", "-c")]), "42601");
        assert_eq!(code(&[("user", "u"), ("replication", "true")]), "0A000");
        assert!(ask(&[("user", "u"), ("replication", "false")]).is_ok());
    }
}
