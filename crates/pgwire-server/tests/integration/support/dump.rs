//! Messages as lines of text.

use bytes::Buf;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::Authentication;

/// A message as one line: its name, then what matters of it.
pub(crate) fn dump(message: &PgWireBackendMessage) -> String {
    use PgWireBackendMessage as M;
    match message {
        M::SslResponse(response) => format!("SslResponse {response:?}"),
        M::GssEncResponse(response) => format!("GssEncResponse {response:?}"),
        M::Authentication(Authentication::Ok) => "AuthenticationOk".to_owned(),
        M::Authentication(Authentication::SASL(mechanisms)) => {
            format!("AuthenticationSASL {}", mechanisms.join(" "))
        }
        M::Authentication(Authentication::SASLContinue(_)) => "AuthenticationSASLContinue".to_owned(),
        M::Authentication(Authentication::SASLFinal(_)) => "AuthenticationSASLFinal".to_owned(),
        M::Authentication(other) => format!("Authentication {other:?}"),
        M::ParameterStatus(status) => format!("ParameterStatus {} = {}", status.name, status.value),
        M::BackendKeyData(_) => "BackendKeyData".to_owned(),
        M::NegotiateProtocolVersion(answer) => {
            format!(
                "NegotiateProtocolVersion {} [{}]",
                answer.newest_minor_protocol,
                answer.unsupported_options.join(" ")
            )
        }
        M::ParseComplete(_) => "ParseComplete".to_owned(),
        M::CloseComplete(_) => "CloseComplete".to_owned(),
        M::BindComplete(_) => "BindComplete".to_owned(),
        M::PortalSuspended(_) => "PortalSuspended".to_owned(),
        M::CommandComplete(complete) => format!("CommandComplete {}", complete.tag),
        M::EmptyQueryResponse(_) => "EmptyQueryResponse".to_owned(),
        M::ReadyForQuery(ready) => format!("ReadyForQuery {:?}", ready.status),
        M::ErrorResponse(error) => format!("ErrorResponse {}", fields(&error.fields)),
        M::NoticeResponse(notice) => format!("NoticeResponse {}", fields(&notice.fields)),
        M::NotificationResponse(notification) => format!("NotificationResponse {}", notification.channel),
        M::ParameterDescription(description) => format!("ParameterDescription {:?}", description.types),
        M::RowDescription(description) => {
            let columns: Vec<String> = description
                .fields
                .iter()
                .map(|field| {
                    let format = if field.format_code == 0 { "text" } else { "binary" };
                    format!("{}:{}/{}/{} {format}", field.name, field.type_id, field.type_size, field.type_modifier)
                })
                .collect();
            format!("RowDescription {}", columns.join(", ")).trim_end().to_owned()
        }
        M::DataRow(row) => format!("DataRow {}", values(&row.data, row.field_count)).trim_end().to_owned(),
        M::NoData(_) => "NoData".to_owned(),
        M::CopyData(data) => format!("CopyData {}", value(&data.data)),
        M::CopyFail(fail) => format!("CopyFail {}", fail.message),
        M::CopyDone(_) => "CopyDone".to_owned(),
        M::CopyInResponse(copy) => format!("CopyInResponse {} {:?}", copy.format, copy.column_formats),
        M::CopyOutResponse(copy) => format!("CopyOutResponse {} {:?}", copy.format, copy.column_formats),
        M::CopyBothResponse(copy) => format!("CopyBothResponse {} {:?}", copy.format, copy.column_formats),
    }
}

/// The fields of an error that do not depend on where the server's code is.
fn fields(fields: &[(u8, String)]) -> String {
    let get = |kind| fields.iter().find(|(field, _)| *field == kind).map(|(_, text)| text.as_str());
    let mut line = [b'V', b'C', b'M'].map(|kind| get(kind).unwrap_or("?")).join(" ");
    assert_eq!(get(b'S'), get(b'V'), "the severity in both forms");
    for (kind, name) in [(b'D', "detail"), (b'H', "hint"), (b'P', "position"), (b'W', "context")] {
        if let Some(text) = get(kind) {
            line.push_str(&format!(" | {name}: {}", text.replace('\n', "\\n")));
        }
    }
    line
}

fn values(mut data: &[u8], count: i16) -> String {
    let values: Vec<String> = (0..count)
        .map(|_| match data.get_i32() {
            -1 => "NULL".to_owned(),
            length => {
                let (bytes, rest) = data.split_at(length as usize);
                data = rest;
                value(bytes)
            }
        })
        .collect();
    values.join(" ")
}

/// Printable text in quotes, anything else in hexadecimal.
fn value(bytes: &[u8]) -> String {
    let printable = |character: char| !character.is_control() || matches!(character, '\n' | '\t');
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(printable) => format!("{text:?}"),
        _ => bytes.iter().fold("x".to_owned(), |line, byte| format!("{line}{byte:02x}")),
    }
}
