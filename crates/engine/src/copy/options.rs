//! COPY's options, in the parenthesised and in the old spelling, checked as PostgreSQL checks them.

use sqlparser::ast::{CopyLegacyCsvOption, CopyLegacyOption, CopyOption, Ident};
use wharf_values::{SqlError, SqlState};

use crate::bind::names::fold;

/// The data format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyFormat {
    Text,
    Csv,
    Binary,
}

/// Which columns an option is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Columns {
    #[default]
    None,
    All,
    Named(Vec<String>),
}

impl Columns {
    /// Is a column among them?
    pub(crate) fn contains(&self, name: &str) -> bool {
        match self {
            Columns::None => false,
            Columns::All => true,
            Columns::Named(names) => names.iter().any(|known| known == name),
        }
    }
}

/// Everything COPY can be told.
#[derive(Clone, Debug)]
pub(crate) struct CopyOptions {
    pub(crate) format: CopyFormat,
    pub(crate) delimiter: u8,
    pub(crate) null: String,
    pub(crate) header: bool,
    pub(crate) quote: u8,
    pub(crate) escape: u8,
    pub(crate) force_quote: Columns,
    pub(crate) force_not_null: Columns,
    pub(crate) force_null: Columns,
}

/// What was said, before defaults.
#[derive(Default)]
struct Said {
    format: Option<CopyFormat>,
    delimiter: Option<char>,
    null: Option<String>,
    header: Option<bool>,
    quote: Option<char>,
    escape: Option<char>,
    force_quote: Columns,
    force_not_null: Columns,
    force_null: Columns,
}

impl CopyOptions {
    /// Reads the options of a COPY to (`to`) or from the client.
    ///
    /// # Errors
    /// `42601` for options that contradict each other, `22023` for values they cannot have, `0A000` for encodings other
    /// than UTF8 and combinations PostgreSQL refuses too.
    pub(crate) fn new(
        options: &[CopyOption],
        legacy: &[CopyLegacyOption],
        to: bool,
    ) -> Result<CopyOptions, SqlError> {
        let mut said = Said::default();
        for option in options {
            said.option(option)?;
        }
        for option in legacy {
            said.legacy(option)?;
        }
        said.check(to)
    }
}

fn names(columns: &[Ident]) -> Columns {
    Columns::Named(columns.iter().map(fold).collect())
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), SqlError> {
    if slot.is_some() {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "conflicting or redundant options"));
    }
    *slot = Some(value);
    Ok(())
}

impl Said {
    fn option(&mut self, option: &CopyOption) -> Result<(), SqlError> {
        match option {
            CopyOption::Format(name) => set(
                &mut self.format,
                match fold(name).as_str() {
                    "text" => CopyFormat::Text,
                    "csv" => CopyFormat::Csv,
                    "binary" => CopyFormat::Binary,
                    other => {
                        return Err(SqlError::new(
                            SqlState::INVALID_PARAMETER_VALUE,
                            format!("COPY format \"{other}\" not recognized"),
                        ));
                    }
                },
            ),
            CopyOption::Freeze(_) => Ok(()),
            CopyOption::Delimiter(value) => set(&mut self.delimiter, *value),
            CopyOption::Null(text) => set(&mut self.null, text.clone()),
            CopyOption::Header(value) => set(&mut self.header, *value),
            CopyOption::Quote(value) => set(&mut self.quote, *value),
            CopyOption::Escape(value) => set(&mut self.escape, *value),
            CopyOption::ForceQuote(columns) => {
                self.force_quote = names(columns);
                Ok(())
            }
            CopyOption::ForceNotNull(columns) => {
                self.force_not_null = names(columns);
                Ok(())
            }
            CopyOption::ForceNull(columns) => {
                self.force_null = names(columns);
                Ok(())
            }
            CopyOption::Encoding(name) => {
                if matches!(name.to_uppercase().as_str(), "UTF8" | "UTF-8" | "UNICODE") {
                    return Ok(());
                }
                Err(SqlError::unsupported(format!("COPY encoding \"{name}\" is not supported"))
                    .with_hint("Wharf speaks UTF8 alone."))
            }
        }
    }

    fn legacy(&mut self, option: &CopyLegacyOption) -> Result<(), SqlError> {
        match option {
            CopyLegacyOption::Binary => set(&mut self.format, CopyFormat::Binary),
            CopyLegacyOption::Delimiter(value) => set(&mut self.delimiter, *value),
            CopyLegacyOption::Null(text) => set(&mut self.null, text.clone()),
            CopyLegacyOption::Header => set(&mut self.header, true),
            CopyLegacyOption::Csv(options) => {
                set(&mut self.format, CopyFormat::Csv)?;
                for option in options {
                    match option {
                        CopyLegacyCsvOption::Header => set(&mut self.header, true)?,
                        CopyLegacyCsvOption::Quote(value) => set(&mut self.quote, *value)?,
                        CopyLegacyCsvOption::Escape(value) => set(&mut self.escape, *value)?,
                        CopyLegacyCsvOption::ForceQuote(columns) => self.force_quote = names(columns),
                        CopyLegacyCsvOption::ForceNotNull(columns) => self.force_not_null = names(columns),
                    }
                }
                Ok(())
            }
            other => Err(SqlError::new(SqlState::SYNTAX_ERROR, format!("option \"{other}\" not recognized"))),
        }
    }

    fn check(self, to: bool) -> Result<CopyOptions, SqlError> {
        let format = self.format.unwrap_or(CopyFormat::Text);
        let csv = format == CopyFormat::Csv;
        let refuse = |message: &str| Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        let invalid = |message: &str| Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
        if format == CopyFormat::Binary {
            let syntax = |message: &str| Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
            if self.delimiter.is_some() {
                return syntax("cannot specify DELIMITER in BINARY mode");
            }
            if self.null.is_some() {
                return syntax("cannot specify NULL in BINARY mode");
            }
            if self.header == Some(true) {
                return syntax("cannot specify HEADER in BINARY mode");
            }
        }
        let delimiter = one_byte(self.delimiter.unwrap_or(if csv { ',' } else { '\t' }), "delimiter")?;
        let null = self.null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() });
        if matches!(delimiter, b'\n' | b'\r') {
            return invalid("COPY delimiter cannot be newline or carriage return");
        }
        if null.contains(['\n', '\r']) {
            return invalid("COPY null representation cannot use newline or carriage return");
        }
        if !csv && (delimiter.is_ascii_lowercase() || delimiter.is_ascii_digit() || matches!(delimiter, b'\\' | b'.')) {
            return invalid(&format!("COPY delimiter cannot be \"{}\"", char::from(delimiter)));
        }
        if !csv && self.quote.is_some() {
            return refuse("COPY quote available only in CSV mode");
        }
        if !csv && self.escape.is_some() {
            return refuse("COPY escape available only in CSV mode");
        }
        let quote = one_byte(self.quote.unwrap_or('"'), "quote")?;
        let escape = one_byte(self.escape.unwrap_or(char::from(quote)), "escape")?;
        if csv && delimiter == quote {
            return invalid("COPY delimiter and quote must be different");
        }
        if self.force_quote != Columns::None && !(csv && to) {
            return refuse(if csv {
                "COPY force quote only available using COPY TO"
            } else {
                "COPY force quote available only in CSV mode"
            });
        }
        if self.force_not_null != Columns::None && (!csv || to) {
            return refuse(if csv {
                "COPY force not null only available using COPY FROM"
            } else {
                "COPY force not null available only in CSV mode"
            });
        }
        if self.force_null != Columns::None && (!csv || to) {
            return refuse(if csv {
                "COPY force null only available using COPY FROM"
            } else {
                "COPY force null available only in CSV mode"
            });
        }
        if null.bytes().any(|byte| byte == delimiter) {
            return refuse("COPY delimiter must not appear in the NULL specification");
        }
        if csv && null.bytes().any(|byte| byte == quote) {
            return refuse("CSV quote character must not appear in the NULL specification");
        }
        Ok(CopyOptions {
            format,
            delimiter,
            null,
            header: self.header.unwrap_or(false),
            quote,
            escape,
            force_quote: self.force_quote,
            force_not_null: self.force_not_null,
            force_null: self.force_null,
        })
    }
}

fn one_byte(value: char, what: &str) -> Result<u8, SqlError> {
    u8::try_from(value).ok().filter(u8::is_ascii).ok_or_else(|| {
        SqlError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("COPY {what} must be a single one-byte character"),
        )
    })
}
