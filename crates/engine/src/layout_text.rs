//! Partitioning and order as SQL: what stands between the parentheses of PARTITION BY and SORT BY.

use wharf_lake::partition::{Layout, Term, Transform};

use crate::functions::quoting::push_identifier;

/// The partition fields; none where there are none.
pub(crate) fn partition_by(layout: &Layout) -> Option<String> {
    let fields = layout.partition.iter().map(|field| {
        let mut text = term(&field.term);
        if let Some(name) = &field.name {
            text.push_str(" AS ");
            push_identifier(name, &mut text);
        }
        text
    });
    joined(fields)
}

/// The order of the rows in a file; none where there is none.
pub(crate) fn sort_by(layout: &Layout) -> Option<String> {
    let fields = layout.sort.iter().map(|field| {
        let mut text = term(&field.term);
        if field.descending {
            text.push_str(" DESC");
        }
        // What DESC means and ASC does not.
        if field.nulls_first != field.descending {
            text.push_str(if field.nulls_first { " NULLS FIRST" } else { " NULLS LAST" });
        }
        text
    });
    joined(fields)
}

fn joined(fields: impl Iterator<Item = String>) -> Option<String> {
    let text = fields.collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

fn term(term: &Term) -> String {
    let (begin, end) = match term.transform {
        Transform::Identity => (String::new(), ""),
        Transform::Year => ("years(".to_owned(), ")"),
        Transform::Month => ("months(".to_owned(), ")"),
        Transform::Day => ("days(".to_owned(), ")"),
        Transform::Hour => ("hours(".to_owned(), ")"),
        Transform::Bucket(count) => (format!("bucket({count}, "), ")"),
        Transform::Truncate(width) => (format!("truncate({width}, "), ")"),
        // Of another engine: SQL has no word for it.
        other @ (Transform::Void | Transform::Unknown) => (format!("{other}("), ")"),
    };
    let mut text = begin;
    push_identifier(&term.column, &mut text);
    text.push_str(end);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_layout_reads_back_as_what_it_was_written_from() {
        let clauses = "PARTITION BY (days(at), bucket(16, id), \"Order\" AS o, truncate(2, \"select\"), months(d), hours(at) AS h) \
                       SORT BY (id, at DESC, name NULLS FIRST, n DESC NULLS LAST, years(d))";
        let layout = |clauses: &str| {
            let statement = crate::statement::split(&format!("CREATE TABLE t (a int) {clauses}")).unwrap().remove(0);
            statement.layout.unwrap().layout.clone()
        };
        let read = layout(clauses);
        let text = format!("PARTITION BY ({}) SORT BY ({})", partition_by(&read).unwrap(), sort_by(&read).unwrap());
        assert_eq!(text, clauses);
        assert_eq!(layout(&text), read);
        assert_eq!((partition_by(&Layout::default()), sort_by(&Layout::default())), (None, None));
    }
}
