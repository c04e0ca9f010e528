//! Inserted rows: those that were acknowledged are there once, those of unknown outcome at most once, the others never. Each row
//! carries the number of its statement and its own place among the statement's rows.

use std::collections::BTreeMap;

use crate::soak::history::{Insert, Outcome};

/// What is there of one statement: how many rows, and how many different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::soak) struct Found {
    pub(in crate::soak) rows: i64,
    pub(in crate::soak) distinct: i64,
}

/// What is wrong with the rows of one table.
pub(in crate::soak) fn check(inserts: &BTreeMap<i64, Insert>, found: &BTreeMap<i64, Found>) -> Vec<String> {
    let mut violations = Vec::new();
    for (statement, insert) in inserts {
        let there = found.get(statement).copied().unwrap_or(Found { rows: 0, distinct: 0 });
        let whole = there == Found { rows: insert.rows, distinct: insert.rows };
        let right = match insert.outcome {
            Outcome::Done => whole,
            Outcome::Failed => there.rows == 0,
            Outcome::Unknown => whole || there.rows == 0,
        };
        if !right {
            violations.push(format!("statement {statement} ({insert:?}) has left {there:?}"));
        }
    }
    let strangers = found.keys().filter(|statement| !inserts.contains_key(statement));
    violations.extend(strangers.map(|statement| format!("rows of statement {statement}, which was never sent")));
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(outcome: Outcome, rows: i64, distinct: i64) -> bool {
        let found = if rows == 0 { BTreeMap::new() } else { BTreeMap::from([(1, Found { rows, distinct })]) };
        check(&BTreeMap::from([(1, Insert { rows: 3, outcome })]), &found).is_empty()
    }

    #[test]
    fn rows_are_there_once_or_not_at_all() {
        for (outcome, rows, distinct, right) in [
            (Outcome::Done, 3, 3, true),
            (Outcome::Done, 0, 0, false),
            (Outcome::Done, 2, 2, false),
            (Outcome::Done, 6, 3, false),
            (Outcome::Done, 3, 2, false),
            (Outcome::Failed, 0, 0, true),
            (Outcome::Failed, 3, 3, false),
            (Outcome::Unknown, 3, 3, true),
            (Outcome::Unknown, 0, 0, true),
            (Outcome::Unknown, 1, 1, false),
            (Outcome::Unknown, 6, 3, false),
        ] {
            assert_eq!(verdict(outcome, rows, distinct), right, "{outcome:?} {rows} {distinct}");
        }
        assert_eq!(check(&BTreeMap::new(), &BTreeMap::from([(7, Found { rows: 1, distinct: 1 })])).len(), 1);
    }
}
