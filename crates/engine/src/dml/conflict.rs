//! INSERT .. ON CONFLICT.
//!
//! New rows are joined with the rows of the table that have the same key. Keys that new rows share with one another are told apart
//! as the rows are written (`keys`). Between statements that run at the same time it is the commit that holds keys apart: it
//! is made on the very rows that the statement has seen, or the statement is made anew.

use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast;
use wharf_catalog::{Constraint, Rule, SqlType, Table};
use wharf_values::{SqlError, SqlState};

use super::change::{Action, ChangePlan, Layout, Value};
use super::clauses::{Clause, Does, Kind};
use super::keys::{Key, Keys};
use super::pairs::Planner;
use super::query::{Parts, and, case, column, local, number, numbered};
use super::returning::Returning;
use super::scope::{Relation, Scope, put};
use super::target::Changed;
use super::{Command, Write, columns};
use crate::bind::names::{fold, last_part};
use crate::bind::{BindContext, Local};
use crate::error::from_datafusion;
use crate::session::Session;

/// The new rows, as the clauses call them.
const EXCLUDED: &str = "excluded";
/// The name of the new rows in plans.
const NEW: &str = "\0new";
/// The column that numbers the new rows in their order.
const ORDER: &str = "\0order";

/// The clauses behind the rows of an INSERT.
pub(super) struct Clauses<'a> {
    /// The keys that a conflict is about, at least one.
    pub(super) keys: Vec<Key>,
    pub(super) action: &'a ast::OnConflictAction,
    pub(super) with: Option<&'a ast::With>,
    pub(super) returning: Option<Vec<ast::SelectItem>>,
}

/// The keys that a conflict is about.
///
/// # Errors
/// `42703`, `42704` for a constraint that is not there, `42P10` for columns that are no key, `42601` for DO UPDATE without a key.
pub(super) fn keys(conflict: &ast::OnConflict, table: &Table) -> Result<Vec<Key>, SqlError> {
    let key = |constraint: &Constraint| match &constraint.rule {
        Rule::Key { columns, nulls_distinct, .. } => {
            let place = |id: &i32| table.columns.iter().position(|column| column.field_id == *id);
            let columns = columns.iter().map(place).collect::<Option<Vec<_>>>()?;
            Some(Key { columns, nulls_distinct: *nulls_distinct })
        }
        Rule::Check { .. } | Rule::Reference { .. } => None,
    };
    match &conflict.conflict_target {
        None if matches!(conflict.action, ast::OnConflictAction::DoNothing) => {
            Ok(table.constraints.iter().filter_map(key).collect())
        }
        None => {
            let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            Err(SqlError::new(SqlState::SYNTAX_ERROR, message).with_hint("For example, ON CONFLICT (column_name)."))
        }
        Some(ast::ConflictTarget::OnConstraint(name)) => {
            let name = last_part(name);
            let found = table.constraints.iter().find(|constraint| constraint.name == name).ok_or_else(|| {
                let message = format!("constraint \"{name}\" for table \"{}\" does not exist", table.name);
                SqlError::new(SqlState::UNDEFINED_OBJECT, message)
            })?;
            key(found).map(|key| vec![key]).ok_or_else(|| {
                let message = "constraint in ON CONFLICT clause has no associated index";
                SqlError::new(SqlState::WRONG_OBJECT_TYPE, message)
            })
        }
        Some(ast::ConflictTarget::Columns(names)) => {
            let mut wanted =
                names.iter().map(|name| columns::place(table, &fold(name))).collect::<Result<Vec<_>, _>>()?;
            wanted.sort_unstable();
            wanted.dedup();
            let is_wanted = |key: &Key| {
                let mut columns = key.columns.clone();
                columns.sort_unstable();
                columns == wanted
            };
            let found = table.constraints.iter().filter_map(key).find(is_wanted);
            found.map(|key| vec![key]).ok_or_else(|| {
                let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
                SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message)
            })
        }
    }
}

/// Plans the statement; `rows` are the new rows, at the table's columns.
///
/// # Errors
/// All that planning the clauses refuses.
pub(super) async fn plan(
    session: &Session,
    target: Changed,
    rows: LogicalPlan,
    clauses: Clauses<'_>,
    parameters: &[Option<SqlType>],
    context: &mut BindContext,
) -> Result<Write, SqlError> {
    let keys = clauses.keys;
    let source = provider_as_source(Arc::new(EmptyTable::new(Arc::clone(rows.schema().inner()))));
    context.locals.insert(NEW.to_owned(), Local { source, oid: None });
    let returning = match clauses.returning {
        Some(items) => {
            let scope = Scope { relations: vec![Relation::of_table(&target.table, &target.alias)] };
            Some(Returning::bind(session, &scope, items, clauses.with.cloned(), parameters, context).await?)
        }
        None => None,
    };
    let reads = returning.as_ref().map(|returning| returning.reads.clone()).unwrap_or_default();
    let mut query = Query { session, target: &target, keys: &keys, with: clauses.with, parameters, context };
    let (command, found, layout, actions) = match clauses.action {
        ast::OnConflictAction::DoNothing => {
            let (found, layout) = query.nothing(&rows, &reads).await?;
            (Command::InsertOrNothing, found, layout, vec![Action::Insert, Action::Nothing])
        }
        ast::OnConflictAction::DoUpdate(update) => {
            let (found, layout) = query.update(update, &rows, &reads).await?;
            (Command::InsertOrUpdate, found, layout, vec![Action::Insert, Action::Update, Action::Nothing])
        }
    };
    let keys = Some(Keys { keys, table: Arc::clone(&target.table) });
    Ok(Write::Change(ChangePlan {
        command,
        table: target.table,
        provider: target.provider,
        found,
        layout,
        actions,
        keys,
        returning,
    }))
}

struct Query<'a> {
    session: &'a Session,
    target: &'a Changed,
    keys: &'a [Key],
    with: Option<&'a ast::With>,
    parameters: &'a [Option<SqlType>],
    context: &'a mut BindContext,
}

impl Query<'_> {
    /// The new rows, each with what is done about it: 0 it is inserted, 1 nothing. In their order: the first of those that have
    /// the same key is inserted.
    async fn nothing(&mut self, rows: &LogicalPlan, reads: &[usize]) -> Result<(LogicalPlan, Layout), SqlError> {
        let columns = &self.target.table.columns;
        let mut joins = Vec::with_capacity(self.keys.len());
        let mut there = None;
        let mut place = Vec::new();
        for (index, key) in self.keys.iter().enumerate() {
            let same = Changed { alias: format!("\0key{index}"), ..self.target.clone() };
            let on = ast::JoinConstraint::On(same_key(key, &same)?);
            let join_operator = ast::JoinOperator::LeftOuter(on);
            joins.push(ast::Join { relation: same.factor()?, global: false, join_operator });
            place = same.place().to_vec();
            let missing = ast::Expr::IsNull(Box::new(place[1].clone()));
            there = Some(match there {
                Some(others) => and(others, missing),
                None => missing,
            });
        }
        let missing = there.ok_or_else(|| SqlError::internal("a conflict about no key"))?;
        let mut exprs: Vec<_> = columns.iter().map(|new| column(EXCLUDED, &new.name)).collect();
        exprs.push(case(vec![(missing, number(0))], Some(number(1))));
        exprs.extend(place);
        exprs.push(column(EXCLUDED, ORDER));
        let from = vec![ast::TableWithJoins { relation: in_order()?, joins }];
        let query = Parts { with: self.with.cloned(), items: numbered(exprs), from, condition: None }.query()?;
        let plan = self.session.plan_query(&query, self.parameters, self.context).await?;
        let order = plan.schema().columns().pop();
        let order = order.ok_or_else(|| SqlError::internal("rows without an order"))?;
        let plan = LogicalPlanBuilder::from(plan)
            .sort(vec![Expr::Column(order).sort(true, false)])
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let width = columns.len();
        let layout = Layout {
            row: (0..width).map(Some).collect(),
            action: Some(width),
            file: width + 1,
            place: width + 2,
            returning: reads.iter().copied().map(Value::Column).collect(),
        };
        Ok((put_new(plan, rows)?, layout))
    }

    /// The new rows paired with those they change.
    async fn update(
        &mut self,
        update: &ast::DoUpdate,
        rows: &LogicalPlan,
        reads: &[usize],
    ) -> Result<(LogicalPlan, Layout), SqlError> {
        let [key] = self.keys else { return Err(SqlError::internal("DO UPDATE is about one key")) };
        let table = &self.target.table;
        let all = table.columns.iter().enumerate().map(|(index, new)| (index, column(EXCLUDED, &new.name)));
        let set = columns::assignments(&update.assignments, table)?;
        let clauses = [
            Clause { kind: Kind::NotMatched, condition: None, does: Does::Insert(all.collect()) },
            Clause { kind: Kind::Matched, condition: update.selection.clone(), does: Does::Update(set) },
        ];
        let mut excluded = Relation::of_table(table, EXCLUDED);
        excluded.oid = None;
        let width = excluded.fields.len();
        let mut planner = Planner {
            session: self.session,
            target: self.target,
            with: self.with,
            parameters: self.parameters,
            context: &mut *self.context,
            source: vec![excluded],
        };
        let on = same_key(key, self.target)?;
        let pairs = planner.pairs(local(NEW, EXCLUDED)?, on, &clauses).await?;
        let pairs = put_new(pairs, rows)?;
        let reads: Vec<_> = reads.iter().map(|place| width + place).collect();
        planner.changes(pairs, &clauses, &reads).await
    }
}

/// The plan with the new rows in their place.
fn put_new(plan: LogicalPlan, rows: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
    put(plan, &TableReference::bare(NEW), rows, |_, name| name.to_owned())
}

/// The new row has the key of the table's.
fn same_key(key: &Key, target: &Changed) -> Result<ast::Expr, SqlError> {
    let mut same = None;
    for place in &key.columns {
        let name = &target.table.columns[*place].name;
        let (new, old) = (Box::new(column(EXCLUDED, name)), Box::new(target.column(name)));
        let equal = match key.nulls_distinct {
            true => ast::Expr::BinaryOp { left: new, op: ast::BinaryOperator::Eq, right: old },
            false => ast::Expr::IsNotDistinctFrom(new, old),
        };
        same = Some(match same {
            Some(others) => and(others, equal),
            None => equal,
        });
    }
    same.ok_or_else(|| SqlError::internal("a key without columns"))
}

/// The new rows and their numbers.
fn in_order() -> Result<ast::TableFactor, SqlError> {
    let text =
        format!("SELECT 1 FROM (SELECT *, row_number() OVER () AS \"{ORDER}\" FROM \"{NEW}\" AS n) AS {EXCLUDED}");
    let Some(ast::Statement::Query(query)) = crate::statement::parse(&text)?.pop() else {
        return Err(SqlError::internal("SELECT is not a query"));
    };
    let ast::SetExpr::Select(select) = *query.body else { return Err(SqlError::internal("SELECT is not a query")) };
    let from = select.from.into_iter().next().map(|from| from.relation);
    from.ok_or_else(|| SqlError::internal("a query without FROM"))
}
