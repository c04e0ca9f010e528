//! What a person reads when `wharf` cannot start or must stop: one line that says what went wrong and one that
//! says what to do about it.
//!
//! Always holds: [`Failure`] prints as exactly two lines, without a backtrace and without the types behind it. It
//! does not replace the SQL errors that clients see: those are `wharf_values::SqlError` and never reach this type
//! once the server is up.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

/// A reason not to go on, in words for whoever started the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What went wrong: lower case, no full stop.
    what: String,
    /// What to do about it: a sentence without the full stop, so that commands in it can be copied.
    remedy: String,
}

impl Failure {
    /// A failure with its remedy.
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Failure { what: one_line(&what.into()), remedy: one_line(&remedy.into()) }
    }

    /// Names what `error` hides: a full disk, missing permission or a missing file has the same remedy wherever it
    /// comes from, and everything else gets `remedy`.
    pub(crate) fn from_error(what: impl fmt::Display, error: &(dyn Error + 'static), remedy: &str) -> Self {
        let chain = chain(error);
        let remedy = match io_kind(error) {
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => DISK_FULL,
            Some(io::ErrorKind::PermissionDenied) => "give the user that runs wharf the right to read and write there",
            _ if chain.to_ascii_lowercase().contains("no space left on device") => DISK_FULL,
            _ => remedy,
        };
        Failure::new(format!("{what}: {chain}"), remedy)
    }

    /// A file or folder that could not be used.
    pub(crate) fn from_io(verb: &str, path: &Path, error: &io::Error, remedy: &str) -> Self {
        Self::from_error(format_args!("cannot {verb} {}", path.display()), error, remedy)
    }

    /// The first line.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// The second line.
    #[cfg(test)]
    pub(crate) fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wharf: {}\nhint: {}", self.what, self.remedy)
    }
}

const DISK_FULL: &str = "the disk is full: free some space there or choose another folder with --data; nothing \
                         that was acknowledged is lost";

/// The messages of an error and everything behind it, joined as one line; a message that repeats its source is
/// printed once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let message = source.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        next = source.source();
    }
    text
}

/// The kind of the operating system's error at the bottom of a chain, if there is one.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        next = error.source();
    }
    None
}

/// Error texts of libraries may span lines; the promise is one.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Debug)]
    struct Wrapped(io::Error);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("could not append to the log")
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn prints_two_lines_whatever_the_library_wrote() {
        let failure = Failure::new("parse error\n  at line 3\n", "fix it");
        assert_eq!(failure.to_string(), "wharf: parse error at line 3\nhint: fix it");
    }

    #[test]
    fn finds_a_full_disk_under_other_errors() {
        let full = Wrapped(io::Error::from(io::ErrorKind::StorageFull));
        let failure = Failure::from_error("cannot open the catalog", &full, "look elsewhere");
        assert!(failure.remedy().starts_with("the disk is full"), "{failure}");
        assert!(failure.what().starts_with("cannot open the catalog: could not append to the log: "), "{failure}");
    }

    #[test]
    fn keeps_the_remedy_of_its_caller_otherwise() {
        let other = Wrapped(io::Error::from(io::ErrorKind::InvalidData));
        assert_eq!(Failure::from_error("cannot open", &other, "restore a backup").remedy(), "restore a backup");
    }
}
