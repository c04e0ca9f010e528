//! The settings of a session that decide how values are written and read: `DateStyle`, `IntervalStyle`, `TimeZone`,
//! `extra_float_digits`, `bytea_output`, and the time at which the transaction began.
//!
//! What always holds: every setting's `Display` is what `SHOW` prints, and its `parse` accepts what `SET` accepts.

use std::fmt;

use crate::time_zone::TimeZone;

/// What the text form of a value depends on besides the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFormat {
    /// `DateStyle`.
    pub date_style: DateStyle,
    /// `IntervalStyle`.
    pub interval_style: IntervalStyle,
    /// `TimeZone`.
    pub time_zone: TimeZone,
    /// `extra_float_digits`: above 0 the shortest digits that read back exactly, otherwise so many digits fewer (or
    /// none more) than the 15 (6 for real) that always hold.
    pub extra_float_digits: i32,
    /// `bytea_output`.
    pub bytea_output: ByteaOutput,
    /// When the transaction began, in microseconds since 1970-01-01 UTC: what `now`, `today` and `yesterday` are read
    /// as. `None` refuses those words, for places where a value must not depend on when it is read.
    pub now: Option<i64>,
}

impl Default for TextFormat {
    /// PostgreSQL's defaults, in UTC, without a clock.
    fn default() -> Self {
        TextFormat {
            date_style: DateStyle::default(),
            interval_style: IntervalStyle::default(),
            time_zone: TimeZone::UTC,
            extra_float_digits: 1,
            bytea_output: ByteaOutput::default(),
            now: None,
        }
    }
}

/// `DateStyle`: how dates are printed, and in which order ambiguous ones are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DateStyle {
    /// The form of output.
    pub output: DateOutput,
    /// The order of day, month and year, read always and printed by the forms that have one.
    pub order: DateOrder,
}

/// The first word of `DateStyle`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DateOutput {
    /// `2001-02-03 04:05:06+00`
    #[default]
    Iso,
    /// `02/03/2001 04:05:06 UTC`
    Sql,
    /// `Sat Feb 03 04:05:06 2001 UTC`
    Postgres,
    /// `03.02.2001 04:05:06 UTC`
    German,
}

/// The second word of `DateStyle`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DateOrder {
    /// Month, day, year.
    #[default]
    Mdy,
    /// Day, month, year.
    Dmy,
    /// Year, month, day.
    Ymd,
}

impl DateStyle {
    /// Reads a new value of the setting: one or two words, separated by commas. What is not mentioned stays as it is
    /// in `self`; `None` when a word is unknown or two words contradict each other.
    pub fn parse(self, text: &str) -> Option<DateStyle> {
        let mut output = None;
        let mut order = None;
        fn set<T: PartialEq>(slot: &mut Option<T>, value: T) -> Option<()> {
            if slot.as_ref().is_some_and(|old| *old != value) {
                return None;
            }
            *slot = Some(value);
            Some(())
        }
        for word in text.split(',').map(|word| word.trim().to_ascii_lowercase()) {
            match word.as_str() {
                "iso" => set(&mut output, DateOutput::Iso)?,
                "sql" => set(&mut output, DateOutput::Sql)?,
                "german" => set(&mut output, DateOutput::German)?,
                "ymd" => set(&mut order, DateOrder::Ymd)?,
                "mdy" | "us" | "noneuropean" | "noneuro" => set(&mut order, DateOrder::Mdy)?,
                "dmy" => set(&mut order, DateOrder::Dmy)?,
                "default" => {
                    output = output.or(Some(DateOutput::Iso));
                    order = order.or(Some(DateOrder::Mdy));
                }
                other if other.starts_with("postgres") => set(&mut output, DateOutput::Postgres)?,
                other if other.starts_with("euro") => set(&mut order, DateOrder::Dmy)?,
                other if other.starts_with("noneuro") => set(&mut order, DateOrder::Mdy)?,
                _ => return None,
            }
        }
        if output == Some(DateOutput::German) {
            order = order.or(Some(DateOrder::Dmy));
        }
        Some(DateStyle { output: output.unwrap_or(self.output), order: order.unwrap_or(self.order) })
    }
}

impl fmt::Display for DateStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let output = match self.output {
            DateOutput::Iso => "ISO",
            DateOutput::Sql => "SQL",
            DateOutput::Postgres => "Postgres",
            DateOutput::German => "German",
        };
        let order = match self.order {
            DateOrder::Mdy => "MDY",
            DateOrder::Dmy => "DMY",
            DateOrder::Ymd => "YMD",
        };
        write!(f, "{output}, {order}")
    }
}

/// `IntervalStyle`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntervalStyle {
    /// `1 year 2 mons 3 days 04:05:06`
    #[default]
    Postgres,
    /// `@ 1 year 2 mons 3 days 4 hours 5 mins 6 secs`
    PostgresVerbose,
    /// `+1-2 +3 +4:05:06`
    SqlStandard,
    /// `P1Y2M3DT4H5M6S`
    Iso8601,
}

impl IntervalStyle {
    /// Reads a value of the setting, in any case; `None` when there is no such style.
    pub fn parse(text: &str) -> Option<IntervalStyle> {
        [IntervalStyle::Postgres, IntervalStyle::PostgresVerbose, IntervalStyle::SqlStandard, IntervalStyle::Iso8601]
            .into_iter()
            .find(|style| style.name().eq_ignore_ascii_case(text))
    }

    fn name(self) -> &'static str {
        match self {
            IntervalStyle::Postgres => "postgres",
            IntervalStyle::PostgresVerbose => "postgres_verbose",
            IntervalStyle::SqlStandard => "sql_standard",
            IntervalStyle::Iso8601 => "iso_8601",
        }
    }
}

impl fmt::Display for IntervalStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `bytea_output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteaOutput {
    /// `\x0041`
    #[default]
    Hex,
    /// `\000A`
    Escape,
}

impl ByteaOutput {
    /// Reads a value of the setting, in any case; `None` when there is no such form.
    pub fn parse(text: &str) -> Option<ByteaOutput> {
        if text.eq_ignore_ascii_case("hex") {
            Some(ByteaOutput::Hex)
        } else if text.eq_ignore_ascii_case("escape") {
            Some(ByteaOutput::Escape)
        } else {
            None
        }
    }
}

impl fmt::Display for ByteaOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ByteaOutput::Hex => "hex",
            ByteaOutput::Escape => "escape",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn date_style_keeps_what_is_not_mentioned() {
        let start = DateStyle::default();
        assert_eq!(start.to_string(), "ISO, MDY");
        let european = start.parse("SQL, DMY").unwrap();
        assert_eq!(european.to_string(), "SQL, DMY");
        assert_eq!(european.parse("iso").unwrap().to_string(), "ISO, DMY");
        assert_eq!(start.parse("German").unwrap().to_string(), "German, DMY");
        assert_eq!(start.parse("postgres,european").unwrap().to_string(), "Postgres, DMY");
        assert_eq!(start.parse("iso, sql"), None);
        assert_eq!(start.parse("julian"), None);
    }
}
