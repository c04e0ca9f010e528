//! The packets a connection begins with: they have a length but no type byte.
//!
//! What always holds: a packet is at most 10,000 bytes, as in PostgreSQL; nothing here panics, whatever the bytes. What
//! is done about a packet is not said here but in `startup`. This module knows neither sockets nor sessions, so that it
//! can be fuzzed alone.

use bytes::BytesMut;

use crate::decode::{DecodeError, Reader};

/// The longest packet (PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`).
pub(crate) const MAX_STARTUP_BYTES: usize = 10_000;

/// The longest key of a cancel request in protocol 3.2.
const MAX_CANCEL_KEY_BYTES: usize = 256;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_ENCRYPTION_REQUEST: u32 = 80_877_104;

/// The first packets of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartupPacket {
    /// Would the server go on under TLS?
    TlsRequest,
    /// Would the server go on under GSSAPI encryption?
    GssEncryptionRequest,
    /// Stop what the named session runs.
    Cancel {
        /// The process id the session was told.
        process: i32,
        /// The secret the session was told.
        key: Vec<u8>,
    },
    /// A session begins.
    Startup {
        /// The protocol the client asks for.
        version: ProtocolVersion,
        /// Names and values, in the order they came.
        parameters: Vec<(String, String)>,
    },
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProtocolVersion {
    /// 3 for every version in use.
    pub(crate) major: u16,
    /// 0 or 2.
    pub(crate) minor: u16,
}

impl ProtocolVersion {
    /// Protocol 3.0, that of PostgreSQL 7.4 to 17.
    pub(crate) const V3_0: ProtocolVersion = ProtocolVersion { major: 3, minor: 0 };
    /// Protocol 3.2, which came with PostgreSQL 18.
    pub(crate) const V3_2: ProtocolVersion = ProtocolVersion { major: 3, minor: 2 };

    /// The version as one number, as it goes over the wire.
    pub(crate) fn number(self) -> u32 {
        (u32::from(self.major) << 16) | u32::from(self.minor)
    }
}

/// Why a connection's first bytes are no packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StartupError {
    /// The length is less than a version takes, or more than 10,000.
    #[error("invalid length of startup packet")]
    InvalidLength,
    /// The parameters do not end where the packet ends.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    InvalidLayout,
    /// A name or a value is not UTF-8.
    #[error("{0}")]
    Encoding(DecodeError),
    /// A cancel request without a process and a key.
    #[error("invalid length of cancel request packet")]
    InvalidCancel,
    /// A protocol that is none of ours.
    #[error("unsupported frontend protocol {}.{}: server supports 3.0 to 3.2", .0.major, .0.minor)]
    UnsupportedProtocol(ProtocolVersion),
}

/// Cuts the first packet off `input`; `None` when it is not all there yet.
pub(crate) fn next_packet(input: &mut BytesMut) -> Result<Option<StartupPacket>, StartupError> {
    let Some(length) = input.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if !(8..=MAX_STARTUP_BYTES).contains(&length) {
        return Err(StartupError::InvalidLength);
    }
    if input.len() < length {
        return Ok(None);
    }
    let packet = input.split_to(length);
    decode(&packet[4..]).map(Some)
}

fn decode(packet: &[u8]) -> Result<StartupPacket, StartupError> {
    let mut reader = Reader { rest: packet };
    let code = reader.u32().map_err(|_| StartupError::InvalidLength)?;
    match code {
        SSL_REQUEST => Ok(StartupPacket::TlsRequest),
        GSS_ENCRYPTION_REQUEST => Ok(StartupPacket::GssEncryptionRequest),
        CANCEL_REQUEST => {
            let process = reader.u32().map_err(|_| StartupError::InvalidCancel)? as i32;
            if reader.rest.is_empty() || reader.rest.len() > MAX_CANCEL_KEY_BYTES {
                return Err(StartupError::InvalidCancel);
            }
            Ok(StartupPacket::Cancel { process, key: reader.rest.to_vec() })
        }
        code => {
            let version = ProtocolVersion { major: (code >> 16) as u16, minor: code as u16 };
            if version.major != 3 {
                return Err(StartupError::UnsupportedProtocol(version));
            }
            Ok(StartupPacket::Startup { version, parameters: parameters(reader)? })
        }
    }
}

/// Names and values up to an empty name, which is the packet's last byte.
fn parameters(mut reader: Reader<'_>) -> Result<Vec<(String, String)>, StartupError> {
    let layout = |error| match error {
        error @ DecodeError::Encoding(_) => StartupError::Encoding(error),
        _ => StartupError::InvalidLayout,
    };
    let mut parameters = Vec::new();
    loop {
        let name = reader.string().map_err(layout)?;
        if name.is_empty() {
            break;
        }
        let value = reader.string().map_err(layout)?;
        parameters.push((name.to_owned(), value.to_owned()));
    }
    if reader.rest.is_empty() { Ok(parameters) } else { Err(StartupError::InvalidLayout) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn packet(code: u32, rest: &[u8]) -> Vec<u8> {
        let mut bytes = (8 + rest.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&code.to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Option<StartupPacket>, StartupError> {
        next_packet(&mut BytesMut::from(bytes))
    }

    #[test]
    fn a_startup_packet_is_read_when_it_is_whole() {
        let bytes = packet(ProtocolVersion::V3_0.number(), b"user\0ann\0database\0\0\0");
        let parameters = vec![("user".to_owned(), "ann".to_owned()), ("database".to_owned(), String::new())];
        let expected = StartupPacket::Startup { version: ProtocolVersion::V3_0, parameters };
        assert_eq!(read(&bytes), Ok(Some(expected)));
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), Ok(None), "cut at {end}");
        }
    }

    #[test]
    fn requests_are_told_apart() {
        assert_eq!(read(&packet(SSL_REQUEST, b"")), Ok(Some(StartupPacket::TlsRequest)));
        assert_eq!(read(&packet(GSS_ENCRYPTION_REQUEST, b"")), Ok(Some(StartupPacket::GssEncryptionRequest)));
        let cancel = StartupPacket::Cancel { process: 7, key: b"abcd".to_vec() };
        assert_eq!(read(&packet(CANCEL_REQUEST, b"\0\0\0\x07abcd")), Ok(Some(cancel)));
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), Err(StartupError::InvalidLength));
        assert_eq!(read(b"\0\0\0\x04"), Err(StartupError::InvalidLength));
        assert_eq!(read(b"\0\0\x27\x11"), Err(StartupError::InvalidLength));
        assert_eq!(read(&packet(CANCEL_REQUEST, b"\0\0\0\x07")), Err(StartupError::InvalidCancel));
        assert_eq!(read(&packet(3 << 16, b"user\0ann\0")), Err(StartupError::InvalidLayout));
        assert_eq!(read(&packet(3 << 16, b"\0\0")), Err(StartupError::InvalidLayout));
        let version = ProtocolVersion { major: 2, minor: 0 };
        assert_eq!(read(&packet(2 << 16, b"")), Err(StartupError::UnsupportedProtocol(version)));
        assert!(matches!(read(&packet(3 << 16, b"user\0\xff\0\0")), Err(StartupError::Encoding(_))));
    }
}
