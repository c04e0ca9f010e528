//! A client that sends what it is told and shows what comes back, message by message.
//!
//! It speaks through the `pgwire` crate, so that the server is held to another implementation's idea of the protocol.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::{BackendKeyData, Startup};
use pgwire::messages::{DecodeContext, Message, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::dump::dump;

/// How long a test waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Anything that carries bytes both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection.
pub(crate) struct Client {
    address: SocketAddr,
    pub(crate) stream: Box<dyn Stream>,
    buffer: BytesMut,
    context: DecodeContext,
    key: Option<BackendKeyData>,
}

/// The parameters of an ordinary session.
pub(crate) const PARAMETERS: &[(&str, &str)] = &[("user", "postgres"), ("database", "postgres")];

impl Client {
    /// Connects without saying anything.
    pub(crate) async fn open(address: SocketAddr) -> Client {
        Client::over(address, TcpStream::connect(address).await.unwrap())
    }

    /// A client over a stream that is there already.
    pub(crate) fn over(address: SocketAddr, stream: impl Stream + 'static) -> Client {
        let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        Client { address, stream: Box::new(stream), buffer: BytesMut::new(), context, key: None }
    }

    /// Connects and reads up to the first `ReadyForQuery`.
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        let mut client = Client::open(address).await;
        client.start(3, 0, PARAMETERS).await;
        client.until(&["ReadyForQuery"]).await;
        client
    }

    /// Sends a startup packet.
    pub(crate) async fn start(&mut self, major: u16, minor: u16, parameters: &[(&str, &str)]) {
        self.context.protocol_version =
            if minor == 0 { ProtocolVersion::PROTOCOL3_0 } else { ProtocolVersion::PROTOCOL3_2 };
        let mut startup = Startup::new();
        startup.protocol_number_major = major;
        startup.protocol_number_minor = minor;
        for (name, value) in parameters {
            startup.parameters.insert((*name).to_owned(), (*value).to_owned());
        }
        let mut bytes = BytesMut::new();
        startup.encode(&mut bytes).unwrap();
        self.send_raw(&bytes).await;
    }

    /// Sends messages in one write.
    pub(crate) async fn send(&mut self, messages: Vec<PgWireFrontendMessage>) {
        let mut bytes = BytesMut::new();
        for message in messages {
            message.encode(&mut bytes).unwrap();
        }
        self.send_raw(&bytes).await;
    }

    /// Sends bytes as they are.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends a simple query and gives the lines of the answer.
    pub(crate) async fn query(&mut self, sql: &str) -> Vec<String> {
        self.send(vec![PgWireFrontendMessage::Query(pgwire::messages::simplequery::Query::new(sql.to_owned()))]).await;
        self.until(&["ReadyForQuery"]).await
    }

    /// The next message; `None` when the server has closed the connection.
    pub(crate) async fn message(&mut self) -> Option<PgWireBackendMessage> {
        loop {
            if let Some(message) = PgWireBackendMessage::decode(&mut self.buffer, &self.context).unwrap() {
                if let PgWireBackendMessage::BackendKeyData(key) = message {
                    let copy = BackendKeyData::new(key.pid, key.secret_key.clone());
                    self.key = Some(key);
                    return Some(PgWireBackendMessage::BackendKeyData(copy));
                }
                return Some(message);
            }
            let read = self.stream.read_buf(&mut self.buffer);
            let read = tokio::time::timeout(PATIENCE, read).await.expect("the server answers in time");
            // A reset is a way of closing, too.
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Reads until each of the named messages has come, in that order, and gives everything as lines. `closed` stands
    /// for the end of the connection.
    pub(crate) async fn until(&mut self, names: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        for name in names {
            loop {
                match self.message().await {
                    Some(message) => {
                        let line = dump(&message);
                        let kind = line.split(' ').next().unwrap_or_default().to_owned();
                        lines.push(line);
                        if kind == *name {
                            break;
                        }
                    }
                    None => {
                        lines.push("closed".to_owned());
                        assert_eq!(*name, "closed", "the connection was closed after {lines:#?}");
                        break;
                    }
                }
            }
        }
        lines
    }

    /// Asks the server, on another connection, to stop what runs on this one.
    pub(crate) async fn cancel(&self) {
        let key = self.key.as_ref().expect("a session was started");
        let request = CancelRequest::new(key.pid, key.secret_key.clone());
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes).unwrap();
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        // The server answers by closing.
        let _ = stream.read(&mut [0; 16]).await;
    }

    /// The process id and the length of the secret the server told.
    pub(crate) fn key(&self) -> (i32, usize) {
        let key = self.key.as_ref().expect("a session was started");
        (key.pid, key.secret_key.to_bytes().len())
    }
}
