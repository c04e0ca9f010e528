//! Documents made from documents: `||`, `-`, `#-`, `jsonb_set`, `jsonb_insert`, `jsonb_strip_nulls`, `jsonb_pretty`.

use arrow::array::{ArrayRef, AsArray};
use wharf_values::{SqlError, SqlState};

use super::access::path_of;
use super::scan::{Kind, Parts, kind};
use super::value::{Json, insert, position};
use crate::functions::call::{Call, Result, invalid_parameter};
use crate::functions::overload::{Declaration, immutable};

pub(super) const FUNCTIONS: &[Declaration] = &[
    immutable("jsonb_concat", "jsonb, jsonb -> jsonb", concat),
    immutable("jsonb_delete", "jsonb, text -> jsonb", delete_key),
    immutable("jsonb_delete", "jsonb, int4 -> jsonb", delete_index),
    immutable("jsonb_delete", "jsonb, text[] -> jsonb", delete_keys),
    immutable("jsonb_delete_path", "jsonb, text[] -> jsonb", delete_path),
    immutable("jsonb_set", "jsonb, text[], jsonb -> jsonb", set),
    immutable("jsonb_set", "jsonb, text[], jsonb, bool -> jsonb", set),
    immutable("jsonb_insert", "jsonb, text[], jsonb -> jsonb", insert_value),
    immutable("jsonb_insert", "jsonb, text[], jsonb, bool -> jsonb", insert_value),
    immutable("jsonb_strip_nulls", "jsonb -> jsonb", strip_nulls),
    immutable("json_strip_nulls", "json -> json", strip_nulls_of_json),
    immutable("jsonb_pretty", "jsonb -> text", pretty),
];

fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.text(0)?, call.text(1)?);
    call.make_text(|row, out| {
        let joined = match (Json::parse(left.at(row))?, Json::parse(right.at(row))?) {
            (Json::Object(mut members), Json::Object(more)) => {
                for (key, value) in more {
                    insert(&mut members, key, value);
                }
                Json::Object(members)
            }
            (left, right) => {
                let items = |value| match value {
                    Json::Array(items) => items,
                    other => vec![other],
                };
                let mut all = items(left);
                all.extend(items(right));
                Json::Array(all)
            }
        };
        joined.write(out);
        Ok(())
    })
}

fn cannot_delete(document: &Json) -> Result<()> {
    if document.is_scalar() { Err(invalid_parameter("cannot delete from scalar")) } else { Ok(()) }
}

/// Removes a key of an object, or the strings of an array that are equal to it.
fn remove_name(document: &mut Json, name: &str) {
    match document {
        Json::Object(members) => {
            if let Ok(index) = position(members, name) {
                members.remove(index);
            }
        }
        Json::Array(items) => items.retain(|item| !matches!(item, Json::String(text) if text == name)),
        _ => {}
    }
}

fn delete_key(call: &Call<'_>) -> Result<ArrayRef> {
    let (document, name) = (call.text(0)?, call.text(1)?);
    call.make_text(|row, out| {
        let mut document = Json::parse(document.at(row))?;
        cannot_delete(&document)?;
        remove_name(&mut document, name.at(row));
        document.write(out);
        Ok(())
    })
}

fn delete_keys(call: &Call<'_>) -> Result<ArrayRef> {
    let (document, names) = (call.text(0)?, call.list(1)?);
    call.make_text(|row, out| {
        let mut document = Json::parse(document.at(row))?;
        cannot_delete(&document)?;
        for name in names.at(row).as_string_view().iter().flatten() {
            remove_name(&mut document, name);
        }
        document.write(out);
        Ok(())
    })
}

/// An index counted from the end when it is negative; `None` before the beginning.
fn from_either_end(index: i32, length: usize) -> Option<usize> {
    if index >= 0 { Some(index as usize) } else { length.checked_sub(index.unsigned_abs() as usize) }
}

fn delete_index(call: &Call<'_>) -> Result<ArrayRef> {
    let (document, index) = (call.text(0)?, call.int4(1)?);
    call.make_text(|row, out| {
        let mut document = Json::parse(document.at(row))?;
        cannot_delete(&document)?;
        match &mut document {
            Json::Array(items) => {
                let index = from_either_end(index.at(row), items.len());
                if let Some(index) = index.filter(|index| *index < items.len()) {
                    items.remove(index);
                }
            }
            _ => return Err(invalid_parameter("cannot delete from object using integer index")),
        }
        document.write(out);
        Ok(())
    })
}

/// What is done where a path leads.
enum Change {
    Delete,
    /// Replace, and create if `create`.
    Set {
        value: Json,
        create: bool,
    },
    /// Put before or after an element; create a key that is not there.
    Insert {
        value: Json,
        after: bool,
    },
}

fn step_name(path: &[Option<String>], level: usize) -> Result<&str> {
    path[level].as_deref().ok_or_else(|| {
        let message = format!("path element at position {} is null", level + 1);
        SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, message)
    })
}

fn step_index(name: &str, level: usize) -> Result<i32> {
    name.trim().parse().map_err(|_| {
        let message = format!("path element at position {} is not an integer: \"{name}\"", level + 1);
        SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
    })
}

/// Applies a change below a value, at the end of the rest of a path.
fn apply(value: &mut Json, path: &[Option<String>], level: usize, change: &Change) -> Result<()> {
    let last = level + 1 == path.len();
    match value {
        Json::Object(members) => {
            let name = step_name(path, level)?;
            match (position(members, name), last, change) {
                (Ok(index), false, _) => apply(&mut members[index].1, path, level + 1, change)?,
                (Ok(index), true, Change::Delete) => {
                    members.remove(index);
                }
                (Ok(index), true, Change::Set { value, .. }) => members[index].1 = value.clone(),
                (Ok(_), true, Change::Insert { .. }) => {
                    return Err(invalid_parameter("cannot replace existing key")
                        .with_hint("Try using the function jsonb_set to replace key value."));
                }
                (Err(index), true, Change::Set { value, create: true } | Change::Insert { value, .. }) => {
                    members.insert(index, (name.to_owned(), value.clone()));
                }
                (Err(_), _, _) => {}
            }
        }
        Json::Array(items) => {
            let wanted = step_index(step_name(path, level)?, level)?;
            let index = from_either_end(wanted, items.len());
            match (index.filter(|index| *index < items.len()), last, change) {
                (Some(index), false, _) => apply(&mut items[index], path, level + 1, change)?,
                (Some(index), true, Change::Delete) => {
                    items.remove(index);
                }
                (Some(index), true, Change::Set { value, .. }) => items[index] = value.clone(),
                (Some(index), true, Change::Insert { value, after }) => {
                    items.insert(index + usize::from(*after), value.clone());
                }
                // Beyond an end: there, at that end.
                (None, true, Change::Set { value, create: true } | Change::Insert { value, .. }) => {
                    items.insert(if wanted < 0 { 0 } else { items.len() }, value.clone());
                }
                (None, _, _) => {}
            }
        }
        _ => {}
    }
    Ok(())
}

fn change(call: &Call<'_>, refused: &str, make: impl Fn(usize) -> Result<Change>) -> Result<ArrayRef> {
    let (document, path) = (call.text(0)?, call.list(1)?);
    call.make_text(|row, out| {
        let mut document = Json::parse(document.at(row))?;
        if document.is_scalar() {
            return Err(invalid_parameter(refused));
        }
        let path = path_of(&path.at(row));
        if !path.is_empty() {
            apply(&mut document, &path, 0, &make(row)?)?;
        }
        document.write(out);
        Ok(())
    })
}

fn delete_path(call: &Call<'_>) -> Result<ArrayRef> {
    change(call, "cannot delete path in scalar", |_| Ok(Change::Delete))
}

fn set(call: &Call<'_>) -> Result<ArrayRef> {
    let value = call.text(2)?;
    let create = if call.len() == 4 { Some(call.boolean(3)?) } else { None };
    change(call, "cannot set path in scalar", |row| {
        let create = create.is_none_or(|create| create.at(row));
        Ok(Change::Set { value: Json::parse(value.at(row))?, create })
    })
}

fn insert_value(call: &Call<'_>) -> Result<ArrayRef> {
    let value = call.text(2)?;
    let after = if call.len() == 4 { Some(call.boolean(3)?) } else { None };
    change(call, "cannot set path in scalar", |row| {
        let after = after.is_some_and(|after| after.at(row));
        Ok(Change::Insert { value: Json::parse(value.at(row))?, after })
    })
}

fn without_nulls(value: Json) -> Json {
    match value {
        Json::Object(members) => Json::Object(
            members
                .into_iter()
                .filter(|(_, value)| *value != Json::Null)
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Json::Array(items) => Json::Array(items.into_iter().map(without_nulls).collect()),
        scalar => scalar,
    }
}

fn strip_nulls(call: &Call<'_>) -> Result<ArrayRef> {
    let document = call.text(0)?;
    call.make_text(|row, out| {
        without_nulls(Json::parse(document.at(row))?).write(out);
        Ok(())
    })
}

/// `json` keeps the order of its keys and loses its white space.
fn strip_nulls_of_json(call: &Call<'_>) -> Result<ArrayRef> {
    fn write(document: &str, out: &mut String) {
        let (open, close) = match kind(document) {
            Kind::Object => ('{', '}'),
            Kind::Array => ('[', ']'),
            _ => {
                out.push_str(document.trim());
                return;
            }
        };
        out.push(open);
        let mut first = true;
        for (key, value) in Parts::of(document) {
            if open == '{' && kind(value) == Kind::Null {
                continue;
            }
            if !first {
                out.push(',');
            }
            first = false;
            if open == '{' {
                out.push_str(key);
                out.push(':');
            }
            write(value, out);
        }
        out.push(close);
    }
    let document = call.text(0)?;
    call.make_text(|row, out| {
        write(document.at(row), out);
        Ok(())
    })
}

fn pretty(call: &Call<'_>) -> Result<ArrayRef> {
    let document = call.text(0)?;
    call.make_text(|row, out| {
        Json::parse(document.at(row))?.write_pretty(0, out);
        Ok(())
    })
}
