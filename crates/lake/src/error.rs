//! What can go wrong in the lake. Each error names the file or the URL it is about.
//!
//! A full disk is a kind of its own wherever it happens, because the one who runs the server has to act on it. Which SQLSTATE
//! an error becomes is decided in the engine.

use std::error::Error as StdError;
use std::io;

use datafusion::error::DataFusionError;
use parquet::errors::ParquetError;
use tokio::task::JoinError;

use crate::commit::RefError;
use crate::store::store_reason;
use crate::travel::NoVersion;

/// An error of the lake.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The URL of the warehouse cannot be used.
    #[error("could not open the object store \"{url}\": {reason}")]
    InvalidUrl {
        /// The URL as it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something was asked for that the table has not or that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A location in Iceberg metadata that this object store does not have.
    #[error("file \"{location}\" is outside of the object store \"{store}\"")]
    ForeignLocation {
        /// The location.
        location: String,
        /// The URL of the store.
        store: String,
    },
    /// The service that gives credentials for tables gave none.
    #[error("the object store's token service gave no credentials: {0}")]
    Credentials(String),
    /// A file that ought to exist does not.
    #[error("file \"{location}\" does not exist")]
    NotFound {
        /// Its location.
        location: String,
    },
    /// There is no space left where the file should be written.
    #[error("could not write file \"{location}\": no space left on device")]
    DiskFull {
        /// The location of the file.
        location: String,
    },
    /// The object store failed.
    #[error("could not access file \"{location}\": {}", store_reason(source))]
    Store {
        /// The location of the file.
        location: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// A file that does not hold what it should.
    #[error("file \"{location}\" is damaged: {reason}")]
    Corrupt {
        /// The location of the file.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A data file could not be read to its end.
    #[error("could not read data file \"{location}\": {source}")]
    DataFile {
        /// The location of the file.
        location: String,
        /// What DataFusion says.
        source: Box<DataFusionError>,
    },
    /// A data file could not be encoded.
    #[error("could not encode file \"{location}\": {source}")]
    Encode {
        /// The location of the file.
        location: String,
        /// What the encoder says.
        source: ParquetError,
    },
    /// A record batch that does not fit the table.
    #[error("rows do not fit the table: {0}")]
    Batch(String),
    /// A column that is newer than the rows of a snapshot, which have no values for it.
    #[error("column \"{column}\" has no values in the rows of this snapshot")]
    NoValues {
        /// The name of the column.
        column: String,
    },
    /// Something Iceberg tables can have and this version does not read or write.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// A table does not have the version that was asked for.
    #[error("{0}")]
    NoVersion(NoVersion),
    /// A partitioning or an order that the columns of the table do not allow.
    #[error("{0}")]
    InvalidLayout(String),
    /// A column or a partition field that is not there.
    #[error("{0}")]
    UndefinedField(String),
    /// Branches and tags cannot be changed so.
    #[error("{0}")]
    Ref(RefError),
    /// New metadata would not be valid Iceberg.
    #[error("could not make Iceberg metadata for \"{location}\": {reason}")]
    Metadata {
        /// The location of the table or file.
        location: String,
        /// What Iceberg says.
        reason: String,
    },
    /// A planning step of DataFusion failed.
    #[error("{0}")]
    Plan(Box<DataFusionError>),
    /// A writer that has failed or was cancelled was asked to go on.
    #[error("the writer of \"{location}\" has failed before")]
    WriterFailed {
        /// The location of the table.
        location: String,
    },
    /// A background task of this crate has panicked, or was dropped with the runtime, whose process ends: the source knows which.
    #[error("a background task ended early: {source}")]
    Join {
        /// What the runtime says.
        #[from]
        source: JoinError,
    },
    /// A background task of this crate ended without a result: a bug.
    #[error("a background task ended early: {0}")]
    Task(String),
    /// A test asked for this failure.
    #[error("failpoint \"{0}\"")]
    Failpoint(&'static str),
}

impl LakeError {
    /// An error of the object store at a location: absence and a full disk are told apart.
    pub(crate) fn store(location: impl Into<String>, source: object_store::Error) -> LakeError {
        let location = location.into();
        match source {
            object_store::Error::NotFound { .. } => LakeError::NotFound { location },
            source if is_disk_full(&source) => LakeError::DiskFull { location },
            source => LakeError::Store { location, source },
        }
    }

    /// An error of the Parquet encoder.
    pub(crate) fn encode(location: impl Into<String>, source: ParquetError) -> LakeError {
        LakeError::Encode { location: location.into(), source }
    }

    /// Bytes that could not be parsed.
    pub(crate) fn corrupt(location: impl Into<String>, reason: impl ToString) -> LakeError {
        LakeError::Corrupt { location: location.into(), reason: reason.to_string() }
    }

    /// Metadata that could not be made.
    pub(crate) fn metadata(location: impl Into<String>, reason: impl ToString) -> LakeError {
        LakeError::Metadata { location: location.into(), reason: reason.to_string() }
    }
}

impl From<RefError> for LakeError {
    fn from(error: RefError) -> LakeError {
        LakeError::Ref(error)
    }
}

impl From<LakeError> for DataFusionError {
    fn from(error: LakeError) -> DataFusionError {
        DataFusionError::External(Box::new(error))
    }
}

impl From<DataFusionError> for LakeError {
    fn from(error: DataFusionError) -> LakeError {
        LakeError::Plan(Box::new(error))
    }
}

/// Whether a full disk (or a quota) is at the bottom of an error.
pub(crate) fn is_disk_full(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_full_disk_is_recognized_under_any_wrapping() {
        let full = io::Error::from_raw_os_error(28);
        let wrapped = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::other(object_store::Error::Generic { store: "inner", source: Box::new(full) })),
        };
        let error = LakeError::store("file:///t/a", wrapped);
        assert_eq!(error.to_string(), "could not write file \"file:///t/a\": no space left on device");
        let other = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from_raw_os_error(5)),
        };
        assert!(matches!(LakeError::store("x", other), LakeError::Store { .. }));
    }
}
