//! From a statement to something that can be run many times.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field};
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Volatility};
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use sqlparser::ast;
use uuid::Uuid;
use wharf_catalog::{SqlType, State};
use wharf_values::{SqlError, SqlState, mapping};

use super::constant_row::constant_row;
use super::kept_plans::{KeptPlan, Physical};
use super::result::{ResultColumn, columns_of};
use super::stream::{Limits, RowStream};
use super::{Session, cursor, observe, queue};
use crate::bind::{BindContext, BoundValues, analyze, planner, settle_outputs};
use crate::dml::{self, WithPlan, Write};
use crate::error::from_datafusion;
use crate::optimize::physical_plan;
use crate::statement::Statement;
use crate::syntax::locate;

/// A statement that is bound and planned.
pub struct Prepared {
    pub(crate) statement: Statement,
    /// What the client said of the parameters' types, for planning anew.
    oids: Vec<u32>,
    parameters: Vec<SqlType>,
    columns: Option<Arc<[ResultColumn]>>,
    pub(crate) kind: Kind,
    /// None: made within a transaction that plans anew, for one execution only.
    freshness: Option<Freshness>,
    /// It is good for one execution: it reads tables as they were at an instant that is computed.
    unstable: bool,
}

/// What a plan was made from; it is made anew when this has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Freshness {
    catalog_revision: u64,
    settings_version: u64,
}

/// What a statement is bound in.
struct Surroundings {
    catalog: Arc<State>,
    freshness: Option<Freshness>,
    /// The plan may be kept.
    cacheable: bool,
}

pub(crate) enum Kind {
    Query(QueryPlan),
    /// INSERT, UPDATE, DELETE, MERGE
    Write(Box<Write>),
    /// One with such statements in its WITH.
    With(Box<WithPlan>),
    /// DECLARE: its query and the columns of that.
    Cursor(QueryPlan, Arc<[ResultColumn]>),
    /// Everything that is interpreted when it runs.
    Utility,
}

/// A typed plan, and its physical one where that can be used again.
pub(crate) struct QueryPlan {
    pub(crate) plan: LogicalPlan,
    /// The plan depends on nothing but the tables: not on the clock, not on chance.
    reusable: bool,
    /// Its rows are of tables or files, and not of the catalog or of nothing.
    pub(super) reads_tables: bool,
    physical: KeptPlan,
    /// All that it gives, when it turned out to be made of literals.
    constant: OnceLock<RecordBatch>,
}

impl QueryPlan {
    pub(crate) fn new(plan: LogicalPlan) -> Self {
        let (reusable, reads_tables) = what_it_reads(&plan);
        QueryPlan { plan, reusable, reads_tables, physical: KeptPlan::default(), constant: OnceLock::new() }
    }
}

/// Whether a plan depends on nothing but the tables, and whether it reads any.
fn what_it_reads(plan: &LogicalPlan) -> (bool, bool) {
    let (mut reusable, mut reads_tables) = (true, false);
    // The closures cannot fail.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            reads_tables |= queue::is_of_table(scan);
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                let volatility = match expr {
                    Expr::ScalarFunction(function) => function.func.signature().volatility,
                    Expr::Placeholder(_) => Volatility::Volatile,
                    _ => Volatility::Immutable,
                };
                reusable &= volatility == Volatility::Immutable;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    (reusable, reads_tables)
}

impl Prepared {
    /// The types of the parameters.
    pub fn parameters(&self) -> &[SqlType] {
        &self.parameters
    }

    /// The columns of the rows it gives; none when it gives no rows.
    pub fn columns(&self) -> Option<&Arc<[ResultColumn]>> {
        self.columns.as_ref()
    }
}

impl Session {
    /// Binds and plans a statement; an oid of 0 leaves the type of a parameter open.
    ///
    /// # Errors
    /// All that binding refuses.
    pub async fn prepare(&mut self, statement: &Statement, oids: &[u32]) -> Result<Arc<Prepared>, SqlError> {
        // It belongs to no statement that runs.
        self.statement_id = Uuid::nil();
        let prepared = self.prepare_unobserved(statement, oids).await;
        prepared.inspect_err(|error| observe::unprepared(&self.engine.statistics, &statement.ast, error.code))
    }

    /// The same as a part of a statement that is counted as a whole.
    pub(super) async fn prepare_unobserved(
        &mut self,
        statement: &Statement,
        oids: &[u32],
    ) -> Result<Arc<Prepared>, SqlError> {
        let declared = declared_types(oids)?;
        self.check_not_failed(statement)?;
        self.looks(&statement.ast);
        for notice in statement.notices.iter() {
            self.notice("NOTICE", notice.clone());
        }
        self.bind(statement, oids, declared, None).await.map_err(|error| locate(error, &statement.ast, &statement.text))
    }

    /// Like [`Session::prepare`], with the types of parameters as Wharf names them; none is open.
    async fn bind(
        &mut self,
        statement: &Statement,
        oids: &[u32],
        declared: Vec<Option<SqlType>>,
        values: Option<BoundValues>,
    ) -> Result<Arc<Prepared>, SqlError> {
        let plannable = matches!(
            *statement.ast,
            ast::Statement::Query(_) | ast::Statement::Declare { .. } | ast::Statement::Explain { .. }
        ) || dml::is_write(&statement.ast);
        if !plannable {
            let columns = self.utility_columns(statement)?;
            return Ok(Arc::new(Prepared {
                statement: statement.clone(),
                oids: oids.to_vec(),
                parameters: self.utility_parameters(&statement.ast)?,
                columns,
                kind: Kind::Utility,
                freshness: None,
                unstable: false,
            }));
        }
        let catalog = self.catalog().await?;
        // Of a statement that is planned anew as it runs: this one may be newer.
        if let Some(looks_at) = &mut self.looks_at {
            looks_at.clone_from(&catalog);
        }
        let freshness = Freshness { catalog_revision: catalog.revision(), settings_version: self.settings.version };
        let own_writes = self.transaction.as_ref().is_some_and(super::Transaction::plans_anew);
        let freshness = (!own_writes).then_some(freshness);
        let cacheable = declared.is_empty() && freshness.is_some() && statement.alone && !reads_session(statement);
        if cacheable
            && let Some(found) = self.plans.get(&statement.text)
            && found.freshness == freshness
            && !found.unstable
        {
            return Ok(Arc::clone(found));
        }
        // Boxed, so that what finds a plan that is kept stays small.
        Box::pin(self.bind_anew(statement, oids, declared, values, Surroundings { catalog, freshness, cacheable }))
            .await
    }

    /// Like [`Session::bind`], for a statement of which no plan is kept.
    async fn bind_anew(
        &mut self,
        statement: &Statement,
        oids: &[u32],
        declared: Vec<Option<SqlType>>,
        values: Option<BoundValues>,
        surroundings: Surroundings,
    ) -> Result<Arc<Prepared>, SqlError> {
        let Surroundings { catalog, freshness, cacheable } = surroundings;
        let _span = self.span("bind");
        let mut context = self.bind_context(catalog);
        context.values = values;
        let with = Box::pin(WithPlan::plan(self, &statement.ast, &declared, &mut context)).await?;
        let write = match with {
            Some(_) => None,
            None => Write::plan(self, &statement.ast, &declared, &mut context).await?,
        };
        let (kind, columns) = match &*statement.ast {
            _ if let Some(with) = with => {
                let columns = with.columns().cloned();
                (Kind::With(Box::new(with)), columns)
            }
            _ if let Some(write) = write => {
                let columns = write.columns().cloned();
                (Kind::Write(Box::new(write)), columns)
            }
            ast::Statement::Query(query) => {
                let (plan, columns) = Box::pin(self.plan_rows(query, &declared, &context)).await?;
                (Kind::Query(QueryPlan::new(plan)), Some(columns))
            }
            ast::Statement::Declare { stmts } => {
                let planned = planner::plan_query(cursor::query(stmts)?, &declared, &context, &self.reader()).await?;
                let plan = analyze(planned.plan, &context).map_err(from_datafusion)?;
                let columns = columns_of(plan.schema(), &planned.origins);
                (Kind::Cursor(QueryPlan::new(plan), columns), None)
            }
            _ => (Kind::Utility, self.utility_columns(statement)?),
        };
        match &kind {
            Kind::Query(query) | Kind::Cursor(query, _) => require_types(&query.plan)?,
            Kind::Write(write) => require_types(write.rows())?,
            Kind::With(with) => with.plans().try_for_each(require_types)?,
            Kind::Utility => {}
        }
        let parameters = merge_parameters(&declared, &context, matches!(kind, Kind::Utility))?;
        self.bound = Some(Arc::clone(&context.session));
        let prepared = Arc::new(Prepared {
            statement: statement.clone(),
            oids: oids.to_vec(),
            parameters,
            columns,
            kind,
            freshness,
            unstable: context.unstable.load(Ordering::Relaxed),
        });
        if cacheable {
            self.plans.put(Arc::clone(&statement.text), Arc::clone(&prepared));
        }
        Ok(prepared)
    }

    /// A query's typed plan, and the columns that the client gets.
    ///
    /// # Errors
    /// All that binding refuses.
    pub(crate) async fn plan_rows(
        &self,
        query: &ast::Query,
        parameters: &[Option<SqlType>],
        context: &BindContext,
    ) -> Result<(LogicalPlan, Arc<[ResultColumn]>), SqlError> {
        let planned = planner::plan_query(query, parameters, context, &self.reader()).await?;
        let plan = analyze(planned.plan, context).map_err(from_datafusion)?;
        let plan = settle_outputs(plan, context).map_err(from_datafusion)?;
        let plan = with_object_names(plan).map_err(from_datafusion)?;
        let columns = columns_of(plan.schema(), &planned.origins);
        Ok((plan, columns))
    }

    /// A query's typed plan.
    pub(crate) async fn plan_query(
        &self,
        query: &ast::Query,
        parameters: &[Option<SqlType>],
        context: &BindContext,
    ) -> Result<LogicalPlan, SqlError> {
        let planned = planner::plan_query(query, parameters, context, &self.reader()).await?;
        analyze(planned.plan, context).map_err(from_datafusion)
    }

    /// The prepared statement itself, or planned anew when what it was made from has changed.
    pub(super) async fn refresh(
        &mut self,
        prepared: &Arc<Prepared>,
        values: &[Option<ArrayRef>],
    ) -> Result<Arc<Prepared>, SqlError> {
        if matches!(prepared.kind, Kind::Utility) {
            return Ok(Arc::clone(prepared));
        }
        let catalog = self.catalog().await?;
        self.looks_at = Some(Arc::clone(&catalog));
        let freshness = Freshness { catalog_revision: catalog.revision(), settings_version: self.settings.version };
        let own_writes = self.transaction.as_ref().is_some_and(super::Transaction::plans_anew);
        // Bound just now, and without parameters: nothing has changed since.
        let good = !prepared.unstable || (self.bound.is_some() && values.is_empty());
        if Some(freshness) == prepared.freshness && good && !own_writes && !reads_session(&prepared.statement) {
            return Ok(Arc::clone(prepared));
        }
        // The values that were bound are of these types.
        let declared = prepared.parameters.iter().cloned().map(Some).collect();
        let values = prepared.unstable.then(|| (values.to_vec(), prepared.parameters.clone()));
        let fresh = Box::pin(self.bind(&prepared.statement, &prepared.oids, declared, values)).await?;
        let types = |prepared: &Prepared| {
            prepared.columns.as_ref().map(|columns| columns.iter().map(|c| c.ty.clone()).collect::<Vec<_>>())
        };
        if types(prepared) != types(&fresh) {
            return Err(SqlError::unsupported("cached plan must not change result type")
                .with_hint("Prepare the statement again."));
        }
        Ok(fresh)
    }

    /// The rows of a typed plan.
    pub(crate) async fn stream_query(
        &mut self,
        query: &QueryPlan,
        columns: Arc<[ResultColumn]>,
        values: Vec<Option<ArrayRef>>,
        types: &[SqlType],
    ) -> Result<RowStream, SqlError> {
        if let Some(row) = query.constant.get() {
            return Ok(RowStream { counts: true, ..RowStream::ready(columns, vec![row.clone()], "SELECT") });
        }
        let limits = self.limits();
        // Boxed: what is answered from literals needs none of it.
        let stream = Box::pin(self.start_query(query, values, types, &limits)).await?;
        Ok(RowStream { columns, batches: limits.guard(stream), tag: "SELECT".to_owned(), counts: true })
    }

    /// Starts a typed plan; its stream has no limits yet.
    pub(super) async fn start_query(
        &mut self,
        query: &QueryPlan,
        values: Vec<Option<ArrayRef>>,
        types: &[SqlType],
        limits: &Limits,
    ) -> Result<SendableRecordBatchStream, SqlError> {
        let cached = query.physical.get();
        let (plan, task) = match cached {
            Some((plan, task)) => (wharf_fanout::anew(plan).map_err(from_datafusion)?, task),
            // Boxed, like what follows: a plan that is kept needs none of it.
            None => Box::pin(self.plan_physical(query, values, types, limits)).await?,
        };
        if self.engine.fanout.nodes() < 2 {
            return execute_stream(plan, task).map_err(from_datafusion);
        }
        let wanted = self.wanted(limits);
        Box::pin(self.engine.start(plan, task, wanted, limits)).await
    }

    /// The physical plan of a typed one, kept where it can be used again.
    async fn plan_physical(
        &mut self,
        query: &QueryPlan,
        values: Vec<Option<ArrayRef>>,
        types: &[SqlType],
        limits: &Limits,
    ) -> Result<Physical, SqlError> {
        let _span = self.span("plan");
        let catalog = self.catalog_of_plan().await?;
        let state = self.execution_state(&catalog);
        let logical = with_values(query.plan.clone(), values, types)?;
        let plan = limits.within(physical_plan(&logical, &state)).await?;
        let physical = (plan, task_context(&state));
        if query.reusable {
            if let Some(row) = constant_row(&physical.0) {
                // Another execution may have been faster.
                let _ = query.constant.set(row);
            }
            self.engine.kept_plans.keep(&query.physical, physical.clone());
        }
        Ok(physical)
    }
}

/// What a plan runs in. It has its functions in it already, so the registry, which takes long to copy, stays empty.
pub(crate) fn task_context(state: &SessionState) -> Arc<TaskContext> {
    Arc::new(TaskContext::new(
        None,
        state.session_id().to_owned(),
        state.config().clone(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        Arc::clone(state.runtime_env()),
    ))
}

/// Does a plan have parameters without a value?
pub(crate) fn has_placeholders(plan: &LogicalPlan) -> bool {
    let mut found = false;
    // The closures cannot fail.
    let _ = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                found |= matches!(expr, Expr::Placeholder(_));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    found
}

/// Does the statement read rows that change without the catalog or a setting changing?
fn reads_session(statement: &Statement) -> bool {
    statement.text.contains("pg_prepared_statements")
}

/// Values that are oids with names, such as `regclass`, leave as the names.
pub(crate) fn with_object_names(plan: LogicalPlan) -> datafusion::error::Result<LogicalPlan> {
    let named = |field: &Field| mapping::sql_type(field).is_named_oid() && *field.data_type() == DataType::UInt32;
    if !plan.schema().fields().iter().any(|field| named(field)) {
        return Ok(plan);
    }
    let exprs: Vec<Expr> = plan
        .schema()
        .iter()
        .map(|(qualifier, field)| {
            let column = Expr::from((qualifier, field));
            if !named(field) {
                return column;
            }
            let name = crate::pg_catalog::name_of(column, &mapping::sql_type(field));
            name.alias_qualified(qualifier.cloned(), field.name())
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

/// A plan with its parameters' values in their places.
pub(crate) fn with_values(
    plan: LogicalPlan,
    values: Vec<Option<ArrayRef>>,
    types: &[SqlType],
) -> Result<LogicalPlan, SqlError> {
    if values.is_empty() && types.is_empty() {
        return Ok(plan);
    }
    if values.len() != types.len() {
        return Err(SqlError::new(
            SqlState::PROTOCOL_VIOLATION,
            format!(
                "bind message supplies {} parameters, but prepared statement requires {}",
                values.len(),
                types.len()
            ),
        ));
    }
    let scalars = values
        .into_iter()
        .zip(types)
        .map(|(value, ty)| {
            let value = match value {
                Some(array) => ScalarValue::try_from_array(&array, 0),
                None => ScalarValue::try_from(&mapping::arrow_type(ty)),
            }?;
            // Arrow alone does not tell json from text.
            let metadata = mapping::metadata(ty);
            Ok(ScalarAndMetadata::new(value, (!metadata.is_empty()).then(|| metadata.into())))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(from_datafusion)?;
    plan.replace_params_with_values(&ParamValues::List(scalars)).map_err(from_datafusion)
}

/// The types a client declared; none for 0, which leaves it open.
fn declared_types(oids: &[u32]) -> Result<Vec<Option<SqlType>>, SqlError> {
    oids.iter()
        .map(|oid| match oid {
            // 0 is open; 705 is `unknown`, which says no more.
            0 | 705 => Ok(None),
            oid => SqlType::from_oid(*oid, -1).map(Some).ok_or_else(|| {
                SqlError::new(SqlState::UNDEFINED_OBJECT, format!("type with OID {oid} is not supported"))
            }),
        })
        .collect()
}

/// Refuses a plan with a parameter whose type nothing tells, such as `$1 IS NULL`.
///
/// # Errors
/// `42P18`.
fn require_types(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut untyped = None;
    // The closures cannot fail.
    let _ = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Placeholder(Placeholder { id, field: None }) = expr {
                    untyped.get_or_insert_with(|| id.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    match untyped {
        Some(id) => Err(undetermined(&id)),
        None => Ok(()),
    }
}

fn undetermined(id: &str) -> SqlError {
    SqlError::new(SqlState::INDETERMINATE_DATATYPE, format!("could not determine data type of parameter {id}"))
}

/// Declared types, and for the rest what binding found out. What is still open may be anything where no query was bound.
///
/// # Errors
/// `42P18` for a parameter that neither says the type of.
fn merge_parameters(declared: &[Option<SqlType>], context: &BindContext, open: bool) -> Result<Vec<SqlType>, SqlError> {
    let found: BTreeMap<usize, SqlType> = context.parameters.lock().clone();
    let count = declared.len().max(found.keys().next_back().copied().unwrap_or(0));
    (1..=count)
        .map(|number| {
            let known = declared.get(number - 1).cloned().flatten().or_else(|| found.get(&number).cloned());
            match known {
                Some(ty) => Ok(ty),
                None if open => Ok(SqlType::Text),
                None => Err(undetermined(&format!("${number}"))),
            }
        })
        .collect()
}
