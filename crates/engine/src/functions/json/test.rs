//! What a `jsonb` document contains: `@>`, `<@`, `?`, `?|`, `?&`.

use arrow::array::{ArrayRef, AsArray};

use super::scan::{Kind, Parts, kind, member, string_text};
use super::value::{Json, position, same_number};
use crate::functions::call::{Call, Result};
use crate::functions::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("jsonb_contains", "jsonb, jsonb -> bool", |call| containment(call, 0, 1)),
    immutable("jsonb_contained", "jsonb, jsonb -> bool", |call| containment(call, 1, 0)),
    immutable("jsonb_exists", "jsonb, text -> bool", exists),
    immutable("jsonb_exists_any", "jsonb, text[] -> bool", exists_any),
    immutable("jsonb_exists_all", "jsonb, text[] -> bool", exists_all),
];

fn containment(call: &Call<'_>, container: usize, contained: usize) -> Result<ArrayRef> {
    let (container, contained) = (call.text(container)?, call.text(contained)?);
    let constant = contained.constant().map(Json::parse).transpose()?;
    call.make_boolean(|row| {
        let left = Json::parse(container.at(row))?;
        match &constant {
            Some(right) => Ok(contains(&left, right)),
            None => Ok(contains(&left, &Json::parse(contained.at(row))?)),
        }
    })
}

/// The whole of a document in another. Only here does an array contain a scalar.
fn contains(container: &Json, contained: &Json) -> bool {
    match (container, contained) {
        (Json::Array(items), scalar) if scalar.is_scalar() => items.iter().any(|item| equal(item, scalar)),
        _ => within(container, contained),
    }
}

fn within(container: &Json, contained: &Json) -> bool {
    match (container, contained) {
        (Json::Object(container), Json::Object(contained)) => contained
            .iter()
            .all(|(key, value)| position(container, key).is_ok_and(|index| within(&container[index].1, value))),
        (Json::Array(container), Json::Array(contained)) => contained.iter().all(|item| {
            container
                .iter()
                .any(|candidate| if item.is_scalar() { equal(candidate, item) } else { within(candidate, item) })
        }),
        (left, right) => equal(left, right),
    }
}

/// Equality of scalars.
fn equal(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => same_number(left, right),
        (left, right) => left.is_scalar() && left == right,
    }
}

/// A key of an object, a string of an array, or the document itself if it is that string.
fn has(document: &str, name: &str) -> bool {
    match kind(document) {
        Kind::Object => member(document, name).is_some(),
        Kind::Array => Parts::of(document).any(|(_, value)| kind(value) == Kind::String && string_text(value) == name),
        Kind::String => string_text(document) == name,
        _ => false,
    }
}

fn exists(call: &Call<'_>) -> Result<ArrayRef> {
    let (document, name) = (call.text(0)?, call.text(1)?);
    call.make_boolean(|row| Ok(has(document.at(row), name.at(row))))
}

fn exists_any(call: &Call<'_>) -> Result<ArrayRef> {
    let (document, names) = (call.text(0)?, call.list(1)?);
    call.make_boolean(|row| Ok(names.at(row).as_string_view().iter().flatten().any(|name| has(document.at(row), name))))
}

fn exists_all(call: &Call<'_>) -> Result<ArrayRef> {
    let (document, names) = (call.text(0)?, call.list(1)?);
    call.make_boolean(|row| Ok(names.at(row).as_string_view().iter().flatten().all(|name| has(document.at(row), name))))
}
