//! Versions of tables in a query: each gets a name of its own, under which the planner finds the table as it was.
//!
//! A version is an expression without columns, which is evaluated while the query is planned. What always holds: a plan whose
//! versions depend on the clock, on parameters or on a query is marked as unstable, and is made anew for every execution.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use datafusion::physical_plan::collect;
use sqlparser::ast::{
    Expr, ObjectName, ObjectNamePart, Query, Statement, TableAlias, TableFactor, TableVersion, Value, Visit, VisitMut,
    Visitor, VisitorMut,
};
use wharf_catalog::SqlType;
use wharf_lake::Version;
use wharf_values::{SqlError, SqlState, mapping};

use super::context::BindContext;
use super::names::{DUPLICATE_MARK, fold};
use super::{analyze, coerce_columns};
use crate::error::from_datafusion;
use crate::names::quoted;
use crate::optimize::physical_plan;
use crate::session::{has_placeholders, task_context, with_values};
use crate::table_reader::TableReader;

/// A table that is to be read as it was.
pub(super) struct Asked {
    pub(super) name: ObjectName,
    pub(super) version: TableVersion,
}

/// Takes the versions out of a statement: what asked for one reads a relation of a new name, the key in the result.
///
/// # Errors
/// `0A000` for a version of a WITH query.
pub(super) fn take(statement: &mut Statement) -> Result<HashMap<String, Asked>, SqlError> {
    let mut taker = Taker { asked: HashMap::new(), ctes: Vec::new() };
    match statement.visit(&mut taker) {
        ControlFlow::Continue(()) => Ok(taker.asked),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Taker {
    asked: HashMap<String, Asked>,
    ctes: Vec<String>,
}

impl VisitorMut for Taker {
    type Break = Box<SqlError>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        if let Some(with) = &query.with {
            self.ctes.extend(with.cte_tables.iter().map(|cte| fold(&cte.alias.name)));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        let TableFactor::Table { name, alias, version, .. } = factor else { return ControlFlow::Continue(()) };
        let Some(version) = version.take() else { return ControlFlow::Continue(()) };
        let last = name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
        if name.0.len() == 1 && self.ctes.contains(&last) {
            let error = SqlError::unsupported(format!("WITH query \"{last}\" has no versions"));
            return ControlFlow::Break(Box::new(error.with_hint("Ask for versions of the tables that it reads.")));
        }
        alias.get_or_insert_with(|| TableAlias { explicit: true, name: quoted(&last), columns: Vec::new(), at: None });
        // What EXPLAIN shows, and a mark that no user's name has.
        let unique = format!("{last} {version}{DUPLICATE_MARK}{}", self.asked.len());
        let name = std::mem::replace(name, ObjectName(vec![ObjectNamePart::Identifier(quoted(&unique))]));
        self.asked.insert(unique, Asked { name, version });
        ControlFlow::Continue(())
    }
}

/// The version that an expression says, and the relations it reads; none while a parameter has no value yet.
///
/// # Errors
/// What the expression raises, `22004` for NULL, `42804` for a value that is no version.
pub(crate) async fn evaluate(
    version: &TableVersion,
    parameters: &[Option<SqlType>],
    context: &BindContext,
    reader: &TableReader,
) -> Result<(Option<Version>, Vec<u32>), SqlError> {
    let (expr, by_time) = match version {
        TableVersion::ForSystemTimeAsOf(expr) | TableVersion::TimestampAsOf(expr) => (expr, true),
        TableVersion::VersionAsOf(expr) => (expr, false),
        TableVersion::Function(_) | TableVersion::Changes { .. } => {
            return Err(SqlError::unsupported(format!("{version} is not supported"))
                .with_hint("Write FOR SYSTEM_TIME AS OF a time, or FOR VERSION AS OF a snapshot, branch or tag."));
        }
    };
    if !is_constant(expr) {
        context.unstable.store(true, Ordering::Relaxed);
    }
    let query = crate::dml::constants::select(vec![expr.clone()])?;
    let statement = Statement::Query(Box::new(query));
    let planned = super::planner::plan_statement(statement, parameters, context, reader, 1).await?;
    let mut plan = analyze(planned.plan, context).map_err(from_datafusion)?;
    let is_open = plan.schema().fields().first().is_some_and(|field| mapping::sql_type(field) == SqlType::Unknown);
    if by_time || is_open {
        let ty = if by_time { SqlType::TimestampTz } else { SqlType::Text };
        plan = coerce_columns(plan, &[ty], context).map_err(from_datafusion)?;
    }
    if has_placeholders(&plan) {
        let Some((values, types)) = &context.values else { return Ok((None, planned.reads)) };
        plan = with_values(plan, values.clone(), types)?;
    }
    let state = &context.session;
    let physical = physical_plan(&plan, state).await?;
    let batches = collect(physical, task_context(state)).await.map_err(from_datafusion)?;
    let value = batches.iter().find(|batch| batch.num_rows() > 0).map(|batch| Arc::clone(batch.column(0)));
    let version = match value {
        Some(value) if !value.is_null(0) => read(&value, by_time)?,
        _ => {
            return Err(SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "the version of a table must not be null"));
        }
    };
    Ok((Some(version), planned.reads))
}

/// The first value of an array as a version.
fn read(value: &ArrayRef, by_time: bool) -> Result<Version, SqlError> {
    let cast_to = |ty: DataType| cast(value, &ty).map_err(|error| SqlError::internal(error.to_string()));
    if by_time {
        let value = cast_to(mapping::arrow_type(&SqlType::TimestampTz))?;
        return Ok(Version::Instant(value.as_primitive::<TimestampMicrosecondType>().value(0)));
    }
    match value.data_type() {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            Ok(Version::Snapshot(cast_to(DataType::Int64)?.as_primitive::<Int64Type>().value(0)))
        }
        DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 => {
            Ok(Version::Ref(cast_to(DataType::Utf8)?.as_string::<i32>().value(0).to_owned()))
        }
        DataType::Decimal128(..) => {
            let error = SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range");
            Err(error.with_hint("A version is the id of a snapshot, or the name of a branch or tag."))
        }
        _ => Err(SqlError::new(
            SqlState::DATATYPE_MISMATCH,
            "a version is the id of a snapshot (bigint), or the name of a branch or tag (text)",
        )),
    }
}

/// Does an expression mean the same whenever it is evaluated in one session with the same settings?
fn is_constant(expr: &Expr) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let constant = match expr {
                Expr::Value(value) => !matches!(value.value, Value::Placeholder(_)),
                Expr::TypedString(_)
                | Expr::Cast { .. }
                | Expr::Nested(_)
                | Expr::Interval(_)
                | Expr::UnaryOp { .. }
                | Expr::BinaryOp { .. }
                | Expr::AtTimeZone { .. } => true,
                _ => false,
            };
            if constant { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }
    }
    // `'now'` and its kin are instants, too.
    let text = expr.to_string().to_ascii_lowercase();
    let relative = ["now", "today", "tomorrow", "yesterday"].iter().any(|word| text.contains(word));
    !relative && expr.visit(&mut Finder).is_continue()
}
