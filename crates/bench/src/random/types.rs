//! The types that random queries compute with: their names, their literals, and how equal values that look different are
//! made to look the same.

use fastrand::Rng;

/// A type of PostgreSQL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SqlType {
    Small,
    Int,
    Big,
    Real,
    Float,
    Numeric,
    Text,
    Bool,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Bytea,
    IntArray,
}

/// The types that a column of a random query may have; those that more can be done with come more often.
pub(super) const COMMON: &[SqlType] = &[
    SqlType::Int,
    SqlType::Int,
    SqlType::Int,
    SqlType::Big,
    SqlType::Float,
    SqlType::Numeric,
    SqlType::Numeric,
    SqlType::Text,
    SqlType::Text,
    SqlType::Text,
    SqlType::Bool,
    SqlType::Date,
    SqlType::Timestamp,
    SqlType::Interval,
    SqlType::Small,
    SqlType::Real,
    SqlType::TimestampTz,
    SqlType::IntArray,
    SqlType::Time,
    SqlType::Uuid,
    SqlType::Bytea,
];

impl SqlType {
    /// As a cast names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            SqlType::Small => "smallint",
            SqlType::Int => "integer",
            SqlType::Big => "bigint",
            SqlType::Real => "real",
            SqlType::Float => "double precision",
            SqlType::Numeric => "numeric",
            SqlType::Text => "text",
            SqlType::Bool => "boolean",
            SqlType::Date => "date",
            SqlType::Time => "time",
            SqlType::Timestamp => "timestamp",
            SqlType::TimestampTz => "timestamptz",
            SqlType::Interval => "interval",
            SqlType::Uuid => "uuid",
            SqlType::Bytea => "bytea",
            SqlType::IntArray => "integer[]",
        }
    }

    /// Whether equal values look the same in an answer, as far as answers are compared: the scale of numerics and the sign of
    /// zero are not. Which of those that look different DISTINCT keeps, or `max` gives, is not determined.
    pub(super) fn looks_as_it_compares(self) -> bool {
        self != SqlType::Interval
    }

    /// The expression, as a template, that makes equal values look the same.
    pub(super) fn canonical(self) -> &'static str {
        match self {
            // `1 mon` and `30 days`.
            SqlType::Interval => "justify_interval($0)",
            _ => "$0",
        }
    }

    /// What ORDER BY takes, as a template, so that rows that it holds for equal look the same in an answer.
    pub(super) fn order_key(self) -> &'static str {
        match self {
            SqlType::Interval => "$0::text",
            _ => "$0",
        }
    }

    /// What stands in for NULL where a column takes none.
    pub(super) fn substitute(self) -> &'static str {
        match self {
            SqlType::Text => "''",
            SqlType::Bool => "false",
            _ => "0",
        }
    }

    /// Whether `min` and `max` take it.
    pub(super) fn has_extremes(self) -> bool {
        !matches!(self, SqlType::Bool | SqlType::Uuid | SqlType::Bytea)
    }

    /// A value as it stands in a statement, with its type: few and small ones, so that they meet each other in joins, and those
    /// at which implementations differ.
    pub(super) fn literal(self, random: &mut Rng) -> String {
        format!("({})::{}", self.bare_literal(random), self.name())
    }

    /// NULL of this type.
    pub(super) fn null(self) -> String {
        format!("NULL::{}", self.name())
    }

    fn bare_literal(self, random: &mut Rng) -> &'static str {
        let values: &[&'static str] = match self {
            SqlType::Small | SqlType::Int => &["0", "1", "2", "3", "5", "-1", "-7", "10"],
            SqlType::Big => &["0", "1", "2", "-3", "100000000000", "7"],
            SqlType::Real | SqlType::Float => &["0", "'-0'", "1.5", "2", "-3.25", "'NaN'", "1e10"],
            SqlType::Numeric => &["0", "1.00", "1.5", "-2.25", "99.99", "3"],
            SqlType::Text => &["''", "'a'", "'b'", "'ab'", "'A'", "'abc'", "'é'", "'b '"],
            SqlType::Bool => &["true", "false"],
            SqlType::Date => &["'2020-01-01'", "'2020-02-29'", "'1999-12-31'", "'2024-06-15'"],
            SqlType::Time => &["'00:00:00'", "'12:34:56.5'", "'23:59:59'"],
            SqlType::Timestamp | SqlType::TimestampTz => &[
                "'2020-01-01 00:00:00'",
                "'2020-02-29 12:34:56.789'",
                "'1999-12-31 23:59:59'",
                "'2024-06-15 08:00:00'",
            ],
            SqlType::Interval => &["'1 day'", "'1 month'", "'30 days'", "'36 hours'", "'-2 days 3 hours'", "'0'"],
            SqlType::Uuid => &["'00000000-0000-0000-0000-000000000000'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
            SqlType::Bytea => &["'\\x'", "'\\x00'", "'\\x0102'", "'\\xff'"],
            SqlType::IntArray => &["'{}'", "'{1}'", "'{1,2,3}'", "'{2,NULL}'", "'{NULL}'"],
        };
        values[random.usize(..values.len())]
    }
}
