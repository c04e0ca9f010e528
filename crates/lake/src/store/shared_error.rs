//! An error of a store that several readers of one fetch get.

use std::fmt;
use std::sync::Arc;

use object_store::Error;
use object_store::path::Path;

/// A store's error that can be cloned.
#[derive(Clone, Debug)]
pub(super) struct SharedError(Arc<Error>);

impl SharedError {
    pub(super) fn new(error: Error) -> SharedError {
        SharedError(Arc::new(error))
    }

    /// A range that begins where its file has ended.
    pub(super) fn behind_the_end() -> SharedError {
        let source = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the file is shorter than expected");
        SharedError::new(Error::Generic { store: "cache", source: Box::new(source) })
    }

    /// The error for one of the readers, of the same kind.
    pub(super) fn to_error(&self, path: &Path) -> Error {
        let (path, source) = (path.to_string(), Box::new(self.clone()));
        match &*self.0 {
            Error::NotFound { .. } => Error::NotFound { path, source },
            Error::PermissionDenied { .. } => Error::PermissionDenied { path, source },
            Error::Unauthenticated { .. } => Error::Unauthenticated { path, source },
            Error::Precondition { .. } => Error::Precondition { path, source },
            _ => Error::Generic { store: "cache", source },
        }
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SharedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}
