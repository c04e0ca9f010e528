//! A socket that sends what it is told and looks at what comes back, however malformed either is.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::workloads::wire::{ServerError, put_text, server_error};

/// How a conversation ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The server closed it.
    Closed,
    /// It is open, and the server has been silent for the whole patience.
    Silent,
}

/// What a server sent in answer.
#[derive(Debug)]
pub(super) struct Heard {
    /// The types of its messages, in order.
    pub(super) kinds: String,
    /// Its errors.
    pub(super) errors: Vec<ServerError>,
    /// What happened after the last message.
    pub(super) end: End,
    /// Bytes that are no message.
    pub(super) rest: Vec<u8>,
}

impl Heard {
    /// The SQLSTATEs of its errors.
    pub(super) fn codes(&self) -> Vec<&str> {
        self.errors.iter().map(|error| error.code.as_str()).collect()
    }
}

/// One socket.
pub(super) struct Raw {
    stream: TcpStream,
}

impl Raw {
    pub(super) fn connect(address: SocketAddr) -> anyhow::Result<Raw> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).context("the port is closed")?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(Raw { stream })
    }

    /// Connects and goes through the startup as the superuser of a Wharf.
    pub(super) fn enter(address: SocketAddr) -> anyhow::Result<Raw> {
        let mut raw = Raw::connect(address)?;
        raw.send(&startup_packet());
        let heard = raw.listen_until(Duration::from_secs(10), |kind| kind == b'Z');
        anyhow::ensure!(heard.kinds.ends_with('Z'), "not let in: {heard:?}");
        Ok(raw)
    }

    /// Sends; that the server has closed already is no failure.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Whether the server still takes bytes: `false` when it has closed or resets the connection.
    pub(super) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Says that nothing more will be sent.
    pub(super) fn end_of_input(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Listens until the server closes or is silent for so long.
    pub(super) fn listen(&mut self, patience: Duration) -> Heard {
        self.listen_until(patience, |_| false)
    }

    /// Listens until a message of a certain type, too.
    pub(super) fn listen_until(&mut self, patience: Duration, last: impl Fn(u8) -> bool) -> Heard {
        let mut heard = Heard { kinds: String::new(), errors: Vec::new(), end: End::Silent, rest: Vec::new() };
        let deadline = Instant::now() + patience;
        let mut chunk = [0; 16 * 1024];
        loop {
            while let Some((kind, body)) = next_message(&heard.rest) {
                heard.kinds.push(char::from(kind));
                if kind == b'E' {
                    heard.errors.push(server_error(&heard.rest[body.clone()]));
                }
                heard.rest.drain(..body.end);
                if last(kind) {
                    return heard;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                return heard;
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    heard.end = End::Closed;
                    return heard;
                }
                Ok(count) => heard.rest.extend(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return heard;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A reset closes it, too.
                Err(_) => {
                    heard.end = End::Closed;
                    return heard;
                }
            }
        }
    }
}

fn next_message(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let kind = *bytes.first()?;
    let length = usize::try_from(u32::from_be_bytes(bytes.get(1..5)?.try_into().ok()?)).ok()?;
    let end = 1 + length;
    (length >= 4 && kind.is_ascii_alphanumeric() && bytes.len() >= end).then_some((kind, 5..end))
}

/// A startup packet of protocol 3.0 for a fresh Wharf.
pub(super) fn startup_packet() -> Vec<u8> {
    let mut body = 196_608u32.to_be_bytes().to_vec();
    for text in ["user", "wharf", "database", "wharf"] {
        put_text(&mut body, text);
    }
    body.push(0);
    framed(&body)
}

/// A body with its length in front, as a startup packet has it.
pub(super) fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("packets of this test are small");
    let mut packet = length.to_be_bytes().to_vec();
    packet.extend(body);
    packet
}
