//! What the body of a client's message says.
//!
//! What always holds: decoding never panics and never makes more room than the body itself takes, whatever counts the
//! body claims; a body that is too short or too long for its message is an error, and since the frame was cut by its
//! length the connection can go on after it. Values are slices of the body: nothing is copied. This module knows neither
//! sockets nor sessions, so that it can be fuzzed alone.

/// A client's message. Names are empty for the unnamed statement and portal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// A simple query.
    Query(&'a str),
    /// Prepare a statement.
    Parse {
        /// The statement's name.
        name: &'a str,
        /// Its text.
        sql: &'a str,
        /// The types of its parameters as far as the client says; 0 leaves one open.
        parameter_oids: Vec<u32>,
    },
    /// Make a portal of a statement and values.
    Bind(Bind<'a>),
    /// Ask what a statement or a portal takes and gives.
    Describe(Target<'a>),
    /// Run a portal for at most `max_rows` rows; 0 or less is without a limit.
    Execute {
        /// The portal's name.
        portal: &'a str,
        /// The limit.
        max_rows: i32,
    },
    /// Forget a statement or a portal.
    Close(Target<'a>),
    /// Send what has been answered so far.
    Flush,
    /// The end of a pipeline.
    Sync,
    /// A call of a function by its oid.
    FunctionCall,
    /// A piece of the data of a COPY.
    CopyData(&'a [u8]),
    /// The end of the data.
    CopyDone,
    /// The client gives a COPY up and says why.
    CopyFail(&'a str),
    /// The client leaves.
    Terminate,
}

/// The body of a `Bind` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bind<'a> {
    /// The portal to make.
    pub(crate) portal: &'a str,
    /// The statement to make it from.
    pub(crate) statement: &'a str,
    /// The formats of the parameters: none, one for all, or one each.
    pub(crate) parameter_formats: Vec<i16>,
    /// The values; `None` is NULL.
    pub(crate) parameters: Vec<Option<&'a [u8]>>,
    /// The formats of the result's columns: none, one for all, or one each.
    pub(crate) result_formats: Vec<i16>,
}

/// What a `Describe` or `Close` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// A prepared statement.
    Statement(&'a str),
    /// A portal.
    Portal(&'a str),
}

/// Why a body could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The body ends before its message does.
    #[error("insufficient data left in message")]
    Truncated,
    /// A string without its terminating zero byte.
    #[error("invalid string in message")]
    Unterminated,
    /// Bytes are left after the message.
    #[error("invalid message format")]
    Trailing,
    /// A string that is not UTF-8; the bytes are those PostgreSQL shows.
    #[error("invalid byte sequence for encoding \"UTF8\": {}", hex(.0))]
    Encoding(Vec<u8>),
    /// `Describe` or `Close` of something that is neither a statement nor a portal.
    #[error("invalid {message} message subtype {subtype}")]
    Subtype {
        /// `DESCRIBE` or `CLOSE`.
        message: &'static str,
        /// The byte that was sent.
        subtype: u8,
    },
    /// A type byte no client sends. Frames with such a type are not cut in the first place.
    #[error("invalid frontend message type {0}")]
    UnknownType(u8),
}

/// `0xe2 0x28`, as PostgreSQL prints bytes it cannot read.
fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().map(|byte| format!("0x{byte:02x}")).collect();
    shown.join(" ")
}

/// Reads text, or says which bytes are not UTF-8.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|error| {
        // PostgreSQL shows as many bytes as the character's first byte announces, as far as they are there.
        let rest = &bytes[error.valid_up_to()..];
        let announced = match rest.first() {
            Some(0xf0..=0xf7) => 4,
            Some(0xe0..=0xef) => 3,
            Some(0xc0..=0xdf) => 2,
            _ => 1,
        };
        DecodeError::Encoding(rest[..announced.min(rest.len())].to_vec())
    })
}

/// Decodes the body of a message of type `kind`.
pub(crate) fn decode(kind: u8, body: &[u8]) -> Result<Message<'_>, DecodeError> {
    let mut reader = Reader { rest: body };
    let message = match kind {
        b'Q' => Message::Query(reader.string()?),
        b'P' => parse(&mut reader)?,
        b'B' => Message::Bind(bind(&mut reader)?),
        b'D' => Message::Describe(target(&mut reader, "DESCRIBE")?),
        b'C' => Message::Close(target(&mut reader, "CLOSE")?),
        b'E' => Message::Execute { portal: reader.string()?, max_rows: reader.u32()? as i32 },
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'd' => return Ok(Message::CopyData(body)),
        b'c' => Message::CopyDone,
        b'f' => Message::CopyFail(reader.string()?),
        b'X' => return Ok(Message::Terminate),
        // Its arguments are not read, since the call is refused whatever they are.
        b'F' => return Ok(Message::FunctionCall),
        kind => return Err(DecodeError::UnknownType(kind)),
    };
    if reader.rest.is_empty() { Ok(message) } else { Err(DecodeError::Trailing) }
}

/// Decodes the body of the first password message of SASL: the mechanism the client chose, and its first message.
pub(crate) fn sasl_initial_response(body: &[u8]) -> Result<(&str, &[u8]), DecodeError> {
    let mut reader = Reader { rest: body };
    let mechanism = reader.string()?;
    let length = reader.u32()?;
    let message = reader.bytes(length as usize)?;
    if reader.rest.is_empty() { Ok((mechanism, message)) } else { Err(DecodeError::Trailing) }
}

fn parse<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>, DecodeError> {
    let name = reader.string()?;
    let sql = reader.string()?;
    let count = reader.u16()?;
    let parameter_oids = reader.array(count, 4, Reader::u32)?;
    Ok(Message::Parse { name, sql, parameter_oids })
}

fn bind<'a>(reader: &mut Reader<'a>) -> Result<Bind<'a>, DecodeError> {
    let portal = reader.string()?;
    let statement = reader.string()?;
    let count = reader.u16()?;
    let parameter_formats = reader.array(count, 2, Reader::i16)?;
    let count = reader.u16()?;
    let parameters = reader.array(count, 4, Reader::value)?;
    let count = reader.u16()?;
    let result_formats = reader.array(count, 2, Reader::i16)?;
    Ok(Bind { portal, statement, parameter_formats, parameters, result_formats })
}

fn target<'a>(reader: &mut Reader<'a>, message: &'static str) -> Result<Target<'a>, DecodeError> {
    let subtype = reader.u8()?;
    let name = reader.string()?;
    match subtype {
        b'S' => Ok(Target::Statement(name)),
        b'P' => Ok(Target::Portal(name)),
        subtype => Err(DecodeError::Subtype { message, subtype }),
    }
}

/// What is left of a body.
pub(crate) struct Reader<'a> {
    /// The bytes not read yet.
    pub(crate) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.bytes(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        let bytes = self.bytes(2)?.try_into().expect("two bytes were taken");
        Ok(u16::from_be_bytes(bytes))
    }

    fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(self.u16()? as i16)
    }

    /// Four bytes, most significant first.
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        let bytes = self.bytes(4)?.try_into().expect("four bytes were taken");
        Ok(u32::from_be_bytes(bytes))
    }

    /// A text up to a zero byte.
    pub(crate) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or(DecodeError::Unterminated)?;
        let text = utf8(&self.rest[..end])?;
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    /// A parameter: its length, -1 for NULL, and that many bytes.
    fn value(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.u32()? {
            u32::MAX => Ok(None),
            length => self.bytes(length as usize).map(Some),
        }
    }

    /// `count` elements of at least `element_bytes` each. The count is checked against what is left before room is made.
    fn array<T>(
        &mut self,
        count: u16,
        element_bytes: usize,
        element: fn(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = usize::from(count);
        if count * element_bytes > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bind_is_read_whole() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x03abc\xff\xff\xff\xff\0\x02\0\0\0\x01";
        let expected = Bind {
            portal: "p",
            statement: "s",
            parameter_formats: vec![1],
            parameters: vec![Some(b"abc"), None],
            result_formats: vec![0, 1],
        };
        assert_eq!(decode(b'B', body), Ok(Message::Bind(expected)));
        for end in 0..body.len() {
            assert!(decode(b'B', &body[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn parse_describe_close_and_execute_are_read() {
        let parse = Message::Parse { name: "", sql: "SELECT $1", parameter_oids: vec![23, 0] };
        assert_eq!(decode(b'P', b"\0SELECT $1\0\0\x02\0\0\0\x17\0\0\0\0"), Ok(parse));
        assert_eq!(decode(b'D', b"Sname\0"), Ok(Message::Describe(Target::Statement("name"))));
        assert_eq!(decode(b'C', b"P\0"), Ok(Message::Close(Target::Portal(""))));
        assert_eq!(decode(b'E', b"c\0\0\0\0\x05"), Ok(Message::Execute { portal: "c", max_rows: 5 }));
    }

    #[test]
    fn broken_bodies_are_errors_in_postgresqls_words() {
        let check = |kind, body: &[u8]| decode(kind, body).unwrap_err().to_string();
        assert_eq!(check(b'Q', b"SELECT 1"), "invalid string in message");
        assert_eq!(check(b'Q', b"SELECT 1\0x"), "invalid message format");
        assert_eq!(check(b'E', b"\0\0\0"), "insufficient data left in message");
        assert_eq!(check(b'B', b"\0\0\0\0\0\x01\x80\0\0\0\0\0"), "insufficient data left in message");
        assert_eq!(check(b'P', b"\0\0\xff\xff"), "insufficient data left in message");
        assert_eq!(check(b'D', b"X\0"), "invalid DESCRIBE message subtype 88");
        assert_eq!(check(b'Q', b"\xe2\x28\xa1\0"), "invalid byte sequence for encoding \"UTF8\": 0xe2 0x28 0xa1");
        assert_eq!(check(b'Q', b"\xff'\0"), "invalid byte sequence for encoding \"UTF8\": 0xff");
    }
}
