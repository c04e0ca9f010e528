//! Aggregates and window functions at the types in which DataFusion computes what PostgreSQL does.
//!
//! What always holds: a node keeps the names of its columns. `avg` of integers and numerics becomes a sum divided by a
//! count, `stddev` and its kin of them are made of a count, a sum and a sum of squares, `sum(bigint)` is a sum of numerics, and ranks
//! become `bigint`, by a projection above.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, Cast, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{COUNT_STAR_EXPANSION, find_aggregate_exprs, find_window_exprs};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, Window, WindowFunctionDefinition};
use wharf_catalog::SqlType;
use wharf_values::{NumericDisplay, SqlError, SqlState, mapping};

use super::aggregate_order::by_columns;
use super::analyze::{compared_subqueries, sort_keys};
use super::array_order::{has_documents, no_order_of_arrays};
use super::context::BindContext;
use super::equality::{by_equality, document_key, equality_key, has_length};
use super::lists::ListPlan;
use super::misplaced;
use super::resolve::{Known, Resolver};
use super::window_keys::{check_offsets, order_frame};
use crate::error::to_datafusion;
use crate::operators::{IntervalCode, MAX_COMPUTED_SCALE, Spread, Square, divide_numeric};

/// What an aggregate becomes: the calls that DataFusion computes, and what is made of them.
enum Plan {
    /// The call as it is.
    Keep(Expr),
    /// One call, converted afterwards.
    Convert(Expr, SqlType),
    /// A sum and a count, divided afterwards.
    Divide { sum: Expr, count: Expr },
    /// A count, a sum and sums of squares, of which a measure is made afterwards.
    Spread(Spread, Vec<Expr>),
    /// A list of values, put in order and together afterwards.
    List(Expr, ListPlan),
    /// A number that intervals were written as, read afterwards.
    Interval(Expr, IntervalCode),
}

pub(super) fn aggregate(aggregate: Aggregate, resolver: &Resolver<'_>) -> DfResult<LogicalPlan> {
    check_keys(&aggregate.group_expr)?;
    let names = NamePreserver::new_for_projection();
    let mut keys = Vec::new();
    let group = aggregate
        .group_expr
        .into_iter()
        .map(|expr| {
            if matches!(expr, Expr::GroupingSet(_)) {
                return Ok(expr.map_children(|key| grouping_key(key, &mut keys, resolver).map(Transformed::yes))?.data);
            }
            let name = names.save(&expr);
            Ok(name.restore(resolver.settle(resolver.resolve(compared_subqueries(expr, resolver)?)?)?))
        })
        .collect::<DfResult<Vec<_>>>()?;
    let named: Vec<String> = keys.iter().map(|key| key.schema_name().to_string()).collect();
    let mut calls: Vec<Expr> = Vec::new();
    let mut outputs = Vec::new();
    for expr in aggregate.aggr_expr {
        let name = expr.schema_name().to_string();
        let expr = match grouping_of(expr, &named) {
            Ok(grouping) => {
                outputs.push((name, Plan::Keep(grouping)));
                continue;
            }
            Err(expr) => expr,
        };
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
                Plan::Spread(spread, sums) => {
                    Finish::Spread(spread, sums.into_iter().map(|sum| add_call(&mut calls, sum)).collect())
                }
                Plan::List(expr, list) => Finish::List(add_call(&mut calls, expr), list),
                Plan::Interval(expr, code) => Finish::Interval(add_call(&mut calls, expr), code),
            };
            (name, finish)
        })
        .collect();
    let call_count = calls.len();
    let calls = calls.into_iter().map(|call| by_columns(call, &mut keys)).collect::<DfResult<Vec<_>>>()?;
    let input = with_keys(aggregate.input, keys)?;
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(input, group, calls)?);
    if all_kept {
        return Ok(plan);
    }
    let kept = plan.schema().fields().len() - call_count;
    finish(plan, kept, finished, resolver.context)
}

/// A key cannot be computed from the groups, by the name of an output neither.
fn check_keys(keys: &[Expr]) -> DfResult<()> {
    if !find_aggregate_exprs(keys).is_empty() {
        return Err(to_datafusion(misplaced::aggregate_key()));
    }
    if !find_window_exprs(keys).is_empty() {
        return Err(to_datafusion(misplaced::window_key()));
    }
    Ok(())
}

/// A key of a grouping set, as a column: the keys of a set cannot have names, so what is computed gets its name below.
fn grouping_key(key: Expr, keys: &mut Vec<Expr>, resolver: &Resolver<'_>) -> DfResult<Expr> {
    let name = key.schema_name().to_string();
    let settled = resolver.settle(resolver.resolve(compared_subqueries(key, resolver)?)?)?;
    if let Expr::Column(_) = settled {
        return Ok(settled);
    }
    if !keys.iter().any(|key| key.schema_name().to_string() == name) {
        keys.push(settled.alias(&name));
    }
    Ok(Expr::Column(Column::new_unqualified(name)))
}

/// `grouping(key, ..)` where one of the keys is a column by now, over that column. Any other expression is given back.
fn grouping_of(expr: Expr, named: &[String]) -> Result<Expr, Expr> {
    let is_named = |expr: &Expr| named.contains(&expr.schema_name().to_string());
    match expr {
        Expr::AggregateFunction(mut call)
            if call.func.name() == "grouping" && call.params.args.iter().any(is_named) =>
        {
            for arg in call.params.args.iter_mut().filter(|arg| is_named(arg)) {
                let name = arg.schema_name().to_string();
                *arg = Expr::Column(Column::new_unqualified(name));
            }
            Ok(Expr::AggregateFunction(call))
        }
        expr => Err(expr),
    }
}

/// Rows with more columns.
fn with_keys(input: Arc<LogicalPlan>, keys: Vec<Expr>) -> DfResult<Arc<LogicalPlan>> {
    if keys.is_empty() {
        return Ok(input);
    }
    let exprs = input.schema().columns().into_iter().map(Expr::Column).chain(keys).collect();
    Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, input)?)))
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

pub(super) fn window(window: Window, resolver: &Resolver<'_>) -> DfResult<LogicalPlan> {
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
            Plan::Spread(spread, sums) => Finish::Spread(spread, sums.into_iter().map(add).collect()),
            Plan::List(expr, list) => Finish::List(add(expr), list),
            Plan::Interval(expr, code) => Finish::Interval(add(expr), code),
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
    Spread(Spread, Vec<String>),
    List(String, ListPlan),
    Interval(String, IntervalCode),
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
            Finish::Interval(computed, code) => code.call(vec![column(&computed)]).alias(name),
            Finish::Spread(spread, sums) => spread.call(sums.iter().map(|sum| column(sum)).collect()).alias(name),
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
            let args = if distinct { distinct_arguments(func.name(), args, resolver)? } else { args };
            let (args, plan) = aggregate_arguments(func.name(), args, resolver)?;
            let filter = filter.map(|f| resolver.condition(*f, "FILTER").map(Box::new)).transpose()?;
            let order_by = sort_keys(order_by, resolver)?;
            let of_documents = match args.first() {
                Some(first) => distinct && resolver.known(first)? == Known::Type(SqlType::Jsonb),
                None => false,
            };
            let keys = match args.as_slice() {
                [document] if of_documents => vec![document_key(document.clone(), resolver.context)?],
                args => args.to_vec(),
            };
            if distinct && order_by.iter().any(|key| !keys.contains(&key.expr)) {
                return Err(to_datafusion(SqlError::new(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list",
                )));
            }
            let list = ListPlan::of(func.name(), &args, distinct, &order_by);
            if let Some(mut list) = list {
                list.of_documents = of_documents;
                let present = args[0].clone().is_not_null();
                let filter = match (filter, list.delimiter.is_some()) {
                    (Some(filter), true) => Some(Box::new(filter.and(present))),
                    (None, true) => Some(Box::new(present)),
                    (filter, false) => filter,
                };
                let func = aggregate_function(resolver, "array_agg")?;
                let args = args.into_iter().take(1).collect();
                let order_by = if distinct { Vec::new() } else { order_by };
                // The aggregate would tell them apart by their texts.
                let distinct = distinct && !of_documents;
                let params = AggregateFunctionParams { args, distinct, filter, order_by, null_treatment };
                return Ok(Plan::List(Expr::AggregateFunction(AggregateFunction { func, params }), list));
            }
            let call = |name: &str, args: Vec<Expr>| -> DfResult<Expr> {
                let func = computing(resolver, name, &func)?;
                let params = AggregateFunctionParams {
                    args,
                    distinct,
                    filter: filter.clone(),
                    order_by: order_by.clone(),
                    null_treatment,
                };
                Ok(Expr::AggregateFunction(AggregateFunction { func, params }))
            };
            arrange(plan, func.name(), args, distinct, call)
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
            check_offsets(&params, resolver)?;
            params.order_by = sort_keys(params.order_by, resolver)?;
            order_frame(&mut params, resolver)?;
            let key = |expr: Expr| by_equality(expr, resolver);
            params.partition_by = params.partition_by.into_iter().map(key).collect::<DfResult<_>>()?;
            match &fun {
                WindowFunctionDefinition::AggregateUDF(func) => {
                    let (args, plan) = aggregate_arguments(func.name(), std::mem::take(&mut params.args), resolver)?;
                    let call = |name: &str, args: Vec<Expr>| -> DfResult<Expr> {
                        let fun = WindowFunctionDefinition::AggregateUDF(computing(resolver, name, func)?);
                        let mut params = params.clone();
                        params.args = args;
                        Ok(Expr::WindowFunction(Box::new(WindowFunction { fun, params })))
                    };
                    arrange(plan, func.name(), args, params.distinct, call)
                }
                WindowFunctionDefinition::WindowUDF(func) => {
                    let name = func.name().to_owned();
                    check_nth_value(&name, &params.args)?;
                    if let Some(null) = null_of_window(&name, &params.args, resolver)? {
                        let lead = resolver.context.session.window_functions().get("lead").cloned();
                        let lead = lead.ok_or_else(|| to_datafusion(SqlError::internal("there is no lead")))?;
                        params.args = vec![null];
                        let fun = WindowFunctionDefinition::WindowUDF(lead);
                        return Ok(Plan::Keep(Expr::WindowFunction(Box::new(WindowFunction { fun, params }))));
                    }
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

/// The NULL that a window function is whose number of rows or of buckets is NULL; DataFusion takes that for no number at all.
fn null_of_window(name: &str, args: &[Expr], resolver: &Resolver<'_>) -> DfResult<Option<Expr>> {
    let is_null = |arg: Option<&Expr>| matches!(arg, Some(Expr::Literal(value, _)) if value.is_null());
    match (name, args) {
        ("ntile", [buckets]) if is_null(Some(buckets)) => {
            Ok(Some(Expr::Literal(datafusion::common::ScalarValue::Int32(None), None)))
        }
        ("lead" | "lag", [value, ..]) if is_null(args.get(1)) => {
            let field = resolver.field(value)?;
            let null = datafusion::common::ScalarValue::try_from(field.data_type())?;
            let metadata = (!field.metadata().is_empty()).then(|| field.metadata().into());
            Ok(Some(Expr::Literal(null, metadata)))
        }
        _ => Ok(None),
    }
}

/// DataFusion counts from the end of the frame by a negative number, and finds nothing by zero.
fn check_nth_value(name: &str, args: &[Expr]) -> DfResult<()> {
    use datafusion::common::ScalarValue::{Int16, Int32, Int64};
    let number = match args.get(1) {
        Some(Expr::Literal(Int16(Some(number)), _)) => i64::from(*number),
        Some(Expr::Literal(Int32(Some(number)), _)) => i64::from(*number),
        Some(Expr::Literal(Int64(Some(number)), _)) => *number,
        _ => return Ok(()),
    };
    if name == "nth_value" && number <= 0 {
        return Err(to_datafusion(SqlError::new(
            SqlState::INVALID_ARGUMENT_FOR_NTH_VALUE,
            "argument of nth_value must be greater than zero",
        )));
    }
    Ok(())
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

/// The aggregate of a name that computes; `planned` is the one that the plan has, which may only stand for that.
fn computing(
    resolver: &Resolver<'_>,
    name: &str,
    planned: &Arc<datafusion::logical_expr::AggregateUDF>,
) -> DfResult<Arc<datafusion::logical_expr::AggregateUDF>> {
    match resolver.context.session.aggregate_functions().get(name) {
        None if name == planned.name() => Ok(Arc::clone(planned)),
        _ => aggregate_function(resolver, name),
    }
}

/// How the result of an aggregate over arguments of these types is made.
enum Shape {
    Same,
    Convert(SqlType),
    Average,
    /// Of this value, which the arguments have at the type of its sum.
    Spread(Spread, Expr),
    Interval(IntervalCode),
}

fn arrange(
    shape: Shape,
    name: &str,
    args: Vec<Expr>,
    distinct: bool,
    call: impl Fn(&str, Vec<Expr>) -> DfResult<Expr>,
) -> DfResult<Plan> {
    Ok(match shape {
        Shape::Same => Plan::Keep(call(name, args)?),
        Shape::Convert(ty) => Plan::Convert(call(name, args)?, ty),
        Shape::Interval(code) => Plan::Interval(call(name, args)?, code),
        Shape::Average => Plan::Divide { sum: call("sum", args.clone())?, count: call("count", args)? },
        Shape::Spread(spread, value) => {
            let squares: &[Square] = if distinct { &[Square::Positive, Square::Negative] } else { &[Square::All] };
            let mut sums = vec![call("count", args.clone())?, call("sum", args)?];
            for square in squares {
                sums.push(call("sum", vec![square.call(value.clone())])?);
            }
            Plan::Spread(spread, sums)
        }
    })
}

/// The arguments of an aggregate of distinct values: equal ones count once, the same or not.
fn distinct_arguments(name: &str, args: Vec<Expr>, resolver: &Resolver<'_>) -> DfResult<Vec<Expr>> {
    let Some(first) = args.first() else { return Ok(args) };
    let Some(key) = equality_key(first, resolver)? else { return Ok(args) };
    match (name, resolver.known(first)?) {
        ("count", _) => Ok(vec![key]),
        // Equal values make no difference to them.
        ("min" | "max", _) => Ok(args),
        (_, Known::Type(ty)) if has_length(&ty) => Err(to_datafusion(
            SqlError::unsupported(format!("{name}(DISTINCT {ty}) is not supported"))
                .with_hint("Have SELECT DISTINCT in a subquery, and the aggregate around it."),
        )),
        _ => Ok(args),
    }
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
        // All of them count rows. By this one literal, of all of its type, DataFusion knows that: then metadata gives the answer.
        "count" if matches!(first, Expr::Literal(value, _) if !value.is_null()) => {
            Ok((vec![Expr::Literal(COUNT_STAR_EXPANSION, None)], Shape::Same))
        }
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
        "stddev" | "stddev_samp" | "stddev_pop" | "var" | "variance" | "var_samp" | "var_pop" => match &known {
            _ if args.len() != 1 => Err(undefined()),
            Known::Type(SqlType::SmallInt | SqlType::Integer) => {
                spread_arguments(name, cast_first(args, DataType::Int64), resolver)
            }
            Known::Type(SqlType::BigInt) => {
                spread_arguments(name, cast_first(args, DataType::Decimal128(19, 0)), resolver)
            }
            Known::Type(SqlType::Numeric(_)) => spread_arguments(name, args, resolver),
            Known::Type(SqlType::Real | SqlType::Double) | Known::Unknown => {
                let args = args.into_iter().map(|a| resolver.coerce(a, &SqlType::Double)).collect::<DfResult<_>>()?;
                Ok((args, Shape::Same))
            }
            _ => Err(undefined()),
        },
        "corr" | "covar_samp" | "covar_pop" | "regr_slope" | "regr_intercept" | "regr_r2" | "regr_avgx"
        | "regr_avgy" | "regr_sxx" | "regr_syy" | "regr_sxy" => {
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
        "min" | "max" => match &known {
            Known::Unknown => {
                let args = args.into_iter().map(|a| resolver.coerce(a, &SqlType::Text)).collect::<DfResult<_>>()?;
                Ok((args, Shape::Same))
            }
            Known::Type(SqlType::Interval) => {
                let args = args.into_iter().map(|arg| IntervalCode::Rank.call(vec![arg])).collect();
                Ok((args, Shape::Interval(IntervalCode::OfRank)))
            }
            Known::Type(ty) if has_documents(ty) => Err(no_order_of_arrays()),
            Known::Type(ty) if has_length(ty) => Err(to_datafusion(
                SqlError::unsupported(format!("{name}({ty}) is not supported"))
                    .with_hint("Compare the elements: unnest the arrays, or take one with x[1]."),
            )),
            Known::Type(SqlType::Boolean | SqlType::Json | SqlType::Jsonb | SqlType::Uuid) => Err(undefined()),
            Known::Type(_) => Ok((args, Shape::Same)),
        },
        _ => Ok((args, Shape::Same)),
    }
}

/// The arguments of a measure of how integers or numerics are spread.
fn spread_arguments(name: &str, args: Vec<Expr>, resolver: &Resolver<'_>) -> DfResult<(Vec<Expr>, Shape)> {
    let Ok([value]) = <[Expr; 1]>::try_from(args) else {
        return Err(to_datafusion(SqlError::internal(format!("{name} takes one argument"))));
    };
    let field = resolver.field(&value)?;
    let spread = Spread::of(name, NumericDisplay::of(&field))
        .ok_or_else(|| to_datafusion(SqlError::internal(format!("{name} is no measure of a spread"))))?;
    // What was computed has more digits after the point than it has a use for, and the squares would have twice as many.
    let value = match field.data_type() {
        DataType::Decimal256(_, scale) if *scale > MAX_COMPUTED_SCALE => {
            Expr::Cast(Cast::new(Box::new(value), DataType::Decimal256(76, MAX_COMPUTED_SCALE)))
        }
        _ => value,
    };
    Ok((wide_decimal(vec![value.clone()], resolver)?, Shape::Spread(spread, value)))
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
