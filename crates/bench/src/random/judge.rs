//! Two answers to one statement, and what their difference means.
//!
//! Rows are compared as texts: in order where ORDER BY determines it, sorted otherwise. Of numbers nine digits count, and neither
//! their scale nor the sign of zero.

use super::schema::tables;
use super::syntax::Statement;
use super::types::SqlType;
use crate::workloads::wire::TextRow;

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Rows(Vec<TextRow>),
    Error {
        code: String,
        message: String,
    },
    /// The connection is gone, and why.
    Gone(String),
}

/// What two answers amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Same,
    BothRefuse,
    /// PostgreSQL fails with what depends on what is computed first, or on limits: Wharf's rows say nothing.
    PostgresFails,
    /// PostgreSQL refuses what Wharf answers.
    OnlyPostgresRefuses(String),
    /// Wharf says that it has not got it.
    NotThere(String),
    Different(Difference),
}

/// How the answers differ; while a statement is made smaller this stays the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    Rows,
    /// Wharf's error has this SQLSTATE.
    Error(String),
    Gone,
}

/// Compares the answers to a statement.
pub(super) fn judge(statement: &Statement, postgres: &Answer, wharf: &Answer) -> Outcome {
    match (postgres, wharf) {
        (_, Answer::Gone(_)) => Outcome::Different(Difference::Gone),
        (Answer::Rows(expected), Answer::Rows(actual)) => {
            match comparable(statement, expected) == comparable(statement, actual) {
                true => Outcome::Same,
                false => Outcome::Different(Difference::Rows),
            }
        }
        (Answer::Rows(_), Answer::Error { code, message }) if code == "0A000" => Outcome::NotThere(message.clone()),
        (Answer::Rows(_), Answer::Error { code, .. }) => Outcome::Different(Difference::Error(code.clone())),
        (Answer::Error { .. }, Answer::Error { .. }) => Outcome::BothRefuse,
        (Answer::Error { code, message }, Answer::Rows(_)) => match may_be_left_out(code) {
            true => Outcome::PostgresFails,
            false => Outcome::OnlyPostgresRefuses(format!("{code} {message}")),
        },
        (Answer::Gone(_), _) => Outcome::PostgresFails,
    }
}

/// Values out of range, divisions by zero and texts that are no values depend on which rows are looked at; time and memory on
/// the server.
fn may_be_left_out(code: &str) -> bool {
    ["22", "53", "54", "57"].iter().any(|class| code.starts_with(class))
}

/// Rows that are the same whenever the answers are.
pub(super) fn comparable(statement: &Statement, rows: &[TextRow]) -> Vec<TextRow> {
    let types = match statement {
        Statement::Query(query) => query.types(),
        Statement::Change(change) => {
            let tables = tables();
            let table = tables.iter().find(|table| table.name == change.table);
            table.map_or_else(Vec::new, |table| table.columns.iter().map(|column| column.ty).collect())
        }
    };
    let plain_row = |row: &TextRow| -> TextRow {
        let values = row.iter().enumerate();
        values.map(|(index, value)| value.as_ref().map(|text| plain(types.get(index).copied(), text))).collect()
    };
    let mut rows: Vec<TextRow> = rows.iter().map(plain_row).collect();
    if !matches!(statement, Statement::Query(query) if query.is_in_total_order()) {
        rows.sort();
    }
    rows
}

fn plain(ty: Option<SqlType>, text: &str) -> String {
    match ty {
        Some(SqlType::Real | SqlType::Float | SqlType::Numeric) => match text.parse::<f64>() {
            Ok(0.0) => "0".to_owned(),
            Ok(number) => format!("{number:.8e}"),
            Err(_) => text.to_owned(),
        },
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::syntax::{Expression, FromClause, Order, Query, Relation, Select, Source};
    use super::*;

    fn query(ty: SqlType, order: Option<Order>) -> Statement {
        let from = FromClause::Relation(Relation { alias: 1, columns: Vec::new(), source: Source::Table("e") });
        let select = Select { distinct: false, items: vec![Expression::null(ty)], from, filter: None, group: None };
        Statement::Query(Query { order, ..Query::plain(select) })
    }

    fn rows(values: &[&str]) -> Answer {
        Answer::Rows(values.iter().map(|value| vec![Some((*value).to_owned())]).collect())
    }

    fn error(code: &str) -> Answer {
        Answer::Error { code: code.to_owned(), message: "why".to_owned() }
    }

    #[test]
    fn numbers_are_compared_by_nine_digits_and_texts_by_all() {
        for (left, right) in [("1.50", "1.5"), ("-0", "0"), ("0.33333333333333", "0.333333333333"), ("NaN", "NaN")] {
            assert_eq!(judge(&query(SqlType::Float, None), &rows(&[left]), &rows(&[right])), Outcome::Same);
        }
        let different = Outcome::Different(Difference::Rows);
        assert_eq!(judge(&query(SqlType::Float, None), &rows(&["1.5"]), &rows(&["1.50001"])), different);
        assert_eq!(judge(&query(SqlType::Text, None), &rows(&["1.50"]), &rows(&["1.5"])), different);
    }

    #[test]
    fn the_order_counts_where_there_is_one_and_the_number_of_rows_always() {
        let order = Some(Order { directions: vec![""], limit: None, offset: None });
        let different = Outcome::Different(Difference::Rows);
        assert_eq!(judge(&query(SqlType::Int, None), &rows(&["1", "2"]), &rows(&["2", "1"])), Outcome::Same);
        assert_eq!(judge(&query(SqlType::Int, order), &rows(&["1", "2"]), &rows(&["2", "1"])), different);
        assert_eq!(judge(&query(SqlType::Int, None), &rows(&["1", "1"]), &rows(&["1"])), different);
    }

    #[test]
    fn errors_are_told_apart() {
        let query = query(SqlType::Int, None);
        let judge = |postgres: Answer, wharf: Answer| judge(&query, &postgres, &wharf);
        assert_eq!(judge(rows(&[]), error("0A000")), Outcome::NotThere("why".to_owned()));
        assert_eq!(judge(rows(&[]), error("XX000")), Outcome::Different(Difference::Error("XX000".to_owned())));
        assert_eq!(judge(error("22012"), rows(&[])), Outcome::PostgresFails);
        assert_eq!(judge(error("42803"), rows(&[])), Outcome::OnlyPostgresRefuses("42803 why".to_owned()));
        assert_eq!(judge(error("22012"), error("22003")), Outcome::BothRefuse);
        assert_eq!(judge(error("22012"), Answer::Gone(String::new())), Outcome::Different(Difference::Gone));
    }
}
