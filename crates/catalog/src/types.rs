//! The one list of SQL types: names, oids, lengths, type modifiers, as PostgreSQL's `pg_type` has them.
//!
//! What always holds: `SqlType::from_oid(ty.oid(), ty.typmod())` gives `ty` back (an array of arrays gives the plain
//! array, since PostgreSQL's array types do not say how many dimensions they have), and `FromStr` reads what `Display`
//! prints. Values, Arrow types and conversions are not here but in `wharf-values`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A SQL type with its modifiers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SqlType {
    /// `boolean`
    Boolean,
    /// `smallint`, 16 bits
    SmallInt,
    /// `integer`, 32 bits
    Integer,
    /// `bigint`, 64 bits
    BigInt,
    /// `real`
    Real,
    /// `double precision`
    Double,
    /// `numeric`, with `(precision, scale)` when it is constrained.
    Numeric(Option<(u8, i8)>),
    /// `text`
    Text,
    /// `character varying(n)`; `None` has no limit.
    Varchar(Option<u32>),
    /// `character(n)`, blank padded. 0 stands for PostgreSQL's `bpchar` without a length, which is never padded.
    Char(u32),
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `time without time zone`, microseconds
    Time,
    /// `timestamp without time zone`, microseconds
    Timestamp,
    /// `timestamp with time zone`, microseconds
    TimestampTz,
    /// `interval`
    Interval,
    /// `uuid`
    Uuid,
    /// `json`, kept as the text that came in
    Json,
    /// `jsonb`
    Jsonb,
    /// `oid`, unsigned 32 bits
    Oid,
    /// `name`, the type of identifiers in the system catalogs
    Name,
    /// `"char"`, one byte, used in the system catalogs
    QChar,
    /// `regclass`
    Regclass,
    /// `regtype`
    Regtype,
    /// `regnamespace`, the oid of a schema shown by name.
    Regnamespace,
    /// `regrole`, the oid of a role shown by name.
    Regrole,
    /// `void`, what a function without a result returns
    Void,
    /// `record`, an anonymous row
    Record,
    /// `unknown`, a literal whose type is still open
    Unknown,
    /// An array of the inner type.
    Array(Box<SqlType>),
}

/// A text that is not the name of a type known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("type \"{0}\" does not exist")]
pub struct ParseTypeError(pub String);

/// The fixed facts of one type: a row of `pg_type`.
struct Facts {
    oid: u32,
    array_oid: u32,
    size: i16,
    category: char,
    name: &'static str,
    array_name: &'static str,
    /// `format_type` without a modifier.
    display: &'static str,
}

/// What PostgreSQL adds to the modifier of a type with a length (`VARHDRSZ`).
const TYPMOD_OFFSET: i32 = 4;

macro_rules! facts {
    ($oid:literal, $array_oid:literal, $size:literal, $category:literal, $name:literal, $display:literal) => {
        &Facts {
            oid: $oid,
            array_oid: $array_oid,
            size: $size,
            category: $category,
            name: $name,
            array_name: concat!("_", $name),
            display: $display,
        }
    };
}

impl SqlType {
    /// Is this the oid of an object, shown by the object's name?
    pub fn is_named_oid(&self) -> bool {
        matches!(self, SqlType::Regclass | SqlType::Regtype | SqlType::Regnamespace | SqlType::Regrole)
    }

    /// Every type that is not an array, without modifiers, in the order of oids.
    pub const SCALARS: &'static [SqlType] = &[
        SqlType::Boolean,
        SqlType::Bytea,
        SqlType::QChar,
        SqlType::Name,
        SqlType::BigInt,
        SqlType::SmallInt,
        SqlType::Integer,
        SqlType::Text,
        SqlType::Oid,
        SqlType::Json,
        SqlType::Real,
        SqlType::Double,
        SqlType::Unknown,
        SqlType::Char(0),
        SqlType::Varchar(None),
        SqlType::Date,
        SqlType::Time,
        SqlType::Timestamp,
        SqlType::TimestampTz,
        SqlType::Interval,
        SqlType::Numeric(None),
        SqlType::Regclass,
        SqlType::Regtype,
        SqlType::Regnamespace,
        SqlType::Regrole,
        SqlType::Record,
        SqlType::Void,
        SqlType::Uuid,
        SqlType::Jsonb,
    ];

    /// The facts of a scalar type; those of the innermost element for an array.
    fn facts(&self) -> &'static Facts {
        match self {
            SqlType::Boolean => facts!(16, 1000, 1, 'B', "bool", "boolean"),
            SqlType::Bytea => facts!(17, 1001, -1, 'U', "bytea", "bytea"),
            SqlType::QChar => facts!(18, 1002, 1, 'Z', "char", "\"char\""),
            SqlType::Name => facts!(19, 1003, 64, 'S', "name", "name"),
            SqlType::BigInt => facts!(20, 1016, 8, 'N', "int8", "bigint"),
            SqlType::SmallInt => facts!(21, 1005, 2, 'N', "int2", "smallint"),
            SqlType::Integer => facts!(23, 1007, 4, 'N', "int4", "integer"),
            SqlType::Text => facts!(25, 1009, -1, 'S', "text", "text"),
            SqlType::Oid => facts!(26, 1028, 4, 'N', "oid", "oid"),
            SqlType::Json => facts!(114, 199, -1, 'U', "json", "json"),
            SqlType::Real => facts!(700, 1021, 4, 'N', "float4", "real"),
            SqlType::Double => facts!(701, 1022, 8, 'N', "float8", "double precision"),
            SqlType::Unknown => facts!(705, 0, -2, 'X', "unknown", "unknown"),
            SqlType::Char(_) => facts!(1042, 1014, -1, 'S', "bpchar", "bpchar"),
            SqlType::Varchar(_) => facts!(1043, 1015, -1, 'S', "varchar", "character varying"),
            SqlType::Date => facts!(1082, 1182, 4, 'D', "date", "date"),
            SqlType::Time => facts!(1083, 1183, 8, 'D', "time", "time without time zone"),
            SqlType::Timestamp => facts!(1114, 1115, 8, 'D', "timestamp", "timestamp without time zone"),
            SqlType::TimestampTz => facts!(1184, 1185, 8, 'D', "timestamptz", "timestamp with time zone"),
            SqlType::Interval => facts!(1186, 1187, 16, 'T', "interval", "interval"),
            SqlType::Numeric(_) => facts!(1700, 1231, -1, 'N', "numeric", "numeric"),
            SqlType::Regclass => facts!(2205, 2210, 4, 'N', "regclass", "regclass"),
            SqlType::Regtype => facts!(2206, 2211, 4, 'N', "regtype", "regtype"),
            SqlType::Regnamespace => facts!(4089, 4090, 4, 'N', "regnamespace", "regnamespace"),
            SqlType::Regrole => facts!(4096, 4097, 4, 'N', "regrole", "regrole"),
            SqlType::Record => facts!(2249, 2287, -1, 'P', "record", "record"),
            SqlType::Void => facts!(2278, 0, 4, 'P', "void", "void"),
            SqlType::Uuid => facts!(2950, 2951, 16, 'U', "uuid", "uuid"),
            SqlType::Jsonb => facts!(3802, 3807, -1, 'U', "jsonb", "jsonb"),
            SqlType::Array(element) => element.facts(),
        }
    }

    /// `pg_type.oid`. An array whose element has no array type (`unknown`, `void`) is an array of text.
    pub fn oid(&self) -> u32 {
        match self {
            SqlType::Array(element) => match element.facts().array_oid {
                0 => SqlType::Text.facts().array_oid,
                oid => oid,
            },
            scalar => scalar.facts().oid,
        }
    }

    /// `pg_type.typarray`: the oid of the type's array type; none for arrays and for types without one.
    pub fn array_oid(&self) -> Option<u32> {
        match self {
            SqlType::Array(_) => None,
            scalar => Some(scalar.facts().array_oid).filter(|oid| *oid != 0),
        }
    }

    /// The type modifier in PostgreSQL's encoding, -1 when there is none. An array has its element's.
    pub fn typmod(&self) -> i32 {
        match self {
            SqlType::Varchar(Some(length)) => length_typmod(*length),
            SqlType::Char(length) if *length > 0 => length_typmod(*length),
            SqlType::Numeric(Some((precision, scale))) => {
                ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + TYPMOD_OFFSET
            }
            SqlType::Array(element) => element.typmod(),
            _ => -1,
        }
    }

    /// `pg_type.typlen`: bytes, -1 for a varlena, -2 for a C string.
    pub fn size(&self) -> i16 {
        match self {
            SqlType::Array(_) => -1,
            scalar => scalar.facts().size,
        }
    }

    /// `pg_type.typname`: `int4`, and `_int4` for its array.
    pub fn pg_name(&self) -> &'static str {
        match self {
            SqlType::Array(element) => match element.facts() {
                Facts { array_oid: 0, .. } => SqlType::Text.facts().array_name,
                facts => facts.array_name,
            },
            scalar => scalar.facts().name,
        }
    }

    /// `pg_type.typcategory`.
    pub fn category(&self) -> char {
        match self {
            // `record[]` is a pseudo-type, as `record` is.
            SqlType::Array(element) if element.category() == 'P' => 'P',
            SqlType::Array(_) => 'A',
            scalar => scalar.facts().category,
        }
    }

    /// The type of a `pg_type` oid with a type modifier (-1: none). None when the oid is not known here, or the
    /// modifier is a numeric precision or scale beyond what [`SqlType::Numeric`] holds.
    pub fn from_oid(oid: u32, typmod: i32) -> Option<SqlType> {
        for scalar in Self::SCALARS {
            let facts = scalar.facts();
            if facts.oid == oid {
                return scalar.with_typmod(typmod);
            }
            if facts.array_oid == oid && oid != 0 {
                return Some(SqlType::Array(Box::new(scalar.with_typmod(typmod)?)));
            }
        }
        None
    }

    /// The same type with another modifier.
    fn with_typmod(&self, typmod: i32) -> Option<SqlType> {
        let modifier = typmod.checked_sub(TYPMOD_OFFSET).filter(|modifier| *modifier >= 0);
        Some(match (self, modifier) {
            (SqlType::Varchar(_), modifier) => SqlType::Varchar(modifier.map(i32::cast_unsigned)),
            (SqlType::Char(_), modifier) => SqlType::Char(modifier.unwrap_or(0).cast_unsigned()),
            (SqlType::Numeric(_), Some(modifier)) => {
                let precision = u8::try_from((modifier >> 16) & 0xffff).ok()?;
                // Eleven bits with a sign, see `numeric_typmod_scale` of PostgreSQL.
                let scale = i8::try_from(((modifier & 0x7ff) ^ 1024) - 1024).ok()?;
                SqlType::Numeric(Some((precision, scale)))
            }
            (other, _) => other.clone(),
        })
    }

    /// The element type of an array.
    pub fn element(&self) -> Option<&SqlType> {
        match self {
            SqlType::Array(element) => Some(element),
            _ => None,
        }
    }

    /// The element of an array of any number of dimensions, the type itself when it is not an array.
    pub fn innermost(&self) -> &SqlType {
        match self {
            SqlType::Array(element) => element.innermost(),
            scalar => scalar,
        }
    }

    /// Is this one of the string types (`text`, `varchar`, `char`, `name`)?
    pub fn is_string(&self) -> bool {
        matches!(self, SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name)
    }

    /// Is this a type of numbers that arithmetic works on?
    pub fn is_number(&self) -> bool {
        matches!(
            self,
            SqlType::SmallInt
                | SqlType::Integer
                | SqlType::BigInt
                | SqlType::Real
                | SqlType::Double
                | SqlType::Numeric(_)
        )
    }
}

/// A length as a type modifier; lengths are far below the limit (10485760) where they come in.
fn length_typmod(length: u32) -> i32 {
    i32::try_from(length).map_or(i32::MAX, |length| length.saturating_add(TYPMOD_OFFSET))
}

/// `format_type`: `integer`, `character varying(20)`, `numeric(15,2)`, `integer[]`. An array of arrays prints one
/// `[]` as PostgreSQL does; the alternate form (`{:#}`) prints one for every dimension, for when it must be read back.
impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlType::Array(element) if f.alternate() => write!(f, "{element:#}[]"),
            SqlType::Array(element) => write!(f, "{}[]", element.innermost()),
            SqlType::Char(length) if *length > 0 => write!(f, "character({length})"),
            SqlType::Varchar(Some(length)) => write!(f, "character varying({length})"),
            SqlType::Numeric(Some((precision, scale))) => write!(f, "numeric({precision},{scale})"),
            scalar => f.write_str(scalar.facts().display),
        }
    }
}

/// Reads what `Display` prints, and also the names of `pg_type` and the other spellings of SQL, in any case.
impl FromStr for SqlType {
    type Err = ParseTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.trim()).ok_or_else(|| ParseTypeError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<SqlType> {
    if let Some(element) = text.strip_suffix("[]") {
        return Some(SqlType::Array(Box::new(parse(element.trim_end())?)));
    }
    if text == "\"char\"" {
        return Some(SqlType::QChar);
    }
    let (name, modifiers) = split_modifiers(text)?;
    let name = name.split_ascii_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    let first = |limit: u32| match modifiers.as_slice() {
        [length] => u32::try_from(*length).ok().filter(|length| (1..=limit).contains(length)),
        _ => None,
    };
    match name.as_str() {
        "character varying" | "varchar" if modifiers.is_empty() => {
            return Some(SqlType::Varchar(None));
        }
        "character varying" | "varchar" => return Some(SqlType::Varchar(Some(first(MAX_LENGTH)?))),
        "bpchar" if modifiers.is_empty() => return Some(SqlType::Char(0)),
        "character" | "char" if modifiers.is_empty() => return Some(SqlType::Char(1)),
        "character" | "char" | "bpchar" => return Some(SqlType::Char(first(MAX_LENGTH)?)),
        "numeric" | "decimal" | "dec" => {
            return Some(SqlType::Numeric(match modifiers.as_slice() {
                [] => None,
                [precision] => Some((u8::try_from(*precision).ok().filter(|p| *p > 0)?, 0)),
                [precision, scale] => {
                    Some((u8::try_from(*precision).ok().filter(|p| *p > 0)?, i8::try_from(*scale).ok()?))
                }
                _ => return None,
            }));
        }
        _ if !modifiers.is_empty() => return None,
        _ => {}
    }
    Some(match name.as_str() {
        "int" => SqlType::Integer,
        "float" => SqlType::Double,
        "time" => SqlType::Time,
        "timestamp" => SqlType::Timestamp,
        _ => {
            let array = name.strip_prefix('_');
            let wanted = array.unwrap_or(&name);
            let scalar = SqlType::SCALARS.iter().find(|scalar| {
                scalar.facts().name == wanted || (array.is_none() && scalar.facts().display == wanted)
            })?;
            match array {
                Some(_) => SqlType::Array(Box::new(scalar.clone())),
                None => scalar.clone(),
            }
        }
    })
}

/// PostgreSQL's longest `varchar(n)` and `char(n)`.
const MAX_LENGTH: u32 = 10_485_760;

/// `name(1, 2)` as its name and its numbers.
fn split_modifiers(text: &str) -> Option<(&str, Vec<i32>)> {
    let Some(open) = text.find('(') else {
        return Some((text, Vec::new()));
    };
    let inner = text[open + 1..].strip_suffix(')')?;
    let numbers = inner.split(',').map(|number| number.trim().parse().ok()).collect::<Option<Vec<i32>>>()?;
    Some((&text[..open], numbers))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn every_type() -> Vec<SqlType> {
        let mut types = SqlType::SCALARS.to_vec();
        types.extend([
            SqlType::Varchar(Some(20)),
            SqlType::Char(4),
            SqlType::Numeric(Some((15, 2))),
            SqlType::Numeric(Some((2, -3))),
            SqlType::Numeric(Some((38, 38))),
        ]);
        let arrays = types
            .iter()
            .filter(|ty| ty.array_oid().is_some())
            .map(|ty| SqlType::Array(Box::new(ty.clone())))
            .collect::<Vec<_>>();
        types.extend(arrays);
        types
    }

    #[test]
    fn oid_and_modifier_give_the_type_back() {
        for ty in every_type() {
            assert_eq!(SqlType::from_oid(ty.oid(), ty.typmod()), Some(ty.clone()), "{ty}");
        }
        assert_eq!(SqlType::from_oid(0, -1), None);
        assert_eq!(SqlType::from_oid(142, -1), None);
    }

    #[test]
    fn display_is_read_back() {
        for ty in every_type() {
            assert_eq!(ty.to_string().parse(), Ok(ty.clone()), "{ty}");
            assert_eq!(format!("{ty:#}").parse(), Ok(ty.clone()), "{ty}");
            if ty != SqlType::QChar && ty.innermost() != &SqlType::QChar && ty.typmod() == -1 {
                assert_eq!(ty.pg_name().parse(), Ok(ty.clone()), "{ty}");
            }
        }
    }

    /// Taken from `format_type(oid, typmod)` of PostgreSQL 15.
    #[test]
    fn format_type_as_postgresql_prints_it() {
        for (oid, typmod, text) in [
            (1042, 8, "character(4)"),
            (1042, -1, "bpchar"),
            (1043, 24, "character varying(20)"),
            (1043, -1, "character varying"),
            (1700, ((15 << 16) | 2) + 4, "numeric(15,2)"),
            (1700, ((2 << 16) | (-3 & 2047)) + 4, "numeric(2,-3)"),
            (1015, 24, "character varying(20)[]"),
            (1002, -1, "\"char\"[]"),
            (1014, -1, "bpchar[]"),
            (1007, -1, "integer[]"),
            (1114, -1, "timestamp without time zone"),
        ] {
            let ty = SqlType::from_oid(oid, typmod).unwrap();
            assert_eq!(ty.to_string(), text);
            assert_eq!((ty.oid(), ty.typmod()), (oid, typmod), "{text}");
        }
    }

    #[test]
    fn other_spellings() {
        for (text, ty) in [
            ("INT", SqlType::Integer),
            ("int8", SqlType::BigInt),
            (" double   precision ", SqlType::Double),
            ("decimal(10)", SqlType::Numeric(Some((10, 0)))),
            ("char", SqlType::Char(1)),
            ("character varying ( 7 )", SqlType::Varchar(Some(7))),
            ("int4[][]", SqlType::Array(Box::new(SqlType::Array(Box::new(SqlType::Integer))))),
        ] {
            assert_eq!(text.parse(), Ok(ty), "{text}");
        }
        for text in ["", "nothing", "integer(3)", "varchar(0)", "varchar(-1)", "numeric(1,2,3)", "numeric(0)", "[]"] {
            assert_eq!(text.parse::<SqlType>(), Err(ParseTypeError(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn arrays_of_arrays_are_arrays() {
        let ty = "integer[][]".parse::<SqlType>().unwrap();
        assert_eq!((ty.oid(), ty.to_string()), (1007, "integer[]".to_owned()));
        assert_eq!(format!("{ty:#}"), "integer[][]");
    }
}
