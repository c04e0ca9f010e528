//! The beginning of a file in CSV or text, before anything is known of its columns: their names, and their values as text.

use std::sync::Arc;

use arrow::array::ArrayRef;
use bytes::Bytes;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, TextFormat};

use super::decoder::{CopyDecoder, first_record};
use super::options::{CopyOptions, Header};

/// Rows that are decoded of a sample, at most.
const MAX_ROWS: usize = 10_000;

/// The beginning of a file.
#[derive(Debug)]
pub(crate) struct Sample {
    /// The names of the columns, as the header has them; `column1` and so on where there is none, or where it has no name.
    pub(crate) names: Vec<String>,
    /// The values of each column.
    pub(crate) columns: Vec<ArrayRef>,
}

/// Reads the beginning of a file, or all of it (`whole`). None for a file without a single record. `file` is what errors call it.
///
/// # Errors
/// What is wrong with the data, as COPY says it.
pub(crate) fn sample(
    options: &CopyOptions,
    file: &str,
    bytes: &Bytes,
    whole: bool,
) -> Result<Option<Sample>, SqlError> {
    let Some(first) = first_record(options, bytes, whole)? else { return Ok(None) };
    let numbered = |index: usize| format!("column{}", index + 1);
    let name = |(index, name): (usize, Option<Vec<u8>>)| match name {
        Some(name) if options.has_header() && !name.is_empty() => String::from_utf8_lossy(&name).into_owned(),
        _ => numbered(index),
    };
    let names: Vec<String> = first.into_iter().enumerate().map(name).collect();
    let mut options = options.clone();
    options.header = if options.has_header() { Header::Skip } else { Header::None };
    // Which columns are forced to what is for the load to check, whose columns these are not yet.
    options.force_not_null = Default::default();
    options.force_null = Default::default();
    let columns = names.iter().map(|name| (name.clone(), SqlType::Text, true)).collect();
    let decoder = CopyDecoder::new(&options, file, columns, &TextFormat::default(), MAX_ROWS)?;
    // What is wrong is told by the load; here it is passed over where the load passes over it.
    let mut decoder = decoder.rejecting(&Arc::new(options.rejects(false)), None);
    decoder.push(bytes.clone())?;
    if whole {
        decoder.finish()?;
    } else {
        decoder.flush();
    }
    let columns = decoder.next_batch().unwrap_or_default();
    Ok(Some(Sample { names, columns }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::copy::{OptionItem, OptionValue};

    fn sampled(items: &[(&str, &str)], data: &str, whole: bool) -> Option<(Vec<String>, usize)> {
        let item = |(name, value): &(&str, &str)| OptionItem {
            name: (*name).to_owned(),
            value: OptionValue::Text((*value).to_owned()),
        };
        let options = CopyOptions::new(&items.iter().map(item).collect::<Vec<_>>(), false).unwrap();
        let found = sample(&options, "f", &Bytes::copy_from_slice(data.as_bytes()), whole).unwrap()?;
        Some((found.names, found.columns.first().map_or(0, |column| column.len())))
    }

    #[test]
    fn names_come_from_the_header() {
        let csv = [("format", "csv"), ("header", "true")];
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(sampled(&csv, "a,\"b c\",\n1,2,3\n4,5,6", true), Some((names(&["a", "b c", "column3"]), 2)));
        // The last record may be cut.
        assert_eq!(sampled(&csv, "a,b\n1,2\n4,", false), Some((names(&["a", "b"]), 1)));
        assert_eq!(sampled(&csv[..1], "1,2\n", true), Some((names(&["column1", "column2"]), 1)));
        assert_eq!(sampled(&[], "1\t2\n", true), Some((names(&["column1", "column2"]), 1)));
        assert_eq!(sampled(&csv, "", true), None);
    }
}
