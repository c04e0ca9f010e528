//! The operator that SQL planning builds before the types are final.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::{Column, DFSchema, ScalarValue, TableReference};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, GetFieldAccess, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use sqlparser::ast::BinaryOperator;
use wharf_values::SqlError;

use crate::bind::subqueries::ARRAY_OF_ROWS;
use crate::error::to_datafusion;

/// An operator by its symbol, to be resolved by the binder; evaluating it is a bug.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct UnresolvedOperator {
    symbol: String,
    signature: Signature,
}

impl UnresolvedOperator {
    /// The operator applied to its operands.
    pub(crate) fn call(symbol: &str, arguments: Vec<Expr>) -> Expr {
        Self::function(symbol).call(arguments)
    }

    /// The operator as a function.
    pub(crate) fn function(symbol: &str) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(UnresolvedOperator {
            symbol: symbol.to_owned(),
            signature: Signature::variadic_any(Volatility::Immutable),
        }))
    }

    /// `+`, `||`, `->>`, ...
    pub(crate) fn symbol(&self) -> &str {
        &self.symbol
    }
}

impl ScalarUDFImpl for UnresolvedOperator {
    fn name(&self) -> &str {
        &self.symbol
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(rough_type(&self.symbol, arg_types))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new("operator", rough_type(&self.symbol, &types), true)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(to_datafusion(SqlError::internal(format!("operator {} was not resolved", self.symbol))))
    }
}

/// The name of the call that a string literal in a VALUES list hides in, see [`crate::bind::normalize`].
pub(crate) const UNTYPED: &str = "wharf_untyped";

/// The name of the call that the array of `x = ANY ('{1,2}')` is, with `x` as its first argument: one of the type of `x`.
pub(crate) const ARRAY_BESIDE: &str = "wharf_array_beside";

/// A type good enough until the binder knows better: only its family matters to SQL planning.
fn rough_type(symbol: &str, types: &[DataType]) -> DataType {
    use DataType as T;
    let (Some(left), Some(right)) = (types.first(), types.last()) else { return T::Null };
    let text = |t: &T| matches!(t, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    match symbol {
        // A literal without a type, and what has one.
        UNTYPED if matches!(left, T::Utf8) => T::Null,
        UNTYPED => left.clone(),
        // The arguments come to one type later.
        "coalesce" | "greatest" | "least" | "nullif" => {
            types.iter().find(|t| !t.is_null() && !matches!(t, T::Utf8)).cloned().unwrap_or(T::Utf8View)
        }
        "array_subscript" => match left {
            T::List(element) => element.data_type().clone(),
            _ => T::Utf8View,
        },
        ARRAY_BESIDE if left.is_null() => T::new_list(T::Utf8View, true),
        ARRAY_OF_ROWS | ARRAY_BESIDE => T::List(Arc::new(Field::new_list_field(left.clone(), true))),
        "||" if matches!(left, T::List(_)) => left.clone(),
        "||" if matches!(right, T::List(_)) => right.clone(),
        "||" if left.is_binary() => left.clone(),
        "||" if right.is_binary() => right.clone(),
        "||" | "->" | "->>" | "#>" | "#>>" => T::Utf8View,
        "@>" | "<@" | "?" | "?|" | "?&" | "&&" | "^@" => T::Boolean,
        "=" | "<>" | "<" | "<=" | ">" | ">=" => T::Boolean,
        _ if left.is_null() || text(left) => right.clone(),
        _ if right.is_null() || text(right) => left.clone(),
        _ => match (left, right) {
            (T::Date32, T::Date32) => T::Int32,
            (T::Date32, right) if right.is_integer() => T::Date32,
            (left, T::Date32) if left.is_integer() => T::Date32,
            (T::Date32, _) | (_, T::Date32) => T::Timestamp(TimeUnit::Microsecond, None),
            (T::Timestamp(..), T::Timestamp(..)) => T::Interval(IntervalUnit::MonthDayNano),
            (T::Timestamp(..), _) | (T::Time64(_), _) => left.clone(),
            (_, T::Timestamp(..)) | (_, T::Time64(_)) => right.clone(),
            (T::Interval(_), _) | (_, T::Interval(_)) => T::Interval(IntervalUnit::MonthDayNano),
            (T::Float64 | T::Float32, _) | (_, T::Float64 | T::Float32) => T::Float64,
            (left, right) if left.is_decimal() || right.is_decimal() => T::Decimal128(38, 10),
            (T::Int64, _) | (_, T::Int64) => T::Int64,
            _ => left.clone(),
        },
    }
}

/// Makes an [`UnresolvedOperator`] of every operator that is not a comparison or a logical one, and of comparisons for which
/// DataFusion knows no type.
#[derive(Debug)]
pub(crate) struct OperatorPlanner;

impl ExprPlanner for OperatorPlanner {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        _schema: &DFSchema,
    ) -> DfResult<PlannerResult<RawFieldAccessExpr>> {
        // DataFusion would make nth_value of `(array_agg(x))[1]`, which wants a 64 bit literal.
        match access {
            RawFieldAccessExpr {
                field_access: GetFieldAccess::ListIndex { key },
                expr: expr @ Expr::AggregateFunction(_),
            } => Ok(PlannerResult::Planned(datafusion::functions_nested::extract::array_element(expr, *key))),
            other => Ok(PlannerResult::Original(other)),
        }
    }

    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> DfResult<PlannerResult<RawBinaryExpr>> {
        let symbol = match &expr.op {
            BinaryOperator::Custom(symbol) => symbol.as_str(),
            BinaryOperator::Plus => "+",
            BinaryOperator::Minus => "-",
            BinaryOperator::Multiply => "*",
            BinaryOperator::Divide => "/",
            BinaryOperator::Modulo => "%",
            BinaryOperator::PGExp => "^",
            BinaryOperator::StringConcat => "||",
            BinaryOperator::Arrow => "->",
            BinaryOperator::LongArrow => "->>",
            BinaryOperator::HashArrow => "#>",
            BinaryOperator::HashLongArrow => "#>>",
            BinaryOperator::AtArrow => "@>",
            BinaryOperator::ArrowAt => "<@",
            BinaryOperator::Question => "?",
            BinaryOperator::QuestionPipe => "?|",
            BinaryOperator::QuestionAnd => "?&",
            BinaryOperator::PGOverlap => "&&",
            BinaryOperator::PGStartsWith => "^@",
            BinaryOperator::HashMinus => "#-",
            BinaryOperator::BitwiseAnd => "&",
            BinaryOperator::BitwiseOr => "|",
            BinaryOperator::PGBitwiseXor => "#",
            BinaryOperator::PGBitwiseShiftLeft => "<<",
            BinaryOperator::PGBitwiseShiftRight => ">>",
            BinaryOperator::Eq if array_beside_literal(&expr, schema) => "=",
            BinaryOperator::NotEq if array_beside_literal(&expr, schema) => "<>",
            BinaryOperator::Lt if array_beside_literal(&expr, schema) => "<",
            BinaryOperator::LtEq if array_beside_literal(&expr, schema) => "<=",
            BinaryOperator::Gt if array_beside_literal(&expr, schema) => ">",
            BinaryOperator::GtEq if array_beside_literal(&expr, schema) => ">=",
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(UnresolvedOperator::call(symbol, vec![expr.left, expr.right])))
    }

    /// Columns have no fields: what stands before the dot was meant to be a table, which is not there.
    fn plan_compound_identifier(
        &self,
        field: &Field,
        _qualifier: Option<&TableReference>,
        nested_names: &[String],
    ) -> DfResult<PlannerResult<Vec<Expr>>> {
        let table = TableReference::bare(field.name().as_str());
        let column = nested_names.first().cloned().unwrap_or_default();
        Ok(PlannerResult::Planned(Expr::Column(Column::new(Some(table), column))))
    }
}

/// Is one operand an array and the other a literal, whose type that is?
fn array_beside_literal(expr: &RawBinaryExpr, schema: &DFSchema) -> bool {
    let literal = |side: &Expr| matches!(side, Expr::Literal(ScalarValue::Utf8(_), _));
    let array = |side: &Expr| matches!(side.get_type(schema), Ok(DataType::List(_)));
    (literal(&expr.right) && array(&expr.left)) || (literal(&expr.left) && array(&expr.right))
}
