//! A header whose names say which columns the values are of.

use super::options::NameCase;

/// Which value of a record goes to which column.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    /// For each value its name, and its place among the columns that are filled; none for one that no column takes.
    pub(super) values: Vec<(String, Option<usize>)>,
    /// The columns that are filled, by their places among all.
    pub(super) places: Vec<usize>,
}

/// Assigns the names of a header to columns. A name that no column has is passed over.
///
/// # Errors
/// The message for a header in which no name is a column's, or one column is named twice.
pub(super) fn assign(names: &[Option<Vec<u8>>], columns: &[&str], case: NameCase) -> Result<Assigned, String> {
    let mut values = Vec::with_capacity(names.len());
    let mut places: Vec<usize> = Vec::new();
    for name in names {
        let name = name.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        let place = find(&name, columns, case)?;
        if let Some(place) = place
            && places.contains(&place)
        {
            return Err(format!("column \"{}\" is named more than once in the header line", columns[place]));
        }
        values.push((name, place.map(|_| places.len())));
        places.extend(place);
    }
    if places.is_empty() {
        return Err("no name in the header line is that of a column".to_owned());
    }
    Ok(Assigned { values, places })
}

fn find(name: &str, columns: &[&str], case: NameCase) -> Result<Option<usize>, String> {
    if let Some(place) = columns.iter().position(|column| *column == name) {
        return Ok(Some(place));
    }
    if case == NameCase::Sensitive {
        return Ok(None);
    }
    let lower = name.to_lowercase();
    let mut alike = (0..columns.len()).filter(|place| columns[*place].to_lowercase() == lower);
    match (alike.next(), alike.next()) {
        (Some(first), Some(second)) => {
            let (first, second) = (columns[first], columns[second]);
            Err(format!("\"{name}\" in the header line is ambiguous: there are columns \"{first}\" and \"{second}\""))
        }
        (place, _) => Ok(place),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn assigned(names: &[&str], columns: &[&str], case: NameCase) -> Result<Assigned, String> {
        assign(&names.iter().map(|name| Some(name.as_bytes().to_vec())).collect::<Vec<_>>(), columns, case)
    }

    #[test]
    fn names_find_their_columns() {
        let value = |name: &str, place| (name.to_owned(), place);
        let found = assigned(&["c", "x", "A"], &["a", "b", "c"], NameCase::Insensitive).unwrap();
        assert_eq!(found.places, [2, 0]);
        assert_eq!(found.values, [value("c", Some(0)), value("x", None), value("A", Some(1))]);
        let found = assigned(&["c", "A"], &["a", "b", "c"], NameCase::Sensitive).unwrap();
        assert_eq!((found.places, found.values[1].clone()), (vec![2], value("A", None)));
        // A name that is equal is meant, whatever else is alike.
        assert_eq!(assigned(&["Id"], &["id", "Id"], NameCase::Insensitive).unwrap().places, [1]);
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        let refused = |names: &[&str], columns: &[&str]| assigned(names, columns, NameCase::Insensitive).unwrap_err();
        assert_eq!(refused(&["x"], &["a"]), "no name in the header line is that of a column");
        assert_eq!(refused(&["a", "A"], &["a"]), "column \"a\" is named more than once in the header line");
        let message = "\"ID\" in the header line is ambiguous: there are columns \"id\" and \"Id\"";
        assert_eq!(refused(&["ID"], &["id", "Id"]), message);
    }
}
