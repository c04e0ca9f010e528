//! What statements say of files beside their format: compression, credentials, whether files are loaded again.

use std::collections::HashMap;

use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use wharf_values::{SqlError, SqlState};

use crate::copy::{CopyFormat, OptionItem, OptionValue};

/// What the names of options of an object store begin with.
const STORES: [&str; 4] = ["aws_", "azure_", "google_", "s3_"];

/// Words in the names of options that are secrets.
const SECRETS: [&str; 6] = ["secret", "token", "key", "password", "credential", "authorization"];

/// Is this an option of an object store?
pub(crate) fn names_store(name: &str) -> bool {
    STORES.iter().any(|prefix| name.starts_with(prefix))
}

/// Is this an option whose value is a secret?
pub(crate) fn names_secret(name: &str) -> bool {
    SECRETS.iter().any(|word| name.contains(word))
}

/// What may be said of compression, Parquet's included, which is within the file.
const ALL_COMPRESSIONS: [&str; 8] = ["auto", "none", "gzip", "zstd", "bzip2", "xz", "snappy", "lz4"];

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    const ENDINGS: [(&'static str, Compression); 6] = [
        ("gz", Compression::Gzip),
        ("gzip", Compression::Gzip),
        ("zst", Compression::Zstd),
        ("zstd", Compression::Zstd),
        ("bz2", Compression::Bzip2),
        ("xz", Compression::Xz),
    ];

    fn parse(name: &str) -> Option<Compression> {
        Some(match name {
            "none" => Compression::None,
            "gzip" => Compression::Gzip,
            "zstd" => Compression::Zstd,
            "bzip2" => Compression::Bzip2,
            "xz" => Compression::Xz,
            _ => return None,
        })
    }

    pub(super) fn codec(self) -> FileCompressionType {
        match self {
            Compression::None => FileCompressionType::UNCOMPRESSED,
            Compression::Gzip => FileCompressionType::GZIP,
            Compression::Zstd => FileCompressionType::ZSTD,
            Compression::Bzip2 => FileCompressionType::BZIP2,
            Compression::Xz => FileCompressionType::XZ,
        }
    }
}

/// What is said of files; the options of the format stand apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileOptions {
    /// As it was given, in lower case; none: what the names end in says.
    pub(crate) compression: Option<String>,
    /// Files that were loaded before are loaded again.
    pub(crate) force: Option<bool>,
    /// The table that rejected rows go to.
    pub(crate) rejects_table: Option<String>,
    /// COPY TO: the columns whose values name the folders.
    pub(crate) partition_by: Vec<String>,
    /// COPY TO: the size after which a file is followed by the next, in bytes.
    pub(crate) file_size_bytes: Option<u64>,
    /// COPY TO: the folder may have files already.
    pub(crate) append: bool,
    /// More files than the statement's first.
    pub(crate) more: Vec<String>,
    /// Options of the object store, by the names of `object_store`. Secrets, so never shown.
    pub(crate) store: HashMap<String, String>,
}

impl FileOptions {
    /// Takes the options of files out of a list; the rest is about the format.
    ///
    /// # Errors
    /// `22023` and `42601` for values that are none.
    pub(crate) fn split(items: &[OptionItem]) -> Result<(FileOptions, Vec<OptionItem>), SqlError> {
        let mut options = FileOptions::default();
        let mut rest = Vec::new();
        for item in items {
            let text = || match &item.value {
                OptionValue::Text(text) => Ok(text.clone()),
                _ => {
                    let message = format!("{} requires a parameter", item.name);
                    Err(SqlError::new(SqlState::SYNTAX_ERROR, message))
                }
            };
            match item.name.as_str() {
                "compression" => {
                    let name = text()?.to_ascii_lowercase();
                    if !ALL_COMPRESSIONS.contains(&name.as_str()) {
                        let message = format!("COPY COMPRESSION \"{name}\" not recognized");
                        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).with_hint(
                            "There are auto, none, gzip, zstd, bzip2 and xz, and for Parquet snappy and lz4.",
                        ));
                    }
                    options.compression = Some(name).filter(|name| name != "auto");
                }
                "force" => {
                    options.force = Some(
                        item.value
                            .as_boolean()
                            .ok_or_else(|| SqlError::new(SqlState::SYNTAX_ERROR, "force requires a Boolean value"))?,
                    );
                }
                "partition_by" => {
                    options.partition_by = match &item.value {
                        OptionValue::List(names) => names.clone(),
                        OptionValue::Text(name) => vec![name.clone()],
                        _ => {
                            return Err(SqlError::new(
                                SqlState::SYNTAX_ERROR,
                                "partition_by requires a list of columns",
                            ));
                        }
                    };
                }
                "file_size" => {
                    let size = text()?.parse().ok().filter(|size| *size > 0);
                    options.file_size_bytes = Some(size.ok_or_else(|| {
                        SqlError::new(SqlState::SYNTAX_ERROR, "file_size requires a number of bytes")
                    })?);
                }
                "append" => {
                    options.append = item
                        .value
                        .as_boolean()
                        .ok_or_else(|| SqlError::new(SqlState::SYNTAX_ERROR, "append requires a Boolean value"))?;
                }
                "rejects_table" => options.rejects_table = Some(text()?),
                "\0files" => {
                    if let OptionValue::List(files) = &item.value {
                        options.more.clone_from(files);
                    }
                }
                name if names_store(name) => {
                    // `s3_endpoint` is what some call `aws_endpoint`.
                    let name = name.strip_prefix("s3_").map_or_else(|| name.to_owned(), |rest| format!("aws_{rest}"));
                    options.store.insert(name, text()?);
                }
                _ => rest.push(item.clone()),
            }
        }
        Ok((options, rest))
    }

    /// Refuses what is for the other direction.
    ///
    /// # Errors
    /// `22023`
    pub(crate) fn check_direction(&self, to: bool) -> Result<(), SqlError> {
        let wrong = match to {
            true if self.force.is_some() => "FORCE",
            true if self.rejects_table.is_some() => "REJECTS_TABLE",
            false if !self.partition_by.is_empty() => "PARTITION_BY",
            false if self.file_size_bytes.is_some() => "FILE_SIZE",
            false if self.append => "APPEND",
            _ => return Ok(()),
        };
        let direction = if to { "TO" } else { "FROM" };
        let message = format!("COPY {wrong} cannot be used with COPY {direction}");
        Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message))
    }

    /// How a file of a name is compressed.
    pub(crate) fn compression(&self, name: &str) -> Compression {
        let given = self.compression.as_deref().and_then(Compression::parse);
        given.unwrap_or_else(|| {
            let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
            Compression::ENDINGS.iter().find(|(known, _)| *known == ending).map_or(Compression::None, |found| found.1)
        })
    }
}

/// A name without the ending that says how the file is compressed.
fn uncompressed(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((rest, ending)) if Compression::ENDINGS.iter().any(|(known, _)| ending.eq_ignore_ascii_case(known)) => {
            rest
        }
        _ => name,
    }
}

/// The format that a name says, for statements that say none. A path in PostgreSQL's spelling is read as PostgreSQL
/// reads it: as text, whatever it is called; but no name in Parquet or JSON could be meant so.
pub(crate) fn default_format(name: &str, plain: bool) -> CopyFormat {
    let ending = uncompressed(name).rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match ending.as_str() {
        "parquet" => CopyFormat::Parquet,
        "json" | "jsonl" | "ndjson" => CopyFormat::Json,
        "csv" if !plain => CopyFormat::Csv,
        _ => CopyFormat::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_format_and_compression() {
        let options = FileOptions::default();
        assert_eq!(options.compression("s3://b/a.csv.gz"), Compression::Gzip);
        assert_eq!(options.compression("s3://b/a.ZST"), Compression::Zstd);
        assert_eq!(options.compression("s3://b.gz/a"), Compression::None);
        assert_eq!(default_format("s3://b/a.csv.gz", false), CopyFormat::Csv);
        assert_eq!(default_format("/a.csv", true), CopyFormat::Text);
        assert_eq!(default_format("/a.jsonl.zst", true), CopyFormat::Json);
    }
}
