//! The views that read a table whose columns change.
//!
//! A view's query is kept as text. `*` in it stands for the columns that the table had when the view was made, so a view with
//! `*` uses all of them; and when a column is added, such a view reads a query of the columns it knows in the table's place.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    self, Expr, JoinConstraint, JoinOperator, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, Statement,
    TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};
use wharf_catalog::{Column, RelationName, View, ViewText};
use wharf_values::SqlError;

use super::super::rename::{self, Renamed, schema_and_name};
use super::draft::Draft;
use crate::bind::names::fold;

/// The oids of the views that use a column of the table.
///
/// # Errors
/// `XX000` when a view's text cannot be read.
pub(super) fn users(draft: &Draft, column: &str) -> Result<Vec<u32>, SqlError> {
    let position = draft.table.columns.iter().position(|known| known.name == column);
    let mut users = Vec::new();
    for view in readers(draft) {
        if mentions(draft, &view)?.uses(column, position) {
            users.push(view.oid);
        }
    }
    Ok(users)
}

/// The texts that the views have from now on.
///
/// # Errors
/// `XX000` when a view's text cannot be read.
pub(super) fn texts(draft: &Draft) -> Result<Vec<ViewText>, SqlError> {
    let mut texts = Vec::new();
    for view in readers(draft) {
        let mentions = mentions(draft, &view)?;
        let touched = mentions.all || draft.added.iter().any(|name| mentions.names.contains(name));
        let definition = if !draft.added.is_empty() && touched {
            let of = RelationName::new(draft.schema.clone(), draft.table.name.clone());
            let columns: Vec<Column> = draft
                .table
                .columns
                .iter()
                .filter(|column| draft.columns.iter().any(|stays| stays.column.name == column.name))
                .cloned()
                .collect();
            rename::text(&view, &Renamed::Fixed { of, columns: &columns })?
        } else {
            view.definition.clone()
        };
        let definition = without_aliases(draft, &view, definition)?;
        texts.push(ViewText { oid: view.oid, expected: view.definition.clone(), definition });
    }
    Ok(texts)
}

fn readers(draft: &Draft) -> Vec<View> {
    let catalog = &draft.context.catalog;
    let view = |oid: u32| catalog.relation_by_oid(oid)?.as_view().map(|view| view.as_ref().clone());
    catalog.dependents(draft.table.oid).filter_map(view).collect()
}

fn query_of(view: &View, text: &str) -> Result<Box<Query>, SqlError> {
    match crate::statement::parse(text)?.pop() {
        Some(Statement::Query(query)) => Ok(query),
        _ => Err(SqlError::internal(format!("view \"{}\" is not a query", view.name))),
    }
}

/// What a view's query says of the table.
#[derive(Default)]
struct Mentions {
    table: String,
    schema: String,
    /// It says `*`, or joins by whatever names are the same.
    all: bool,
    /// The names that the table has in it.
    aliases: BTreeSet<String>,
    /// The names of the table's columns where an alias gives others, by their places.
    renamed: Vec<Vec<String>>,
    /// Names of columns without a relation.
    names: BTreeSet<String>,
    /// Names of columns with one.
    qualified: BTreeSet<(String, String)>,
}

fn mentions(draft: &Draft, view: &View) -> Result<Mentions, SqlError> {
    let mut mentions =
        Mentions { table: draft.table.name.clone(), schema: draft.schema.clone(), ..Mentions::default() };
    let query = query_of(view, &view.definition)?;
    let _ = query.visit(&mut mentions);
    Ok(mentions)
}

impl Mentions {
    fn uses(&self, column: &str, position: Option<usize>) -> bool {
        let renamed = self.renamed.iter().filter_map(|names| names.get(position?).map(String::as_str));
        let mut names: BTreeSet<&str> = renamed.collect();
        names.insert(column);
        self.all
            || names.iter().any(|name| self.names.contains(*name))
            || self
                .qualified
                .iter()
                .any(|(relation, name)| self.aliases.contains(relation) && names.contains(name.as_str()))
    }
}

impl Visitor for Mentions {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, .. } = factor
            && schema_and_name(name).is_some_and(|(schema, name)| schema == self.schema && name == self.table)
        {
            match alias {
                Some(alias) => {
                    self.aliases.insert(fold(&alias.name));
                    self.renamed.push(alias.columns.iter().map(|column| fold(&column.name)).collect());
                }
                None => drop(self.aliases.insert(self.table.clone())),
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            self.all |= matches!(
                item,
                SelectItem::Wildcard(_)
                    | SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(_), _)
            );
        }
        for join in select.from.iter().flat_map(|from| &from.joins) {
            let constraint = match &join.join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::Left(constraint)
                | JoinOperator::LeftOuter(constraint)
                | JoinOperator::Right(constraint)
                | JoinOperator::RightOuter(constraint)
                | JoinOperator::FullOuter(constraint) => constraint,
                _ => continue,
            };
            match constraint {
                JoinConstraint::Natural => self.all = true,
                JoinConstraint::Using(names) => {
                    self.names.extend(names.iter().map(crate::bind::names::last_part));
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => drop(self.names.insert(fold(name))),
            Expr::CompoundIdentifier(parts) => {
                if let [.., relation, column] = parts.as_slice() {
                    self.qualified.insert((fold(relation), fold(column)));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Takes the dropped columns out of lists of aliases, which go by place.
fn without_aliases(draft: &Draft, view: &View, definition: String) -> Result<String, SqlError> {
    struct Aliases<'a>(&'a Draft);
    impl VisitorMut for Aliases<'_> {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            let Aliases(draft) = self;
            if let TableFactor::Table { name, alias: Some(alias), .. } = factor
                && schema_and_name(name)
                    .is_some_and(|(schema, name)| schema == draft.schema && name == draft.table.name)
            {
                let mut before = draft.table.columns.iter();
                alias.columns.retain(|_| {
                    before.next().is_none_or(|old| draft.columns.iter().any(|column| column.column.name == old.name))
                });
            }
            ControlFlow::Continue(())
        }
    }
    if draft.gone.iter().all(|gone| gone.column.is_none()) {
        return Ok(definition);
    }
    let mut query: Box<ast::Query> = query_of(view, &definition)?;
    let _ = VisitMut::visit(&mut query, &mut Aliases(draft));
    Ok(super::super::view::printed(*query))
}
