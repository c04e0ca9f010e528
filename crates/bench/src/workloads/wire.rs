//! The smallest PostgreSQL client that can measure a server: blocking, without a runtime, and it does not look at values.
//!
//! Both servers of a comparison are driven by this same client, on the same cores, so what it costs hits both alike; that it
//! costs little leaves more of the measured time to the server. It authenticates by trust only and speaks no TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};

/// No answer takes longer than this; a silent server is an error.
const ANSWER_LIMIT: Duration = Duration::from_secs(900);
const READ_BYTES: usize = 256 * 1024;
const COPY_CHUNK_BYTES: usize = 64 * 1024;

/// Where a server is, and as whom to enter.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// The socket.
    pub(crate) socket: SocketAddr,
    /// The role.
    pub(crate) user: String,
    /// The database.
    pub(crate) database: String,
}

impl Address {
    /// Reads `postgres://user@host:port/database`.
    pub(crate) fn parse(url: &str) -> anyhow::Result<Address> {
        let config: tokio_postgres::Config =
            url.parse().with_context(|| format!("{url:?} is no address of a server"))?;
        let Some(tokio_postgres::config::Host::Tcp(host)) = config.get_hosts().first() else {
            bail!("{url:?} names no host");
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let socket = (host.as_str(), port).to_socket_addrs().with_context(|| format!("{host} is no host"))?.next();
        let user = config.get_user().with_context(|| format!("{url:?} names no user"))?.to_owned();
        let database = config.get_dbname().map_or_else(|| user.clone(), str::to_owned);
        Ok(Address { socket: socket.with_context(|| format!("{host} has no address"))?, user, database })
    }
}

/// What an answer amounted to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Rows, or lines of a COPY.
    pub(crate) rows: u64,
    /// Bytes of their messages, without the five of each header.
    pub(crate) bytes: u64,
    /// The last command tag.
    pub(crate) tag: String,
}

/// A row as text; `None` is NULL.
pub(crate) type TextRow = Vec<Option<String>>;

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    /// Bytes read and not yet taken: `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// An error that the server reported.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{code}: {message}")]
pub(crate) struct ServerError {
    /// The SQLSTATE.
    pub(crate) code: String,
    /// The primary message.
    pub(crate) message: String,
    /// Detail, hint and context, as far as there are any.
    pub(crate) more: String,
}

impl Wire {
    /// Connects and waits until the server is ready for a query.
    pub(crate) fn connect(address: &Address) -> anyhow::Result<Wire> {
        let stream = TcpStream::connect_timeout(&address.socket, Duration::from_secs(10))
            .with_context(|| format!("cannot connect to {}", address.socket))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        let mut wire = Wire { stream, buffer: vec![0; READ_BYTES], start: 0, end: 0 };
        let mut body = 196_608u32.to_be_bytes().to_vec();
        for text in ["user", &address.user, "database", &address.database] {
            put_text(&mut body, text);
        }
        body.push(0);
        let mut startup = u32::try_from(body.len() + 4)?.to_be_bytes().to_vec();
        startup.extend(body);
        wire.stream.write_all(&startup)?;
        wire.until_ready(|kind, body| match (kind, body.get(..4)) {
            (b'R', Some([0, 0, 0, 0])) => Ok(()),
            (b'R', _) => bail!("the server wants a password; this client enters by trust only"),
            _ => Ok(()),
        })?;
        Ok(wire)
    }

    /// Runs a simple query and counts what comes back, several statements together.
    pub(crate) fn simple(&mut self, sql: &str) -> anyhow::Result<Answer> {
        self.send(b'Q', |body| put_text(body, sql))?;
        self.count().with_context(|| abbreviated(sql))
    }

    /// Runs a simple query and keeps its rows, and the names of its columns.
    pub(crate) fn rows(&mut self, sql: &str) -> anyhow::Result<(Vec<String>, Vec<TextRow>)> {
        self.send(b'Q', |body| put_text(body, sql))?;
        let mut names = Vec::new();
        let mut rows = Vec::new();
        self.until_ready(|kind, body| {
            match kind {
                b'T' => names = column_names(body)?,
                b'D' => rows.push(text_row(body)?),
                _ => {}
            }
            Ok(())
        })
        .with_context(|| abbreviated(sql))?;
        Ok((names, rows))
    }

    /// Runs a query by the extended protocol, unnamed, with results in the binary format or as text.
    pub(crate) fn extended(&mut self, sql: &str, binary: bool) -> anyhow::Result<Answer> {
        let mut out = Vec::new();
        parse_message(&mut out, "", sql);
        bind_execute_sync(&mut out, "", binary);
        self.stream.write_all(&out)?;
        self.count().with_context(|| abbreviated(sql))
    }

    /// Prepares a named statement without parameters.
    pub(crate) fn prepare(&mut self, name: &str, sql: &str) -> anyhow::Result<()> {
        let mut out = Vec::new();
        parse_message(&mut out, name, sql);
        message(&mut out, b'S', |_| {});
        self.stream.write_all(&out)?;
        self.until_ready(|_, _| Ok(()))
    }

    /// The bytes that run a prepared statement once, to be given to [`Wire::exchange`].
    pub(crate) fn execution(name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        bind_execute_sync(&mut out, name, true);
        out
    }

    /// Sends messages that were made before, and counts the rows of the answer.
    pub(crate) fn exchange(&mut self, messages: &[u8]) -> anyhow::Result<u64> {
        self.stream.write_all(messages)?;
        let mut rows = 0;
        self.until_ready(|kind, _| {
            rows += u64::from(kind == b'D');
            Ok(())
        })?;
        Ok(rows)
    }

    /// Runs `COPY .. FROM STDIN` with what `source` holds.
    pub(crate) fn copy_in(&mut self, sql: &str, mut source: impl Read) -> anyhow::Result<Answer> {
        self.send(b'Q', |body| put_text(body, sql))?;
        loop {
            let (kind, body) = self.next()?;
            match kind {
                b'G' => break,
                b'E' => {
                    let error = server_error(self.body(body));
                    self.until_ready(|_, _| Ok(()))?;
                    return Err(error).with_context(|| abbreviated(sql));
                }
                _ => {}
            }
        }
        let mut chunk = vec![0; 5 + COPY_CHUNK_BYTES];
        loop {
            let length = source.read(&mut chunk[5..])?;
            if length == 0 {
                break;
            }
            chunk[0] = b'd';
            chunk[1..5].copy_from_slice(&u32::try_from(length + 4)?.to_be_bytes());
            self.stream.write_all(&chunk[..5 + length])?;
        }
        self.send(b'c', |_| {})?;
        self.count().with_context(|| abbreviated(sql))
    }

    fn count(&mut self) -> anyhow::Result<Answer> {
        let mut answer = Answer::default();
        self.until_ready(|kind, body| {
            match kind {
                b'D' | b'd' => {
                    answer.rows += 1;
                    answer.bytes += body.len() as u64;
                }
                b'C' => answer.tag = String::from_utf8_lossy(body.strip_suffix(&[0]).unwrap_or(body)).into_owned(),
                _ => {}
            }
            Ok(())
        })?;
        Ok(answer)
    }

    fn send(&mut self, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<()> {
        let mut out = Vec::new();
        message(&mut out, kind, fill);
        self.stream.write_all(&out)?;
        Ok(())
    }

    /// Reads to ReadyForQuery. The first error, the server's or `each`'s, is given back after that.
    fn until_ready(&mut self, mut each: impl FnMut(u8, &[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut failed = None;
        loop {
            let (kind, range) = match self.next() {
                Ok(next) => next,
                // A server that refuses a connection says why and closes.
                Err(error) => return Err(failed.unwrap_or(error)),
            };
            let body = self.body(range);
            match kind {
                b'Z' => return failed.map_or(Ok(()), Err),
                b'E' => {
                    let error = server_error(body);
                    failed.get_or_insert(error.into());
                }
                _ => {
                    if let Err(error) = each(kind, body) {
                        failed.get_or_insert(error);
                    }
                }
            }
        }
    }

    fn body(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// The next message: its type, and where its body is in the buffer until the next call.
    fn next(&mut self) -> anyhow::Result<(u8, std::ops::Range<usize>)> {
        self.fill(5)?;
        let kind = self.buffer[self.start];
        let length = u32::from_be_bytes(self.buffer[self.start + 1..self.start + 5].try_into()?);
        let length = usize::try_from(length)?;
        if !(4..=1 << 30).contains(&length) {
            bail!("a message of type {:?} has the length {length}", char::from(kind));
        }
        self.fill(1 + length)?;
        let body = self.start + 5..self.start + 1 + length;
        self.start += 1 + length;
        Ok((kind, body))
    }

    /// Makes sure that `wanted` bytes are there from `start` on.
    fn fill(&mut self, wanted: usize) -> anyhow::Result<()> {
        if self.end - self.start >= wanted {
            return Ok(());
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted.next_power_of_two(), 0);
        }
        while self.end < wanted {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("no answer from the server"),
            }
        }
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.send(b'X', |_| {});
    }
}

/// Appends a message of a type with the body that `fill` writes.
pub(crate) fn message(out: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let begin = out.len();
    out.extend([0; 4]);
    fill(out);
    let length = u32::try_from(out.len() - begin).expect("messages of this program are small");
    out[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends text and its terminating zero.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.as_bytes());
    out.push(0);
}

fn parse_message(out: &mut Vec<u8>, name: &str, sql: &str) {
    message(out, b'P', |body| {
        put_text(body, name);
        put_text(body, sql);
        body.extend([0, 0]);
    });
}

fn bind_execute_sync(out: &mut Vec<u8>, name: &str, binary: bool) {
    message(out, b'B', |body| {
        put_text(body, "");
        put_text(body, name);
        // No parameter formats, no parameters, one format for all results.
        body.extend([0, 0, 0, 0, 0, 1, 0, u8::from(binary)]);
    });
    message(out, b'E', |body| {
        put_text(body, "");
        body.extend([0; 4]);
    });
    message(out, b'S', |_| {});
}

/// Reads the body of an ErrorResponse.
pub(crate) fn server_error(body: &[u8]) -> ServerError {
    let mut error = ServerError { code: String::new(), message: String::new(), more: String::new() };
    for field in body.split(|byte| *byte == 0) {
        let Some((kind, text)) = field.split_first() else {
            continue;
        };
        let text = String::from_utf8_lossy(text);
        match kind {
            b'C' => error.code = text.into_owned(),
            b'M' => error.message = text.into_owned(),
            b'D' | b'H' | b'W' => {
                error.more.push_str(&text);
                error.more.push('\n');
            }
            _ => {}
        }
    }
    error
}

fn column_names(body: &[u8]) -> anyhow::Result<Vec<String>> {
    let malformed = || anyhow::anyhow!("a malformed RowDescription");
    let count = u16::from_be_bytes(body.get(..2).ok_or_else(malformed)?.try_into()?);
    let mut rest = &body[2..];
    let mut names = Vec::new();
    for _ in 0..count {
        let end = rest.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
        names.push(String::from_utf8(rest[..end].to_vec())?);
        rest = rest.get(end + 19..).ok_or_else(malformed)?;
    }
    Ok(names)
}

fn text_row(body: &[u8]) -> anyhow::Result<TextRow> {
    let malformed = || anyhow::anyhow!("a malformed DataRow");
    let count = u16::from_be_bytes(body.get(..2).ok_or_else(malformed)?.try_into()?);
    let mut rest = &body[2..];
    let mut row = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let length = i32::from_be_bytes(rest.get(..4).ok_or_else(malformed)?.try_into()?);
        rest = &rest[4..];
        match usize::try_from(length) {
            Ok(length) => {
                let text = rest.get(..length).ok_or_else(malformed)?;
                row.push(Some(String::from_utf8(text.to_vec()).context("a value is not UTF-8")?));
                rest = &rest[length..];
            }
            Err(_) => row.push(None),
        }
    }
    Ok(row)
}

fn abbreviated(sql: &str) -> String {
    let line = sql.lines().find(|line| !line.trim_start().starts_with("--")).unwrap_or_default();
    line.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_read_with_its_defaults() {
        let address = Address::parse("postgres://wharf@127.0.0.1:5439/wharf").unwrap();
        assert_eq!((address.socket.port(), address.user.as_str(), address.database.as_str()), (5439, "wharf", "wharf"));
        let address = Address::parse("host=127.0.0.1 user=u").unwrap();
        assert_eq!((address.socket.port(), address.database.as_str()), (5432, "u"));
        assert!(Address::parse("postgres:///").is_err());
    }

    #[test]
    fn an_error_response_is_read() {
        let error = server_error(b"SERROR\0VERROR\0C22012\0Mdivision by zero\0Da detail\0\0");
        assert_eq!((error.code.as_str(), error.message.as_str()), ("22012", "division by zero"));
        assert_eq!(error.more, "a detail\n");
    }

    #[test]
    fn a_row_is_read_and_a_cut_one_refused() {
        let body = b"\0\x03\0\0\0\x01a\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(text_row(body).unwrap(), [Some("a".to_owned()), None, Some(String::new())]);
        assert!(text_row(&body[..8]).is_err());
    }

    #[test]
    fn a_message_counts_itself() {
        let mut out = Vec::new();
        message(&mut out, b'Q', |body| put_text(body, "x"));
        assert_eq!(out, [b'Q', 0, 0, 0, 6, b'x', 0]);
    }
}
