//! PostgreSQL's order of `jsonb` documents (`compareJsonbContainers` in `src/backend/utils/adt/jsonb_util.c`): keys of documents
//! that compare as bytes, and what is chosen by them.
//!
//! What always holds: documents that are equal (numbers by their values) have the same key, and of two others the lesser one has the
//! lesser key. Null < strings < numbers < false < true < arrays < objects; of two
//! arrays or objects the one with fewer values is less, before any value is looked at; then the values of arrays decide one after
//! the other, and of objects the first key, its value, the next key. An empty array that is the whole document is less than all else.
//!
//! A key says the type of a value, then its size or the value itself, of which none is the beginning of another: up to where two
//! documents differ, their keys are the same. Keys are never stored: they may be others in the next version. Documents are in the
//! form in which `jsonb` prints them.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray};
use wharf_values::SqlError;

use super::scan::{string_text, value_end};
use crate::functions::call::{Call, Result};
use crate::functions::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("jsonb_key", "jsonb -> text", key),
    immutable("jsonb_greatest", "variadic jsonb -> jsonb", |call| extreme(call, Ordering::Greater)).called_on_null(),
    immutable("jsonb_least", "variadic jsonb -> jsonb", |call| extreme(call, Ordering::Less)).called_on_null(),
    immutable("jsonb_array_distinct", "jsonb[], text, text -> jsonb[]", distinct),
    // `array_agg` does not say what its elements are.
    immutable("jsonb_array_distinct", "text[], text, text -> text[]", distinct),
];

const EMPTY_DOCUMENT: char = '0';
const NULL: char = '1';
const STRING: char = '2';
const NUMBER: char = '3';
const FALSE: char = '4';
const TRUE: char = '5';
const ARRAY: char = '6';
const OBJECT: char = '7';

const BELOW_ZERO: char = '<';
const ZERO: char = '=';
const ABOVE_ZERO: char = '>';

/// What stands after the digits of a number: less than a digit, and more than one.
const NO_MORE_DIGITS: char = ' ';
const NO_MORE_LACKING: char = '~';

/// What stands after a text, and before the characters up to [`ESCAPE`] in it. No key has a NUL, which EXPLAIN could not show.
const END: char = '\u{1}';
const ESCAPE: char = '\u{2}';

fn key(call: &Call<'_>) -> Result<ArrayRef> {
    let document = call.text(0)?;
    let mut keys = Keys::default();
    call.make_text(|row, out| {
        keys.write(document.at(row), out);
        Ok(())
    })
}

/// The greatest or the least of several, the first of those that are equal. NULLs do not count.
fn extreme(call: &Call<'_>, wanted: Ordering) -> Result<ArrayRef> {
    let columns = (0..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    let mut keys = Keys::default();
    call.make_optional_str(|row| {
        let mut best: Option<(String, &str)> = None;
        for document in columns.iter().filter_map(|column| column.get(row)) {
            let key = keys.key(document);
            if best.as_ref().is_none_or(|(best, _)| key.cmp(best) == wanted) {
                best = Some((key, document));
            }
        }
        Ok(best.map(|(_, document)| document))
    })
}

/// The documents of an array in their order, the first of those that are equal, and one NULL; as `array_sort`, by `ASC` or
/// `DESC` and `NULLS FIRST` or `NULLS LAST`.
fn distinct(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, order, nulls) = (call.list(0)?, call.text(1)?, call.text(2)?);
    let mut keys = Keys::default();
    call.make_text_list(|row, items| {
        let array = arrays.at(row);
        let documents = array.as_string_view_opt().ok_or_else(|| {
            SqlError::unsupported(format!("{} of multidimensional arrays is not supported", call.name))
                .with_hint("Use arrays of one dimension.")
        })?;
        let mut documents =
            documents.iter().flatten().map(|document| (keys.key(document), document)).collect::<Vec<_>>();
        documents.sort_by(|(left, _), (right, _)| left.cmp(right));
        documents.dedup_by(|(later, _), (first, _)| later == first);
        if order.at(row) == "DESC" {
            documents.reverse();
        }
        let (has_null, nulls_first) = (array.null_count() > 0, nulls.at(row) == "NULLS FIRST");
        if has_null && nulls_first {
            items.push_null();
        }
        for (_, document) in documents {
            items.push(document)?;
        }
        if has_null && !nulls_first {
            items.push_null();
        }
        Ok(true)
    })
}

/// Writes the keys of documents, and remembers of each what is needed for it. Nesting costs no stack.
#[derive(Default)]
struct Keys {
    /// How many values each array and object has, an object's keys among them, in the order in which they begin.
    sizes: Vec<usize>,
    /// The places among the sizes of those that have not ended.
    open: Vec<usize>,
}

impl Keys {
    fn key(&mut self, document: &str) -> String {
        let mut key = String::with_capacity(document.len() + 2);
        self.write(document, &mut key);
        key
    }

    /// Writes the key of a document into an empty text.
    fn write(&mut self, document: &str, out: &mut String) {
        self.measure(document);
        let mut sizes = self.sizes.iter();
        for token in Tokens::of(document) {
            match token.as_bytes().first().copied() {
                Some(bracket @ (b'[' | b'{')) => {
                    let size = sizes.next().copied().unwrap_or_default();
                    out.push(match bracket {
                        b'{' => OBJECT,
                        _ if size == 0 && out.is_empty() => EMPTY_DOCUMENT,
                        _ => ARRAY,
                    });
                    push_integer(size as i64, out);
                }
                Some(b']' | b'}') | None => {}
                Some(b'"') => {
                    out.push(STRING);
                    push_text(&string_text(token), out);
                }
                Some(b'n') => out.push(NULL),
                Some(b'f') => out.push(FALSE),
                Some(b't') => out.push(TRUE),
                Some(_) => {
                    out.push(NUMBER);
                    push_number(token, out);
                }
            }
        }
    }

    fn measure(&mut self, document: &str) {
        self.sizes.clear();
        self.open.clear();
        for token in Tokens::of(document) {
            if matches!(token, "]" | "}") {
                self.open.pop();
                continue;
            }
            if let Some(container) = self.open.last() {
                self.sizes[*container] += 1;
            }
            if matches!(token, "[" | "{") {
                self.open.push(self.sizes.len());
                self.sizes.push(0);
            }
        }
    }
}

/// The brackets, strings, numbers and words of a document, one after the other.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn of(document: &'a str) -> Tokens<'a> {
        Tokens { rest: document }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start_matches([',', ':', ' ', '\t', '\n', '\r']);
        let end = match self.rest.as_bytes().first()? {
            b'[' | b']' | b'{' | b'}' => 1,
            _ => value_end(self.rest),
        };
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(token)
    }
}

/// Appends a number, which has no exponent: its sign, where its digits begin, and the digits without zeros at their ends; of one
/// below zero everything turned around, each digit being what it lacks to nine.
fn push_number(number: &str, out: &mut String) {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    // As a power of ten: 1 of `1.5`, 0 of `0.5`, -1 of `0.05`.
    let (whole, fraction, begin) = if whole.is_empty() {
        let digits = fraction.trim_start_matches('0');
        (whole, digits, digits.len() as i64 - fraction.len() as i64)
    } else if fraction.is_empty() {
        (whole.trim_end_matches('0'), fraction, whole.len() as i64)
    } else {
        (whole, fraction, whole.len() as i64)
    };
    if whole.is_empty() && fraction.is_empty() {
        out.push(ZERO);
        return;
    }
    out.push(if negative { BELOW_ZERO } else { ABOVE_ZERO });
    push_integer(if negative { -begin } else { begin }, out);
    push_digits(whole, negative, out);
    push_digits(fraction, negative, out);
    out.push(if negative { NO_MORE_LACKING } else { NO_MORE_DIGITS });
}

/// Appends an integer: how many digits it has, downwards from the middle for one below zero, and the digits.
fn push_integer(integer: i64, out: &mut String) {
    const MIDDLE: u8 = b'P';
    let digits = integer.unsigned_abs().to_string();
    // 19 at most.
    let count = digits.len() as u8;
    out.push(char::from(if integer < 0 { MIDDLE - count } else { MIDDLE + count }));
    push_digits(&digits, integer < 0, out);
}

fn push_digits(digits: &str, lacking: bool, out: &mut String) {
    if lacking {
        out.extend(digits.bytes().map(|digit| char::from((b'0' + b'9').wrapping_sub(digit))));
    } else {
        out.push_str(digits);
    }
}

fn push_text(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(['\0', END, ESCAPE]) {
        out.push_str(&rest[..at]);
        out.push(ESCAPE);
        out.push(char::from(rest.as_bytes()[at] + 1));
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push(END);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use wharf_values::normalize_jsonb;

    use super::*;

    /// Every line is greater than those before it, and the documents of a line are equal: as PostgreSQL 15 ordered them.
    const ASCENDING: &str = r#"
[]
null
""
"A"
"B"
"a"
"a\u0001"
"a\u0002"
"a\u0003"
"a "
"aa"
"b"
"~"
"é"
"\uffff"
"😀"
-1e100
-100000000000000000000000000000000000000000
-1001
-1000 = -1000.0
-999.99
-101
-100
-99
-10
-9.5
-9.45
-9
-1.01
-1 = -1.00
-0.9
-0.101
-0.1
-0.01
-0.001
-1e-30
0 = -0.0 = 0.000
1e-30
0.00099
0.001
0.01
0.011
0.1 = 0.10
0.11
0.9
1 = 1.0 = 1.00 = 1e0
1.01
2
9
9.45
9.5
10 = 1e1
10.01
11
99
100
101
999.99
1000 = 1e3
1001
12345678901234567890123456789012345678901234567890
12345678901234567890123456789012345678901234567890.5
1e100
false
true
[null]
[""]
["a"]
[0]
[1] = [1.0]
[true]
[[]]
[[null]]
[[1]]
[[1, 2]]
[{}]
[{"a": 1}]
[null, null]
["b", "a"]
[1, 2] = [1.0, 2.00]
[1, 3]
[2, 1]
[1, 2, 0]
[0, 0, 0, 0, 0, 0, 0, 0, 0]
[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
{}
{"": 9}
{"a": null}
{"a": "z"}
{"a": 1} = {"a": 1.0}
{"a": 2}
{"a": true}
{"a": []}
{"a": [1]}
{"a": {}}
{"a": {"b": 1}}
{"aa": 0}
{"b": 0}
{"b": 1}
{"é": 1}
{"a": 1, "b": 2} = {"b": 2.0, "a": 1}
{"a": 1, "c": 0}
{"a": 2, "b": 0}
{"aa": 0, "b": 1}
{"b": 1, "aa": 1}
{"a": 0, "b": 0, "c": 0}
"#;

    fn key_of(document: &str) -> String {
        Keys::default().key(&normalize_jsonb(document).unwrap())
    }

    #[test]
    fn keys_are_in_the_order_of_postgresql() {
        let lines = ASCENDING.trim().lines().enumerate();
        let documents = lines.flat_map(|(place, line)| line.split(" = ").map(move |document| (place, document)));
        let keyed = documents.map(|(place, document)| (place, document, key_of(document))).collect::<Vec<_>>();
        assert!(keyed.len() > 100);
        for (place, document, key) in &keyed {
            for (other_place, other, other_key) in &keyed {
                assert_eq!(
                    key.cmp(other_key),
                    place.cmp(other_place),
                    "{document} and {other}: {key:?}, {other_key:?}"
                );
            }
        }
    }

    #[test]
    fn a_key_has_no_nul_and_takes_no_stack() {
        let deep = |item: &str| key_of(&format!("{}{item}{}", "[".repeat(100_000), "]".repeat(100_000)));
        assert!(deep("1") < deep("2") && deep("1.0") == deep("1") && deep("") < deep("1"));
        // No jsonb of PostgreSQL has a NUL.
        let keys = [r#""a""#, r#""a\u0000""#, r#""a\u0001""#, r#""a\u0002""#].map(|text| Keys::default().key(text));
        assert!(keys.is_sorted_by(|left, right| left < right) && !keys.concat().contains('\0'));
    }
}
