//! Joins with USING: which column an unqualified name means, and the order of columns under `SELECT *`.
//!
//! What always holds: a joined column is the left table's, for RIGHT joins the right table's, for FULL joins the first
//! that is not NULL. `*` shows the joined columns first, then the others of each table. Where the table of a joined column
//! cannot be told from the syntax (NATURAL, and a column of one of several tables before) the select stays as it is.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, TableFactor, TableWithJoins, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};

use super::names;
use super::normalize::call;

/// What a FROM shows.
enum Shown {
    /// A joined column.
    Joined(String),
    /// The columns of a table, but for the joined ones.
    Table(Vec<Ident>, Vec<String>),
}

#[derive(Default)]
struct From {
    shown: Vec<Shown>,
    /// What joined columns stand for.
    joined: HashMap<String, Expr>,
}

/// Writes out what USING means in a select.
pub(super) fn write_out(select: &mut Select) {
    let uses = |from: &TableWithJoins| from.joins.iter().any(|join| constraint(&join.join_operator).is_some());
    if !select.from.iter().any(uses) {
        return;
    }
    let mut whole = From::default();
    let mut rewritten = select.from.clone();
    for from in &mut rewritten {
        let Some(part) = read(from) else { return };
        if part.joined.keys().any(|name| whole.joined.contains_key(name)) {
            return;
        }
        whole.shown.extend(part.shown);
        whole.joined.extend(part.joined);
    }
    select.from = rewritten;
    let mut projection = Vec::with_capacity(select.projection.len());
    for item in std::mem::take(&mut select.projection) {
        match item {
            SelectItem::Wildcard(options) if is_plain(&options) => projection.extend(star(&whole)),
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) if whole.joined.contains_key(&names::fold(&ident)) => {
                let name = names::fold(&ident);
                projection.push(joined_item(&whole, &name));
            }
            other => projection.push(other),
        }
    }
    select.projection = projection;
    let mut visitor = Joined { columns: &whole.joined, depth: 0 };
    // The visitor never breaks off.
    let _ = select.projection.visit(&mut visitor);
    let _ = select.selection.visit(&mut visitor);
    let _ = select.group_by.visit(&mut visitor);
    let _ = select.having.visit(&mut visitor);
    let _ = select.distinct.visit(&mut visitor);
}

fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    options.opt_exclude.is_none() && options.opt_except.is_none() && options.opt_replace.is_none()
}

fn constraint(operator: &JoinOperator) -> Option<&Vec<ObjectName>> {
    match operator {
        JoinOperator::Join(JoinConstraint::Using(columns))
        | JoinOperator::Inner(JoinConstraint::Using(columns))
        | JoinOperator::Left(JoinConstraint::Using(columns))
        | JoinOperator::LeftOuter(JoinConstraint::Using(columns))
        | JoinOperator::Right(JoinConstraint::Using(columns))
        | JoinOperator::RightOuter(JoinConstraint::Using(columns))
        | JoinOperator::FullOuter(JoinConstraint::Using(columns)) => Some(columns),
        _ => None,
    }
}

/// What one item of FROM shows; its joins with USING become joins with ON. None where that cannot be told.
fn read(from: &mut TableWithJoins) -> Option<From> {
    let mut result = From { shown: vec![Shown::Table(reference(&from.relation)?, Vec::new())], joined: HashMap::new() };
    for join in &mut from.joins {
        let right = reference(&join.relation)?;
        let Some(columns) = constraint(&join.join_operator).cloned() else {
            let natural = matches!(
                &join.join_operator,
                JoinOperator::Join(JoinConstraint::Natural)
                    | JoinOperator::Inner(JoinConstraint::Natural)
                    | JoinOperator::Left(JoinConstraint::Natural)
                    | JoinOperator::LeftOuter(JoinConstraint::Natural)
                    | JoinOperator::Right(JoinConstraint::Natural)
                    | JoinOperator::RightOuter(JoinConstraint::Natural)
                    | JoinOperator::FullOuter(JoinConstraint::Natural)
            );
            if natural {
                return None;
            }
            result.shown.push(Shown::Table(right, Vec::new()));
            continue;
        };
        let mut on: Option<Expr> = None;
        let mut names_joined = Vec::with_capacity(columns.len());
        for column in &columns {
            let ident = column.0.first()?.as_ident()?.clone();
            let name = names::fold(&ident);
            let left = match (result.joined.get(&name), result.shown.as_mut_slice()) {
                (Some(left), _) => left.clone(),
                (None, [Shown::Table(table, hidden)]) => {
                    hidden.push(name.clone());
                    column_of(table, &ident)
                }
                (None, shown) => {
                    // The one table whose columns are not joined by another name.
                    let mut tables = shown.iter_mut().filter(|shown| matches!(shown, Shown::Table(..)));
                    match (tables.next(), tables.next()) {
                        (Some(Shown::Table(table, hidden)), None) => {
                            hidden.push(name.clone());
                            column_of(table, &ident)
                        }
                        _ => return None,
                    }
                }
            };
            let other = column_of(&right, &ident);
            let equal =
                Expr::BinaryOp { left: Box::new(left.clone()), op: BinaryOperator::Eq, right: Box::new(other.clone()) };
            on = Some(match on {
                None => equal,
                Some(on) => Expr::BinaryOp { left: Box::new(on), op: BinaryOperator::And, right: Box::new(equal) },
            });
            let value = match &join.join_operator {
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => other,
                JoinOperator::FullOuter(_) => call("coalesce", vec![left, other]),
                _ => left,
            };
            result.joined.insert(name.clone(), value);
            names_joined.push(name);
        }
        let on = JoinConstraint::On(on?);
        match &mut join.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::Right(constraint)
            | JoinOperator::RightOuter(constraint)
            | JoinOperator::FullOuter(constraint) => *constraint = on,
            _ => return None,
        }
        let mut shown: Vec<Shown> = names_joined.iter().cloned().map(Shown::Joined).collect();
        shown.extend(result.shown.into_iter().filter(|shown| match shown {
            Shown::Joined(name) => !names_joined.contains(name),
            Shown::Table(..) => true,
        }));
        shown.push(Shown::Table(right, names_joined));
        result.shown = shown;
    }
    Some(result)
}

/// What a table's columns are qualified with: its alias, or its name with all its parts.
fn reference(factor: &TableFactor) -> Option<Vec<Ident>> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(vec![alias.name.clone()])
        }
        TableFactor::Table { name, alias: None, args: None, .. } => {
            name.0.iter().map(|part| part.as_ident().cloned()).collect()
        }
        _ => None,
    }
}

fn column_of(table: &[Ident], column: &Ident) -> Expr {
    Expr::CompoundIdentifier(table.iter().chain([column]).cloned().collect())
}

/// `t.*` of a table that FROM names as `s.t` is `s.t.*`; DataFusion wants the name as FROM has it.
pub(super) fn complete_wildcards(select: &mut Select) {
    let factors = || {
        select
            .from
            .iter()
            .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|j| &j.relation)))
    };
    let tables: Vec<Vec<Ident>> = factors().filter_map(reference).collect();
    for item in &mut select.projection {
        let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item else {
            continue;
        };
        let [part] = name.0.as_slice() else { continue };
        let Some(wanted) = part.as_ident().map(names::fold) else { continue };
        let is_wanted = |table: &&Vec<Ident>| table.last().is_some_and(|last| names::fold(last) == wanted);
        let mut found = tables.iter().filter(is_wanted);
        if let (Some(table), None) = (found.next(), found.next()) {
            *name = ObjectName::from(table.clone());
        }
    }
}

fn joined_item(from: &From, name: &str) -> SelectItem {
    let expr = from.joined.get(name).cloned().unwrap_or_else(|| Expr::Identifier(Ident::with_quote('"', name)));
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) }
}

fn star(from: &From) -> Vec<SelectItem> {
    from.shown
        .iter()
        .map(|shown| match shown {
            Shown::Joined(name) => joined_item(from, name),
            Shown::Table(table, hidden) => {
                let columns = hidden.iter().map(|name| ObjectName::from(Ident::with_quote('"', name))).collect();
                let opt_exclude = (!hidden.is_empty()).then_some(ExcludeSelectItem::Multiple(columns));
                let options = WildcardAdditionalOptions { opt_exclude, ..WildcardAdditionalOptions::default() };
                let kind = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(table.clone()));
                SelectItem::QualifiedWildcard(kind, options)
            }
        })
        .collect()
}

/// Puts what joined columns stand for in the place of their names, outside of inner queries.
struct Joined<'a> {
    columns: &'a HashMap<String, Expr>,
    depth: usize,
}

impl VisitorMut for Joined<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Identifier(ident) = expr
            && let Some(value) = self.columns.get(&names::fold(ident))
        {
            *expr = value.clone();
        }
        ControlFlow::Continue(())
    }
}
