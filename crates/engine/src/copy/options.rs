//! The options of COPY, checked as PostgreSQL checks them.
//!
//! What always holds: options that contradict each other, the format or the direction are refused with PostgreSQL's
//! message, so a decoder or encoder need not check again. Whether listed columns exist is checked where the columns are
//! known.

use wharf_values::{SqlError, SqlState};

use super::rejects::{OnError, Rejects, Verbosity};
use super::statement::{OptionItem, OptionValue};

/// The format of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CopyFormat {
    /// Columns separated by tabs, with backslash escapes.
    #[default]
    Text,
    /// Columns separated by commas, with quotes.
    Csv,
    /// PostgreSQL's binary format.
    Binary,
    /// One object a line.
    Json,
    /// Parquet, in files alone.
    Parquet,
}

impl CopyFormat {
    /// What the format is called where a message names it.
    fn mode(self) -> &'static str {
        match self {
            CopyFormat::Text => "TEXT",
            CopyFormat::Csv => "CSV",
            CopyFormat::Binary => "BINARY",
            CopyFormat::Json => "JSON",
            CopyFormat::Parquet => "PARQUET",
        }
    }

    /// What the option FORMAT calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            CopyFormat::Text => "text",
            CopyFormat::Csv => "csv",
            CopyFormat::Binary => "binary",
            CopyFormat::Json => "json",
            CopyFormat::Parquet => "parquet",
        }
    }

    /// Lines of values with separators between them.
    fn has_separators(self) -> bool {
        matches!(self, CopyFormat::Text | CopyFormat::Csv)
    }
}

/// What the first line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Header {
    /// Data.
    #[default]
    None,
    /// Names, not looked at.
    Skip,
    /// Names that must be those of the columns.
    Match,
    /// Names that say which columns the values are of, in this way.
    ByName(NameCase),
}

/// When a name of a header is the name of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameCase {
    /// When they are equal.
    Sensitive,
    /// Also when they are equal but for upper and lower case, unless another column's is equal.
    Insensitive,
}

/// Some of the columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Columns {
    /// None of them.
    #[default]
    None,
    /// `*`
    All,
    /// Those listed.
    List(Vec<String>),
}

/// The options of one COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyOptions {
    /// The format.
    pub(crate) format: CopyFormat,
    pub(super) delimiter: u8,
    pub(super) null: String,
    pub(super) header: Header,
    pub(super) quote: u8,
    pub(super) escape: u8,
    pub(super) force_quote: Columns,
    pub(super) force_not_null: Columns,
    pub(super) force_null: Columns,
    on_error: OnError,
    reject_limit: Option<u64>,
    verbosity: Verbosity,
}

fn syntax_error(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, message)
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// The options as they were given, each at most once.
#[derive(Default)]
struct Given {
    format: Option<String>,
    freeze: bool,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<Header>,
    by_name: Option<Option<NameCase>>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Option<Columns>,
    force_not_null: Option<Columns>,
    force_null: Option<Columns>,
    encoding: Option<String>,
    on_error: Option<OnError>,
    reject_limit: Option<u64>,
    verbosity: Option<Verbosity>,
}

impl CopyOptions {
    /// The options of a list of names and values; `to` for COPY TO.
    ///
    /// # Errors
    /// `42601`, `22023` and `0A000` with PostgreSQL's messages.
    pub(crate) fn new(items: &[OptionItem], to: bool) -> Result<CopyOptions, SqlError> {
        CopyOptions::with_default(items, to, CopyFormat::Text)
    }

    /// As [`CopyOptions::new`], with the format that holds when the options name none.
    ///
    /// # Errors
    /// As [`CopyOptions::new`].
    pub(crate) fn with_default(items: &[OptionItem], to: bool, default: CopyFormat) -> Result<CopyOptions, SqlError> {
        let mut given = Given::default();
        for item in items {
            given.take(item, to)?;
        }
        given.check(to, default)
    }

    /// Where rows go that are not taken; `keep` for those that go to a table.
    pub(crate) fn rejects(&self, keep: bool) -> Rejects {
        Rejects::new(self.on_error, self.reject_limit, self.verbosity, keep)
    }

    /// Is the first line one of names?
    pub(crate) fn has_header(&self) -> bool {
        self.header != Header::None
    }

    /// Are values assigned to the columns that a header names?
    pub(crate) fn is_by_name(&self) -> bool {
        matches!(self.header, Header::ByName(_))
    }

    /// Are rows passed over that are wrong?
    pub(crate) fn tolerates_errors(&self) -> bool {
        self.on_error != OnError::Stop
    }

    /// The columns that FORCE_NULL and FORCE_NOT_NULL list.
    pub(crate) fn forced_columns(&self) -> impl Iterator<Item = &str> {
        [&self.force_null, &self.force_not_null]
            .into_iter()
            .flat_map(|columns| match columns {
                Columns::List(names) => names.as_slice(),
                Columns::None | Columns::All => &[],
            })
            .map(String::as_str)
    }

    /// Which of the copied columns are listed.
    ///
    /// # Errors
    /// `42P10` for a listed column that is not copied.
    pub(super) fn places(columns: &Columns, names: &[&str], option: &str) -> Result<Vec<bool>, SqlError> {
        match columns {
            Columns::None => Ok(vec![false; names.len()]),
            Columns::All => Ok(vec![true; names.len()]),
            Columns::List(list) => {
                let mut places = vec![false; names.len()];
                for wanted in list {
                    let Some(place) = names.iter().position(|name| name == wanted) else {
                        return Err(SqlError::new(
                            SqlState::INVALID_COLUMN_REFERENCE,
                            format!("{option} column \"{wanted}\" not referenced by COPY"),
                        ));
                    };
                    places[place] = true;
                }
                Ok(places)
            }
        }
    }
}

impl Given {
    fn take(&mut self, item: &OptionItem, to: bool) -> Result<(), SqlError> {
        fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), SqlError> {
            match slot.replace(value) {
                None => Ok(()),
                Some(_) => Err(syntax_error("conflicting or redundant options")),
            }
        }
        let name = item.name.as_str();
        let text = || match &item.value {
            OptionValue::Text(text) => Ok(text.clone()),
            _ => Err(syntax_error(format!("{name} requires a parameter"))),
        };
        let columns = |star: bool| match &item.value {
            OptionValue::List(names) => Ok(Columns::List(names.clone())),
            OptionValue::Star if star => Ok(Columns::All),
            _ => Err(invalid(format!("argument to option \"{name}\" must be a list of column names"))),
        };
        match name {
            "format" => once(&mut self.format, text()?),
            "freeze" => {
                boolean(&item.value).ok_or_else(|| syntax_error("freeze requires a Boolean value"))?;
                if std::mem::replace(&mut self.freeze, true) {
                    return Err(syntax_error("conflicting or redundant options"));
                }
                Ok(())
            }
            "delimiter" => once(&mut self.delimiter, text()?),
            "null" => once(&mut self.null, text()?),
            "header" => {
                let header = match (&item.value, boolean(&item.value)) {
                    (_, Some(true)) => Header::Skip,
                    (_, Some(false)) => Header::None,
                    (OptionValue::Text(text), None) if text.eq_ignore_ascii_case("match") => {
                        if to {
                            return Err(SqlError::unsupported("cannot use \"match\" with HEADER in COPY TO")
                                .with_hint("Write HEADER true."));
                        }
                        Header::Match
                    }
                    _ => return Err(syntax_error("header requires a Boolean value or \"match\"")),
                };
                once(&mut self.header, header)
            }
            "match_by_column_name" => {
                if to {
                    return Err(invalid("COPY MATCH_BY_COLUMN_NAME cannot be used with COPY TO"));
                }
                let case = match (&item.value, boolean(&item.value)) {
                    (_, Some(true)) => Some(NameCase::Insensitive),
                    (_, Some(false)) => None,
                    (OptionValue::Text(text), None) => match text.to_ascii_lowercase().as_str() {
                        "none" => None,
                        "case_insensitive" => Some(NameCase::Insensitive),
                        "case_sensitive" => Some(NameCase::Sensitive),
                        _ => {
                            return Err(invalid(format!("COPY MATCH_BY_COLUMN_NAME \"{text}\" not recognized"))
                                .with_hint("There are case_sensitive, case_insensitive and none."));
                        }
                    },
                    _ => return Err(syntax_error("match_by_column_name requires a parameter")),
                };
                once(&mut self.by_name, case)
            }
            "quote" => once(&mut self.quote, text()?),
            "escape" => once(&mut self.escape, text()?),
            "force_quote" => once(&mut self.force_quote, columns(true)?),
            "force_not_null" => once(&mut self.force_not_null, columns(false)?),
            "force_null" => once(&mut self.force_null, columns(false)?),
            "encoding" => once(&mut self.encoding, text()?),
            "on_error" => {
                if to {
                    return Err(invalid("COPY ON_ERROR cannot be used with COPY TO"));
                }
                let choice = text()?;
                let on_error = match choice.to_ascii_lowercase().as_str() {
                    "stop" | "abort" => OnError::Stop,
                    "ignore" => OnError::Ignore,
                    "skip" => OnError::Skip,
                    _ => return Err(invalid(format!("COPY ON_ERROR \"{choice}\" not recognized"))),
                };
                once(&mut self.on_error, on_error)
            }
            "reject_limit" => {
                let given = text()?;
                let limit: i64 = given.parse().map_err(|_| syntax_error("reject_limit requires a numeric value"))?;
                let fits = u64::try_from(limit).ok().filter(|limit| *limit > 0);
                let refused = || invalid(format!("REJECT_LIMIT ({limit}) must be greater than zero"));
                once(&mut self.reject_limit, fits.ok_or_else(refused)?)
            }
            "log_verbosity" => {
                let choice = text()?;
                let verbosity = match choice.to_ascii_lowercase().as_str() {
                    "silent" => Verbosity::Silent,
                    "default" => Verbosity::Default,
                    "verbose" => Verbosity::Verbose,
                    _ => return Err(invalid(format!("COPY LOG_VERBOSITY \"{choice}\" not recognized"))),
                };
                once(&mut self.verbosity, verbosity)
            }
            _ => Err(syntax_error(format!("option \"{name}\" not recognized"))),
        }
    }

    /// PostgreSQL's `ProcessCopyOptions`, in its order.
    fn check(self, to: bool, default: CopyFormat) -> Result<CopyOptions, SqlError> {
        let format = match self.format.as_deref() {
            None => default,
            Some("text") => CopyFormat::Text,
            Some("csv") => CopyFormat::Csv,
            Some("binary") => CopyFormat::Binary,
            Some("json") => CopyFormat::Json,
            Some("parquet") => CopyFormat::Parquet,
            Some(other) => return Err(invalid(format!("COPY format \"{other}\" not recognized"))),
        };
        if let Some(encoding) = &self.encoding {
            check_encoding(encoding)?;
        }
        let csv = format == CopyFormat::Csv;
        if !format.has_separators() {
            let mode = format.mode();
            if self.delimiter.is_some() {
                return Err(syntax_error(format!("cannot specify DELIMITER in {mode} mode")));
            }
            if self.null.is_some() {
                return Err(syntax_error(format!("cannot specify NULL in {mode} mode")));
            }
        }
        let delimiter = self.delimiter.unwrap_or_else(|| if csv { "," } else { "\t" }.to_owned());
        let null = self.null.unwrap_or_else(|| if csv { "" } else { "\\N" }.to_owned());
        let delimiter = one_byte(&delimiter, "delimiter")?;
        if matches!(delimiter, b'\r' | b'\n') {
            return Err(invalid("COPY delimiter cannot be newline or carriage return"));
        }
        if null.contains(['\r', '\n']) {
            return Err(invalid("COPY null representation cannot use newline or carriage return"));
        }
        // What has a meaning after a backslash cannot separate.
        let reserved = matches!(delimiter, b'\\' | b'.' | b'a'..=b'z' | b'0'..=b'9');
        if !csv && reserved {
            return Err(invalid(format!("COPY delimiter cannot be \"{}\"", char::from(delimiter))));
        }
        if !format.has_separators() && self.header.is_some_and(|header| header != Header::None) {
            return Err(SqlError::unsupported(format!("cannot specify HEADER in {} mode", format.mode()))
                .with_hint("Leave HEADER out."));
        }
        let header = match self.by_name.flatten() {
            None => self.header.unwrap_or_default(),
            Some(_) if !csv => {
                let error = SqlError::unsupported("COPY MATCH_BY_COLUMN_NAME available only in CSV mode");
                return Err(match format {
                    CopyFormat::Json | CopyFormat::Parquet => {
                        error.with_hint("The columns of Parquet and JSON are always matched by name.")
                    }
                    CopyFormat::Text | CopyFormat::Binary | CopyFormat::Csv => error.with_hint(CSV_ALONE),
                });
            }
            Some(case) => match self.header {
                None | Some(Header::Skip) => Header::ByName(case),
                Some(Header::None | Header::Match | Header::ByName(_)) => {
                    return Err(invalid("COPY MATCH_BY_COLUMN_NAME requires HEADER true"));
                }
            },
        };
        if !csv && self.quote.is_some() {
            return Err(SqlError::unsupported("COPY quote available only in CSV mode").with_hint(CSV_ALONE));
        }
        let quote = self.quote.map_or(Ok(b'"'), |quote| one_byte(&quote, "quote"))?;
        if csv && delimiter == quote {
            return Err(invalid("COPY delimiter and quote must be different"));
        }
        if !csv && self.escape.is_some() {
            return Err(SqlError::unsupported("COPY escape available only in CSV mode").with_hint(CSV_ALONE));
        }
        let escape = self.escape.map_or(Ok(quote), |escape| one_byte(&escape, "escape"))?;
        let only = |columns: &Option<Columns>, what: &str, direction_fits: bool, direction: &str| {
            if columns.is_none() {
                Ok(())
            } else if !csv {
                Err(SqlError::unsupported(format!("COPY {what} available only in CSV mode")).with_hint(CSV_ALONE))
            } else if !direction_fits {
                Err(SqlError::unsupported(format!("COPY {what} only available using COPY {direction}"))
                    .with_hint("Leave the option out."))
            } else {
                Ok(())
            }
        };
        only(&self.force_quote, "force quote", to, "TO")?;
        only(&self.force_not_null, "force not null", !to, "FROM")?;
        only(&self.force_null, "force null", !to, "FROM")?;
        if null.as_bytes().contains(&delimiter) {
            return Err(SqlError::unsupported("COPY delimiter must not appear in the NULL specification")
                .with_hint("Choose another delimiter, or another text for NULL."));
        }
        if csv && null.as_bytes().contains(&quote) {
            return Err(SqlError::unsupported("CSV quote character must not appear in the NULL specification")
                .with_hint("Choose another quote, or another text for NULL."));
        }
        let on_error = self.on_error.unwrap_or_default();
        if on_error != OnError::Stop && matches!(format, CopyFormat::Binary | CopyFormat::Parquet) {
            return Err(syntax_error(format!("only ON_ERROR STOP is allowed in {} mode", format.mode())));
        }
        if self.reject_limit.is_some() && on_error == OnError::Stop {
            return Err(invalid("COPY REJECT_LIMIT requires ON_ERROR to be set to IGNORE"));
        }
        Ok(CopyOptions {
            on_error,
            reject_limit: self.reject_limit,
            verbosity: self.verbosity.unwrap_or_default(),
            format,
            delimiter,
            null,
            header,
            quote,
            escape,
            force_quote: self.force_quote.unwrap_or_default(),
            force_not_null: self.force_not_null.unwrap_or_default(),
            force_null: self.force_null.unwrap_or_default(),
        })
    }
}

/// The hint where an option is for CSV and the format is another.
const CSV_ALONE: &str = "Add FORMAT csv, or leave the option out.";

fn one_byte(text: &str, what: &str) -> Result<u8, SqlError> {
    match text.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(SqlError::unsupported(format!("COPY {what} must be a single one-byte character"))
            .with_hint("Choose one ASCII character.")),
    }
}

impl OptionValue {
    /// As a Boolean; true when nothing is given.
    pub(crate) fn as_boolean(&self) -> Option<bool> {
        boolean(self)
    }
}

fn boolean(value: &OptionValue) -> Option<bool> {
    match value {
        OptionValue::None => Some(true),
        OptionValue::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "1" => Some(true),
            "false" | "off" | "0" => Some(false),
            _ => None,
        },
        OptionValue::List(_) | OptionValue::Star => None,
    }
}

fn check_encoding(name: &str) -> Result<(), SqlError> {
    let plain = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match plain.as_str() {
        "utf8" | "unicode" => Ok(()),
        other if is_encoding(other) => Err(SqlError::unsupported(format!("encoding \"{name}\" is not supported"))
            .with_hint("The only encoding is UTF8.")),
        _ => Err(invalid("argument to option \"encoding\" must be a valid encoding name")),
    }
}

/// Whether PostgreSQL knows an encoding of this name, without punctuation and in lower case.
fn is_encoding(name: &str) -> bool {
    const FAMILIES: [&str; 6] = ["iso8859", "koi8", "latin", "win", "windows", "euc"];
    const SINGLE: [&str; 16] = [
        "abc",
        "alt",
        "big5",
        "gb18030",
        "gbk",
        "johab",
        "mskanji",
        "muleinternal",
        "shiftjis",
        "shiftjis2004",
        "sjis",
        "sqlascii",
        "tcvn",
        "uhc",
        "vscii",
        "koi8",
    ];
    SINGLE.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family) && name.len() > family.len())
}
