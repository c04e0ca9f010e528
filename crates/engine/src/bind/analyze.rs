//! Walks a plan from its leaves and resolves the types of every node: the step between SQL planning and DataFusion's
//! own analyzer.
//!
//! What always holds: every node keeps the names of its columns; types may change (an integer literal is `integer` here,
//! 64 bits in DataFusion's planner), so schemas are computed anew from the leaves up.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, NullEquality, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{BinaryExpr, Cast, InSubquery, Placeholder, SetComparison, Sort as SortExpr};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, Join, JoinType, Limit, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    RecursiveQuery, Sort, Subquery, TableScanBuilder, Values, cast, lit,
};
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, mapping};

use super::array_order::{array_key, has_documents, no_order_of_arrays, sorts_by_key};
use super::context::BindContext;
use super::decimals::decimal_of_all;
use super::resolve::{Known, Resolver, common_type};
use super::set_operations::coerce_columns;
use super::two_zeros::one_zero;
use super::{aggregates, equality, set_operations, subqueries};
use crate::error::to_datafusion;
use crate::operators::{UNTYPED, interval_key, null_safe_equal};

/// Resolves all types of a plan, and plans the subqueries that DataFusion does not.
pub(crate) fn analyze(plan: LogicalPlan, context: &BindContext) -> DfResult<LogicalPlan> {
    subqueries::unnest(equality::keyed(typed(plan, context)?, context)?)
}

/// The plan of a query that is a statement: a parameter that is an output column, of which nothing tells the type, is text.
///
/// A query that is the source of an INSERT keeps it open: there the column it goes to tells.
pub(crate) fn settle_outputs(plan: LogicalPlan, context: &BindContext) -> DfResult<LogicalPlan> {
    let is_open = |expr: &Expr| matches!(expr.clone().unalias(), Expr::Placeholder(Placeholder { field: None, .. }));
    match plan {
        LogicalPlan::Projection(projection) if projection.expr.iter().any(is_open) => {
            let schema = Arc::clone(projection.input.schema());
            let resolver = Resolver { context, schema: &schema };
            let settled = projection.expr.into_iter().map(|expr| match is_open(&expr) {
                true => {
                    let name = NamePreserver::new_for_projection().save(&expr);
                    Ok(name.restore(resolver.coerce(expr.unalias(), &SqlType::Text)?))
                }
                false => Ok(expr),
            });
            let exprs = settled.collect::<DfResult<Vec<_>>>()?;
            Ok(LogicalPlan::Projection(Projection::try_new(exprs, projection.input)?))
        }
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => {
            plan.map_children(|input| settle_outputs(input, context).map(Transformed::yes))?.data.recompute_schema()
        }
        plan => Ok(plan),
    }
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
            let typed = expr.transform_down(|expr| {
                subqueries::map_subquery(expr, |inner| typed(subqueries::refresh(inner, &scope)?, context))
            })?;
            subqueries::null_without_rows(typed.data).map(Transformed::yes)
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
        LogicalPlan::Aggregate(aggregate) => aggregates::aggregate(aggregate, &resolver),
        LogicalPlan::Window(window) => aggregates::window(window, &resolver),
        LogicalPlan::Union(union) => set_operations::union(union, context),
        LogicalPlan::Sort(sort) => {
            let expr = sort_keys(sort.expr, &resolver)?;
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
pub(super) fn compared_subqueries(expr: Expr, resolver: &Resolver<'_>) -> DfResult<Expr> {
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

/// The keys of an order.
///
/// # Errors
/// What they cannot be resolved for, `42883` for a type without an order, `0A000` for arrays of `jsonb`.
pub(super) fn sort_keys(keys: Vec<SortExpr>, resolver: &Resolver<'_>) -> DfResult<Vec<SortExpr>> {
    let last = keys.len().saturating_sub(1);
    let keys = keys.into_iter().enumerate().map(|(place, key)| {
        let key = sort_key(key, resolver)?;
        if place == last {
            return Ok(key);
        }
        // Rows with zeros of either sign are in the order of the next key.
        let data_type = resolver.field(&key.expr)?.data_type().clone();
        Ok(SortExpr { expr: one_zero(key.expr, &data_type), ..key })
    });
    keys.collect()
}

fn sort_key(sort: SortExpr, resolver: &Resolver<'_>) -> DfResult<SortExpr> {
    let expr = resolver.settle(resolver.resolve(compared_subqueries(sort.expr, resolver)?)?)?;
    let expr = match resolver.known(&expr)? {
        Known::Type(ty) if has_documents(&ty) => return Err(no_order_of_arrays()),
        Known::Type(ty) if sorts_by_key(&ty, sort.asc, sort.nulls_first) => array_key(expr),
        Known::Type(ty) if equality::has_length(&ty) => interval_key(expr),
        Known::Type(SqlType::Jsonb) => equality::document_key(expr, resolver.context)?,
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
            LogicalPlan::TableScan(scan) if subqueries::is_work_table(&scan, &name) => {
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
