//! Pairs of rows: what MERGE and INSERT .. ON CONFLICT DO UPDATE are about.
//!
//! One query joins the table with the source and says of each pair which clause it is for; over its rows a second, planned
//! together with it, computes what the rows become, each value for the rows of its clause alone.

use datafusion::logical_expr::{Case, Expr, LogicalPlan, LogicalPlanBuilder, lit};
use sqlparser::ast;
use wharf_catalog::{SqlType, Table};
use wharf_values::SqlError;

use super::change::{Layout, Value};
use super::clauses::{Clause, Kind};
use super::query::{Parts, and, case, column, number, numbered};
use super::scope::{Relation, Scope, put_rows, reads};
use super::target::Changed;
use crate::bind::{BindContext, assign_columns};
use crate::error::from_datafusion;
use crate::session::Session;

/// The name of what is known of a pair beside its columns.
const PAIR: &str = "\0pair";
/// Its columns: what happens, and where the row of the table is.
const ACTION: &str = "\0action";
const FILE: &str = "\0pair file";
const PLACE: &str = "\0pair place";
/// The relation, and its column, that is NULL where there is no row of the source.
const PRESENT: &str = "\0present";

/// What plans a statement over pairs.
pub(super) struct Planner<'a> {
    pub(super) session: &'a Session,
    pub(super) target: &'a Changed,
    pub(super) with: Option<&'a ast::With>,
    pub(super) parameters: &'a [Option<SqlType>],
    pub(super) context: &'a mut BindContext,
    /// The relations of the source, in order.
    pub(super) source: Vec<Relation>,
}

impl Planner<'_> {
    /// The table.
    pub(super) fn target_relation(&self) -> Relation {
        Relation::of_table(&self.target.table, &self.target.alias)
    }

    /// The pairs of rows, joined on a condition: the columns of the source, those of the table, and which clause each pair is for.
    ///
    /// # Errors
    /// All that planning the conditions refuses.
    pub(super) async fn pairs(
        &mut self,
        mut source: ast::TableFactor,
        on: ast::Expr,
        clauses: &[Clause],
    ) -> Result<LogicalPlan, SqlError> {
        let has = |kind| clauses.iter().any(|clause| clause.kind == kind);
        let on = ast::JoinConstraint::On(on);
        let operator = match (has(Kind::NotMatched), has(Kind::NotMatchedBySource)) {
            (false, false) => ast::JoinOperator::Inner(on),
            (true, false) => ast::JoinOperator::LeftOuter(on),
            (false, true) => ast::JoinOperator::RightOuter(on),
            (true, true) => ast::JoinOperator::FullOuter(on),
        };
        if has(Kind::NotMatchedBySource) {
            source = marked(source)?;
        }
        let join = ast::Join { relation: self.target.factor()?, global: false, join_operator: operator };
        let from = vec![ast::TableWithJoins { relation: source, joins: vec![join] }];

        let scope: Vec<(String, String)> = self
            .source
            .iter()
            .flat_map(|relation| relation.fields.iter().map(|field| (relation.name.clone(), field.name().clone())))
            .collect();
        let mut exprs: Vec<_> = scope.iter().map(|(relation, name)| column(relation, name)).collect();
        exprs.extend(self.target.columns());
        let [file, place] = self.target.place();
        let missing = |expr: ast::Expr| ast::Expr::IsNull(Box::new(expr));
        let there = |expr: ast::Expr| ast::Expr::IsNotNull(Box::new(expr));
        let source_there = column(PRESENT, PRESENT);
        let branches = clauses.iter().enumerate().map(|(index, clause)| {
            let side = match clause.kind {
                Kind::NotMatched => missing(place.clone()),
                Kind::NotMatchedBySource => missing(source_there.clone()),
                Kind::Matched if has(Kind::NotMatchedBySource) => {
                    and(there(place.clone()), there(source_there.clone()))
                }
                Kind::Matched => there(place.clone()),
            };
            let condition = match &clause.condition {
                Some(condition) => and(side, condition.clone()),
                None => side,
            };
            (condition, number(index))
        });
        let action = case(branches.collect(), Some(number(clauses.len())));
        exprs.extend([action, file, place]);
        let items = numbered(exprs);
        let query = Parts { with: self.with.cloned(), items, from, condition: None }.query()?;
        self.session.plan_query(&query, self.parameters, self.context).await
    }

    /// What the pairs become; `returned` are the columns that RETURNING reads, by their places among those of the source, the
    /// table, and `merge_action()`.
    ///
    /// # Errors
    /// All that planning the values refuses.
    pub(super) async fn changes(
        &mut self,
        pairs: LogicalPlan,
        clauses: &[Clause],
        returned: &[usize],
    ) -> Result<(LogicalPlan, Layout), SqlError> {
        let table: &Table = &self.target.table;
        let target = self.target_relation();
        let fields: Vec<_> = pairs.schema().fields().iter().rev().take(3).rev().cloned().collect();
        let named = [ACTION, FILE, PLACE].iter().zip(&fields);
        let named = named.map(|(name, field)| field.as_ref().clone().with_name(*name).into());
        let pair = Relation { name: PAIR.to_owned(), fields: named.collect(), oid: None };
        let mut relations = self.source.clone();
        relations.extend([target, pair]);
        let scope = Scope { relations };

        // Of each clause the values that it stores, computed for its own rows only.
        let mut stored = Vec::new();
        let mut columns = Vec::new();
        let mut places = vec![vec![None; table.columns.len()]; clauses.len()];
        for (index, clause) in clauses.iter().enumerate() {
            for (place, value) in clause.stored() {
                let chosen = ast::Expr::BinaryOp {
                    left: Box::new(column(PAIR, ACTION)),
                    op: ast::BinaryOperator::Eq,
                    right: Box::new(number(index)),
                };
                places[index][*place] = Some(stored.len());
                stored.push(case(vec![(chosen, value.clone())], None));
                columns.push(&table.columns[*place]);
            }
        }
        // Behind them all that was there before, for what stays and for RETURNING.
        let before = stored.len();
        stored.extend(scope.columns().map(|(relation, field)| column(&relation.name, field.name())));
        let width = scope.columns().count();
        let bound =
            scope.bind(self.session, numbered(stored), self.with.cloned(), self.parameters, self.context).await?;
        let (_, scans) = reads(&bound.plan, &scope)?;
        if scans > 1 && super::change::is_volatile(&pairs) {
            return Err(SqlError::unsupported(
                "subqueries beside volatile functions are not supported in this statement",
            )
            .with_hint("Put the values into a table of their own first."));
        }
        let plan = assign_columns(bound.plan, &columns, false, self.context).map_err(from_datafusion)?;

        let given = plan.schema().columns();
        let source_width: usize = self.source.iter().map(|relation| relation.fields.len()).sum();
        let action = Expr::Column(given[before + width - 3].clone());
        let mut exprs = Vec::new();
        for index in 0..table.columns.len() {
            let old = Expr::Column(given[before + source_width + index].clone());
            let new = |place: &Vec<Option<usize>>| place[index].map(|place| Expr::Column(given[place].clone()));
            let branches = places.iter().enumerate().filter_map(|(clause, place)| {
                let number = i32::try_from(clause).ok()?;
                Some((Box::new(lit(number)), Box::new(new(place)?)))
            });
            let branches: Vec<_> = branches.collect();
            exprs.push(match branches.is_empty() {
                true => old,
                false => Expr::Case(Case::new(Some(Box::new(action.clone())), branches, Some(Box::new(old)))),
            });
        }
        let stored = exprs.len();
        exprs.extend(given[before + width - 3..].iter().cloned().map(Expr::Column));
        let mut values = Vec::new();
        for read in returned {
            values.push(match read.checked_sub(source_width) {
                None => {
                    exprs.push(Expr::Column(given[before + *read].clone()));
                    Value::Column(exprs.len() - 1)
                }
                Some(place) if place < table.columns.len() => Value::Column(place),
                Some(_) => Value::Action,
            });
        }
        let exprs = exprs.into_iter().enumerate().map(|(index, expr)| expr.alias(format!("column{index}")));
        let plan = LogicalPlanBuilder::from(plan)
            .project(exprs.collect::<Vec<_>>())
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let layout = Layout {
            row: (0..table.columns.len()).map(Some).collect(),
            action: Some(stored),
            file: stored + 1,
            place: stored + 2,
            returning: values,
        };
        Ok((put_rows(plan, &pairs)?, layout))
    }
}

/// The source with a column of its own that is never NULL.
fn marked(source: ast::TableFactor) -> Result<ast::TableFactor, SqlError> {
    let text = format!("SELECT 1 FROM (SELECT true AS \"{PRESENT}\") AS \"{PRESENT}\"");
    let Some(ast::Statement::Query(query)) = crate::statement::parse(&text)?.pop() else {
        return Err(SqlError::internal("SELECT is not a query"));
    };
    let ast::SetExpr::Select(select) = *query.body else { return Err(SqlError::internal("SELECT is not a query")) };
    let joins = select.from.into_iter().map(|mark| ast::Join {
        relation: mark.relation,
        global: false,
        join_operator: ast::JoinOperator::CrossJoin(ast::JoinConstraint::None),
    });
    let table_with_joins = Box::new(ast::TableWithJoins { relation: source, joins: joins.collect() });
    Ok(ast::TableFactor::NestedJoin { table_with_joins, alias: None })
}
