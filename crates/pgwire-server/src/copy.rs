//! COPY: the client's data on their way to the engine, and the engine's to the client.
//!
//! What always holds: when a COPY fails, what the client still sends of it is passed over without being kept; a client
//! gets one row per message, since many rely on it although the manual says they should not. What the bytes mean, the
//! engine knows; here only the ends of rows are looked for.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use wharf_values::{SqlError, SqlState};

use crate::backend::{Backend, CopyIn, CopyOut, Session};
use crate::decode::{Message, decode};
use crate::encode::messages;
use crate::error::{End, Failure, protocol_violation};
use crate::frame::Frame;
use crate::limits::{COPY_GATHER_BYTES, COPY_READ_BYTES, FLUSH_BYTES};
use crate::protocol::{Connection, watched};

type CopyInOf<B> = <<B as Backend>::Session as Session>::CopyIn;

/// Messages of at least this size go to the engine as they are, without being copied together.
const LARGE_PIECE_BYTES: usize = 16 * 1024;

impl<B: Backend> Connection<'_, B> {
    /// Takes the client's data up to `CopyDone`; returns the command tag.
    pub(crate) async fn copy_in(&mut self, mut copy: CopyInOf<B>) -> Result<String, Failure> {
        messages::copy_in_response(&mut self.wire.output, copy.binary(), copy.columns());
        self.wire.flush().await?;
        let mut gathered = BytesMut::new();
        let mut complete = false;
        while !copy.has_failed() {
            let frame = match self.wire.buffered_frame()? {
                Some(frame) => frame,
                None => {
                    // Everything that has come is handed on before waiting for more.
                    self.write_copy(&mut copy, gathered.split().freeze()).await?;
                    self.copy_frame(&mut copy).await?
                }
            };
            match frame.kind {
                b'd' if gathered.is_empty() && frame.body.len() >= LARGE_PIECE_BYTES => {
                    self.write_copy(&mut copy, frame.body).await?;
                }
                b'd' => {
                    if gathered.is_empty() {
                        gathered.reserve(COPY_GATHER_BYTES);
                    }
                    gathered.extend_from_slice(&frame.body);
                    if gathered.len() >= COPY_GATHER_BYTES {
                        self.write_copy(&mut copy, gathered.split().freeze()).await?;
                    }
                }
                b'c' => {
                    complete = true;
                    break;
                }
                b'f' => {
                    self.write_copy(&mut copy, gathered.freeze()).await?;
                    return Err(Failure::Sql(copy.give_up(client_gave_up(&frame)?).await));
                }
                // Clients that use the extended protocol may have sent these before they knew of the COPY.
                b'H' | b'S' => {}
                b'X' => return Err(Failure::End(End::Terminated)),
                kind => {
                    let reason = format!("unexpected message type 0x{kind:02X} during COPY from stdin");
                    self.write_copy(&mut copy, gathered.freeze()).await?;
                    let error = copy.give_up(protocol_violation(reason)).await;
                    messages::error_response(&mut self.wire.output, "ERROR", &error);
                    return Err(Failure::End(End::from(protocol_violation(
                        "terminating connection because protocol synchronization was lost",
                    ))));
                }
            }
        }
        self.write_copy(&mut copy, gathered.freeze()).await?;
        let tag = watched(self.wire, &self.cancel, Box::pin(self.session.finish_copy(copy))).await?;
        if !complete {
            return Err(Failure::Sql(SqlError::internal("a COPY failed and does not say why")));
        }
        self.send_notices();
        Ok(tag)
    }

    /// Hands data to the engine.
    async fn write_copy(&mut self, copy: &mut CopyInOf<B>, bytes: Bytes) -> Result<(), Failure> {
        if bytes.is_empty() {
            return Ok(());
        }
        watched(self.wire, &self.cancel, Box::pin(copy.write(bytes))).await
    }

    /// Waits for the client's next message, unless the COPY is cancelled meanwhile.
    async fn copy_frame(&mut self, copy: &mut CopyInOf<B>) -> Result<Frame, Failure> {
        let token = self.session.cancel_token();
        self.wire.set_read_bytes(COPY_READ_BYTES);
        tokio::select! {
            biased;
            frame = self.wire.frame() => return Ok(frame?),
            () = token.cancelled() => {}
        }
        // The engine knows why better than the token does.
        copy.write(Bytes::new()).await?;
        Err(Failure::Sql(SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")))
    }

    /// Sends the engine's data; returns the command tag.
    pub(crate) async fn copy_out(&mut self, mut copy: CopyOut) -> Result<String, Failure> {
        messages::copy_out_response(&mut self.wire.output, copy.binary, copy.columns);
        let _sending = self.cancel.sending(self.session.cancel_token());
        let mut splitter = RowSplitter::new(copy.binary);
        let mut total = 0;
        loop {
            let chunks = &mut copy.chunks;
            let next = Box::pin(async { chunks.next().await.transpose() });
            let Some((bytes, rows)) = watched(self.wire, &self.cancel, next).await? else {
                break;
            };
            total += rows;
            let bytes = splitter.push(bytes, rows);
            let mut start = 0;
            for end in &splitter.ends {
                messages::copy_data(&mut self.wire.output, &bytes[start..*end]);
                start = *end;
                if self.wire.output.len() >= FLUSH_BYTES {
                    self.wire.flush().await?;
                }
            }
        }
        if let Some(rest) = splitter.finish() {
            messages::copy_data(&mut self.wire.output, &rest);
        }
        messages::copy_done(&mut self.wire.output);
        Ok(format!("COPY {total}"))
    }
}

/// The error of a COPY the client gave up.
fn client_gave_up(frame: &Frame) -> Result<SqlError, Failure> {
    match decode(frame.kind, &frame.body)? {
        Message::CopyFail(reason) => {
            Ok(SqlError::new(SqlState::QUERY_CANCELED, format!("COPY from stdin failed: {reason}")))
        }
        _ => Err(Failure::Sql(SqlError::internal("a CopyFail message was read as another"))),
    }
}

/// Finds the ends of rows in chunks of several.
struct RowSplitter {
    binary: bool,
    /// The header of the binary format, which goes with the first row.
    header: Bytes,
    /// Nothing has come yet.
    first: bool,
    /// The ends of the rows of the last chunk; the last one is the chunk's.
    ends: Vec<usize>,
}

/// The binary format: signature, flags, and the length of a header extension, which is empty.
const BINARY_HEADER_BYTES: usize = 19;

impl RowSplitter {
    fn new(binary: bool) -> Self {
        RowSplitter { binary, header: Bytes::new(), first: true, ends: Vec::new() }
    }

    /// Takes a chunk of `rows` rows and finds their ends. The bytes to send are those returned.
    fn push(&mut self, bytes: Bytes, rows: u64) -> Bytes {
        self.ends.clear();
        let first = std::mem::replace(&mut self.first, false);
        if self.binary {
            if first && bytes.len() <= BINARY_HEADER_BYTES {
                self.header = bytes;
                return Bytes::new();
            }
            let header = std::mem::take(&mut self.header);
            let bytes = if header.is_empty() { bytes } else { Bytes::from([header, bytes].concat()) };
            let with_header = first || bytes.starts_with(b"PGCOPY\n\xff\r\n\0");
            binary_ends(&bytes, if with_header { BINARY_HEADER_BYTES } else { 0 }, &mut self.ends);
            return self.close(bytes);
        }
        // Without rows it is the line of column names, which is one message.
        self.ends.extend(memchr::memchr_iter(b'\n', &bytes).map(|newline| newline + 1));
        let fits = |ends: &[usize]| ends.len() as u64 == rows;
        if !fits(&self.ends) {
            // Newlines within quotes are no ends of rows.
            self.ends.clear();
            quoted_ends(&bytes, &mut self.ends);
            if !fits(&self.ends) {
                self.ends.clear();
            }
        }
        self.close(bytes)
    }

    /// What was held back.
    fn finish(&mut self) -> Option<Bytes> {
        Some(std::mem::take(&mut self.header)).filter(|header| !header.is_empty())
    }

    /// Sees that all bytes are sent, whatever was found.
    fn close(&mut self, bytes: Bytes) -> Bytes {
        if !bytes.is_empty() && self.ends.last() != Some(&bytes.len()) {
            self.ends.push(bytes.len());
        }
        bytes
    }
}

/// The ends of rows of CSV with `"` as the quote, whatever the escape: a quote within quotes is doubled or escaped by a
/// character before it, and only the first leaves the count of quotes even.
fn quoted_ends(bytes: &[u8], ends: &mut Vec<usize>) {
    let mut quoted = false;
    for at in memchr::memchr2_iter(b'\n', b'"', bytes) {
        match bytes[at] {
            b'"' => quoted = !quoted,
            _ if !quoted => ends.push(at + 1),
            _ => {}
        }
    }
}

/// The ends of rows of the binary format: a count of fields, and for each a length and that many bytes; -1 fields end
/// the data.
fn binary_ends(bytes: &[u8], header: usize, ends: &mut Vec<usize>) {
    let mut at = header.min(bytes.len());
    'rows: while let Some(fields) = bytes[at..].first_chunk::<2>() {
        let mut end = at + 2;
        for _ in 0..i16::from_be_bytes(*fields).max(0) {
            let Some(length) = bytes[end..].first_chunk::<4>() else {
                break 'rows;
            };
            let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
            end += 4 + length;
            if end > bytes.len() {
                break 'rows;
            }
        }
        ends.push(end);
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts chunks into rows.
    fn split(binary: bool, chunks: &[(&[u8], u64)]) -> Vec<Vec<u8>> {
        let mut splitter = RowSplitter::new(binary);
        let mut pieces = Vec::new();
        for (bytes, rows) in chunks {
            let bytes = splitter.push(Bytes::copy_from_slice(bytes), *rows);
            let mut start = 0;
            for end in &splitter.ends {
                pieces.push(bytes[start..*end].to_vec());
                start = *end;
            }
            assert_eq!(start, bytes.len());
        }
        pieces.extend(splitter.finish().map(|rest| rest.to_vec()));
        pieces
    }

    #[test]
    fn text_is_cut_at_newlines() {
        assert_eq!(split(false, &[(b"a\tb\nc\td\n", 2), (b"e\tf\n", 1)]), [&b"a\tb\n"[..], b"c\td\n", b"e\tf\n"]);
        assert_eq!(split(false, &[(b"head\n", 0), (b"a\n", 1), (b"", 0)]), [&b"head\n"[..], b"a\n"]);
    }

    #[test]
    fn newlines_within_quotes_do_not_cut() {
        let rows: [&[u8]; 3] = [b"1,\"a\nb\"\n", b"2,\"c\"\"\nd\"\n", b"3,e\n"];
        assert_eq!(split(false, &[(&rows.concat(), 3)]), rows);
        // With other quotes the ends cannot be told: better one long message than a cut row.
        assert_eq!(split(false, &[(b"1,'a\nb'\n2,c\n", 2)]), [b"1,'a\nb'\n2,c\n"]);
    }

    #[test]
    fn binary_rows_are_cut_and_the_header_goes_with_the_first() {
        let header: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
        let first: &[u8] = b"\0\x02\0\0\0\x01x\xff\xff\xff\xff";
        let second: &[u8] = b"\0\x01\0\0\0\0";
        let trailer: &[u8] = b"\xff\xff";
        let with_header = [header, first].concat();
        let expected = [with_header.as_slice(), second, trailer];
        assert_eq!(split(true, &[(&[header, first, second, trailer].concat(), 2)]), expected);
        assert_eq!(split(true, &[(header, 0), (&[first, second].concat(), 2), (trailer, 0)]), expected);
        assert_eq!(split(true, &[(header, 0), (trailer, 0)]), [[header, trailer].concat()]);
        assert_eq!(split(true, &[(header, 0)]), [header]);
        // A chunk that is no whole rows is passed on as it is.
        assert_eq!(split(true, &[(header, 0), (b"\0\x01\0\0\0\x09x", 1)]), [[header, b"\0\x01\0\0\0\x09x"].concat()]);
    }
}
