//! Two lists of rows, compared as far as ORDER BY determines them.

use crate::workloads::wire::TextRow;

/// What a comparison found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same rows, in an order that is right.
    Same,
    /// What is different, in words.
    Different(Vec<String>),
    /// Only the last group of equal rows differs, in equal number: these are the actual ones.
    OtherEdge(Vec<TextRow>),
}

/// Compares rows in order; rows with the same text in the columns `order` may come in any order. Without such columns all
/// rows are one group.
pub(super) fn compare(actual: &[TextRow], expected: &[TextRow], order: &[usize]) -> Verdict {
    let (actual, expected) = (&with_plain_zeros(actual)[..], &with_plain_zeros(expected)[..]);
    if actual.len() != expected.len() {
        let mut found = vec![format!("{} rows, expected {}", actual.len(), expected.len())];
        let pairs = actual.iter().zip(expected).enumerate().filter(|(_, (actual, expected))| actual != expected);
        found.extend(pairs.map(|(index, (actual, expected))| describe(index, actual, expected)));
        return Verdict::Different(found);
    }
    let mut found = Vec::new();
    let mut edge = Vec::new();
    let mut begin = 0;
    while begin < expected.len() {
        let key = |row: &TextRow| order.iter().map(|column| row.get(*column).cloned()).collect::<Vec<_>>();
        let first = key(&expected[begin]);
        let length = expected[begin..].iter().take_while(|row| key(row) == first).count();
        let end = begin + length;
        let (mut ours, mut theirs) = (actual[begin..end].to_vec(), expected[begin..end].to_vec());
        ours.sort();
        theirs.sort();
        if ours != theirs {
            let same_keys = ours.iter().all(|row| key(row) == first);
            if end == expected.len() && same_keys && !order.is_empty() {
                edge = ours;
            } else {
                let pairs = ours.iter().zip(&theirs).enumerate().filter(|(_, (ours, theirs))| ours != theirs);
                found.extend(pairs.map(|(index, (ours, theirs))| describe(begin + index, ours, theirs)));
            }
        }
        begin = end;
    }
    match (found.is_empty(), edge.is_empty()) {
        (true, true) => Verdict::Same,
        (true, false) => Verdict::OtherEdge(edge),
        (false, _) => Verdict::Different(found),
    }
}

/// How many zeros PostgreSQL prints of a quotient that is exactly zero depends on the size of the divisor, which the value
/// no longer tells (docs/postgres-compatibility.md); every other digit counts.
fn with_plain_zeros(rows: &[TextRow]) -> Vec<TextRow> {
    let zero = |cell: &str| {
        cell.strip_prefix("0.").is_some_and(|digits| digits.len() >= 16 && digits.bytes().all(|digit| digit == b'0'))
    };
    let plain =
        |cell: &Option<String>| cell.as_ref().map(|cell| if zero(cell) { "0".to_owned() } else { cell.clone() });
    rows.iter().map(|row| row.iter().map(plain).collect()).collect()
}

fn describe(index: usize, actual: &TextRow, expected: &TextRow) -> String {
    let columns = actual.iter().zip(expected).enumerate().filter(|(_, (actual, expected))| actual != expected);
    let show = |value: &Option<String>| value.as_ref().map_or_else(|| "NULL".to_owned(), |text| format!("{text:?}"));
    let parts = columns.map(|(column, (actual, expected))| {
        format!("column {}: {}, expected {}", column + 1, show(actual), show(expected))
    });
    format!("row {}, {}", index + 1, parts.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<TextRow> {
        let cell = |cell: &str| (cell != "NULL").then(|| cell.to_owned());
        text.split(' ').map(|row| row.split(',').map(cell).collect()).collect()
    }

    #[test]
    fn equal_rows_are_the_same() {
        assert_eq!(compare(&rows("1,a 2,NULL"), &rows("1,a 2,NULL"), &[0]), Verdict::Same);
        assert_eq!(compare(&[], &[], &[0]), Verdict::Same);
    }

    #[test]
    fn ties_may_come_in_any_order_and_others_may_not() {
        assert_eq!(compare(&rows("1,b 1,a 2,c"), &rows("1,a 1,b 2,c"), &[0]), Verdict::Same);
        assert!(matches!(compare(&rows("2,c 1,a"), &rows("1,a 2,c"), &[0]), Verdict::Different(_)));
    }

    #[test]
    fn one_character_is_a_difference() {
        let verdict = compare(&rows("1,1.50 2,x"), &rows("1,1.5 2,x"), &[0]);
        assert_eq!(verdict, Verdict::Different(vec!["row 1, column 2: \"1.50\", expected \"1.5\"".to_owned()]));
        assert!(matches!(compare(&rows("NULL"), &rows("x"), &[]), Verdict::Different(_)));
    }

    #[test]
    fn a_missing_row_is_a_difference() {
        let Verdict::Different(found) = compare(&rows("1,a"), &rows("1,a 2,b"), &[0]) else { panic!("it is missing") };
        assert_eq!(found, ["1 rows, expected 2"]);
    }

    #[test]
    fn rows_at_the_edge_of_a_limit_are_given_back() {
        assert_eq!(compare(&rows("1,a 2,y"), &rows("1,a 2,x"), &[0]), Verdict::OtherEdge(rows("2,y")));
        assert_eq!(compare(&rows("2,x 2,x"), &rows("2,x 2,y"), &[0]), Verdict::OtherEdge(rows("2,x 2,x")));
        // A wrong key is no edge.
        assert!(matches!(compare(&rows("1,a 3,x"), &rows("1,a 2,x"), &[0]), Verdict::Different(_)));
    }
}
