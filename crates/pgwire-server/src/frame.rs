//! Cutting the byte stream of a client into messages: one byte of type, four of length, the body.
//!
//! What always holds: a frame is cut only when all of it is there; a length beyond the limit of its type is an error
//! before any room is made for it; nothing here panics, whatever the bytes. The body is not looked into: that is
//! `decode`. This module knows neither sockets nor sessions, so that it can be fuzzed alone.

use bytes::{Buf, Bytes, BytesMut};

/// The longest message of those types that have no reason to be long (PostgreSQL's `PQ_SMALL_MESSAGE_LIMIT`).
pub(crate) const SMALL_MESSAGE_BYTES: usize = 10_000;

/// The longest password message (PostgreSQL's `PG_MAX_AUTH_TOKEN_LENGTH`).
pub(crate) const PASSWORD_MESSAGE_BYTES: usize = 65_535;

/// The bytes before a body: type and length.
const HEADER_BYTES: usize = 5;

/// A message as it was cut from the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The message's type byte.
    pub(crate) kind: u8,
    /// Everything after the length.
    pub(crate) body: Bytes,
}

/// What may come now, and how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Only password messages.
    Password,
    /// Queries and everything else of a session; `large` is the longest that statements and data may be.
    Session {
        /// The longest `Query`, `Parse`, `Bind`, `CopyData` and `FunctionCall`, in bytes.
        large: usize,
    },
}

/// Why the stream cannot be cut any further: what follows is no message, so the connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// A type byte that no client sends.
    #[error("invalid frontend message type {0}")]
    UnknownType(u8),
    /// Something else than a password message while one was due.
    #[error("expected password response, got message type {0}")]
    NotAPassword(u8),
    /// A length that cannot be: less than the length's own four bytes, or too long for its type.
    #[error("invalid message length")]
    InvalidLength,
    /// A statement or data message longer than the configuration allows.
    #[error("message of {length} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// What the message claims.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
}

/// The type and the body length of the message `input` begins with; `None` when too little is there to tell.
fn header(input: &[u8], expect: Expect) -> Result<Option<(u8, usize)>, FrameError> {
    let Some(&kind) = input.first() else {
        return Ok(None);
    };
    let limit = match expect {
        Expect::Password if kind == b'p' => PASSWORD_MESSAGE_BYTES,
        Expect::Password => return Err(FrameError::NotAPassword(kind)),
        Expect::Session { large } => match kind {
            b'Q' | b'P' | b'B' | b'F' | b'd' => large,
            b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' => SMALL_MESSAGE_BYTES,
            _ => return Err(FrameError::UnknownType(kind)),
        },
    };
    let Some(length) = input.get(1..HEADER_BYTES) else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(length.try_into().expect("four bytes were taken")) as usize;
    if length < 4 || length > i32::MAX as usize {
        return Err(FrameError::InvalidLength);
    }
    if length > limit {
        return Err(match limit {
            SMALL_MESSAGE_BYTES | PASSWORD_MESSAGE_BYTES => FrameError::InvalidLength,
            limit => FrameError::TooLarge { length, limit },
        });
    }
    Ok(Some((kind, length - 4)))
}

/// Cuts the first message off `input`; `None` when it is not all there yet.
pub(crate) fn next_frame(input: &mut BytesMut, expect: Expect) -> Result<Option<Frame>, FrameError> {
    let Some((kind, body_bytes)) = header(input, expect)? else {
        return Ok(None);
    };
    if input.len() < HEADER_BYTES + body_bytes {
        return Ok(None);
    }
    input.advance(HEADER_BYTES);
    let body = input.split_to(body_bytes).freeze();
    Ok(Some(Frame { kind, body }))
}

/// The length of the message `input` begins with, header included, as far as it can be told.
pub(crate) fn claimed_bytes(input: &[u8], expect: Expect) -> Option<usize> {
    let (_, body_bytes) = header(input, expect).ok()??;
    Some(HEADER_BYTES + body_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SESSION: Expect = Expect::Session { large: 100 };

    #[test]
    fn frames_are_cut_when_they_are_whole() {
        let mut input = BytesMut::from(&b"Q\0\0\0\x08abc"[..]);
        assert_eq!(next_frame(&mut input, SESSION), Ok(None));
        assert_eq!(claimed_bytes(&input, SESSION), Some(9));
        input.extend_from_slice(b"\0S\0\0\0\x04Q");
        let frame = next_frame(&mut input, SESSION).unwrap().unwrap();
        assert_eq!((frame.kind, &frame.body[..]), (b'Q', &b"abc\0"[..]));
        let frame = next_frame(&mut input, SESSION).unwrap().unwrap();
        assert_eq!((frame.kind, &frame.body[..]), (b'S', &b""[..]));
        assert_eq!(next_frame(&mut input, SESSION), Ok(None));
        assert_eq!(&input[..], b"Q");
    }

    #[test]
    fn bad_lengths_and_types_are_refused_before_the_body_arrives() {
        let check = |bytes: &[u8], expect| next_frame(&mut BytesMut::from(bytes), expect).unwrap_err();
        assert_eq!(check(b"Q\0\0\0\x03", SESSION), FrameError::InvalidLength);
        assert_eq!(check(b"Q\xff\xff\xff\xff", SESSION), FrameError::InvalidLength);
        assert_eq!(check(b"Q\0\0\0\x65", SESSION), FrameError::TooLarge { length: 101, limit: 100 });
        assert_eq!(check(b"S\0\0\x30\0", SESSION), FrameError::InvalidLength);
        assert_eq!(check(b"G", SESSION), FrameError::UnknownType(b'G'));
        assert_eq!(check(b"p", SESSION), FrameError::UnknownType(b'p'));
        assert_eq!(check(b"Q", Expect::Password), FrameError::NotAPassword(b'Q'));
    }
}
