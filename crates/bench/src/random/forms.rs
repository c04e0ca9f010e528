//! The functions and operators that random expressions are made of.
//!
//! What they leave out is what two right answers may differ in: sums of floating-point numbers, whose order is free; digits of
//! quotients beyond those that Wharf and PostgreSQL share (hence `round`); the scale of numerics as text (hence `trim_scale`);
//! letters beyond ASCII in `upper`; and products of two unknown integers, which overflow where one server computes more than
//! the other.

use super::types::SqlType;
use SqlType::{
    Big, Bool, Bytea, Date, Float, Int, IntArray, Interval, Numeric, Real, Small, Text, Time, Timestamp, TimestampTz,
    Uuid,
};

/// The type of an argument.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot {
    Of(SqlType),
    /// The type of the result.
    Same,
    /// Any type, the same for all of these arguments of a form.
    Any,
}

/// A template and what its `$0`, `$1` .. are.
pub(super) type Form = (&'static str, &'static [Slot]);

use Slot::{Any, Of, Same};

/// The forms of a type: those that every type has, and its own.
pub(super) fn forms(ty: SqlType) -> impl Iterator<Item = &'static Form> {
    let ordered: &[Form] = if ty == Bool { &[] } else { ORDERED };
    GENERIC.iter().chain(ordered).chain(own(ty))
}

const GENERIC: &[Form] = &[
    ("coalesce($0, $1)", &[Same, Same]),
    ("CASE WHEN $0 THEN $1 ELSE $2 END", &[Of(Bool), Same, Same]),
    ("CASE WHEN $0 THEN $1 END", &[Of(Bool), Same]),
    ("CASE $0 WHEN $1 THEN $2 WHEN $3 THEN $4 END", &[Any, Any, Same, Any, Same]),
    ("nullif($0, $1)", &[Same, Same]),
];

const ORDERED: &[Form] = &[("greatest($0, $1)", &[Same, Same]), ("least($0, $1)", &[Same, Same])];

fn own(ty: SqlType) -> &'static [Form] {
    match ty {
        Small => SMALL,
        Int => INT,
        Big => BIG,
        Real => REAL,
        Float => FLOAT,
        Numeric => NUMERIC,
        Text => TEXT,
        Bool => BOOL,
        Date => DATE,
        Time => TIME,
        Timestamp => TIMESTAMP,
        TimestampTz => TIMESTAMPTZ,
        Interval => INTERVAL,
        Uuid => &[],
        Bytea => BYTEA,
        IntArray => INT_ARRAY,
    }
}

const SMALL: &[Form] = &[("abs($0)", &[Same]), ("($0 % 5::smallint)", &[Same]), ("($0 & $1)", &[Same, Same])];

const INT: &[Form] = &[
    ("($0 + $1)", &[Same, Same]),
    ("($0 - $1)", &[Same, Same]),
    ("($0 * 3)", &[Same]),
    ("(- $0)", &[Same]),
    ("abs($0)", &[Same]),
    ("($0 / nullif($1, 0))", &[Same, Same]),
    ("($0 % nullif($1, 0))", &[Same, Same]),
    ("($0 # $1)", &[Same, Same]),
    ("($0 & $1)", &[Same, Same]),
    ("($0 | $1)", &[Same, Same]),
    ("($0 + $1)", &[Same, Of(Small)]),
    ("$0::integer", &[Of(Numeric)]),
    ("$0::integer", &[Of(Bool)]),
    ("$0::integer", &[Of(Small)]),
    ("sign($0)::integer", &[Of(Numeric)]),
    ("length($0)", &[Of(Text)]),
    ("length($0)", &[Of(Bytea)]),
    ("ascii($0)", &[Of(Text)]),
    ("position($0 IN $1)", &[Of(Text), Of(Text)]),
    ("($0 - $1)", &[Of(Date), Of(Date)]),
    ("extract(year FROM $0)::integer", &[Of(Date)]),
    ("extract(month FROM $0)::integer", &[Of(Timestamp)]),
    ("extract(dow FROM $0)::integer", &[Of(Date)]),
    ("extract(doy FROM $0)::integer", &[Of(Timestamp)]),
    ("extract(quarter FROM $0)::integer", &[Of(Date)]),
    ("extract(week FROM $0)::integer", &[Of(Timestamp)]),
    ("extract(hour FROM $0)::integer", &[Of(Time)]),
    ("extract(day FROM $0)::integer", &[Of(Interval)]),
    ("cardinality($0)", &[Of(IntArray)]),
    ("array_length($0, 1)", &[Of(IntArray)]),
    ("($0)[1]", &[Of(IntArray)]),
    ("($0)[4]", &[Of(IntArray)]),
    ("($0)[$1]", &[Of(IntArray), Same]),
    ("array_position($0, $1)", &[Of(IntArray), Same]),
    ("cardinality(ARRAY[$0, $1])", &[Any, Any]),
];

const BIG: &[Form] = &[
    ("($0 + $1)", &[Same, Same]),
    ("($0 - $1)", &[Same, Of(Int)]),
    ("($0 * 2::bigint)", &[Of(Int)]),
    ("$0::bigint", &[Of(Int)]),
    ("$0::bigint", &[Of(Numeric)]),
    ("abs($0)", &[Same]),
    ("($0 % nullif($1, 0))", &[Same, Same]),
];

const REAL: &[Form] =
    &[("$0::real", &[Of(Int)]), ("abs($0)", &[Same]), ("(- $0)", &[Same]), ("($0 + $1)", &[Same, Same])];

const FLOAT: &[Form] = &[
    ("($0 + $1)", &[Same, Same]),
    ("($0 - $1)", &[Same, Same]),
    ("($0 * $1)", &[Same, Same]),
    ("($0 / nullif($1, 0))", &[Same, Same]),
    ("$0::double precision", &[Of(Int)]),
    ("$0::double precision", &[Of(Numeric)]),
    ("$0::double precision", &[Of(Real)]),
    ("round($0)", &[Same]),
    ("floor($0)", &[Same]),
    ("abs($0)", &[Same]),
    ("sqrt(abs($0))", &[Same]),
];

const NUMERIC: &[Form] = &[
    ("($0 + $1)", &[Same, Same]),
    ("($0 - $1)", &[Same, Of(Int)]),
    ("($0 * 1.5)", &[Same]),
    ("($0 * $1)", &[Same, Of(Small)]),
    ("round($0 / nullif($1, 0), 4)", &[Same, Same]),
    ("mod($0, nullif($1, 0))", &[Same, Same]),
    ("round($0, 0)", &[Same]),
    ("round($0, 1)", &[Same]),
    ("round($0, -1)", &[Same]),
    ("trunc($0)", &[Same]),
    ("ceil($0)", &[Same]),
    ("abs($0)", &[Same]),
    ("$0::numeric", &[Of(Int)]),
    ("$0::numeric", &[Of(Big)]),
    ("$0::numeric(12,3)", &[Same]),
    ("extract(second FROM $0)", &[Of(Timestamp)]),
    ("extract(epoch FROM $0)", &[Of(Interval)]),
];

const TEXT: &[Form] = &[
    ("($0 || $1)", &[Same, Same]),
    ("($0 || $1)", &[Same, Of(Int)]),
    ("concat($0, $1)", &[Same, Of(Int)]),
    ("concat_ws('-', $0, $1)", &[Same, Same]),
    ("format('%s-%s', $0, $1)", &[Same, Of(Int)]),
    ("upper(translate($0, 'é', 'e'))", &[Same]),
    ("reverse($0)", &[Same]),
    ("trim($0)", &[Same]),
    ("substr($0, 2, 1)", &[Same]),
    ("substr($0, -1, 3)", &[Same]),
    ("left($0, -1)", &[Same]),
    ("left($0, 1)", &[Same]),
    ("right($0, 2)", &[Same]),
    ("replace($0, 'a', $1)", &[Same, Same]),
    ("translate($0, 'ab', 'b')", &[Same]),
    ("repeat($0, 2)", &[Same]),
    ("lpad($0, 4, 'xy')", &[Same]),
    ("split_part($0, 'b', 1)", &[Same]),
    ("regexp_replace($0, '[ab]', 'x')", &[Same]),
    ("md5($0)", &[Same]),
    ("overlay($0 PLACING $1 FROM 2)", &[Same, Same]),
    ("$0::text", &[Of(Int)]),
    ("$0::text", &[Of(Big)]),
    ("$0::text", &[Of(Bool)]),
    ("$0::text", &[Of(Date)]),
    ("$0::text", &[Of(Time)]),
    ("$0::text", &[Of(Timestamp)]),
    ("$0::text", &[Of(TimestampTz)]),
    ("$0::text", &[Of(Interval)]),
    ("$0::text", &[Of(Uuid)]),
    ("$0::text", &[Of(IntArray)]),
    ("encode($0, 'hex')", &[Of(Bytea)]),
    ("trim_scale(round($0, 3))::text", &[Of(Numeric)]),
    ("to_char($0, 'FM999990.00')", &[Of(Numeric)]),
    ("to_char($0, 'YYYY-MM-DD HH24:MI')", &[Of(Timestamp)]),
    ("ARRAY[$0, $1]::text", &[Same, Same]),
    ("array_to_string(ARRAY[$0, $1], ',', '*')", &[Same, Same]),
    ("array_to_string($0, ',', '*')", &[Of(IntArray)]),
    ("json_build_object('k', $0)::text", &[Of(Int)]),
    ("json_build_object('k', $0)::text", &[Same]),
    ("json_build_object('k', $0)::text", &[Of(Bool)]),
];

const BOOL: &[Form] = &[
    ("($0 = $1)", &[Any, Any]),
    ("($0 = $1)", &[Any, Any]),
    ("($0 <> $1)", &[Any, Any]),
    ("($0 < $1)", &[Any, Any]),
    ("($0 <= $1)", &[Any, Any]),
    ("($0 > $1)", &[Any, Any]),
    ("($0 >= $1)", &[Any, Any]),
    ("($0 = $1)", &[Of(Int), Of(Big)]),
    ("($0 < $1)", &[Of(Numeric), Of(Int)]),
    ("($0 >= $1)", &[Of(Date), Of(Timestamp)]),
    ("($0 = $1)", &[Of(Float), Of(Real)]),
    ("($0 IS NULL)", &[Any]),
    ("($0 IS NOT NULL)", &[Any]),
    ("($0 AND $1)", &[Same, Same]),
    ("($0 OR $1)", &[Same, Same]),
    ("(NOT $0)", &[Same]),
    ("($0 IS DISTINCT FROM $1)", &[Any, Any]),
    ("($0 IS NOT DISTINCT FROM $1)", &[Any, Any]),
    ("($0 BETWEEN $1 AND $2)", &[Any, Any, Any]),
    ("($0 NOT BETWEEN $1 AND $2)", &[Any, Any, Any]),
    ("($0 IN ($1, $2, $3))", &[Any, Any, Any, Any]),
    ("($0 NOT IN ($1, $2, $3))", &[Any, Any, Any, Any]),
    ("($0 IS TRUE)", &[Same]),
    ("($0 IS NOT TRUE)", &[Same]),
    ("($0 IS FALSE)", &[Same]),
    ("($0 IS NOT FALSE)", &[Same]),
    ("($0 IS UNKNOWN)", &[Same]),
    ("($0 IS NOT UNKNOWN)", &[Same]),
    ("($0 LIKE 'a%')", &[Of(Text)]),
    ("($0 LIKE '%b')", &[Of(Text)]),
    ("($0 NOT LIKE '_')", &[Of(Text)]),
    ("($0 LIKE '')", &[Of(Text)]),
    ("($0 LIKE $1)", &[Of(Text), Of(Text)]),
    ("($0 ~ '^[a-b]')", &[Of(Text)]),
    ("starts_with($0, $1)", &[Of(Text), Of(Text)]),
    ("($0 = ANY (ARRAY[$1, $2]))", &[Of(Int), Of(Int), Of(Int)]),
    ("($0 = ANY (ARRAY[$1, $2]))", &[Of(Text), Of(Text), Of(Text)]),
    ("($0 <> ALL (ARRAY[$1, $2]))", &[Of(Numeric), Of(Numeric), Of(Numeric)]),
    ("($0 > ALL (ARRAY[$1, $2]))", &[Of(Date), Of(Date), Of(Date)]),
    ("($0 = ANY ($1))", &[Of(Int), Of(IntArray)]),
    ("($0 < ALL ($1))", &[Of(Int), Of(IntArray)]),
    ("(($0, $1) = ($2, $3))", &[Of(Int), Any, Of(Int), Any]),
    ("(($0, $1) <> ($2, $3))", &[Of(Int), Any, Of(Int), Any]),
    ("(($0, $1) < ($2, $3))", &[Of(Int), Any, Of(Int), Any]),
    ("(($0, $1) >= ($2, $3))", &[Of(Int), Any, Of(Int), Any]),
    ("($0 @> $1)", &[Of(IntArray), Of(IntArray)]),
    ("($0 && $1)", &[Of(IntArray), Of(IntArray)]),
];

const DATE: &[Form] = &[("($0 + 30)", &[Same]), ("($0 - 1)", &[Same]), ("$0::date", &[Of(Timestamp)])];

const TIME: &[Form] = &[("$0::time", &[Of(Timestamp)]), ("($0 + $1)", &[Same, Of(Interval)])];

const TIMESTAMP: &[Form] = &[
    ("($0 + $1)", &[Same, Of(Interval)]),
    ("($0 - $1)", &[Same, Of(Interval)]),
    ("($0 + $1)", &[Of(Date), Of(Interval)]),
    ("($0 + $1)", &[Of(Date), Of(Time)]),
    ("$0::timestamp", &[Of(Date)]),
    ("$0::timestamp", &[Of(TimestampTz)]),
    ("date_trunc('year', $0)", &[Same]),
    ("date_trunc('quarter', $0)", &[Same]),
    ("date_trunc('month', $0)", &[Same]),
    ("date_trunc('week', $0)", &[Same]),
    ("date_trunc('hour', $0)", &[Same]),
];

const TIMESTAMPTZ: &[Form] = &[
    ("$0::timestamptz", &[Of(Timestamp)]),
    ("($0 + $1)", &[Same, Of(Interval)]),
    ("($0 AT TIME ZONE 'Europe/Berlin')", &[Of(Timestamp)]),
];

const INTERVAL: &[Form] = &[
    ("($0 - $1)", &[Of(Timestamp), Of(Timestamp)]),
    ("age($0, $1)", &[Of(Timestamp), Of(Timestamp)]),
    ("($0 * 2)", &[Same]),
    ("($0 * 0.5)", &[Same]),
    ("($0 + $1)", &[Same, Same]),
    ("(- $0)", &[Same]),
    ("justify_interval($0)", &[Same]),
    ("$0::interval", &[Of(Time)]),
];

const BYTEA: &[Form] = &[("($0 || $1)", &[Same, Same]), ("convert_to($0, 'UTF8')", &[Of(Text)])];

const INT_ARRAY: &[Form] = &[
    ("ARRAY[$0, $1]", &[Of(Int), Of(Int)]),
    ("($0 || $1)", &[Same, Same]),
    ("array_append($0, $1)", &[Same, Of(Int)]),
    ("array_remove($0, $1)", &[Same, Of(Int)]),
    ("($0)[1:2]", &[Same]),
];
