//! Finds what a query reads and lets DataFusion's SQL planner make a plan of it.
//!
//! What always holds: relations are looked up in one snapshot of the catalog, tables are opened before planning begins
//! (planning itself is not asynchronous), and a view stands for its query, planned with its own names.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::TableReference;
use datafusion::config::ConfigOptions;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::resolve::resolve_table_references;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use sqlparser::ast::{ObjectName, Query, Spanned, Statement, TableFactor, Visit, Visitor};
use wharf_catalog::{Relation, SqlType, Table};
use wharf_lake::{Inspection, LakeTable, Version};
use wharf_values::{SqlError, SqlState, mapping};

use super::context::{BindContext, Local};
use super::misplaced;
use super::normalize::normalize;
use super::origin::{Named, Origin, origins};
use super::relations::Relations;
use super::resolve::Resolver;
use super::subqueries::ARRAY_OF_ROWS;
use super::versions;
use crate::aggregates::planned;
use crate::error::{from_datafusion, from_lake, to_datafusion};
use crate::names::{ONE_DATABASE, refused_of_foreign, split_name};
use crate::operators::{ARRAY_BESIDE, UNTYPED, UndefinedFunction, UnresolvedOperator};
use crate::pg_catalog::SystemContext;
use crate::table_reader::TableReader;

/// How deep views may refer to views.
const MAX_VIEW_DEPTH: usize = 64;

/// Tables of one query that are opened at the same time.
const OPENED_AT_ONCE: usize = 8;

/// A planned query and the relations it reads.
pub(crate) struct PlannedQuery {
    /// Not analyzed yet.
    pub(crate) plan: LogicalPlan,
    /// The oids of the tables and views named in the query itself (not inside of views).
    pub(crate) reads: Vec<u32>,
    /// Where the columns come from.
    pub(crate) origins: Vec<Option<Origin>>,
}

/// Plans a query with parameters of the given types (none: open).
///
/// # Errors
/// `42P01` for a relation that does not exist, and all that planning refuses.
pub(crate) async fn plan_query(
    query: &Query,
    parameters: &[Option<SqlType>],
    context: &BindContext,
    reader: &TableReader,
) -> Result<PlannedQuery, SqlError> {
    super::qualified::check(query, context)?;
    let mut statement = Statement::Query(Box::new(query.clone()));
    crate::pg_catalog::simplify(&mut statement);
    normalize(&mut statement)?;
    plan_statement(statement, parameters, context, reader, 0).await
}

/// The same for a statement that is normalized already, and for views at some depth.
pub(super) fn plan_statement<'a>(
    mut statement: Statement,
    parameters: &'a [Option<SqlType>],
    context: &'a BindContext,
    reader: &'a TableReader,
    depth: usize,
) -> BoxFuture<'a, Result<PlannedQuery, SqlError>> {
    Box::pin(async move {
        if depth > MAX_VIEW_DEPTH {
            return Err(SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, "views refer to views too deeply")
                .with_hint(format!("At most {MAX_VIEW_DEPTH} levels are allowed.")));
        }
        check_from(&statement, context)?;
        let versions = versions::take(&mut statement)?;
        let wrapped = DfStatement::Statement(Box::new(statement.clone()));
        let (references, _ctes) = resolve_table_references(&wrapped, true).map_err(from_datafusion)?;
        let mut tables = HashMap::new();
        let mut reads = Vec::new();
        let mut relations = HashMap::new();
        // Functions in FROM are among the references.
        let is_function = |reference: &TableReference| {
            matches!(reference, TableReference::Bare { table }
                if context.session.table_functions().contains_key(table.as_ref()))
        };
        let opening = references.into_iter().filter(|reference| !is_function(reference)).map(|reference| {
            let asked = versions.get(reference.table());
            async move {
                let Some(asked) = asked else {
                    let opened = open(&reference, context, reader, depth).await?;
                    return Ok((reference, opened, Vec::new()));
                };
                let (version, read) = versions::evaluate(&asked.version, parameters, context, reader).await?;
                Ok::<_, SqlError>((reference, open_version(&asked.name, version, context, reader).await?, read))
            }
        });
        // Collected first: a stream over borrowing closures is not provably `Send` for every lifetime.
        let opening: Vec<_> = opening.collect();
        // One after the other, tables that are not in memory would cost several requests each, all of them late.
        let mut opening = stream::iter(opening).buffered(OPENED_AT_ONCE);
        while let Some((reference, Opened { oid, read, source }, more)) = opening.try_next().await? {
            reads.extend(more);
            reads.extend(read);
            if let Some(oid) = oid {
                let view = source.get_logical_plan().map(|plan| plan.into_owned());
                relations.insert(reference.clone(), Named { oid, view });
            }
            tables.insert(reference, source);
        }
        let relation_planners: [Arc<dyn RelationPlanner>; 1] = [Arc::new(Relations::default())];
        let provider = Provider { session: &context.session, context, tables, relation_planners };
        let options = ParserOptions::from(&context.session.config_options().sql_parser);
        // Places are those of the client's text; within a view they would be of the view's.
        let options = options.with_collect_spans(depth == 0);
        let fields = parameter_fields(parameters);
        let mut planner_context = PlannerContext::new().with_prepare_param_data_types(fields);
        let plan = SqlToRel::new_with_options(&provider, options)
            .sql_statement_to_plan_with_context(statement, &mut planner_context)
            .map_err(|error| {
                let error = from_datafusion(error);
                match &wrapped {
                    DfStatement::Statement(written) if error.code == SqlState::DUPLICATE_COLUMN => {
                        misplaced::named_key(written).unwrap_or(error)
                    }
                    _ => error,
                }
            })?;
        let origins = origins(&plan, &relations);
        Ok(PlannedQuery { plan, reads, origins })
    })
}

/// A call in FROM is of a function that is there, and no relation is sampled: DataFusion reads all of it then.
fn check_from(statement: &Statement, context: &BindContext) -> Result<(), SqlError> {
    struct Calls<'a>(&'a BindContext);
    impl Visitor for Calls<'_> {
        type Break = Box<SqlError>;
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
            if let TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } = factor {
                return ControlFlow::Break(Box::new(
                    SqlError::unsupported("TABLESAMPLE is not supported")
                        .with_hint("Take a part of the rows by a condition, such as WHERE random() < 0.1."),
                ));
            }
            if let TableFactor::Table { name, args: Some(_), .. } = factor {
                let function = super::names::last_part(name);
                if !self.0.session.table_functions().contains_key(&function) {
                    let message = format!("function {function} does not exist");
                    let place = usize::try_from(name.span().start.column).ok().filter(|place| *place > 0);
                    return ControlFlow::Break(Box::new(
                        SqlError::new(SqlState::UNDEFINED_FUNCTION, message)
                            .with_hint(
                                "No function matches the given name and argument types. \
                                 You might need to add explicit type casts.",
                            )
                            .or_position(place),
                    ));
                }
            }
            ControlFlow::Continue(())
        }
    }
    match statement.visit(&mut Calls(context)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

/// The declared parameters as DataFusion's planner wants them.
fn parameter_fields(parameters: &[Option<SqlType>]) -> Vec<Option<FieldRef>> {
    let mut fields: Vec<Option<FieldRef>> = Vec::with_capacity(parameters.len());
    for (index, ty) in parameters.iter().enumerate() {
        fields.push(ty.as_ref().map(|ty| {
            let field: FieldRef = Arc::new(mapping::field(format!("${}", index + 1), ty, true));
            field
        }));
    }
    fields
}

/// A relation that was opened.
struct Opened {
    /// What its columns are the columns of.
    oid: Option<u32>,
    /// What a view over it depends on.
    read: Option<u32>,
    source: Arc<dyn TableSource>,
}

async fn open(
    reference: &TableReference,
    context: &BindContext,
    reader: &TableReader,
    depth: usize,
) -> Result<Opened, SqlError> {
    let (schema, name) = match reference {
        TableReference::Bare { table } => {
            if let Some(Local { source, oid }) = context.locals.get(table.as_ref()) {
                return Ok(Opened { oid: *oid, read: None, source: Arc::clone(source) });
            }
            (None, table.as_ref())
        }
        TableReference::Partial { schema, table } => (Some(schema.as_ref()), table.as_ref()),
        TableReference::Full { catalog, schema, table } => {
            let current = context.catalog.database(context.database).map(|database| database.name.as_str());
            if current != Some(catalog.as_ref()) {
                return Err(SqlError::unsupported(format!(
                    "cross-database references are not implemented: \"{catalog}.{schema}.{table}\""
                ))
                .with_hint(ONE_DATABASE));
            }
            (Some(schema.as_ref()), table.as_ref())
        }
    };
    match schema {
        None => {
            if let Some(opened) = system("pg_catalog", name, context) {
                return Ok(opened);
            }
            if let Some(relation) = context.search_path.find(&context.catalog, context.database, name) {
                return open_relation(&relation, context, reader, depth).await;
            }
            for schema in context.search_path.schemas() {
                if let Some(opened) = system(schema, name, context) {
                    return Ok(opened);
                }
            }
        }
        Some(schema) => {
            if let Some(opened) = system(schema, name, context) {
                return Ok(opened);
            }
            if let Some(relation) = find(Some(schema), name, context) {
                return open_relation(&relation, context, reader, depth).await;
            }
        }
    }
    if let Some((table, content)) = metadata_table(schema, name, context) {
        let opened = reader.open(&table).await.map_err(|error| from_lake(&error))?;
        return Ok(inspected(&table, &opened, content));
    }
    Err(undefined(schema, name))
}

fn undefined(schema: Option<&str>, name: &str) -> SqlError {
    let written = match schema {
        Some(schema) => format!("{schema}.{name}"),
        None => name.to_owned(),
    };
    SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{written}\" does not exist"))
}

/// `t$files`: the table before the dollar sign, and what of it is asked for.
fn metadata_table(schema: Option<&str>, name: &str, context: &BindContext) -> Option<(Arc<Table>, Inspection)> {
    let (base, content) = Inspection::split(name)?;
    Some((find(schema, base, context)?.as_table()?.clone(), content))
}

fn inspected(table: &Table, opened: &Arc<LakeTable>, content: Inspection) -> Opened {
    Opened { oid: None, read: Some(table.oid), source: provider_as_source(wharf_lake::inspect(opened, content)) }
}

/// The relation of a name, along the search path when it has no schema.
fn find(schema: Option<&str>, name: &str, context: &BindContext) -> Option<Relation> {
    match schema {
        None => context.search_path.find(&context.catalog, context.database, name),
        Some(schema) => {
            let namespace = context.catalog.namespace_by_name(context.database, schema)?;
            context.catalog.relation(namespace.oid, name).cloned()
        }
    }
}

/// Opens a table, or a metadata table, as it was; as it is while the version is not known yet.
async fn open_version(
    name: &ObjectName,
    version: Option<Version>,
    context: &BindContext,
    reader: &TableReader,
) -> Result<Opened, SqlError> {
    let (schema, bare) = split_name(name, context)?;
    let schema = schema.as_deref();
    let (table, content) = match find(schema, &bare, context) {
        Some(Relation::Table(table)) => (table, None),
        Some(Relation::View(view)) => {
            let message = format!("view \"{}\" has no versions", view.name);
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message)
                .with_hint("Ask for versions of the tables that it reads."));
        }
        Some(Relation::Foreign(table)) => {
            let message = format!("foreign table \"{}\" has no versions", table.name);
            return Err(refused_of_foreign(message));
        }
        None => match metadata_table(schema, &bare, context) {
            Some((table, content)) => (table, Some(content)),
            None => return Err(undefined(schema, &bare)),
        },
    };
    let opened = match &version {
        Some(version) => reader.open_at(&table, version).await?,
        None => reader.open(&table).await.map_err(|error| from_lake(&error))?,
    };
    match content {
        Some(content) => Ok(inspected(&table, &opened, content)),
        None => {
            let provider: Arc<dyn TableProvider> = opened.provider().await.map_err(|error| from_lake(&error))?;
            // Its columns need not be those that the table has now.
            Ok(Opened { oid: None, read: Some(table.oid), source: provider_as_source(provider) })
        }
    }
}

fn system(schema: &str, name: &str, context: &BindContext) -> Option<Opened> {
    let session = context.session.config_options().extensions.get::<SystemContext>();
    let provider = crate::pg_catalog::table(schema, name, &context.catalog, context.database, session)?;
    if crate::pg_catalog::changes_by_itself(schema, name) {
        context.unstable.store(true, Ordering::Relaxed);
    }
    let oid = crate::pg_catalog::system_oid(schema, name);
    Some(Opened { oid, read: None, source: provider_as_source(provider) })
}

async fn open_relation(
    relation: &Relation,
    context: &BindContext,
    reader: &TableReader,
    depth: usize,
) -> Result<Opened, SqlError> {
    let oid = Some(relation.oid());
    match relation {
        Relation::Table(table) => {
            let table = reader.open(table).await.map_err(|error| from_lake(&error))?;
            let provider: Arc<dyn TableProvider> = table.provider().await.map_err(|error| from_lake(&error))?;
            Ok(Opened { oid, read: oid, source: provider_as_source(provider) })
        }
        Relation::View(view) => {
            let mut statements = crate::statement::parse(&view.definition)?;
            let Some(mut statement) = statements.pop() else {
                return Err(SqlError::internal(format!("view \"{}\" has no definition", view.name)));
            };
            normalize(&mut statement)?;
            let planned = plan_statement(statement, &[], context, reader, depth + 1).await?;
            let plan = with_column_names(planned.plan, &view.columns)?;
            let provider = ViewTable::new(plan, Some(view.definition.clone()));
            Ok(Opened { oid, read: oid, source: provider_as_source(Arc::new(provider)) })
        }
        Relation::Foreign(table) => {
            // There may be other files the next time.
            context.unstable.store(true, Ordering::Relaxed);
            let provider = crate::files::external::provider(table, context, &reader.engine).await?;
            Ok(Opened { oid, read: oid, source: provider_as_source(provider) })
        }
    }
}

/// The columns of a plan by the names of a relation's: those of a view keep the names they had when it was made.
pub(crate) fn with_column_names(plan: LogicalPlan, columns: &[wharf_catalog::Column]) -> Result<LogicalPlan, SqlError> {
    let exprs: Vec<Expr> = plan
        .schema()
        .iter()
        .zip(columns)
        .map(|((qualifier, field), column)| Expr::from((qualifier, field)).alias(&column.name))
        .collect();
    datafusion::logical_expr::LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(|builder| builder.build())
        .map_err(from_datafusion)
}

/// What DataFusion's planner asks for, answered from what was opened and from the session's functions.
struct Provider<'a> {
    session: &'a SessionState,
    context: &'a BindContext,
    tables: HashMap<TableReference, Arc<dyn TableSource>>,
    relation_planners: [Arc<dyn RelationPlanner>; 1],
}

impl ContextProvider for Provider<'_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        self.tables.get(&name).cloned().ok_or_else(|| {
            to_datafusion(SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist")))
        })
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.session.expr_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(super::types::PostgresTypes))
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> DfResult<Arc<dyn TableSource>> {
        let schema = datafusion::common::DFSchema::empty();
        let resolver = Resolver { context: self.context, schema: &schema };
        let args = args.into_iter().map(|arg| resolver.resolve(arg)).collect::<DfResult<_>>()?;
        crate::table_functions::source(name, args, self.session)
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DfResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        match name {
            "bitwise_not" => return Some(UnresolvedOperator::function("~")),
            UNTYPED | ARRAY_OF_ROWS | ARRAY_BESIDE | "coalesce" | "greatest" | "least" | "nullif"
            | "array_subscript" => {
                return Some(UnresolvedOperator::function(name));
            }
            _ => {}
        }
        if let Some(found) = self.session.scalar_functions().get(name) {
            return Some(Arc::clone(found));
        }
        // `unnest` is a thing of its own to the planner.
        let elsewhere = name == "unnest"
            || self.session.aggregate_functions().contains_key(name)
            || self.session.window_functions().contains_key(name)
            || self.session.higher_order_functions().contains_key(name);
        // What is nowhere is refused once the types of its arguments are known.
        (!elsewhere).then(|| UndefinedFunction::function(name))
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.session.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        planned(name).or_else(|| self.session.aggregate_functions().get(name).cloned())
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.session.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.session.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.session.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.session.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.session.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.session.window_functions().keys().cloned().collect()
    }
}
