//! What type a value that came as text could be of, and several together.
//!
//! What always holds: the type that is found takes every value it was found from, by the input function that COPY uses, and
//! gives back what was meant: a number with leading zeros is none, and dates and times are those of ISO 8601 alone, which mean
//! the same in every session.

use std::sync::LazyLock;

use regex::Regex;
use wharf_catalog::SqlType;

/// Digits of `numeric` without precision: before the point, and after it.
const NUMERIC: (u32, u32) = (22, 16);
/// Digits of the widest numeric.
const MAX_DIGITS: u32 = 38;

/// The types that values of a column could be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There was none but NULL.
    Nothing,
    Boolean,
    Number(Number),
    Double,
    Date,
    Timestamp,
    TimestampTz,
    Uuid,
    /// A document of JSON, or whatever there is beside one.
    Document,
    Text,
}

/// Decimal numbers without an exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// The most digits before the point.
    integral: u32,
    /// The most digits after it.
    fraction: u32,
    /// All fit into 64 bits.
    fits_bigint: bool,
}

impl Kind {
    /// What a text could be.
    pub(super) fn of_text(text: &str) -> Kind {
        static TIME: LazyLock<Option<Regex>> = LazyLock::new(|| {
            Regex::new(r"^\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(Z|[+-]\d\d(?::?\d\d)?)?)?$").ok()
        });
        static UUID: LazyLock<Option<Regex>> = LazyLock::new(|| {
            Regex::new(r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$").ok()
        });
        let trimmed = text.trim_matches(' ');
        if ["true", "false", "t", "f"].iter().any(|word| trimmed.eq_ignore_ascii_case(word)) {
            return Kind::Boolean;
        }
        if let Some(number) = Kind::of_number(trimmed) {
            return number;
        }
        if UUID.as_ref().is_some_and(|uuid| uuid.is_match(text)) {
            return Kind::Uuid;
        }
        match TIME.as_ref().and_then(|time| time.captures(trimmed)) {
            Some(_) if trimmed.len() == "2024-01-01".len() => Kind::Date,
            Some(parts) if parts.get(1).is_some() => Kind::TimestampTz,
            Some(_) => Kind::Timestamp,
            None => Kind::Text,
        }
    }

    /// What a number is; none for what is no number, or has leading zeros.
    pub(super) fn of_number(text: &str) -> Option<Kind> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if ["nan", "infinity", "inf"].iter().any(|word| digits.eq_ignore_ascii_case(word)) {
            return Some(Kind::Double);
        }
        let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (digits, None),
        };
        let (integral, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if integral.len() + fraction.len() == 0 || !is_digits(integral) || !is_digits(fraction) {
            return None;
        }
        if integral.len() > 1 && integral.starts_with('0') {
            return None;
        }
        if let Some(exponent) = exponent {
            let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            return (!digits.is_empty() && is_digits(digits)).then_some(Kind::Double);
        }
        // `5.` is no bigint.
        let fraction = if mantissa.contains('.') { (fraction.len() as u32).max(1) } else { 0 };
        let fits_bigint = fraction == 0 && text.parse::<i64>().is_ok();
        Some(Kind::Number(Number { integral: integral.len() as u32, fraction, fits_bigint }))
    }

    /// What takes both.
    pub(super) fn join(self, other: Kind) -> Kind {
        match (self, other) {
            (Kind::Nothing, kind) | (kind, Kind::Nothing) => kind,
            (Kind::Document, _) | (_, Kind::Document) => Kind::Document,
            (Kind::Number(a), Kind::Number(b)) => Kind::Number(Number {
                integral: a.integral.max(b.integral),
                fraction: a.fraction.max(b.fraction),
                fits_bigint: a.fits_bigint && b.fits_bigint,
            }),
            (Kind::Number(_) | Kind::Double, Kind::Number(_) | Kind::Double) => Kind::Double,
            (Kind::Date | Kind::Timestamp, Kind::Date | Kind::Timestamp) if self != other => Kind::Timestamp,
            _ if self == other => self,
            _ => Kind::Text,
        }
    }

    /// Could it be nothing but this? Text takes everything, and nothing is taken by everything.
    pub(super) fn is_specific(self) -> bool {
        !matches!(self, Kind::Nothing | Kind::Text)
    }

    /// The type.
    pub(super) fn sql_type(self) -> SqlType {
        match self {
            Kind::Nothing | Kind::Text => SqlType::Text,
            Kind::Boolean => SqlType::Boolean,
            Kind::Number(number) => number.sql_type(),
            Kind::Double => SqlType::Double,
            Kind::Date => SqlType::Date,
            Kind::Timestamp => SqlType::Timestamp,
            Kind::TimestampTz => SqlType::TimestampTz,
            Kind::Uuid => SqlType::Uuid,
            Kind::Document => SqlType::Jsonb,
        }
    }
}

impl Number {
    fn sql_type(self) -> SqlType {
        let Number { integral, fraction, fits_bigint } = self;
        if fits_bigint {
            return SqlType::BigInt;
        }
        if integral <= NUMERIC.0 && fraction <= NUMERIC.1 {
            return SqlType::Numeric(None);
        }
        if integral + fraction <= MAX_DIGITS {
            return SqlType::Numeric(Some((MAX_DIGITS as u8, fraction as i8)));
        }
        SqlType::Double
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(values: &[&str]) -> String {
        values.iter().map(|value| Kind::of_text(value)).fold(Kind::Nothing, Kind::join).sql_type().to_string()
    }

    #[test]
    fn values_have_the_narrowest_type_that_takes_them_all() {
        for (values, expected) in [
            (&[][..], "text"),
            (&["true", "F"], "boolean"),
            (&["1", "-9223372036854775808", " 7 "], "bigint"),
            (&["1", "9223372036854775808"], "numeric"),
            (&["1", "2.50"], "numeric"),
            (&["1.12345678901234567"], "numeric(38,17)"),
            (&["1", "2.5", "1e10"], "double precision"),
            (&["NaN", "1.5"], "double precision"),
            (&["2024-01-01"], "date"),
            (&["2024-01-01", "2024-01-01T10:00:00"], "timestamp without time zone"),
            (&["2024-01-01 10:00:00.5Z", "2024-01-01 10:00+01"], "timestamp with time zone"),
            (&["2024-01-01 10:00", "2024-01-01 10:00Z"], "text"),
            (&["6b1d5f3e-0000-4000-8000-000000000001"], "uuid"),
            (&["007"], "text"),
            (&["1", "x"], "text"),
            (&["1", "true"], "text"),
            (&["2024-01-01", "5"], "text"),
            (&["01/02/2024"], "text"),
            (&["5.", ".5"], "numeric"),
            (&["-", "+"], "text"),
            (&["1e"], "text"),
        ] {
            assert_eq!(found(values), expected, "{values:?}");
        }
    }
}
