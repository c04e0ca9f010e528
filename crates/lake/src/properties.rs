//! Table properties under Iceberg's names: which there are, what values they take, and what they come to.
//!
//! What always holds: a known property has a value that does, or is refused when it is set; a value of another engine's that does not is
//! as good as none. Names that are not known are kept for those who know them, except in Wharf's own family.

use std::collections::{BTreeMap, HashMap};

use crate::error::LakeError;
use crate::metadata::{self, FORMAT_VERSION_PROPERTY, SNAPSHOTS_PROPERTY};
use crate::store::Store;
use crate::table::LakeTable;

/// `none` or `hash`: whether rows are brought together by partition before they are written.
pub(crate) const DISTRIBUTION_MODE: &str = "write.distribution-mode";
/// Where data files go.
pub(crate) const DATA_PATH: &str = "write.data.path";
/// The codec of data files.
pub(crate) const CODEC: &str = "write.parquet.compression-codec";
/// How strongly it compresses.
pub(crate) const CODEC_LEVEL: &str = "write.parquet.compression-level";
/// About how large a data file gets.
pub(crate) const TARGET_FILE_BYTES: &str = "write.target-file-size-bytes";
/// About how large a row group gets.
pub(crate) const ROW_GROUP_BYTES: &str = "write.parquet.row-group-size-bytes";
/// About how large a page gets.
pub(crate) const PAGE_BYTES: &str = "write.parquet.page-size-bytes";
/// How many rows a page has at most.
pub(crate) const PAGE_ROWS: &str = "write.parquet.page-row-limit";
/// How large a dictionary gets.
pub(crate) const DICTIONARY_BYTES: &str = "write.parquet.dict-size-bytes";
/// How large a bloom filter gets.
pub(crate) const BLOOM_BYTES: &str = "write.parquet.bloom-filter-max-bytes";
/// With the name of a column behind: whether it has bloom filters.
pub(crate) const BLOOM_COLUMN: &str = "write.parquet.bloom-filter-enabled.column.";
/// With the name of a column behind: how often a bloom filter is wrong.
pub(crate) const BLOOM_FPP_COLUMN: &str = "write.parquet.bloom-filter-fpp.column.";
/// What manifests say of columns.
pub(crate) const METRICS_DEFAULT: &str = "write.metadata.metrics.default";
/// With the name of a column behind: what manifests say of it.
pub(crate) const METRICS_COLUMN: &str = "write.metadata.metrics.column.";
/// Of how many columns manifests say something when no property speaks of them.
pub(crate) const METRICS_COLUMNS: &str = "write.metadata.metrics.max-inferred-column-defaults";
/// Whether small manifests are merged.
pub(crate) const MERGE_MANIFESTS: &str = "commit.manifest-merge.enabled";
/// How many small manifests there are before they are merged.
pub(crate) const MERGE_COUNT: &str = "commit.manifest.min-count-to-merge";
/// How large a manifest gets by merging.
pub(crate) const MANIFEST_BYTES: &str = "commit.manifest.target-size-bytes";

/// What a property can be.
enum Value {
    Boolean,
    /// A whole number of at least this.
    Number(i64),
    /// A number between these.
    Fraction(f64, f64),
    OneOf(&'static [&'static str]),
    /// One of the first; the others are values that Iceberg has and Wharf does not do.
    Only(&'static [&'static str], &'static [&'static str]),
    Metrics,
    /// A folder inside of the warehouse.
    Folder,
    Text,
}

/// The properties that are known, with what they can be. A name that ends in a dot stands for all names that begin with it.
const KNOWN: &[(&str, Value)] = &[
    (DISTRIBUTION_MODE, Value::OneOf(&["none", "hash", "range"])),
    ("write.delete.distribution-mode", Value::OneOf(&["none", "hash", "range"])),
    ("write.update.distribution-mode", Value::OneOf(&["none", "hash", "range"])),
    ("write.merge.distribution-mode", Value::OneOf(&["none", "hash", "range"])),
    ("write.delete.mode", Value::OneOf(&["copy-on-write", "merge-on-read"])),
    ("write.update.mode", Value::OneOf(&["copy-on-write", "merge-on-read"])),
    ("write.merge.mode", Value::OneOf(&["copy-on-write", "merge-on-read"])),
    ("write.delete.isolation-level", Value::OneOf(&["serializable", "snapshot"])),
    ("write.update.isolation-level", Value::OneOf(&["serializable", "snapshot"])),
    ("write.merge.isolation-level", Value::OneOf(&["serializable", "snapshot"])),
    ("write.delete.granularity", Value::OneOf(&["partition", "file"])),
    ("write.format.default", Value::Only(&["parquet"], &["avro", "orc"])),
    ("write.delete.format.default", Value::Only(&["parquet"], &["avro", "orc"])),
    ("write.delete.target-file-size-bytes", Value::Number(1)),
    (DATA_PATH, Value::Folder),
    ("write.object-storage.enabled", Value::Only(&["false"], &["true"])),
    ("write.object-storage.partitioned-paths", Value::Boolean),
    ("write.spark.fanout.enabled", Value::Boolean),
    ("write.summary.partition-limit", Value::Number(0)),
    ("write.upsert.enabled", Value::Boolean),
    ("write.wap.enabled", Value::Only(&["false"], &["true"])),
    (TARGET_FILE_BYTES, Value::Number(1)),
    (ROW_GROUP_BYTES, Value::Number(1)),
    (PAGE_BYTES, Value::Number(1)),
    (PAGE_ROWS, Value::Number(1)),
    (DICTIONARY_BYTES, Value::Number(1)),
    (CODEC, Value::OneOf(&["uncompressed", "none", "snappy", "gzip", "lz4", "lz4_raw", "zstd", "brotli"])),
    (CODEC_LEVEL, Value::Number(-1)),
    ("write.parquet.row-group-check-min-record-count", Value::Number(1)),
    ("write.parquet.row-group-check-max-record-count", Value::Number(1)),
    (BLOOM_BYTES, Value::Number(32)),
    (BLOOM_COLUMN, Value::Boolean),
    (BLOOM_FPP_COLUMN, Value::Fraction(0.0, 1.0)),
    (METRICS_DEFAULT, Value::Metrics),
    (METRICS_COLUMN, Value::Metrics),
    (METRICS_COLUMNS, Value::Number(0)),
    ("write.metadata.compression-codec", Value::Only(&["none"], &["gzip"])),
    ("write.metadata.delete-after-commit.enabled", Value::Boolean),
    ("write.metadata.previous-versions-max", Value::Number(1)),
    (MERGE_MANIFESTS, Value::Boolean),
    (MERGE_COUNT, Value::Number(1)),
    (MANIFEST_BYTES, Value::Number(1)),
    ("commit.retry.num-retries", Value::Number(0)),
    ("commit.retry.min-wait-ms", Value::Number(0)),
    ("commit.retry.max-wait-ms", Value::Number(0)),
    ("commit.retry.total-timeout-ms", Value::Number(0)),
    ("commit.status-check.num-retries", Value::Number(0)),
    ("history.expire.max-snapshot-age-ms", Value::Number(0)),
    ("history.expire.min-snapshots-to-keep", Value::Number(1)),
    ("history.expire.max-ref-age-ms", Value::Number(0)),
    ("read.split.target-size", Value::Number(1)),
    ("read.split.metadata-target-size", Value::Number(1)),
    ("read.split.planning-lookback", Value::Number(1)),
    ("read.split.open-file-cost", Value::Number(0)),
    ("read.parquet.vectorization.enabled", Value::Boolean),
    ("read.parquet.vectorization.batch-size", Value::Number(1)),
    ("gc.enabled", Value::Boolean),
    (SNAPSHOTS_PROPERTY, Value::Number(1)),
    ("comment", Value::Text),
    (FORMAT_VERSION_PROPERTY, Value::Only(&["2", "3"], &["1"])),
];

/// Properties that say what something else says: they are not set.
const RESERVED: &[&str] = &[
    "uuid",
    "snapshot-count",
    "current-snapshot-summary",
    "current-snapshot-id",
    "current-snapshot-timestamp-ms",
    "current-schema",
    "default-partition-spec",
    "default-sort-order",
];

/// Whether a property can have this value.
///
/// # Errors
/// [`LakeError::Invalid`], and [`LakeError::Unsupported`] for what Iceberg has and Wharf does not do.
pub(crate) fn check(name: &str, value: &str, store: &Store) -> Result<(), LakeError> {
    check_name(name)?;
    let known = KNOWN.iter().find(|(known, _)| match known.ends_with('.') {
        true => name.len() > known.len() && name.starts_with(known),
        false => name == *known,
    });
    let Some((_, kind)) = known else { return Ok(()) };
    let refuse = |hint: &str| {
        Err(LakeError::Invalid(format!("invalid value for parameter \"{name}\": \"{value}\"; it takes {hint}")))
    };
    let lower = value.to_ascii_lowercase();
    match kind {
        Value::Boolean if ["true", "false"].contains(&lower.as_str()) => Ok(()),
        Value::Boolean => refuse("true or false"),
        Value::Number(least) => match value.parse::<i64>() {
            Ok(number) if number >= *least => Ok(()),
            _ => refuse(&format!("a whole number of at least {least}")),
        },
        Value::Fraction(low, high) => match value.parse::<f64>() {
            Ok(number) if number > *low && number < *high => Ok(()),
            _ => refuse(&format!("a number between {low} and {high}")),
        },
        Value::OneOf(values) if values.contains(&lower.as_str()) => Ok(()),
        Value::OneOf(values) => refuse(&values.join(", ")),
        Value::Only(values, _) if values.contains(&lower.as_str()) => Ok(()),
        Value::Only(_, others) if others.contains(&lower.as_str()) => {
            Err(LakeError::Unsupported(format!("value \"{value}\" of parameter \"{name}\"")))
        }
        Value::Only(values, _) => refuse(&values.join(", ")),
        Value::Metrics if metrics_mode(value).is_some() => Ok(()),
        Value::Metrics => refuse("none, counts, truncate(length) or full"),
        Value::Folder if is_inside(value, store) => Ok(()),
        Value::Folder => refuse(&format!("a folder in {}", store.root())),
        Value::Text => Ok(()),
    }
}

/// Whether there can be a property of this name that is set by hand.
///
/// # Errors
/// [`LakeError::Invalid`].
pub(crate) fn check_name(name: &str) -> Result<(), LakeError> {
    if RESERVED.contains(&name) {
        return Err(LakeError::Invalid(format!("parameter \"{name}\" cannot be set")));
    }
    // Wharf's own keep what Iceberg cannot say. Names of others have a family, so one without is a slip of the pen.
    let known = KNOWN.iter().any(|(known, _)| *known == name);
    match !known && (name.starts_with("wharf.") || !name.contains('.') || name.starts_with('.')) {
        true => Err(LakeError::Invalid(format!("unrecognized parameter \"{name}\""))),
        false => Ok(()),
    }
}

impl LakeTable {
    /// The properties that somebody has set, here or in another engine, and the format version, which is set like one. Not those by
    /// which Wharf keeps what Iceberg cannot say, nor what every new table gets.
    pub fn own_properties(&self) -> BTreeMap<String, String> {
        let is_known = |name: &str| !name.starts_with("wharf.") || KNOWN.iter().any(|(known, _)| *known == name);
        let is_own = |(name, value): &(&String, &String)| is_known(name) && !metadata::is_given(name, value);
        let own = self.properties().iter().filter(is_own);
        let mut own: BTreeMap<_, _> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        let version = self.metadata().format_version() as u8;
        own.insert(FORMAT_VERSION_PROPERTY.to_owned(), version.to_string());
        own
    }
}

/// What manifests say of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricsMode {
    /// Nothing.
    None,
    /// How many values there are, and how many of them are null.
    Counts,
    /// Bounds too, of texts and bytes so much.
    Truncate(usize),
    /// Bounds as they are.
    Full,
}

/// Reads a mode.
pub(crate) fn metrics_mode(text: &str) -> Option<MetricsMode> {
    let text = text.trim().to_ascii_lowercase();
    match text.as_str() {
        "none" => Some(MetricsMode::None),
        "counts" => Some(MetricsMode::Counts),
        "full" => Some(MetricsMode::Full),
        _ => {
            let length = text.strip_prefix("truncate(")?.strip_suffix(')')?.trim().parse().ok()?;
            (length > 0).then_some(MetricsMode::Truncate(length))
        }
    }
}

/// A number, when the property is there and does.
pub(crate) fn number<T: std::str::FromStr>(properties: &HashMap<String, String>, name: &str) -> Option<T> {
    properties.get(name)?.trim().parse().ok()
}

/// Whether a property says yes, or `otherwise` when it says nothing.
pub(crate) fn flag(properties: &HashMap<String, String>, name: &str, otherwise: bool) -> bool {
    match properties.get(name).map(|value| value.to_ascii_lowercase()) {
        Some(value) if value == "true" => true,
        Some(value) if value == "false" => false,
        _ => otherwise,
    }
}

/// Where the data files of a table go, without a slash at its end. A folder outside of the warehouse is not written to, whoever has set the
/// property.
pub(crate) fn data_folder(properties: &HashMap<String, String>, location: &str, store: &Store) -> String {
    match properties.get(DATA_PATH) {
        Some(path) if is_inside(path, store) => path.trim_end_matches('/').to_owned(),
        _ => format!("{location}/data"),
    }
}

fn is_inside(folder: &str, store: &Store) -> bool {
    let file = store.path(&format!("{}/x", folder.trim_end_matches('/')));
    file.is_ok_and(|path| store.location(&path).starts_with(&format!("{}/", store.root())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::{CacheOptions, StoreOptions};

    #[test]
    fn values_are_checked() {
        let store = Store::open("memory:///lake", &StoreOptions::default(), &CacheOptions::default()).unwrap();
        let ok = |name: &str, value: &str| check(name, value, &store).unwrap();
        ok(TARGET_FILE_BYTES, "1048576");
        ok("write.parquet.bloom-filter-enabled.column.id", "true");
        ok("write.metadata.metrics.column.a.b", "truncate(4)");
        ok("some.other.engine", "anything");
        ok(DATA_PATH, &format!("{}/elsewhere", store.root()));
        let refused = |name: &str, value: &str| check(name, value, &store).unwrap_err().to_string();
        assert_eq!(
            refused(TARGET_FILE_BYTES, "many"),
            "invalid value for parameter \"write.target-file-size-bytes\": \"many\"; it takes a whole number of at least 1"
        );
        assert_eq!(refused("typo", "1"), "unrecognized parameter \"typo\"");
        assert_eq!(refused("wharf.type.3", "text"), "unrecognized parameter \"wharf.type.3\"");
        assert_eq!(refused("uuid", "x"), "parameter \"uuid\" cannot be set");
        assert!(matches!(check("write.format.default", "orc", &store), Err(LakeError::Unsupported(_))));
        refused(METRICS_DEFAULT, "truncate(0)");
        refused(DATA_PATH, "s3://elsewhere/data");
        refused(DATA_PATH, "memory:///other/data");
        refused(DATA_PATH, &format!("{}/../other", store.root()));
        refused("write.parquet.bloom-filter-fpp.column.id", "1.5");
    }
}
