//! What DELETE and UPDATE share: the files that have such rows are written again, without those rows or with changed ones.
//!
//! The way: one query finds the files that have a row for which the condition is true, a second gives the rows of those files
//! that stay as they are, a third (UPDATE) the changed ones. Files without such a row are not touched. All queries of a
//! statement see one state of the tables.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Int64Type;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use futures::StreamExt;
use sqlparser::ast;
use wharf_catalog::{Relation, SqlType, Table};
use wharf_lake::commit::Step;
use wharf_lake::{FILE_NUMBER, LakeProvider};
use wharf_values::{SqlError, SqlState};

use super::write::Target;
use crate::bind::names::{fold, last_part};
use crate::bind::{BindContext, TARGET};
use crate::error::{from_datafusion, from_lake};
use crate::names::{find_relation, quoted};
use crate::session::{Session, task_context, with_values};

/// A planned DELETE or UPDATE.
pub(crate) struct RewritePlan {
    table: Arc<Table>,
    provider: Arc<LakeProvider>,
    /// The numbers of the files with rows to change; none: all files.
    touched: Option<LogicalPlan>,
    /// The rows that stay as they are, at the table's columns; none: no row does.
    kept: Option<LogicalPlan>,
    /// The changed rows, at the table's columns and types; none: DELETE.
    changed: Option<LogicalPlan>,
}

/// The table of a DELETE or UPDATE, and its rows to be changed.
pub(super) struct Rows {
    pub(super) table: Arc<Table>,
    provider: Arc<LakeProvider>,
    /// The name of the table in the statement.
    pub(super) alias: ast::Ident,
    /// Other tables that the condition speaks of.
    pub(super) others: Vec<ast::TableWithJoins>,
    pub(super) condition: Option<ast::Expr>,
}

impl Rows {
    /// Finds the table.
    ///
    /// # Errors
    /// `42P01`, `55000` for a view, and what the lake says.
    pub(super) async fn new(
        session: &Session,
        factor: &ast::TableWithJoins,
        others: Vec<ast::TableWithJoins>,
        condition: Option<ast::Expr>,
        verb: &str,
        context: &mut BindContext,
    ) -> Result<Rows, SqlError> {
        let ast::TableFactor::Table { name, alias, args: None, .. } = &factor.relation else {
            return Err(SqlError::unsupported(format!("cannot {verb} anything but a table")));
        };
        if !factor.joins.is_empty() || alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error in the table of the statement"));
        }
        let table = match find_relation(name, context)? {
            Relation::Table(table) => table,
            Relation::View(view) => {
                return Err(SqlError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("cannot {verb} view \"{}\"", view.name),
                )
                .with_hint("Change the table the view reads from."));
            }
        };
        let opened = session.reader().open(&table).await.map_err(|error| from_lake(&error))?;
        let provider = Arc::new(opened.rewritable().await.map_err(|error| from_lake(&error))?);
        context.target = Some(provider_as_source(Arc::clone(&provider) as _));
        let alias = alias.as_ref().map_or_else(|| quoted(&last_part(name)), |alias| quoted(&fold(&alias.name)));
        Ok(Rows { table, provider, alias, others, condition })
    }

    /// A column of the table.
    pub(super) fn column(&self, name: &str) -> ast::Expr {
        ast::Expr::CompoundIdentifier(vec![self.alias.clone(), quoted(name)])
    }

    fn columns(&self) -> Vec<ast::Expr> {
        self.table.columns.iter().map(|column| self.column(&column.name)).collect()
    }

    /// The rows for which the condition is true, joined with the other tables.
    pub(super) fn matching(&self, projection: Vec<ast::Expr>) -> Result<ast::Query, SqlError> {
        self.select(projection, self.others.clone(), self.condition.clone())
    }

    /// The numbers of the files that have such rows.
    fn files(&self) -> Result<ast::Query, SqlError> {
        let mut query = self.matching(vec![self.column(FILE_NUMBER)])?;
        if let ast::SetExpr::Select(select) = query.body.as_mut() {
            select.distinct = Some(ast::Distinct::Distinct);
        }
        Ok(query)
    }

    /// The rows for which the condition is not true; none where there is no condition.
    fn not_matching(&self) -> Result<Option<ast::Query>, SqlError> {
        let condition = match (self.others.is_empty(), &self.condition) {
            (true, None) => return Ok(None),
            (true, Some(condition)) => ast::Expr::IsNotTrue(Box::new(ast::Expr::Nested(Box::new(condition.clone())))),
            (false, condition) => {
                let mut subquery = template()?;
                if let ast::SetExpr::Select(select) = subquery.body.as_mut() {
                    select.from.clone_from(&self.others);
                    select.selection.clone_from(condition);
                }
                ast::Expr::Exists { subquery: Box::new(subquery), negated: true }
            }
        };
        self.select(self.columns(), Vec::new(), Some(condition)).map(Some)
    }

    fn select(
        &self,
        projection: Vec<ast::Expr>,
        others: Vec<ast::TableWithJoins>,
        condition: Option<ast::Expr>,
    ) -> Result<ast::Query, SqlError> {
        let mut query = template()?;
        let ast::SetExpr::Select(select) = query.body.as_mut() else {
            return Err(SqlError::internal("the template is no SELECT"));
        };
        if let Some(ast::TableWithJoins { relation: ast::TableFactor::Table { alias: Some(alias), .. }, .. }) =
            select.from.first_mut()
        {
            alias.name = self.alias.clone();
        }
        select.from.extend(others);
        let number = |(index, expr)| ast::SelectItem::ExprWithAlias { expr, alias: quoted(&format!("column{index}")) };
        select.projection = projection.into_iter().enumerate().map(number).collect();
        select.selection = condition;
        Ok(query)
    }
}

/// `SELECT` from the table to be changed; the name has no way into a text of the user's.
fn template() -> Result<ast::Query, SqlError> {
    let statement = crate::statement::parse(&format!("SELECT 1 FROM \"{TARGET}\" AS t"))?.pop();
    match statement {
        Some(ast::Statement::Query(query)) => Ok(*query),
        _ => Err(SqlError::internal("the template is no query")),
    }
}

impl RewritePlan {
    /// Plans the statement; `changed` are the changed rows.
    ///
    /// # Errors
    /// All that planning refuses.
    pub(super) async fn new(
        session: &Session,
        rows: &Rows,
        changed: Option<LogicalPlan>,
        parameters: &[Option<SqlType>],
        context: &BindContext,
    ) -> Result<RewritePlan, SqlError> {
        // Planned even if it will not run: it says what is wrong with the condition.
        let touched = session.plan_query(&rows.files()?, parameters, context).await?;
        let kept = match rows.not_matching()? {
            Some(query) => Some(session.plan_query(&query, parameters, context).await?),
            None => None,
        };
        let volatile = is_volatile(&touched);
        if volatile && changed.is_some() {
            return Err(SqlError::unsupported("UPDATE with a volatile function in WHERE is not supported")
                .with_hint("Choose the rows in a table of their own first."));
        }
        // A condition that changes by itself is asked once for each row, so of all files.
        let touched = (kept.is_some() && !volatile).then_some(touched);
        Ok(RewritePlan { table: Arc::clone(&rows.table), provider: Arc::clone(&rows.provider), touched, kept, changed })
    }

    /// Runs the statement and gives the number of rows it changed.
    ///
    /// # Errors
    /// `40001` when somebody else has changed the same rows, and what INSERT can raise.
    pub(crate) async fn run(
        &self,
        session: &mut Session,
        values: Vec<Option<ArrayRef>>,
        types: &[SqlType],
    ) -> Result<u64, SqlError> {
        let catalog = session.catalog().await?;
        let state = session.execution_state(&catalog);
        let touched = match &self.touched {
            Some(plan) => {
                let plan = with_values(plan.clone(), values.clone(), types)?;
                self.provider.only(&numbers(stream(&plan, &state).await?).await?)
            }
            None => self.provider.only(&(0..i64::MAX).take(self.provider.locations().len()).collect()),
        };
        let removed: HashSet<String> = touched.locations().into_iter().collect();
        if removed.is_empty() {
            return Ok(0);
        }
        let before = touched.rows().await.map_err(|error| from_lake(&error))?;
        let touched = Arc::new(touched);
        let mut target = Target::open(session, &self.table).await?;
        let written = async {
            let mut count = [0; 2];
            for (plan, count) in [&self.kept, &self.changed].into_iter().zip(&mut count) {
                let Some(plan) = plan else { continue };
                let plan = with_values(Self::over(plan, &touched)?, values.clone(), types)?;
                let mut rows = stream(&plan, &state).await?;
                while let Some(batch) = rows.next().await {
                    let batch = batch.map_err(from_datafusion)?;
                    *count += batch.num_rows() as u64;
                    target.write(batch.columns().to_vec()).await?;
                }
            }
            let [kept, changed] = count;
            let due = before.saturating_sub(kept);
            if self.changed.is_some() && changed != due {
                return Err(SqlError::unsupported("a row to be updated matches more than one row of FROM")
                    .with_hint("Make the rows of FROM unique first."));
            }
            Ok(due)
        }
        .await;
        let count = match written {
            Ok(count) => count,
            Err(error) => {
                target.abort().await;
                return Err(error);
            }
        };
        let (_, files) = target.into_files().await?;
        self.commit(session, removed, files).await?;
        Ok(count)
    }

    /// A plan over some of the files only.
    fn over(plan: &LogicalPlan, files: &Arc<LakeProvider>) -> Result<LogicalPlan, SqlError> {
        let replaced = plan.clone().transform_up_with_subqueries(|node| match node {
            LogicalPlan::TableScan(mut scan) if scan.table_name.table() == TARGET => {
                scan.source = provider_as_source(Arc::clone(files) as _);
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            }
            other => Ok(Transformed::no(other)),
        });
        replaced.map(|plan| plan.data).map_err(from_datafusion)
    }

    async fn commit(
        &self,
        session: &mut Session,
        removed: HashSet<String>,
        files: Vec<wharf_lake::WrittenFile>,
    ) -> Result<(), SqlError> {
        let step = Step::Overwrite { removed, added: files };
        session.step(self.table.id, &self.table.metadata_location, step).await
    }
}

async fn stream(plan: &LogicalPlan, state: &Arc<SessionState>) -> Result<SendableRecordBatchStream, SqlError> {
    let optimized = state.optimize(plan).map_err(from_datafusion)?;
    let physical =
        state.query_planner().create_physical_plan(&optimized, state.as_ref()).await.map_err(from_datafusion)?;
    execute_stream(physical, task_context(state)).map_err(from_datafusion)
}

async fn numbers(mut rows: SendableRecordBatchStream) -> Result<BTreeSet<i64>, SqlError> {
    let mut found = BTreeSet::new();
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(from_datafusion)?;
        let column = batch.column(0).as_primitive_opt::<Int64Type>();
        let column = column.ok_or_else(|| SqlError::internal("numbers of files are integers"))?;
        debug_assert_eq!(column.null_count(), 0, "every row is in a file");
        found.extend(column.values().iter().copied());
    }
    Ok(found)
}

fn is_volatile(plan: &LogicalPlan) -> bool {
    let mut volatile = false;
    // The closures cannot fail.
    let _ = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr {
                    volatile |= call.func.signature().volatility == Volatility::Volatile;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    volatile
}
