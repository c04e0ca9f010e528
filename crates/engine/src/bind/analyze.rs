//! Walks a plan from its leaves and resolves the types of every node: the step between SQL planning and DataFusion's
//! own analyzer.
//!
//! What always holds: every node keeps the names of its columns; types may change (an integer literal is `integer` here,
//! 64 bits in DataFusion's planner), so schemas are computed anew from the leaves up. `avg` of integers and numerics
//! becomes a sum divided by a count, `sum(bigint)` a sum of numerics, and ranks become `bigint`, by a projection above.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, NullEquality, ScalarValue};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, BinaryExpr, Cast, InSubquery, Placeholder, SetComparison,
    Sort as SortExpr, WindowFunction,
};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, Filter, Join, JoinType, Limit, LogicalPlan, LogicalPlanBuilder, Operator,
    Projection, RecursiveQuery, Sort, Subquery, TableScan, TableScanBuilder, Values, Window, WindowFunctionDefinition,
    cast, lit,
};
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, mapping};

use super::context::BindContext;
use super::decimals::decimal_of_all;
use super::lists::ListPlan;
use super::resolve::{Known, Resolver, common_type};
use super::set_operations::coerce_columns;
use super::{set_operations, subqueries};
use crate::cast::CastMode;
use crate::error::to_datafusion;
use crate::operators::{UNTYPED, divide_numeric, interval_key, null_safe_equal};

/// Resolves all types of a plan, and plans the subqueries that DataFusion does not.
pub(crate) fn analyze(plan: LogicalPlan, context: &BindContext) -> DfResult<LogicalPlan> {
    subqueries::unnest(typed(plan, context)?)
}

fn typed(plan: LogicalPlan, context: &BindContext) -> DfResult<LogicalPlan> {
    let plan = match plan {
        LogicalPlan::RecursiveQuery(query) => return recursive_query(query, context),
        // The right side may refer to the left one (LATERAL), whose types must be known first.
        LogicalPlan::Join(join) => {
            let left = typed(Arc::unwrap_or_clone(join.left), context)?;
            let right = subqueries::refresh(Arc::unwrap_or_clone(join.right), left.schema())?;
            let right = typed(right, context)?;
            LogicalPlan::Join(Join { left: Arc::new(left), right: Arc::new(right), ..join })
        }
        plan => plan.map_children(|plan| typed(plan, context).map(Transformed::yes))?.data,
    };
    let scope = merge_schema(&plan.inputs());
    let plan = plan
        .map_expressions(|expr| {
            expr.transform_down(|expr| {
                subqueries::map_subquery(expr, |inner| typed(subqueries::refresh(inner, &scope)?, context))
            })
        })?
        .data;
    node(plan, context)
}

fn node(plan: LogicalPlan, context: &BindContext) -> DfResult<LogicalPlan> {
    let schema = if plan.inputs().is_empty() { plan.schema().as_ref().clone() } else { merge_schema(&plan.inputs()) };
    let resolver = Resolver { context, schema: &schema };
    match plan {
        LogicalPlan::Values(values) => self::values(values, &resolver),
        LogicalPlan::Filter(filter) => {
            let predicate = resolver.condition(compared_subqueries(filter.predicate, &resolver)?, "WHERE")?;
            let predicate = without_null_equality(predicate, &schema)?;
            Ok(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?))
        }
        LogicalPlan::Join(join) => self::join(join, &resolver),
        LogicalPlan::Aggregate(aggregate) => self::aggregate(aggregate, &resolver),
        LogicalPlan::Window(window) => self::window(window, &resolver),
        LogicalPlan::Union(union) => set_operations::union(union, context),
        LogicalPlan::Sort(sort) => {
            let expr = sort.expr.into_iter().map(|expr| sort_key(expr, &resolver)).collect::<DfResult<_>>()?;
            Ok(LogicalPlan::Sort(Sort { expr, input: sort.input, fetch: sort.fetch }))
        }
        LogicalPlan::Limit(limit) => self::limit(limit, &resolver),
        plan => {
            let names = NamePreserver::new(&plan);
            let plan = plan
                .map_expressions(|expr| {
                    let name = names.save(&expr);
                    let expr = resolver.settle(resolver.resolve(compared_subqueries(expr, &resolver)?)?)?;
                    Ok(Transformed::yes(name.restore(expr)))
                })?
                .data;
            plan.recompute_schema()
        }
    }
}

/// `x IN (SELECT ..)`, `x < ANY (SELECT ..)`: both sides at the type in which they are compared.
fn compared_subqueries(expr: Expr, resolver: &Resolver<'_>) -> DfResult<Expr> {
    Ok(expr
        .transform_up(|expr| match expr {
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let (expr, subquery) = compared(*expr, subquery, "=", resolver)?;
                Ok(Transformed::yes(Expr::InSubquery(InSubquery { expr: Box::new(expr), subquery, negated })))
            }
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
                let (expr, subquery) = compared(*expr, subquery, &op.to_string(), resolver)?;
                let expr = Box::new(expr);
                Ok(Transformed::yes(Expr::SetComparison(SetComparison { expr, subquery, op, quantifier })))
            }
            other => Ok(Transformed::no(other)),
        })?
        .data)
}

fn compared(expr: Expr, subquery: Subquery, symbol: &str, resolver: &Resolver<'_>) -> DfResult<(Expr, Subquery)> {
    let expr = resolver.resolve(expr)?;
    let plan = Arc::clone(&subquery.subquery);
    let (qualifier, field) = plan.schema().qualified_field(0);
    let column = datafusion::common::Column::from((qualifier, field));
    // An outer column brings its type along, which a column of another plan does not.
    let value = Expr::OuterReferenceColumn(Arc::clone(field), column.clone());
    let (expr, converted) = resolver.comparable(expr, value.clone(), symbol)?;
    if converted == value {
        return Ok((expr, subquery));
    }
    let converted = converted
        .transform_up(|expr| {
            Ok(if expr == value { Transformed::yes(Expr::Column(column.clone())) } else { Transformed::no(expr) })
        })?
        .data
        .alias(field.name());
    let plan = LogicalPlan::Projection(Projection::try_new(vec![converted], plan)?);
    Ok((expr, Subquery { subquery: Arc::new(plan), ..subquery }))
}

fn sort_key(sort: SortExpr, resolver: &Resolver<'_>) -> DfResult<SortExpr> {
    let expr = resolver.settle(resolver.resolve(compared_subqueries(sort.expr, resolver)?)?)?;
    let expr = match resolver.known(&expr)? {
        Known::Type(SqlType::Interval) => interval_key(expr),
        Known::Type(SqlType::Json) => {
            return Err(to_datafusion(
                SqlError::new(SqlState::UNDEFINED_FUNCTION, "could not identify an ordering operator for type json")
                    .with_hint("Use an explicit ordering operator or modify the query."),
            ));
        }
        _ => expr,
    };
    Ok(SortExpr { expr, asc: sort.asc, nulls_first: sort.nulls_first })
}

/// LIMIT and OFFSET count in 64 bits.
fn limit(limit: Limit, resolver: &Resolver<'_>) -> DfResult<LogicalPlan> {
    let count = |expr: Option<Box<Expr>>, clause: &str| -> DfResult<Option<Box<Expr>>> {
        let Some(expr) = expr else { return Ok(None) };
        Ok(Some(Box::new(match *expr {
            Expr::Literal(ScalarValue::Int64(Some(value)), _) if value < 0 => {
                let code = if clause == "LIMIT" {
                    SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE
                } else {
                    SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE
                };
                return Err(to_datafusion(SqlError::new(code, format!("{clause} must not be negative"))));
            }
            literal @ Expr::Literal(ScalarValue::Int64(_), _) => literal,
            placeholder @ Expr::Placeholder(Placeholder { field: None, .. }) => {
                resolver.coerce(placeholder, &SqlType::BigInt)?
            }
            other => {
                let expr = resolver.resolve(other)?;
                resolver.coerce(expr, &SqlType::BigInt)?
            }
        })))
    };
    Ok(LogicalPlan::Limit(Limit {
        skip: count(limit.skip, "OFFSET")?,
        fetch: count(limit.fetch, "LIMIT")?,
        input: limit.input,
    }))
}

/// Each column of a VALUES list has one type; a column of untyped literals is text.
fn values(values: Values, resolver: &Resolver<'_>) -> DfResult<LogicalPlan> {
    let width = values.schema.fields().len();
    let mut columns: Vec<Vec<Expr>> = vec![Vec::with_capacity(values.values.len()); width];
    for row in values.values {
        for (column, expr) in row.into_iter().enumerate() {
            columns[column].push(resolver.resolve(without_casts(expr))?);
        }
    }
    let mut fields = Vec::with_capacity(width);
    for (index, column) in columns.iter_mut().enumerate() {
        let unified = resolver.unify(std::mem::take(column), "VALUES")?;
        let data_type = decimal_of_all(&unified, resolver)?;
        let (qualifier, field) = values.schema.qualified_field(index);
        let mut metadata = std::collections::HashMap::new();
        let mut first = None;
        for expr in unified {
            let own = resolver.field(&expr)?;
            first.get_or_insert_with(|| own.data_type().clone());
            if metadata.is_empty() {
                metadata.clone_from(own.metadata());
            }
            column.push(match &data_type {
                Some(data_type) if own.data_type() != data_type => {
                    Expr::Cast(Cast::new(Box::new(expr), data_type.clone()))
                }
                _ => expr,
            });
        }
        let data_type = data_type.or(first).unwrap_or(DataType::Utf8View);
        let field = Field::new(field.name(), data_type, true).with_metadata(metadata);
        fields.push((qualifier.cloned(), Arc::new(field)));
    }
    let rows = columns.first().map_or(0, Vec::len);
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    let rows = (0..rows).map(|_| columns.iter_mut().filter_map(Iterator::next).collect()).collect();
    let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
    Ok(LogicalPlan::Values(Values { schema, values: rows }))
}

/// DataFusion's planner casts the literals of a VALUES list to a common type of its own; the binder decides anew.
fn without_casts(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(value, None) if value.is_null() => Expr::Literal(ScalarValue::Null, None),
        Expr::Cast(cast)
            if !cast.field.metadata().contains_key(mapping::TYPE_KEY)
                && (matches!(*cast.expr, Expr::Literal(..) | Expr::Placeholder(_)) || is_untyped(&cast.expr)) =>
        {
            without_casts(*cast.expr)
        }
        Expr::ScalarFunction(mut call) if call.func.name() == UNTYPED && call.args.len() == 1 => call.args.remove(0),
        other => other,
    }
}

fn is_untyped(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == UNTYPED)
}

fn join(join: Join, resolver: &Resolver<'_>) -> DfResult<LogicalPlan> {
    if matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
    {
        return set_operations::intersect_or_except(join, resolver.context);
    }
    let mut on = Vec::with_capacity(join.on.len());
    for (left, right) in join.on {
        let pair = resolver.resolve(left.eq(right))?;
        match pair {
            Expr::BinaryExpr(binary) => on.push((*binary.left, *binary.right)),
            other => return Err(to_datafusion(SqlError::internal(format!("join key {other}")))),
        }
    }
    let filter =
        join.filter.map(|filter| resolver.condition(compared_subqueries(filter, resolver)?, "JOIN/ON")).transpose()?;
    let filter = filter.map(|filter| without_null_equality(filter, resolver.schema)).transpose()?;
    LogicalPlan::Join(Join { on, filter, ..join }).recompute_schema()
}

/// A condition without `IS NOT DISTINCT FROM` between columns, of which DataFusion would make joins that are wrong.
fn without_null_equality(condition: Expr, schema: &DFSchema) -> DfResult<Expr> {
    let conditions = split_conjunction_owned(condition).into_iter().map(|condition| match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::IsNotDistinctFrom, right })
            if !left.column_refs().is_empty() && !right.column_refs().is_empty() =>
        {
            let (l, r) = (left.get_type(schema)?, right.get_type(schema)?);
            match comparison_coercion(&l, &r) {
                Some(common) => {
                    let side =
                        |side: Expr, ty: &DataType| if *ty == common { side } else { cast(side, common.clone()) };
                    null_safe_equal(side(*left, &l), side(*right, &r), schema)
                }
                None => Ok(Expr::BinaryExpr(BinaryExpr { left, op: Operator::IsNotDistinctFrom, right })),
            }
        }
        other => Ok(other),
    });
    Ok(conjunction(conditions.collect::<DfResult<Vec<_>>>()?).unwrap_or_else(|| lit(true)))
}

/// `WITH RECURSIVE`: the columns have the types of the non-recursive term, which the self-reference must see too.
fn recursive_query(query: RecursiveQuery, context: &BindContext) -> DfResult<LogicalPlan> {
    let static_term = typed(Arc::unwrap_or_clone(query.static_term), context)?;
    let static_schema = Arc::clone(static_term.schema());
    let types: Vec<SqlType> = static_schema
        .fields()
        .iter()
        .map(|field| match mapping::sql_type(field) {
            SqlType::Unknown => SqlType::Text,
            ty => ty,
        })
        .collect();
    let static_term = coerce_columns(static_term, &types, context)?;
    let static_fields: Vec<_> = static_term.schema().fields().iter().cloned().collect();
    let name = query.name.clone();
    let recursive_term = Arc::unwrap_or_clone(query.recursive_term)
        .transform_down_with_subqueries(|plan| match plan {
            LogicalPlan::TableScan(scan) if is_work_table(&scan, &name) => {
                let fields: Vec<_> = scan
                    .source
                    .schema()
                    .fields()
                    .iter()
                    .zip(&static_fields)
                    .map(|(old, new)| {
                        Field::new(old.name(), new.data_type().clone(), true).with_metadata(new.metadata().clone())
                    })
                    .collect();
                let table = CteWorkTable::new(&name, Arc::new(arrow::datatypes::Schema::new(fields)));
                let scan = TableScanBuilder::new(scan.table_name, provider_as_source(Arc::new(table)))
                    .with_projection(scan.projection)
                    .with_filters(scan.filters)
                    .with_fetch(scan.fetch)
                    .build()?;
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            }
            other => Ok(Transformed::no(other)),
        })?
        .data;
    let recursive_term = typed(recursive_term, context)?;
    for (index, (ty, field)) in types.iter().zip(recursive_term.schema().fields()).enumerate() {
        let recursive = mapping::sql_type(field);
        let same = *ty == recursive
            || recursive == SqlType::Unknown
            || (ty.is_string() && recursive.is_string())
            || matches!((ty, &recursive), (SqlType::Numeric(_), SqlType::Numeric(_)));
        let widens = common_type(&[Known::Type(ty.clone()), Known::Type(recursive.clone())], "UNION")? == *ty;
        if !same && !widens {
            return Err(to_datafusion(
                SqlError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!(
                        "recursive query \"{}\" column {} has type {ty} in non-recursive term but type {recursive} overall",
                        query.name,
                        index + 1
                    ),
                )
                .with_hint("Cast the output of the non-recursive term to the correct type."),
            ));
        }
    }
    let recursive_term = coerce_columns(recursive_term, &types, context)?;
    LogicalPlanBuilder::from(static_term).to_recursive_query(query.name, recursive_term, query.is_distinct)?.build()
}

fn is_work_table(scan: &TableScan, name: &str) -> bool {
    scan.table_name.table() == name
        && source_as_provider(&scan.source).is_ok_and(|provider| provider.downcast_ref::<CteWorkTable>().is_some())
}

// ----- aggregates and windows

/// What an aggregate becomes: the calls that DataFusion computes, and what is made of them.
enum Plan {
    /// The call as it is.
    Keep(Expr),
    /// One call, converted afterwards.
    Convert(Expr, SqlType),
    /// A sum and a count, divided afterwards.
    Divide { sum: Expr, count: Expr },
    /// A list of values, put in order and together afterwards.
    List(Expr, ListPlan),
}

fn aggregate(aggregate: Aggregate, resolver: &Resolver<'_>) -> DfResult<LogicalPlan> {
    let names = NamePreserver::new_for_projection();
    let group = aggregate
        .group_expr
        .into_iter()
        .map(|expr| {
            let name = names.save(&expr);
            let grouping = matches!(expr, Expr::GroupingSet(_));
            let expr = resolver.settle(resolver.resolve(compared_subqueries(expr, resolver)?)?)?;
            Ok(if grouping { expr } else { name.restore(expr) })
        })
        .collect::<DfResult<Vec<_>>>()?;
    let mut calls: Vec<Expr> = Vec::new();
    let mut outputs = Vec::new();
    for expr in aggregate.aggr_expr {
        let name = expr.schema_name().to_string();
        let resolved = resolver.resolve(compared_subqueries(expr, resolver)?)?;
        outputs.push((name, plan_aggregate(resolved, resolver)?));
    }
    let all_kept = outputs.iter().all(|(_, plan)| matches!(plan, Plan::Keep(_)));
    let finished: Vec<(String, Finish)> = outputs
        .into_iter()
        .map(|(name, plan)| {
            let finish = match plan {
                Plan::Keep(expr) => {
                    // Without a projection above, the calls must have the names of the columns.
                    let own = expr.schema_name().to_string();
                    match all_kept {
                        true if own != name => calls.push(expr.alias(name.clone())),
                        true => calls.push(expr),
                        false => return (name, Finish::Same(add_call(&mut calls, expr))),
                    }
                    Finish::Same(name.clone())
                }
                Plan::Convert(expr, ty) => Finish::Convert(add_call(&mut calls, expr), ty),
                Plan::Divide { sum, count } => Finish::Divide(add_call(&mut calls, sum), add_call(&mut calls, count)),
                Plan::List(expr, list) => Finish::List(add_call(&mut calls, expr), list),
            };
            (name, finish)
        })
        .collect();
    let call_count = calls.len();
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(aggregate.input, group, calls)?);
    if all_kept {
        return Ok(plan);
    }
    let kept = plan.schema().fields().len() - call_count;
    finish(plan, kept, finished, resolver.context)
}

/// Adds a call, if it is not among the calls already; says under which name it is there.
fn add_call(calls: &mut Vec<Expr>, expr: Expr) -> String {
    let same = |call: &&Expr| match call {
        Expr::Alias(alias) => *alias.expr == expr,
        call => **call == expr,
    };
    if let Some(call) = calls.iter().find(same) {
        return call.schema_name().to_string();
    }
    let name = expr.schema_name().to_string();
    if !calls.iter().any(|call| call.schema_name().to_string() == name) {
        calls.push(expr);
        return name;
    }
    // Names do not say what is cast.
    let name = format!("{name}{}{}", super::names::DUPLICATE_MARK, calls.len());
    calls.push(expr.alias(&name));
    name
}

fn window(window: Window, resolver: &Resolver<'_>) -> DfResult<LogicalPlan> {
    let mut calls: Vec<Expr> = Vec::new();
    let mut finished = Vec::new();
    for expr in window.window_expr {
        let name = expr.schema_name().to_string();
        let resolved = resolver.resolve(compared_subqueries(expr, resolver)?)?;
        let mut add = |expr: Expr| add_call(&mut calls, expr);
        let finish = match plan_window(resolved, resolver)? {
            Plan::Keep(expr) => Finish::Same(add(expr)),
            Plan::Convert(expr, ty) => Finish::Convert(add(expr), ty),
            Plan::Divide { sum, count } => Finish::Divide(add(sum), add(count)),
            Plan::List(expr, list) => Finish::List(add(expr), list),
        };
        finished.push((name, finish));
    }
    let kept = window.input.schema().fields().len();
    let plan = LogicalPlan::Window(Window::try_new(calls, window.input)?);
    finish(plan, kept, finished, resolver.context)
}

/// How an output column is made from the computed ones, by their names.
enum Finish {
    Same(String),
    Convert(String, SqlType),
    Divide(String, String),
    List(String, ListPlan),
}

/// A projection that makes the wanted columns from the computed ones; the first `kept` columns pass through.
fn finish(
    plan: LogicalPlan,
    kept: usize,
    columns: Vec<(String, Finish)>,
    context: &BindContext,
) -> DfResult<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let resolver = Resolver { context, schema: &schema };
    let mut exprs: Vec<Expr> = schema.iter().take(kept).map(Expr::from).collect();
    let column = |name: &str| Expr::Column(datafusion::common::Column::new_unqualified(name));
    for (name, finish) in columns {
        exprs.push(match finish {
            Finish::Same(computed) if computed == name => column(&name),
            Finish::Same(computed) => column(&computed).alias(name),
            Finish::Convert(computed, ty) => {
                let expr = column(&computed);
                let from = resolver.field(&expr)?;
                let expr = if matches!(from.data_type(), DataType::UInt64) {
                    Expr::Cast(Cast::new(Box::new(expr), mapping::arrow_type(&ty)))
                } else {
                    resolver.coerce(expr, &ty)?
                };
                expr.alias(name)
            }
            Finish::List(computed, list) => list.finish(column(&computed), resolver.context)?.alias(name),
            Finish::Divide(sum, count) => {
                let numeric = |name: &str| resolver.coerce(column(name), &SqlType::Numeric(None));
                divide_numeric(numeric(&sum)?, numeric(&count)?).alias(name)
            }
        });
    }
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

fn plan_aggregate(expr: Expr, resolver: &Resolver<'_>) -> DfResult<Plan> {
    match expr {
        Expr::Alias(alias) => plan_aggregate(*alias.expr, resolver),
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment } = params;
            let (args, plan) = aggregate_arguments(func.name(), args, resolver)?;
            let filter = filter.map(|f| resolver.condition(*f, "FILTER").map(Box::new)).transpose()?;
            let order_by = order_by.into_iter().map(|s| sort_key(s, resolver)).collect::<DfResult<Vec<_>>>()?;
            if distinct && order_by.iter().any(|key| !args.contains(&key.expr)) {
                return Err(to_datafusion(SqlError::new(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list",
                )));
            }
            let list = ListPlan::of(func.name(), &args, distinct, &order_by);
            if let Some(list) = list {
                let present = args[0].clone().is_not_null();
                let filter = match (filter, list.delimiter.is_some()) {
                    (Some(filter), true) => Some(Box::new(filter.and(present))),
                    (None, true) => Some(Box::new(present)),
                    (filter, false) => filter,
                };
                let func = aggregate_function(resolver, "array_agg")?;
                let args = args.into_iter().take(1).collect();
                let order_by = if distinct { Vec::new() } else { order_by };
                let params = AggregateFunctionParams { args, distinct, filter, order_by, null_treatment };
                return Ok(Plan::List(Expr::AggregateFunction(AggregateFunction { func, params }), list));
            }
            let call = |name: &str, args: Vec<Expr>| -> DfResult<Expr> {
                let func = if name == func.name() { Arc::clone(&func) } else { aggregate_function(resolver, name)? };
                let params = AggregateFunctionParams {
                    args,
                    distinct,
                    filter: filter.clone(),
                    order_by: order_by.clone(),
                    null_treatment,
                };
                Ok(Expr::AggregateFunction(AggregateFunction { func, params }))
            };
            arrange(plan, func.name(), args, call)
        }
        other => Ok(Plan::Keep(other)),
    }
}

fn plan_window(expr: Expr, resolver: &Resolver<'_>) -> DfResult<Plan> {
    match expr {
        Expr::Alias(alias) => plan_window(*alias.expr, resolver),
        Expr::WindowFunction(window) => {
            let WindowFunction { fun, params } = *window;
            let mut params = params;
            params.order_by = params.order_by.into_iter().map(|s| sort_key(s, resolver)).collect::<DfResult<_>>()?;
            match &fun {
                WindowFunctionDefinition::AggregateUDF(func) => {
                    let (args, plan) = aggregate_arguments(func.name(), std::mem::take(&mut params.args), resolver)?;
                    let call = |name: &str, args: Vec<Expr>| -> DfResult<Expr> {
                        let fun = if name == func.name() {
                            fun.clone()
                        } else {
                            WindowFunctionDefinition::AggregateUDF(aggregate_function(resolver, name)?)
                        };
                        let mut params = params.clone();
                        params.args = args;
                        Ok(Expr::WindowFunction(Box::new(WindowFunction { fun, params })))
                    };
                    arrange(plan, func.name(), args, call)
                }
                WindowFunctionDefinition::WindowUDF(func) => {
                    let name = func.name().to_owned();
                    let expr = Expr::WindowFunction(Box::new(WindowFunction { fun, params }));
                    Ok(match name.as_str() {
                        "row_number" | "rank" | "dense_rank" => Plan::Convert(expr, SqlType::BigInt),
                        "ntile" => Plan::Convert(expr, SqlType::Integer),
                        _ => Plan::Keep(expr),
                    })
                }
            }
        }
        other => Ok(Plan::Keep(other)),
    }
}

fn aggregate_function(resolver: &Resolver<'_>, name: &str) -> DfResult<Arc<datafusion::logical_expr::AggregateUDF>> {
    resolver
        .context
        .session
        .aggregate_functions()
        .get(name)
        .cloned()
        .ok_or_else(|| to_datafusion(SqlError::internal(format!("aggregate {name} is not registered"))))
}

/// How the result of an aggregate over arguments of these types is made.
enum Shape {
    Same,
    Convert(SqlType),
    Average,
}

fn arrange(
    shape: Shape,
    name: &str,
    args: Vec<Expr>,
    call: impl Fn(&str, Vec<Expr>) -> DfResult<Expr>,
) -> DfResult<Plan> {
    Ok(match shape {
        Shape::Same => Plan::Keep(call(name, args)?),
        Shape::Convert(ty) => Plan::Convert(call(name, args)?, ty),
        Shape::Average => Plan::Divide { sum: call("sum", args.clone())?, count: call("count", args)? },
    })
}

/// The arguments at the types DataFusion's aggregate needs to compute what PostgreSQL's does.
fn aggregate_arguments(name: &str, args: Vec<Expr>, resolver: &Resolver<'_>) -> DfResult<(Vec<Expr>, Shape)> {
    let Some(first) = args.first() else { return Ok((args, Shape::Same)) };
    let known = resolver.known(first)?;
    let undefined = || {
        to_datafusion(
            SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("function {name}({known}) does not exist")).with_hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            ),
        )
    };
    let cast_first = |args: Vec<Expr>, data_type: DataType| -> Vec<Expr> {
        args.into_iter()
            .enumerate()
            .map(|(i, a)| if i == 0 { Expr::Cast(Cast::new(Box::new(a), data_type.clone())) } else { a })
            .collect()
    };
    match name {
        "sum" => match &known {
            Known::Type(SqlType::SmallInt | SqlType::Integer) => Ok((cast_first(args, DataType::Int64), Shape::Same)),
            Known::Type(SqlType::BigInt) => Ok((cast_first(args, DataType::Decimal128(19, 0)), Shape::Same)),
            Known::Type(SqlType::Real) => Ok((cast_first(args, DataType::Float64), Shape::Convert(SqlType::Real))),
            Known::Type(SqlType::Double) => Ok((args, Shape::Same)),
            Known::Type(SqlType::Numeric(_)) => Ok((wide_decimal(args, resolver)?, Shape::Same)),
            Known::Type(SqlType::Interval) => Err(to_datafusion(
                SqlError::unsupported("sum(interval) is not supported")
                    .with_hint("Sum extract(epoch from x) and multiply by interval '1 second'."),
            )),
            _ => Err(undefined()),
        },
        "avg" => match &known {
            Known::Type(SqlType::SmallInt | SqlType::Integer) => {
                Ok((cast_first(args, DataType::Int64), Shape::Average))
            }
            Known::Type(SqlType::BigInt) => Ok((cast_first(args, DataType::Decimal128(19, 0)), Shape::Average)),
            Known::Type(SqlType::Numeric(_)) => Ok((wide_decimal(args, resolver)?, Shape::Average)),
            Known::Type(SqlType::Real) => Ok((cast_first(args, DataType::Float64), Shape::Same)),
            Known::Type(SqlType::Double) => Ok((args, Shape::Same)),
            Known::Type(SqlType::Interval) => Err(to_datafusion(
                SqlError::unsupported("avg(interval) is not supported")
                    .with_hint("Average extract(epoch from x) and multiply by interval '1 second'."),
            )),
            _ => Err(undefined()),
        },
        "stddev_samp" | "stddev_pop" | "var_samp" | "var_pop" | "corr" | "covar_samp" | "covar_pop" | "regr_slope"
        | "regr_intercept" | "regr_r2" | "regr_avgx" | "regr_avgy" | "regr_sxx" | "regr_syy" | "regr_sxy" => {
            if !known.is_number() {
                return Err(undefined());
            }
            let args = args.into_iter().map(|a| resolver.coerce(a, &SqlType::Double)).collect::<DfResult<_>>()?;
            Ok((args, Shape::Same))
        }
        "regr_count" => {
            let args = args.into_iter().map(|a| resolver.coerce(a, &SqlType::Double)).collect::<DfResult<_>>()?;
            Ok((args, Shape::Convert(SqlType::BigInt)))
        }
        "string_agg"
            if !matches!(&known, Known::Unknown)
                && !matches!(&known, Known::Type(ty) if ty.is_string() || *ty == SqlType::Bytea) =>
        {
            Err(undefined())
        }
        "bool_and" | "bool_or" => {
            let args = args.into_iter().map(|a| resolver.coerce(a, &SqlType::Boolean)).collect::<DfResult<_>>()?;
            Ok((args, Shape::Same))
        }
        "min" | "max" => match known {
            Known::Unknown => {
                let args = args.into_iter().map(|a| resolver.coerce(a, &SqlType::Text)).collect::<DfResult<_>>()?;
                Ok((args, Shape::Same))
            }
            Known::Type(SqlType::Boolean | SqlType::Json | SqlType::Jsonb | SqlType::Uuid) => Err(undefined()),
            Known::Type(_) => Ok((args, Shape::Same)),
        },
        _ => Ok((args, Shape::Same)),
    }
}

impl Known {
    fn is_number(&self) -> bool {
        matches!(self, Known::Type(ty) if ty.is_number())
    }
}

/// Decimals that leave less than ten digits of room for a sum are summed in 256 bits, where DataFusion cannot wrap.
fn wide_decimal(args: Vec<Expr>, resolver: &Resolver<'_>) -> DfResult<Vec<Expr>> {
    args.into_iter()
        .map(|arg| {
            Ok(match resolver.field(&arg)?.data_type() {
                DataType::Decimal128(precision, scale) if *precision > 28 => {
                    let data_type = DataType::Decimal256(66, *scale);
                    Expr::Cast(Cast::new(Box::new(arg), data_type))
                }
                _ => arg,
            })
        })
        .collect()
}

// ----- assignment

/// A plan whose columns are stored in the given columns of a table. Strings of a constant source are read as the
/// columns' types; a column of text in a query is not.
///
/// # Errors
/// `42804` where PostgreSQL has no assignment cast.
pub(crate) fn assign_columns(
    plan: LogicalPlan,
    columns: &[&wharf_catalog::Column],
    constant: bool,
    context: &BindContext,
) -> DfResult<LogicalPlan> {
    let assign = |expr: Expr, column: &wharf_catalog::Column, resolver: &Resolver<'_>| -> DfResult<Expr> {
        let known = resolver.known(&expr)?;
        if let Known::Type(from) = &known
            && !assignable(from, &column.ty, constant)
        {
            return Err(to_datafusion(
                SqlError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!("column \"{}\" is of type {} but expression is of type {from}", column.name, column.ty),
                )
                .with_hint("You will need to rewrite or cast the expression."),
            ));
        }
        resolver.convert(expr, &column.ty, CastMode::Assignment)
    };
    if let LogicalPlan::Projection(projection) = plan {
        let schema = Arc::clone(projection.input.schema());
        let resolver = Resolver { context, schema: &schema };
        let exprs = projection
            .expr
            .into_iter()
            .zip(columns)
            .enumerate()
            .map(|(index, (expr, column))| {
                let inner = match expr {
                    Expr::Alias(alias) => *alias.expr,
                    other => other,
                };
                Ok(assign(inner, column, &resolver)?.alias(format!("column{}", index + 1)))
            })
            .collect::<DfResult<Vec<_>>>()?;
        return Ok(LogicalPlan::Projection(Projection::try_new(exprs, projection.input)?));
    }
    let schema = Arc::clone(plan.schema());
    let resolver = Resolver { context, schema: &schema };
    let exprs = schema
        .iter()
        .zip(columns)
        .enumerate()
        .map(|(index, (field, column))| {
            Ok(assign(Expr::from(field), column, &resolver)?.alias(format!("column{}", index + 1)))
        })
        .collect::<DfResult<Vec<_>>>()?;
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

/// PostgreSQL's assignment casts.
fn assignable(from: &SqlType, to: &SqlType, constant: bool) -> bool {
    use SqlType as T;
    match (from, to) {
        (from, to) if from == to => true,
        (from, to) if from.is_number() && to.is_number() => true,
        // Everything has an assignment cast to the string types.
        (_, to) if to.is_string() => true,
        (from, _) if from.is_string() => constant,
        (T::Date, T::Timestamp | T::TimestampTz) => true,
        (T::Timestamp, T::Date | T::Time | T::TimestampTz) => true,
        (T::TimestampTz, T::Date | T::Time | T::Timestamp) => true,
        (T::Json, T::Jsonb) | (T::Jsonb, T::Json) => true,
        (T::Oid, T::Integer | T::BigInt) | (T::Integer | T::BigInt, T::Oid) => true,
        (T::Array(a), T::Array(b)) => assignable(a, b, constant),
        _ => false,
    }
}
