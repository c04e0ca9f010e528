//! The session's settings: `SET`, `SHOW`, `RESET`, and which of them clients are told about.
//!
//! What always holds: a name that PostgreSQL has and Wharf does not act on is still accepted when accepting it changes no
//! result; a name nobody has is `42704`. Values are checked when they are set. Names with a dot may be anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use wharf_values::{ByteaOutput, DateStyle, IntervalStyle, SqlError, SqlState, TextFormat, TimeZone};

/// The PostgreSQL version clients are told: what they decide their catalog queries by.
pub(crate) const SERVER_VERSION: &str = "15.0";

/// Which catalog statements that only read get, and the value for the one that the node has.
const READ_CONSISTENCY: &str = "wharf.read_consistency";
const LOCAL: &str = "local";

/// A setting that Wharf knows.
struct Known {
    /// As PostgreSQL spells it.
    name: &'static str,
    default: &'static str,
    kind: Kind,
    /// Clients are told when it changes.
    reported: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Any text.
    Text,
    Boolean,
    /// An integer from the first to the second, plain or with a unit of time when the third says so.
    Integer(i64, i64),
    Milliseconds,
    /// A size, in bytes or with one of PostgreSQL's units.
    Bytes,
    /// Only the default is accepted.
    Fixed,
    /// Cannot be set.
    ReadOnly,
    DateStyle,
    IntervalStyle,
    TimeZone,
    Bytea,
    Isolation,
    Encoding,
    Choice(&'static [&'static str]),
}

const fn known(name: &'static str, default: &'static str, kind: Kind, reported: bool) -> Known {
    Known { name, default, kind, reported }
}

const LEVELS: &[&str] =
    &["debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "notice", "warning", "error", "info"];

static KNOWN: &[Known] = &[
    known("application_name", "", Kind::Text, true),
    known("bytea_output", "hex", Kind::Bytea, false),
    known("check_function_bodies", "on", Kind::Boolean, false),
    known("client_encoding", "UTF8", Kind::Encoding, true),
    known("client_min_messages", "notice", Kind::Choice(LEVELS), false),
    known("constraint_exclusion", "partition", Kind::Text, false),
    known("cursor_tuple_fraction", "0.1", Kind::Text, false),
    known("DateStyle", "ISO, MDY", Kind::DateStyle, true),
    known("default_table_access_method", "iceberg", Kind::Text, false),
    known("default_tablespace", "", Kind::Text, false),
    known("default_transaction_deferrable", "off", Kind::Boolean, false),
    known("default_transaction_isolation", "read committed", Kind::Isolation, false),
    known("default_transaction_read_only", "off", Kind::Boolean, true),
    known("enable_bitmapscan", "on", Kind::Boolean, false),
    known("enable_hashjoin", "on", Kind::Boolean, false),
    known("enable_indexscan", "on", Kind::Boolean, false),
    known("enable_mergejoin", "on", Kind::Boolean, false),
    known("enable_nestloop", "on", Kind::Boolean, false),
    known("enable_seqscan", "on", Kind::Boolean, false),
    known("escape_string_warning", "on", Kind::Boolean, false),
    known("extra_float_digits", "1", Kind::Integer(-15, 3), false),
    known("geqo", "on", Kind::Boolean, false),
    known("idle_in_transaction_session_timeout", "0", Kind::Milliseconds, false),
    known("idle_session_timeout", "0", Kind::Milliseconds, false),
    known("in_hot_standby", "off", Kind::ReadOnly, true),
    known("integer_datetimes", "on", Kind::ReadOnly, true),
    known("IntervalStyle", "postgres", Kind::IntervalStyle, true),
    known("is_superuser", "on", Kind::ReadOnly, true),
    known("jit", "off", Kind::Boolean, false),
    known("lc_collate", "C", Kind::ReadOnly, false),
    known("lc_ctype", "C.UTF-8", Kind::ReadOnly, false),
    known("lc_messages", "C", Kind::Text, false),
    known("lc_monetary", "C", Kind::Text, false),
    known("lc_numeric", "C", Kind::Text, false),
    known("lc_time", "C", Kind::Text, false),
    known("lock_timeout", "0", Kind::Milliseconds, false),
    known("max_identifier_length", "63", Kind::ReadOnly, false),
    known("max_index_keys", "32", Kind::ReadOnly, false),
    known("max_parallel_workers_per_gather", "2", Kind::Integer(0, 1024), false),
    known("quote_all_identifiers", "off", Kind::Boolean, false),
    known("random_page_cost", "4", Kind::Text, false),
    known("row_security", "on", Kind::Boolean, false),
    known("search_path", "\"$user\", public", Kind::Text, false),
    known("server_encoding", "UTF8", Kind::ReadOnly, true),
    known("server_version", SERVER_VERSION, Kind::ReadOnly, true),
    known("server_version_num", "150000", Kind::ReadOnly, false),
    known("session_authorization", "", Kind::ReadOnly, true),
    known("standard_conforming_strings", "on", Kind::Fixed, true),
    known("statement_timeout", "0", Kind::Milliseconds, false),
    known("synchronous_commit", "on", Kind::Fixed, false),
    known("temp_buffers", "8MB", Kind::Text, false),
    known("TimeZone", "UTC", Kind::TimeZone, true),
    known("timezone_abbreviations", "Default", Kind::Text, false),
    known("transaction_deferrable", "off", Kind::Boolean, false),
    known("transaction_isolation", "read committed", Kind::Isolation, false),
    known("transaction_read_only", "off", Kind::Boolean, false),
    known("wharf.distribute", "auto", Kind::Choice(&["auto", "on", "off"]), false),
    known("wharf.distribute_min_bytes", "256MB", Kind::Bytes, false),
    known(READ_CONSISTENCY, "linearizable", Kind::Choice(&["linearizable", LOCAL]), false),
    known("wharf.split_hot_keys", "on", Kind::Boolean, false),
    known("wharf.write_branch", "", Kind::Text, false),
    known("work_mem", "4MB", Kind::Text, false),
    known("xmloption", "content", Kind::Text, false),
];

/// A setting as `pg_settings` shows it.
pub(crate) struct Described {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) unit: Option<&'static str>,
    pub(crate) kind: &'static str,
    pub(crate) source: &'static str,
    pub(crate) default: &'static str,
    pub(crate) initial: String,
    pub(crate) read_only: bool,
}

fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name.eq_ignore_ascii_case(name))
}

/// The values of one session.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What was set, by lower-case name; everything else has its default.
    values: BTreeMap<String, String>,
    /// What `RESET` goes back to: what the client asked for when it connected.
    initial: BTreeMap<String, String>,
    pub(crate) format: TextFormat,
    /// Another one with every change, for what is made from settings.
    pub(crate) version: u64,
}

/// A number that no other state of any session's settings has. Going back to older settings brings their number back, too.
fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Settings {
    /// The settings of a new session of `user`.
    pub(crate) fn new(user: &str, superuser: bool) -> Self {
        let mut values = BTreeMap::new();
        values.insert("session_authorization".to_owned(), user.to_owned());
        values.insert("is_superuser".to_owned(), if superuser { "on" } else { "off" }.to_owned());
        Settings { initial: values.clone(), values, format: TextFormat::default(), version: 0 }
    }

    /// What was set so far becomes what `RESET` goes back to.
    pub(crate) fn keep_as_initial(&mut self) {
        self.initial = self.values.clone();
    }

    /// The value of a setting, as `SHOW` prints it.
    ///
    /// # Errors
    /// `42704` for a name nobody has.
    pub(crate) fn get(&self, name: &str) -> Result<String, SqlError> {
        let lower = name.to_lowercase();
        if let Some(value) = self.values.get(&lower) {
            return Ok(value.clone());
        }
        match find(&lower) {
            Some(known) => Ok(known.default.to_owned()),
            None => Err(unrecognized(name)),
        }
    }

    /// The name of a setting as PostgreSQL spells it: the name of SHOW's column.
    pub(crate) fn spelling(name: &str) -> String {
        find(name).map_or_else(|| name.to_lowercase(), |known| known.name.to_owned())
    }

    /// All settings with their values.
    pub(crate) fn all(&self) -> Vec<(&'static str, String)> {
        KNOWN.iter().map(|known| (known.name, self.get(known.name).unwrap_or_default())).collect()
    }

    /// All settings with what is known of them.
    pub(crate) fn described(&self) -> Vec<Described> {
        let describe = |known: &Known| {
            let value = self.get(known.name).unwrap_or_default();
            let initial = self.initial.get(&known.name.to_lowercase()).map_or(known.default, String::as_str);
            Described {
                name: known.name,
                source: if value == known.default { "default" } else { "session" },
                value: match known.kind {
                    Kind::Milliseconds => parse_milliseconds(&value).unwrap_or_default().to_string(),
                    _ => value,
                },
                unit: matches!(known.kind, Kind::Milliseconds).then_some("ms"),
                kind: match known.kind {
                    Kind::Boolean | Kind::Fixed => "bool",
                    Kind::Integer(..) | Kind::Milliseconds | Kind::Bytes => "integer",
                    Kind::Choice(_) | Kind::IntervalStyle | Kind::Bytea | Kind::Isolation => "enum",
                    _ => "string",
                },
                default: known.default,
                initial: initial.to_owned(),
                read_only: known.kind == Kind::ReadOnly,
            }
        };
        KNOWN.iter().map(describe).collect()
    }

    /// Gives a setting a value.
    ///
    /// # Errors
    /// `42704` for an unknown name, `22023` for a value it cannot have, `55P02` for one that cannot be changed.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let lower = name.to_lowercase();
        let Some(known) = find(&lower) else {
            if lower.contains('.') {
                self.put(lower, value.to_owned());
                return Ok(());
            }
            return Err(unrecognized(name));
        };
        let canonical = self.check(known, value)?;
        self.put(lower, canonical);
        Ok(())
    }

    /// Checks a value for a setting and gives the form in which it is shown.
    ///
    /// # Errors
    /// `42704` for a name nobody has, `22023` for a value that it cannot have.
    pub(crate) fn checked(&mut self, name: &str, value: &str) -> Result<String, SqlError> {
        self.check(find(name).ok_or_else(|| unrecognized(name))?, value)
    }

    /// Gives a setting its initial value back.
    pub(crate) fn reset(&mut self, name: &str) -> Result<(), SqlError> {
        let lower = name.to_lowercase();
        let value = match (self.initial.get(&lower), find(&lower)) {
            (Some(value), _) => value.clone(),
            (None, Some(known)) => known.default.to_owned(),
            (None, None) if lower.contains('.') => String::new(),
            (None, None) => return Err(unrecognized(name)),
        };
        if find(&lower).is_some_and(|known| known.kind == Kind::ReadOnly) {
            return Err(cannot_change(name));
        }
        self.set(name, &value)
    }

    /// Gives all settings their initial values back.
    pub(crate) fn reset_all(&mut self) {
        let initial = self.initial.clone();
        self.values.clone_from(&initial);
        self.format = TextFormat::default();
        for known in KNOWN.iter().filter(|known| known.kind != Kind::ReadOnly) {
            let value = initial.get(&known.name.to_lowercase()).map_or(known.default, String::as_str).to_owned();
            // These values were accepted before.
            let _ = self.check(known, &value);
        }
        self.version = next_version();
    }

    fn put(&mut self, name: String, value: String) {
        self.values.insert(name, value);
        self.version = next_version();
    }

    /// The settings clients are told about.
    pub(crate) fn reported(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        KNOWN.iter().filter(|known| known.reported).map(|known| (known.name, self.get(known.name).unwrap_or_default()))
    }

    /// `statement_timeout`, none when it is off.
    pub(crate) fn statement_timeout(&self) -> Option<std::time::Duration> {
        let value = self.values.get("statement_timeout")?;
        let milliseconds = parse_milliseconds(value)?;
        (milliseconds > 0).then(|| std::time::Duration::from_millis(milliseconds))
    }

    /// `wharf.read_consistency` is `local`. Asked by every statement, so it takes no copy of the value.
    pub(crate) fn reads_locally(&self) -> bool {
        self.values.get(READ_CONSISTENCY).is_some_and(|value| value == LOCAL)
    }

    /// A size, in bytes.
    pub(crate) fn bytes(&self, name: &str) -> u64 {
        self.get(name).ok().and_then(|value| parse_bytes(&value)).unwrap_or_default()
    }

    /// A setting's boolean value.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_ok_and(|value| value == "on")
    }

    /// Checks a value and gives the form in which it is kept; applies those that change how values are written.
    fn check(&mut self, known: &Known, value: &str) -> Result<String, SqlError> {
        let invalid = || {
            SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid value for parameter \"{}\": \"{value}\"", known.name),
            )
        };
        Ok(match known.kind {
            Kind::Text => value.to_owned(),
            Kind::ReadOnly => return Err(cannot_change(known.name)),
            Kind::Fixed if value.eq_ignore_ascii_case(known.default) || boolean(value) == boolean(known.default) => {
                known.default.to_owned()
            }
            Kind::Fixed => {
                return Err(SqlError::unsupported(format!(
                    "parameter \"{}\" can only be {}",
                    known.name, known.default
                ))
                .with_hint("Leave the setting as it is."));
            }
            Kind::Boolean => match boolean(value) {
                Some(true) => "on".to_owned(),
                Some(false) => "off".to_owned(),
                None => {
                    return Err(SqlError::new(
                        SqlState::INVALID_PARAMETER_VALUE,
                        format!("parameter \"{}\" requires a Boolean value", known.name),
                    ));
                }
            },
            Kind::Integer(low, high) => {
                let number: i64 = value.trim().parse().map_err(|_| invalid())?;
                if !(low..=high).contains(&number) {
                    return Err(SqlError::new(
                        SqlState::INVALID_PARAMETER_VALUE,
                        format!(
                            "{number} is outside the valid range for parameter \"{}\" ({low} .. {high})",
                            known.name
                        ),
                    ));
                }
                if known.name == "extra_float_digits" {
                    self.format.extra_float_digits = number as i32;
                }
                number.to_string()
            }
            Kind::Milliseconds => with_unit(parse_milliseconds(value).ok_or_else(invalid)?),
            Kind::Bytes => {
                let units = "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".";
                in_bytes(parse_bytes(value).ok_or_else(|| invalid().with_hint(units))?)
            }
            Kind::DateStyle => {
                let style: DateStyle = self.format.date_style.parse(value).ok_or_else(invalid)?;
                self.format.date_style = style;
                style.to_string()
            }
            Kind::IntervalStyle => {
                let style = IntervalStyle::parse(value).ok_or_else(invalid)?;
                self.format.interval_style = style;
                style.to_string()
            }
            Kind::TimeZone => {
                let zone = TimeZone::parse(value).ok_or_else(invalid)?;
                let canonical = zone.to_string();
                self.format.time_zone = zone;
                canonical
            }
            Kind::Bytea => {
                let output = ByteaOutput::parse(value).ok_or_else(invalid)?;
                self.format.bytea_output = output;
                output.to_string()
            }
            Kind::Isolation => match value.to_lowercase().as_str() {
                level @ ("read uncommitted" | "read committed" | "repeatable read" | "serializable") => {
                    level.to_owned()
                }
                _ => return Err(invalid()),
            },
            Kind::Encoding => match value.to_uppercase().trim_matches(['\'', '"']) {
                "UTF8" | "UTF-8" | "UNICODE" | "SQL_ASCII" => "UTF8".to_owned(),
                other => {
                    return Err(SqlError::unsupported(format!("client encoding \"{other}\" is not supported"))
                        .with_hint("Wharf speaks UTF8 alone."));
                }
            },
            Kind::Choice(choices) => {
                let lower = value.to_lowercase();
                if !choices.contains(&lower.as_str()) {
                    return Err(invalid().with_hint(format!("Available values: {}.", choices.join(", "))));
                }
                lower
            }
        })
    }
}

fn unrecognized(name: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

fn cannot_change(name: &str) -> SqlError {
    SqlError::new(SqlState::CANT_CHANGE_RUNTIME_PARAM, format!("parameter \"{name}\" cannot be changed"))
}

fn boolean(value: &str) -> Option<bool> {
    match value.to_lowercase().as_str() {
        "on" | "true" | "t" | "yes" | "y" | "1" => Some(true),
        "off" | "false" | "f" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// A time with PostgreSQL's units, in milliseconds.
fn parse_milliseconds(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = value[..digits].parse().ok()?;
    let factor = match value[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor).filter(|milliseconds| *milliseconds <= i32::MAX as u64)
}

/// Milliseconds in the largest unit that says them without a fraction.
fn with_unit(milliseconds: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    match units.iter().find(|(factor, _)| milliseconds.is_multiple_of(*factor)) {
        Some((factor, unit)) if milliseconds > 0 => format!("{}{unit}", milliseconds / factor),
        _ => "0".to_owned(),
    }
}

const BYTE_UNITS: [(u64, &str); 5] = [(1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"), (1, "B")];

/// A size with PostgreSQL's units, in bytes.
fn parse_bytes(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = value[..digits].parse().ok()?;
    let unit = value[digits..].trim();
    let factor = if unit.is_empty() { 1 } else { BYTE_UNITS.iter().find(|(_, name)| *name == unit)?.0 };
    number.checked_mul(factor).filter(|bytes| *bytes <= i64::MAX as u64)
}

/// Bytes in the largest unit that says them without a fraction.
fn in_bytes(bytes: u64) -> String {
    match BYTE_UNITS.iter().find(|(factor, _)| bytes.is_multiple_of(*factor)) {
        Some((factor, unit)) if bytes > 0 => format!("{}{unit}", bytes / factor),
        _ => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_are_checked_and_kept_in_their_canonical_form() {
        let mut settings = Settings::new("wharf", true);
        settings.set("datestyle", "german").unwrap();
        assert_eq!(settings.get("DateStyle").unwrap(), "German, DMY");
        assert_eq!(settings.set("nonsense", "1").unwrap_err().code, SqlState::UNDEFINED_OBJECT);
        assert_eq!(settings.set("server_version", "1").unwrap_err().code, SqlState::CANT_CHANGE_RUNTIME_PARAM);
        assert_eq!(settings.set("client_encoding", "LATIN1").unwrap_err().code, SqlState::FEATURE_NOT_SUPPORTED);
        settings.reset("DateStyle").unwrap();
        assert_eq!(settings.get("datestyle").unwrap(), "ISO, MDY");
    }

    #[test]
    fn a_size_has_units() {
        let mut settings = Settings::new("wharf", true);
        assert_eq!(settings.bytes("wharf.distribute_min_bytes"), 256 << 20);
        settings.set("wharf.distribute_min_bytes", "2048kB").unwrap();
        assert_eq!(settings.get("wharf.distribute_min_bytes").unwrap(), "2MB");
        settings.set("wharf.distribute_min_bytes", "0").unwrap();
        assert_eq!(settings.bytes("wharf.distribute_min_bytes"), 0);
        for wrong in ["much", "1 mb", "-1", "99999999TB"] {
            let error = settings.set("wharf.distribute_min_bytes", wrong).unwrap_err();
            assert_eq!(error.code, SqlState::INVALID_PARAMETER_VALUE);
        }
    }

    #[test]
    fn hot_keys_are_split_unless_it_is_turned_off() {
        let mut settings = Settings::new("wharf", true);
        assert!(settings.is_on("wharf.split_hot_keys"));
        settings.set("wharf.split_hot_keys", "false").unwrap();
        assert!(!settings.is_on("wharf.split_hot_keys"));
        settings.reset("wharf.split_hot_keys").unwrap();
        assert!(settings.is_on("wharf.split_hot_keys"));
    }

    #[test]
    fn reads_are_local_where_that_is_asked_for() {
        let mut settings = Settings::new("wharf", true);
        assert_eq!(settings.get("wharf.read_consistency").unwrap(), "linearizable");
        assert!(!settings.reads_locally());
        settings.set("Wharf.Read_Consistency", "LOCAL").unwrap();
        assert_eq!(settings.get("wharf.read_consistency").unwrap(), "local");
        assert!(settings.reads_locally());
        let error = settings.set("wharf.read_consistency", "eventual").unwrap_err();
        assert_eq!(error.code, SqlState::INVALID_PARAMETER_VALUE);
        assert_eq!(error.hint.as_deref(), Some("Available values: linearizable, local."));
        settings.reset("wharf.read_consistency").unwrap();
        assert!(!settings.reads_locally());
    }

    #[test]
    fn a_timeout_has_units() {
        let mut settings = Settings::new("wharf", true);
        assert_eq!(settings.statement_timeout(), None);
        settings.set("statement_timeout", "2s").unwrap();
        assert_eq!(settings.statement_timeout(), Some(std::time::Duration::from_secs(2)));
        assert!(settings.set("statement_timeout", "soon").is_err());
    }
}
