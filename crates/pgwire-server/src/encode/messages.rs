//! Every message but rows: how each looks on the wire.
//!
//! What always holds: a text with a zero byte in it cannot break a message, since the byte is left out.

use wharf_catalog::SqlType;
use wharf_values::SqlError;

use super::Formats;
use crate::backend::{Notice, ResultColumn, TransactionStatus};
use crate::startup_packet::ProtocolVersion;

/// Appends a message: its type, the length of what `body` writes, and that.
pub(crate) fn message(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = i32::try_from(out.len() - start).expect("messages other than rows and data are short");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_i16(out: &mut Vec<u8>, value: i16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    if text.as_bytes().contains(&0) {
        out.extend(text.bytes().filter(|byte| *byte != 0));
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(0);
}

/// How many elements follow. PostgreSQL's limits (1,600 columns, 65,535 parameters) keep it within 16 bits.
fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u16::try_from(count).expect("the engine keeps columns and parameters below 65,536");
    out.extend_from_slice(&count.to_be_bytes());
}

/// `AuthenticationOk`.
pub(crate) fn authentication_ok(out: &mut Vec<u8>) {
    message(out, b'R', |out| put_u32(out, 0));
}

/// `AuthenticationSASL`: the mechanisms the client may choose from.
pub(crate) fn authentication_sasl(out: &mut Vec<u8>, mechanisms: &[&str]) {
    message(out, b'R', |out| {
        put_u32(out, 10);
        mechanisms.iter().for_each(|mechanism| put_string(out, mechanism));
        out.push(0);
    });
}

/// `AuthenticationSASLContinue`: the server's first message.
pub(crate) fn authentication_sasl_continue(out: &mut Vec<u8>, data: &str) {
    message(out, b'R', |out| {
        put_u32(out, 11);
        out.extend_from_slice(data.as_bytes());
    });
}

/// `AuthenticationSASLFinal`: the server's own proof.
pub(crate) fn authentication_sasl_final(out: &mut Vec<u8>, data: &str) {
    message(out, b'R', |out| {
        put_u32(out, 12);
        out.extend_from_slice(data.as_bytes());
    });
}

/// `NegotiateProtocolVersion`: the version that will be spoken, and the options that were not understood.
pub(crate) fn negotiate_protocol_version(out: &mut Vec<u8>, version: ProtocolVersion, unknown_options: &[String]) {
    message(out, b'v', |out| {
        put_u32(out, version.number());
        put_u32(out, unknown_options.len() as u32);
        unknown_options.iter().for_each(|option| put_string(out, option));
    });
}

/// `BackendKeyData`: what a cancel request must name.
pub(crate) fn backend_key_data(out: &mut Vec<u8>, process: i32, key: &[u8]) {
    message(out, b'K', |out| {
        put_i32(out, process);
        out.extend_from_slice(key);
    });
}

/// `ParameterStatus`.
pub(crate) fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    message(out, b'S', |out| {
        put_string(out, name);
        put_string(out, value);
    });
}

/// `ReadyForQuery`.
pub(crate) fn ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    message(out, b'Z', |out| {
        out.push(match status {
            TransactionStatus::Idle => b'I',
            TransactionStatus::Active => b'T',
            TransactionStatus::Failed => b'E',
        });
    });
}

/// `RowDescription`.
pub(crate) fn row_description(out: &mut Vec<u8>, columns: &[ResultColumn], formats: &Formats) {
    message(out, b'T', |out| {
        put_count(out, columns.len());
        for (index, column) in columns.iter().enumerate() {
            put_string(out, &column.name);
            put_u32(out, column.table_oid);
            put_i16(out, column.attribute);
            put_u32(out, column.ty.oid());
            put_i16(out, column.ty.size());
            put_i32(out, column.ty.typmod());
            put_i16(out, formats.of(index).code());
        }
    });
}

/// `ParameterDescription`.
pub(crate) fn parameter_description(out: &mut Vec<u8>, parameters: &[SqlType]) {
    message(out, b't', |out| {
        put_count(out, parameters.len());
        parameters.iter().for_each(|ty| put_u32(out, ty.oid()));
    });
}

/// `CommandComplete` with a tag that is whole.
pub(crate) fn command_complete(out: &mut Vec<u8>, tag: &str) {
    message(out, b'C', |out| put_string(out, tag));
}

/// `CommandComplete` with a number of rows after the tag.
pub(crate) fn command_complete_rows(out: &mut Vec<u8>, tag: &str, rows: u64) {
    message(out, b'C', |out| {
        out.extend_from_slice(tag.as_bytes());
        out.push(b' ');
        out.extend_from_slice(itoa::Buffer::new().format(rows).as_bytes());
        out.push(0);
    });
}

/// A message without a body.
fn bare(out: &mut Vec<u8>, kind: u8) {
    message(out, kind, |_| {});
}

/// `EmptyQueryResponse`.
pub(crate) fn empty_query_response(out: &mut Vec<u8>) {
    bare(out, b'I');
}

/// `ParseComplete`.
pub(crate) fn parse_complete(out: &mut Vec<u8>) {
    bare(out, b'1');
}

/// `BindComplete`.
pub(crate) fn bind_complete(out: &mut Vec<u8>) {
    bare(out, b'2');
}

/// `CloseComplete`.
pub(crate) fn close_complete(out: &mut Vec<u8>) {
    bare(out, b'3');
}

/// `NoData`.
pub(crate) fn no_data(out: &mut Vec<u8>) {
    bare(out, b'n');
}

/// `PortalSuspended`.
pub(crate) fn portal_suspended(out: &mut Vec<u8>) {
    bare(out, b's');
}

/// `CopyDone`.
pub(crate) fn copy_done(out: &mut Vec<u8>) {
    bare(out, b'c');
}

/// `CopyInResponse`.
pub(crate) fn copy_in_response(out: &mut Vec<u8>, binary: bool, columns: usize) {
    copy_response(out, b'G', binary, columns);
}

/// `CopyOutResponse`.
pub(crate) fn copy_out_response(out: &mut Vec<u8>, binary: bool, columns: usize) {
    copy_response(out, b'H', binary, columns);
}

fn copy_response(out: &mut Vec<u8>, kind: u8, binary: bool, columns: usize) {
    message(out, kind, |out| {
        out.push(u8::from(binary));
        put_count(out, columns);
        (0..columns).for_each(|_| put_i16(out, i16::from(binary)));
    });
}

/// `CopyData`; several of them for data no message could hold.
pub(crate) fn copy_data(out: &mut Vec<u8>, data: &[u8]) {
    const MAX_BYTES: usize = 1 << 30;
    for piece in data.chunks(MAX_BYTES) {
        message(out, b'd', |out| out.extend_from_slice(piece));
    }
}

/// `ErrorResponse`; `severity` is `ERROR` or `FATAL`.
pub(crate) fn error_response(out: &mut Vec<u8>, severity: &str, error: &SqlError) {
    message(out, b'E', |out| fields(out, severity, error));
}

/// `NoticeResponse`.
pub(crate) fn notice_response(out: &mut Vec<u8>, notice: &Notice) {
    message(out, b'N', |out| fields(out, notice.severity, &notice.error));
}

/// The fields of errors and notices, in PostgreSQL's order. The severity comes twice: in the client's language (we
/// speak none but English) and as programs may rely on it.
fn fields(out: &mut Vec<u8>, severity: &str, error: &SqlError) {
    let mut field = |kind: u8, text: Option<&str>| {
        if let Some(text) = text {
            out.push(kind);
            put_string(out, text);
        }
    };
    field(b'S', Some(severity));
    field(b'V', Some(severity));
    field(b'C', Some(error.code.as_str()));
    field(b'M', Some(&error.message));
    field(b'D', error.detail.as_deref());
    field(b'H', error.hint.as_deref());
    if let Some(position) = error.position {
        field(b'P', Some(itoa::Buffer::new().format(position)));
    }
    field(b'W', error.context.as_deref());
    if let Some(object) = &error.object {
        field(b's', object.schema.as_deref());
        field(b't', object.table.as_deref());
        field(b'c', object.column.as_deref());
        field(b'd', object.data_type.as_deref());
        field(b'n', object.constraint.as_deref());
    }
    out.push(0);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use wharf_values::SqlState;

    use super::*;

    #[test]
    fn an_error_carries_every_field_once() {
        let error = SqlError::new(SqlState::SYNTAX_ERROR, "a \0broken text")
            .with_detail("Detail.")
            .with_hint("Hint.")
            .with_position(12);
        let mut out = vec![b'x'];
        error_response(&mut out, "ERROR", &error);
        let body: &[u8] = b"SERROR\0VERROR\0C42601\0Ma broken text\0DDetail.\0HHint.\0P12\0\0";
        assert_eq!(out[..2], *b"xE");
        assert_eq!(out[2..6], (body.len() as i32 + 4).to_be_bytes());
        assert_eq!(out[6..], *body);
    }

    #[test]
    fn counts_follow_tags() {
        let mut out = Vec::new();
        command_complete_rows(&mut out, "SELECT", 1_000_000);
        assert_eq!(out, b"C\0\0\0\x13SELECT 1000000\0");
    }
}
