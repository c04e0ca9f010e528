//! The server's messages.
//!
//! What always holds: messages are appended to one buffer and their lengths patched afterwards, so nothing is measured
//! or copied twice. When they are sent is not decided here.

pub(crate) mod messages;
pub(crate) mod rows;

/// How a value goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// As the text SQL would show.
    Text,
    /// In the type's binary form.
    Binary,
}

impl Format {
    /// The code of the format in messages.
    pub(crate) fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }

    /// The format of a code; `None` for a code PostgreSQL does not have.
    pub(crate) fn from_code(code: i16) -> Option<Format> {
        match code {
            0 => Some(Format::Text),
            1 => Some(Format::Binary),
            _ => None,
        }
    }
}

/// The formats of a result's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Formats {
    /// The same for all.
    All(Format),
    /// One each.
    Each(Box<[Format]>),
}

impl Formats {
    /// The format of a column.
    pub(crate) fn of(&self, column: usize) -> Format {
        match self {
            Formats::All(format) => *format,
            Formats::Each(formats) => formats.get(column).copied().unwrap_or(Format::Text),
        }
    }
}
