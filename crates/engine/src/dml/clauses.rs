//! The WHEN clauses of MERGE.

use sqlparser::ast;
use wharf_catalog::Table;
use wharf_values::{SqlError, SqlState};

use super::change::Action;
use super::columns::{self, default_expression, typed};
use super::syntax_error;
use crate::bind::names::last_part;
use crate::syntax::{DEFAULTS, NOTHING};

/// Which pairs a clause is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A row of the table and one of the source.
    Matched,
    /// A row of the source alone.
    NotMatched,
    /// A row of the table alone.
    NotMatchedBySource,
}

/// A WHEN clause.
pub(super) struct Clause {
    pub(super) kind: Kind,
    pub(super) condition: Option<ast::Expr>,
    pub(super) does: Does,
}

/// What it does.
pub(super) enum Does {
    Nothing,
    Delete,
    /// The columns that are set, by their places, and their values.
    Update(Vec<(usize, ast::Expr)>),
    /// All columns and their values.
    Insert(Vec<(usize, ast::Expr)>),
}

impl Does {
    pub(super) fn action(&self) -> Action {
        match self {
            Does::Nothing => Action::Nothing,
            Does::Delete => Action::Delete,
            Does::Update(_) => Action::Update,
            Does::Insert(_) => Action::Insert,
        }
    }
}

impl Clause {
    /// The columns that it stores something in.
    pub(super) fn stored(&self) -> &[(usize, ast::Expr)] {
        match &self.does {
            Does::Update(values) | Does::Insert(values) => values,
            Does::Nothing | Does::Delete => &[],
        }
    }

    /// All expressions in it.
    pub(super) fn exprs(&self) -> impl Iterator<Item = ast::Expr> + '_ {
        self.condition.iter().chain(self.stored().iter().map(|(_, value)| value)).cloned()
    }
}

/// Reads the clauses.
///
/// # Errors
/// `42601` for one that is never reached, and what is wrong with the columns.
pub(super) fn clauses(list: &[ast::MergeClause], table: &Table) -> Result<Vec<Clause>, SqlError> {
    if list.is_empty() {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at end of input"));
    }
    let mut read: Vec<Clause> = Vec::with_capacity(list.len());
    for clause in list {
        let kind = match clause.clause_kind {
            ast::MergeClauseKind::Matched => Kind::Matched,
            ast::MergeClauseKind::NotMatched | ast::MergeClauseKind::NotMatchedByTarget => Kind::NotMatched,
            ast::MergeClauseKind::NotMatchedBySource => Kind::NotMatchedBySource,
        };
        if read.iter().any(|earlier| earlier.kind == kind && earlier.condition.is_none()) {
            let message = "unreachable WHEN clause specified after unconditional WHEN clause";
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
        }
        read.push(Clause { kind, condition: clause.predicate.clone(), does: does(&clause.action, table)? });
    }
    Ok(read)
}

fn does(action: &ast::MergeAction, table: &Table) -> Result<Does, SqlError> {
    match action {
        ast::MergeAction::Delete { .. } => Ok(Does::Delete),
        ast::MergeAction::Update(update) => {
            if update.update_predicate.is_some() || update.delete_predicate.is_some() {
                return Err(syntax_error("MERGE"));
            }
            if let [ast::Assignment { target: ast::AssignmentTarget::ColumnName(name), .. }] = &update.assignments[..]
                && last_part(name) == NOTHING
            {
                return Ok(Does::Nothing);
            }
            columns::assignments(&update.assignments, table).map(Does::Update)
        }
        ast::MergeAction::Insert(insert) => {
            let ast::MergeInsertKind::Values(values) = &insert.kind else { return Err(syntax_error("MERGE")) };
            let [row] = &values.rows[..] else { return Err(syntax_error("MERGE")) };
            if insert.insert_predicate.is_some() {
                return Err(syntax_error("MERGE"));
            }
            let is_mark = |mark| matches!(&row.content[..], [ast::Expr::Identifier(word)] if word.value == mark);
            if is_mark(NOTHING) {
                return Ok(Does::Nothing);
            }
            let given: &[ast::Expr] = if is_mark(DEFAULTS) { &[] } else { &row.content };
            inserted(&insert.columns, given, is_mark(DEFAULTS), table).map(Does::Insert)
        }
    }
}

/// All columns of a new row: the given ones, and defaults for the others.
fn inserted(
    names: &[ast::ObjectName],
    given: &[ast::Expr],
    only_defaults: bool,
    table: &Table,
) -> Result<Vec<(usize, ast::Expr)>, SqlError> {
    let places = columns::list(table, names)?;
    if given.len() > places.len() {
        let message = "INSERT has more expressions than target columns";
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
    }
    if given.len() < places.len() && !names.is_empty() && !only_defaults {
        let message = "INSERT has more target columns than expressions";
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
    }
    let value = |(index, column)| {
        let place = places.iter().position(|place| *place == index).filter(|place| *place < given.len());
        let value = match place {
            Some(place) => typed(&given[place], column),
            None => default_expression(column).and_then(|value| typed(&value, column)),
        };
        Ok((index, value?))
    };
    table.columns.iter().enumerate().map(value).collect()
}
