//! Parts of documents: `->`, `->>`, `#>`, `#>>`, lengths, keys, elements.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::Int32Type;

use super::scan::{Kind, Parts, as_text, element, kind, member, string_text};
use crate::functions::call::{Call, Result, TextItems, invalid_parameter};
use crate::functions::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("json_get", "json, text -> json", get_member),
    immutable("json_get", "json, int4 -> json", get_element),
    immutable("json_get", "jsonb, text -> jsonb", get_member),
    immutable("json_get", "jsonb, int4 -> jsonb", get_element),
    immutable("json_get_text", "json, text -> text", get_member_text),
    immutable("json_get_text", "json, int4 -> text", get_element_text),
    immutable("json_get_text", "jsonb, text -> text", get_member_text),
    immutable("json_get_text", "jsonb, int4 -> text", get_element_text),
    immutable("json_get_path", "json, text[] -> json", get_path),
    immutable("json_get_path", "jsonb, text[] -> jsonb", get_path),
    immutable("json_get_path_text", "json, text[] -> text", get_path_text),
    immutable("json_get_path_text", "jsonb, text[] -> text", get_path_text),
    immutable("json_extract_path", "json, variadic text -> json", extract_path),
    immutable("jsonb_extract_path", "jsonb, variadic text -> jsonb", extract_path),
    immutable("json_extract_path_text", "json, variadic text -> text", extract_path_text),
    immutable("jsonb_extract_path_text", "jsonb, variadic text -> text", extract_path_text),
    immutable("json_array_length", "json -> int4", array_length),
    immutable("jsonb_array_length", "jsonb -> int4", array_length),
    immutable("json_typeof", "json -> text", type_of),
    immutable("jsonb_typeof", "jsonb -> text", type_of),
    immutable("json_object_keys", "json -> text[]", object_keys),
    immutable("jsonb_object_keys", "jsonb -> text[]", object_keys),
    immutable("json_array_elements", "json -> json[]", array_elements),
    immutable("jsonb_array_elements", "jsonb -> jsonb[]", array_elements),
    immutable("json_array_elements_text", "json -> text[]", array_elements_text),
    immutable("jsonb_array_elements_text", "jsonb -> text[]", array_elements_text),
    // The values of `json_each` and its kin, whose keys `json_object_keys` gives.
    immutable("json_object_values", "json -> json[]", |call| object_values(call, false)),
    immutable("jsonb_object_values", "jsonb -> jsonb[]", |call| object_values(call, false)),
    immutable("json_object_values_text", "json -> text[]", |call| object_values(call, true)),
    immutable("jsonb_object_values_text", "jsonb -> text[]", |call| object_values(call, true)),
];

fn get_member(call: &Call<'_>) -> Result<ArrayRef> {
    let (document, key) = (call.text(0)?, call.text(1)?);
    call.make_optional_str(|row| Ok(member(document.at(row), key.at(row))))
}

fn get_element(call: &Call<'_>) -> Result<ArrayRef> {
    let (document, index) = (call.text(0)?, call.int4(1)?);
    call.make_optional_str(|row| Ok(element(document.at(row), index.at(row))))
}

/// Appends a value as text; false for null.
fn push_text(value: Option<&str>, out: &mut String) -> bool {
    match value.and_then(as_text) {
        Some(text) => {
            out.push_str(&text);
            true
        }
        None => false,
    }
}

fn get_member_text(call: &Call<'_>) -> Result<ArrayRef> {
    let (document, key) = (call.text(0)?, call.text(1)?);
    call.make_optional_text(|row, out| Ok(push_text(member(document.at(row), key.at(row)), out)))
}

fn get_element_text(call: &Call<'_>) -> Result<ArrayRef> {
    let (document, index) = (call.text(0)?, call.int4(1)?);
    call.make_optional_text(|row, out| Ok(push_text(element(document.at(row), index.at(row)), out)))
}

/// One step of a path: a key of an object, or an index of an array written as text.
fn step<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    match kind(document) {
        Kind::Object => member(document, name),
        Kind::Array => element(document, name.trim().parse().ok()?),
        _ => None,
    }
}

/// Follows a path; a null step leads nowhere.
fn follow(document: &str, path: impl Iterator<Item = Option<impl AsRef<str>>>) -> Option<&str> {
    let mut value = document.trim();
    for name in path {
        value = step(value, name?.as_ref())?;
    }
    Some(value)
}

/// The texts of one row of a `text[]` argument.
pub(super) fn path_of(list: &dyn Array) -> Vec<Option<String>> {
    let texts: &StringViewArray = list.as_string_view();
    texts.iter().map(|text| text.map(str::to_owned)).collect()
}

fn get_path(call: &Call<'_>) -> Result<ArrayRef> {
    let (document, path) = (call.text(0)?, call.list(1)?);
    call.make_optional_str(|row| Ok(follow(document.at(row), path.at(row).as_string_view().iter())))
}

fn get_path_text(call: &Call<'_>) -> Result<ArrayRef> {
    let (document, path) = (call.text(0)?, call.list(1)?);
    call.make_optional_text(|row, out| {
        Ok(push_text(follow(document.at(row), path.at(row).as_string_view().iter()), out))
    })
}

fn extract_path(call: &Call<'_>) -> Result<ArrayRef> {
    let document = call.text(0)?;
    let steps = (1..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    call.make_optional_str(|row| Ok(follow(document.at(row), steps.iter().map(|step| step.get(row)))))
}

fn extract_path_text(call: &Call<'_>) -> Result<ArrayRef> {
    let document = call.text(0)?;
    let steps = (1..call.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    call.make_optional_text(|row, out| {
        Ok(push_text(follow(document.at(row), steps.iter().map(|step| step.get(row))), out))
    })
}

fn array_length(call: &Call<'_>) -> Result<ArrayRef> {
    let document = call.text(0)?;
    call.make::<Int32Type>(|row| {
        let document = document.at(row);
        match kind(document) {
            Kind::Array => Ok(Parts::of(document).count() as i32),
            Kind::Object => Err(invalid_parameter("cannot get array length of a non-array")),
            _ => Err(invalid_parameter("cannot get array length of a scalar")),
        }
    })
}

fn type_of(call: &Call<'_>) -> Result<ArrayRef> {
    let document = call.text(0)?;
    call.make_str(|row| Ok(kind(document.at(row)).name()))
}

fn object_keys(call: &Call<'_>) -> Result<ArrayRef> {
    let document = call.text(0)?;
    call.make_text_list(|row, items: &mut TextItems| {
        let document = document.at(row);
        let what = match kind(document) {
            Kind::Object => {
                for (key, _) in Parts::of(document) {
                    items.push(&string_text(key))?;
                }
                return Ok(true);
            }
            Kind::Array => "an array",
            _ => "a scalar",
        };
        Err(invalid_parameter(format!("cannot call {} on {what}", call.name)))
    })
}

fn object_values(call: &Call<'_>, as_texts: bool) -> Result<ArrayRef> {
    let document = call.text(0)?;
    call.make_text_list(|row, items: &mut TextItems| {
        let document = document.at(row);
        if kind(document) != Kind::Object {
            return Err(invalid_parameter("cannot deconstruct what is not an object"));
        }
        for (_, value) in Parts::of(document) {
            match as_text(value) {
                _ if !as_texts => items.push(value)?,
                Some(text) => items.push(&text)?,
                None => items.push_null(),
            }
        }
        Ok(true)
    })
}

/// The elements of an array document.
fn with_elements(call: &Call<'_>, push: impl Fn(&str, &mut TextItems) -> Result<()>) -> Result<ArrayRef> {
    let document = call.text(0)?;
    call.make_text_list(|row, items| {
        let document = document.at(row);
        match kind(document) {
            Kind::Array => {
                for (_, value) in Parts::of(document) {
                    push(value, items)?;
                }
                Ok(true)
            }
            Kind::Object if call.name.starts_with("jsonb") => {
                Err(invalid_parameter("cannot extract elements from an object"))
            }
            Kind::Object => Err(invalid_parameter(format!("cannot call {} on a non-array", call.name))),
            _ if call.name.starts_with("jsonb") => Err(invalid_parameter("cannot extract elements from a scalar")),
            _ => Err(invalid_parameter(format!("cannot call {} on a scalar", call.name))),
        }
    })
}

fn array_elements(call: &Call<'_>) -> Result<ArrayRef> {
    with_elements(call, |value, items| items.push(value))
}

fn array_elements_text(call: &Call<'_>) -> Result<ArrayRef> {
    with_elements(call, |value, items| match as_text(value) {
        Some(Cow::Borrowed(text)) => items.push(text),
        Some(Cow::Owned(text)) => items.push(&text),
        None => {
            items.push_null();
            Ok(())
        }
    })
}
