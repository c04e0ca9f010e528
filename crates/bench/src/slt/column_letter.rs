//! The letters after `query` in our own files: one per column, the exact PostgreSQL type.
//!
//! Text cannot tell an `integer` 1 from a `bigint` 1, and drivers can, so the letter is compared with the type that the server
//! describes. The table is repeated in `sqllogictest/README.md`, where a test holds it.

use sqllogictest::ColumnType;
use tokio_postgres::types::{Kind, Type};

/// The type of a column as a letter; `?` is not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ColumnLetter(char);

impl ColumnLetter {
    /// The letter that is not compared, and stands for every type without a letter of its own.
    pub(super) const ANY: ColumnLetter = ColumnLetter('?');

    /// The letter of the type that the server described.
    pub(super) fn of(described: &Type) -> ColumnLetter {
        if matches!(described.kind(), Kind::Array(_)) {
            return ColumnLetter('a');
        }
        LETTERS.iter().find(|(_, known)| known == described).map_or(Self::ANY, |(letter, _)| ColumnLetter(*letter))
    }

    /// Whether a column of this letter is what a file that says `expected` wants.
    pub(super) fn fits(self, expected: ColumnLetter) -> bool {
        expected == Self::ANY || expected == self
    }
}

impl ColumnType for ColumnLetter {
    fn from_char(value: char) -> Option<Self> {
        let known = value == '?' || value == 'a' || LETTERS.iter().any(|(letter, _)| *letter == value);
        known.then_some(ColumnLetter(value))
    }

    fn to_char(&self) -> char {
        self.0
    }
}

const LETTERS: &[(char, Type)] = &[
    ('B', Type::BOOL),
    ('S', Type::INT2),
    ('I', Type::INT4),
    ('L', Type::INT8),
    ('F', Type::FLOAT4),
    ('D', Type::FLOAT8),
    ('N', Type::NUMERIC),
    ('T', Type::TEXT),
    ('V', Type::VARCHAR),
    ('C', Type::BPCHAR),
    ('X', Type::BYTEA),
    ('d', Type::DATE),
    ('t', Type::TIME),
    ('s', Type::TIMESTAMP),
    ('z', Type::TIMESTAMPTZ),
    ('i', Type::INTERVAL),
    ('u', Type::UUID),
    ('j', Type::JSON),
    ('J', Type::JSONB),
    ('o', Type::OID),
    ('n', Type::NAME),
    ('c', Type::CHAR),
    ('r', Type::REGCLASS),
    ('y', Type::REGTYPE),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn letters_tell_integer_from_bigint_and_leave_the_unknown_open() {
        assert_eq!(ColumnLetter::of(&Type::INT4).to_char(), 'I');
        assert_eq!(ColumnLetter::of(&Type::INT8).to_char(), 'L');
        assert_eq!(ColumnLetter::of(&Type::INT4_ARRAY).to_char(), 'a');
        assert_eq!(ColumnLetter::of(&Type::POINT), ColumnLetter::ANY);
        assert!(!ColumnLetter::of(&Type::INT8).fits(ColumnLetter::of(&Type::INT4)));
        assert!(ColumnLetter::of(&Type::INT8).fits(ColumnLetter::ANY));
        assert!(!ColumnLetter::ANY.fits(ColumnLetter::of(&Type::INT8)));
    }

    #[test]
    fn an_unknown_letter_is_refused() {
        assert!(ColumnLetter::from_char('Q').is_none());
    }

    #[test]
    fn the_readme_lists_every_letter() {
        let readme = include_str!("../../../../sqllogictest/README.md");
        for (letter, described) in LETTERS {
            let row = readme.lines().find(|line| line.contains(&format!("`{letter}` ")));
            let row = row.unwrap_or_else(|| panic!("sqllogictest/README.md does not list {letter}"));
            assert!(row.contains(described.name()), "{letter} is {} but the row says {row}", described.name());
        }
    }
}
