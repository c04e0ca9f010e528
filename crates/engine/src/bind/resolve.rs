//! Types of expressions, by PostgreSQL's rules: literals without a type take the type their surroundings ask for,
//! operators are chosen by the types of their operands, and what PostgreSQL has no operator for is refused.
//!
//! What always holds: after resolution an expression has the type PostgreSQL gives it (the differences are listed in
//! docs/postgres-compatibility.md), and every conversion in it is explicit. A string literal that is still without a type
//! is an Arrow `Utf8` literal; one that has become `text` is `Utf8View`. Nothing here looks at rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{Between, BinaryExpr, Case, Cast, InList, Placeholder, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, ScalarUDF};
use wharf_catalog::SqlType;
use wharf_values::{ColumnBuilder, SqlError, SqlState, mapping};

use super::array_order::{array_key, compares_by_key, has_documents, no_order_of_arrays};
use super::context::BindContext;
use super::equality::{by_equality, document_key, has_length};
use super::guards;
use super::two_zeros::{has_two_zeros, with_one_zero};
use super::types::cast_field;
use crate::cast::{CastFunction, CastMode, arrow_agrees, result_field};
use crate::error::to_datafusion;
use crate::operators::{
    ARRAY_BESIDE, Arithmetic, ArrayOrder, IntervalCode, UNTYPED, UnresolvedOperator, any_of_array, divide_numeric,
    float_operator, integer_operator, interval_key, numeric_operator,
};

/// Resolves the expressions of one plan node, whose inputs have `schema`.
pub(super) struct Resolver<'a> {
    pub(super) context: &'a BindContext,
    pub(super) schema: &'a DFSchema,
}

/// What is known of an expression's type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// A literal or parameter without a type.
    Unknown,
    Type(SqlType),
}

impl Known {
    fn sql_type(&self) -> Option<&SqlType> {
        match self {
            Known::Unknown => None,
            Known::Type(ty) => Some(ty),
        }
    }
}

impl std::fmt::Display for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Known::Unknown => f.write_str("unknown"),
            Known::Type(ty) => match ty {
                SqlType::Numeric(_) => f.write_str("numeric"),
                SqlType::Varchar(_) => f.write_str("character varying"),
                SqlType::Char(_) => f.write_str("character"),
                other => write!(f, "{other}"),
            },
        }
    }
}

impl Resolver<'_> {
    /// Resolves an expression, leaves first.
    pub(super) fn resolve(&self, expr: Expr) -> DfResult<Expr> {
        Ok(expr.transform_up(|expr| self.resolve_node(expr).map(Transformed::yes))?.data)
    }

    /// Resolves an expression that must be boolean.
    pub(super) fn condition(&self, expr: Expr, clause: &str) -> DfResult<Expr> {
        let expr = self.resolve(expr)?;
        self.boolean(expr, clause)
    }

    fn boolean(&self, expr: Expr, clause: &str) -> DfResult<Expr> {
        match self.known(&expr)? {
            Known::Unknown => self.coerce(expr, &SqlType::Boolean),
            Known::Type(SqlType::Boolean) => Ok(expr),
            Known::Type(other) => {
                let span = expr.spans().and_then(|spans| spans.first());
                let place = span.and_then(|span| usize::try_from(span.start.column).ok()).filter(|place| *place > 0);
                let message = format!("argument of {clause} must be type boolean, not type {other}");
                Err(to_datafusion(SqlError::new(SqlState::DATATYPE_MISMATCH, message).or_position(place)))
            }
        }
    }

    fn resolve_node(&self, expr: Expr) -> DfResult<Expr> {
        match expr {
            Expr::Literal(ScalarValue::Int64(Some(value)), None) => Ok(match i32::try_from(value) {
                Ok(narrow) => Expr::Literal(ScalarValue::Int32(Some(narrow)), None),
                Err(_) => Expr::Literal(ScalarValue::Int64(Some(value)), None),
            }),
            Expr::Literal(ScalarValue::UInt64(Some(value)), None) => {
                Ok(Expr::Literal(ScalarValue::Decimal128(Some(i128::from(value)), 20, 0), None))
            }
            Expr::Placeholder(Placeholder { id, field: Some(field) }) => {
                self.context.declared_parameter(&id, &field)?;
                Ok(Expr::Placeholder(Placeholder { id, field: Some(field) }))
            }
            Expr::BinaryExpr(binary) => self.binary(binary),
            Expr::ScalarFunction(function) => self.function(function),
            Expr::Cast(cast) => self.cast(cast),
            Expr::Case(case) => self.case(case),
            Expr::InList(list) => self.in_list(list),
            Expr::Between(between) => self.between(between),
            Expr::Like(like) => self.like(like),
            Expr::Not(inner) => Ok(Expr::Not(Box::new(self.boolean(*inner, "NOT")?))),
            Expr::Negative(inner) => self.negative(*inner),
            Expr::IsTrue(inner) => Ok(Expr::IsTrue(Box::new(self.boolean(*inner, "IS TRUE")?))),
            Expr::IsFalse(inner) => Ok(Expr::IsFalse(Box::new(self.boolean(*inner, "IS FALSE")?))),
            Expr::IsNotTrue(inner) => Ok(Expr::IsNotTrue(Box::new(self.boolean(*inner, "IS NOT TRUE")?))),
            Expr::IsNotFalse(inner) => Ok(Expr::IsNotFalse(Box::new(self.boolean(*inner, "IS NOT FALSE")?))),
            other => Ok(other),
        }
    }

    /// What is known of the type of an expression whose parts are resolved.
    pub(super) fn known(&self, expr: &Expr) -> DfResult<Known> {
        Ok(match expr {
            Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, _) => Known::Unknown,
            Expr::Placeholder(Placeholder { field: None, .. }) => Known::Unknown,
            Expr::Alias(alias) => self.known(&alias.expr)?,
            _ => match mapping::sql_type(&*self.field(expr)?) {
                SqlType::Unknown => Known::Unknown,
                ty => Known::Type(ty),
            },
        })
    }

    pub(super) fn field(&self, expr: &Expr) -> DfResult<FieldRef> {
        Ok(expr.to_field(self.schema)?.1)
    }

    /// Converts an expression to a type, as PostgreSQL does by itself.
    pub(super) fn coerce(&self, expr: Expr, to: &SqlType) -> DfResult<Expr> {
        self.convert(expr, to, CastMode::Explicit)
    }

    /// Converts an expression to a type.
    pub(super) fn convert(&self, expr: Expr, to: &SqlType, mode: CastMode) -> DfResult<Expr> {
        match expr {
            Expr::Literal(ScalarValue::Null | ScalarValue::Utf8(None), _) => {
                Ok(typed_literal(ScalarValue::try_from(&mapping::arrow_type(to))?, to))
            }
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => self.literal(&text, to, mode),
            Expr::Placeholder(Placeholder { id, field: None }) => {
                let typed = self.context.parameter(id, to)?;
                self.convert(typed, to, mode)
            }
            expr => {
                let from = self.field(&expr)?;
                let from_type = mapping::sql_type(&from);
                let limited = matches!(to, SqlType::Varchar(Some(_)) | SqlType::Char(1..) | SqlType::Name);
                if from_type == *to && !limited {
                    return Ok(expr);
                }
                if *to == SqlType::Numeric(None) && from.data_type().is_decimal() {
                    return Ok(expr);
                }
                if from_type.is_named_oid() && from.data_type() == &DataType::UInt32 && to.is_string() {
                    return self.convert(crate::pg_catalog::name_of(expr, &from_type), to, mode);
                }
                if to.is_named_oid() && from_type.is_string() {
                    return Ok(crate::pg_catalog::oid_of(expr, to));
                }
                let target = result_field(&from, to);
                let same_kind = limited
                    || matches!((&from_type, to), (SqlType::Json, SqlType::Jsonb))
                    || matches!(to, SqlType::Uuid | SqlType::Json | SqlType::Jsonb)
                    || matches!(from_type, SqlType::Date if *to == SqlType::TimestampTz);
                if !same_kind && arrow_agrees(from.data_type(), target.data_type()) {
                    if from.data_type() == target.data_type() && mapping::sql_type(&target) == from_type {
                        return Ok(expr);
                    }
                    let field = if target.metadata().is_empty() { target } else { cast_field(to) };
                    return Ok(Expr::Cast(Cast::new_from_field(Box::new(expr), Arc::new(field))));
                }
                if !castable(&from_type, to) {
                    return Err(to_datafusion(crate::cast::cannot_cast(&from_type, to)));
                }
                Ok(CastFunction::call(expr, to.clone(), mode))
            }
        }
    }

    /// A string literal read as a value of a type, by that type's input rules.
    fn literal(&self, text: &str, to: &SqlType, mode: CastMode) -> DfResult<Expr> {
        let value = match to {
            SqlType::Text | SqlType::Unknown => ScalarValue::Utf8View(Some(text.to_owned())),
            SqlType::Numeric(None) => numeric_literal(text)?,
            to if to.is_named_oid() => return self.context.named_oid(text, to),
            SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name => {
                let text = Expr::Literal(ScalarValue::Utf8View(Some(text.to_owned())), None);
                return Ok(CastFunction::call(text, to.clone(), mode));
            }
            to => {
                let mut builder = ColumnBuilder::new(to, &self.context.format);
                builder.push_text(text.as_bytes()).map_err(to_datafusion)?;
                ScalarValue::try_from_array(&builder.finish(), 0)?
            }
        };
        Ok(typed_literal(value, to))
    }

    /// Gives an expression that is still without a type the type text.
    pub(super) fn settle(&self, expr: Expr) -> DfResult<Expr> {
        match expr {
            Expr::Placeholder(Placeholder { field: None, .. }) => self.coerce(expr, &SqlType::Text),
            other => Ok(other),
        }
    }

    fn cast(&self, cast: Cast) -> DfResult<Expr> {
        let to = mapping::sql_type(&cast.field);
        if !cast.field.metadata().contains_key(mapping::TYPE_KEY) {
            // A cast that DataFusion's own planner made.
            return Ok(Expr::Cast(cast));
        }
        self.convert(*cast.expr, &to, CastMode::Explicit)
    }

    // ----- operators

    fn binary(&self, binary: BinaryExpr) -> DfResult<Expr> {
        let BinaryExpr { left, op, right } = binary;
        let (left, right) = match op {
            Operator::And | Operator::Or => {
                let clause = if op == Operator::And { "AND" } else { "OR" };
                let (left, right) = (self.boolean(*left, clause)?, self.boolean(*right, clause)?);
                return guards::connect(left, op, right, self.schema);
            }
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom => self.comparable(*left, *right, &op.to_string())?,
            op => match self.pattern_match(op, &left, &right)? {
                Some(matched) => return Ok(matched),
                None => (*left, *right),
            },
        };
        Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
    }

    /// Both sides of a comparison at one type.
    pub(super) fn comparable(&self, left: Expr, right: Expr, symbol: &str) -> DfResult<(Expr, Expr)> {
        let (l, r) = (self.known(&left)?, self.known(&right)?);
        let common = match (&l, &r) {
            (Known::Unknown, Known::Unknown) => SqlType::Text,
            (Known::Unknown, Known::Type(ty)) | (Known::Type(ty), Known::Unknown) => widest(ty),
            (Known::Type(a), Known::Type(b)) => match comparison_type(a, b) {
                Some(common) => common,
                None => return Err(no_operator(symbol, &l, &r)),
            },
        };
        if common == SqlType::Json {
            return Err(no_operator(symbol, &l, &r));
        }
        if has_documents(&common) && matches!(symbol, "<" | ">" | "<=" | ">=") {
            return Err(no_order_of_arrays());
        }
        let (left, right) = (self.beside_char(left, &r)?, self.beside_char(right, &l)?);
        let (left, right) = (self.to_common(left, &common)?, self.to_common(right, &common)?);
        if compares_by_key(&common, symbol) {
            return self.array_keys(left, right);
        }
        if has_length(&common) {
            return Ok((interval_key(left), interval_key(right)));
        }
        if common == SqlType::Jsonb {
            return Ok((document_key(left, self.context)?, document_key(right, self.context)?));
        }
        Ok((left, right))
    }

    /// Like [`Self::coerce`], but leaves numerics at their own precision: DataFusion aligns decimals itself.
    fn to_common(&self, expr: Expr, common: &SqlType) -> DfResult<Expr> {
        if matches!(common, SqlType::Numeric(_)) {
            return self.to_numeric(expr);
        }
        if common.is_string() && self.known(&expr)?.sql_type().is_some_and(SqlType::is_string) {
            return Ok(expr);
        }
        self.coerce(expr, common)
    }

    /// An expression as a decimal of its natural precision.
    pub(super) fn to_numeric(&self, expr: Expr) -> DfResult<Expr> {
        match &expr {
            Expr::Literal(ScalarValue::Int16(Some(value)), _) => Ok(integer_as_numeric(i128::from(*value))),
            Expr::Literal(ScalarValue::Int32(Some(value)), _) => Ok(integer_as_numeric(i128::from(*value))),
            Expr::Literal(ScalarValue::Int64(Some(value)), _) => Ok(integer_as_numeric(i128::from(*value))),
            _ => self.coerce(expr, &SqlType::Numeric(None)),
        }
    }

    pub(super) fn text_operand(&self, expr: Expr, symbol: &str) -> DfResult<Expr> {
        match self.known(&expr)? {
            Known::Unknown => self.coerce(expr, &SqlType::Text),
            Known::Type(ty) if ty.is_string() => Ok(expr),
            other => Err(no_operator(symbol, &other, &Known::Unknown)),
        }
    }

    /// An operator that SQL planning left open.
    fn operator(&self, symbol: &str, mut arguments: Vec<Expr>) -> DfResult<Expr> {
        if arguments.len() == 1 {
            return self.unary(symbol, arguments.remove(0));
        }
        let (Some(right), Some(left)) = (arguments.pop(), arguments.pop()) else {
            return Err(to_datafusion(SqlError::internal(format!("operator {symbol} without operands"))));
        };
        if symbol == "||" {
            return self.concatenate(left, right);
        }
        if symbol == ARRAY_BESIDE {
            let element = match self.known(&left)? {
                Known::Type(ty) => widest(&ty),
                Known::Unknown => SqlType::Text,
            };
            return self.coerce(right, &SqlType::Array(Box::new(element)));
        }
        if let Some(op) = comparison(symbol) {
            return self.binary(BinaryExpr::new(Box::new(left), op, Box::new(right)));
        }
        if matches!(symbol, "->" | "->>" | "#>" | "#>>" | "@>" | "<@" | "?" | "?|" | "?&" | "#-" | "&&" | "^@") {
            return self.container(symbol, left, right);
        }
        if matches!(symbol, "&" | "|" | "#" | "<<" | ">>") {
            return self.bits(symbol, left, right);
        }
        let (l, r) = (self.known(&left)?, self.known(&right)?);
        if symbol == "-" && l == Known::Type(SqlType::Jsonb) {
            return self.remove_from_json(left, right, &r);
        }
        let Some(arithmetic) = Arithmetic::of(symbol) else {
            return if symbol == "^" { self.power(left, right) } else { Err(no_operator(symbol, &l, &r)) };
        };
        match (&l, &r) {
            (Known::Unknown, Known::Unknown) => Err(not_unique(symbol)),
            (Known::Unknown, Known::Type(ty)) => {
                let assumed = untyped_operand(arithmetic, ty, false);
                let left = self.coerce(left, &assumed)?;
                self.arithmetic(arithmetic, left, &assumed, right, ty)
            }
            (Known::Type(ty), Known::Unknown) => {
                let assumed = untyped_operand(arithmetic, ty, true);
                let right = self.coerce(right, &assumed)?;
                self.arithmetic(arithmetic, left, ty, right, &assumed)
            }
            (Known::Type(a), Known::Type(b)) => self.arithmetic(arithmetic, left, a, right, b),
        }
    }

    fn arithmetic(&self, op: Arithmetic, left: Expr, l: &SqlType, right: Expr, r: &SqlType) -> DfResult<Expr> {
        if let Some(common) = number_type(l, r) {
            return self.number_arithmetic(op, left, right, &common);
        }
        match temporal_function(op, l, r) {
            Some((name, swap)) => {
                let arguments = if swap { vec![right, left] } else { vec![left, right] };
                self.context.call(name, arguments)
            }
            None => Err(no_operator(op.symbol(), &Known::Type(l.clone()), &Known::Type(r.clone()))),
        }
    }

    /// Arithmetic with a NULL is that NULL, as PostgreSQL folds it too. DataFusion knows that the functions are strict when it
    /// asks what may be NULL, and does not know it when it plans: it would refuse the plan.
    fn number_arithmetic(&self, op: Arithmetic, left: Expr, right: Expr, common: &SqlType) -> DfResult<Expr> {
        let is_null = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.is_null());
        let null = is_null(&left) || is_null(&right);
        let result = self.number_operator(op, left, right, common)?;
        match null {
            true => Ok(Expr::Literal(ScalarValue::try_from(self.field(&result)?.data_type())?, None)),
            false => Ok(result),
        }
    }

    fn number_operator(&self, op: Arithmetic, left: Expr, right: Expr, common: &SqlType) -> DfResult<Expr> {
        match common {
            SqlType::Real | SqlType::Double => {
                if op == Arithmetic::Modulo {
                    return Err(no_operator("%", &Known::Type(common.clone()), &Known::Type(common.clone())));
                }
                Ok(float_operator(op, self.coerce(left, common)?, self.coerce(right, common)?))
            }
            SqlType::Numeric(_) => {
                let (left, right) = (self.to_numeric(left)?, self.to_numeric(right)?);
                let operator = match op {
                    Arithmetic::Add => Operator::Plus,
                    Arithmetic::Subtract => Operator::Minus,
                    Arithmetic::Multiply => Operator::Multiply,
                    Arithmetic::Modulo => Operator::Modulo,
                    Arithmetic::Divide => return Ok(divide_numeric(left, right)),
                };
                let (left, right) = self.room(op, left, right)?;
                let types = (self.field(&left)?, self.field(&right)?);
                if let Some(function) = numeric_operator(op, (types.0.data_type(), types.1.data_type())) {
                    return Ok(Arc::new(function).call(vec![left, right]));
                }
                Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right))))
            }
            integer => Ok(integer_operator(op, self.coerce(left, integer)?, self.coerce(right, integer)?)),
        }
    }

    fn power(&self, left: Expr, right: Expr) -> DfResult<Expr> {
        self.context.call("power", vec![left, right])
    }

    fn unary(&self, symbol: &str, operand: Expr) -> DfResult<Expr> {
        match symbol {
            "~" => match self.known(&operand)? {
                Known::Type(ty @ (SqlType::SmallInt | SqlType::Integer | SqlType::BigInt)) => {
                    let all_ones = self.coerce(Expr::Literal(ScalarValue::Int32(Some(-1)), None), &ty)?;
                    Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(operand), Operator::BitwiseXor, Box::new(all_ones))))
                }
                other => Err(no_operator("~", &Known::Unknown, &other)),
            },
            other => Err(to_datafusion(SqlError::unsupported(format!("operator {other} is not supported")))),
        }
    }

    fn bits(&self, symbol: &str, left: Expr, right: Expr) -> DfResult<Expr> {
        let (l, r) = (self.known(&left)?, self.known(&right)?);
        let integer = |ty: &SqlType| matches!(ty, SqlType::SmallInt | SqlType::Integer | SqlType::BigInt);
        let common = match (l.sql_type(), r.sql_type()) {
            (Some(a), Some(b)) if integer(a) && integer(b) => {
                if symbol.len() == 2 {
                    a.clone()
                } else {
                    number_type(a, b).unwrap_or_else(|| a.clone())
                }
            }
            (Some(a), None) | (None, Some(a)) if integer(a) => a.clone(),
            _ => return Err(no_operator(symbol, &l, &r)),
        };
        let operator = match symbol {
            "&" => Operator::BitwiseAnd,
            "|" => Operator::BitwiseOr,
            "#" => Operator::BitwiseXor,
            "<<" => Operator::BitwiseShiftLeft,
            _ => Operator::BitwiseShiftRight,
        };
        let (left, right) = (self.coerce(left, &common)?, self.coerce(right, &common)?);
        let combine =
            |left, operator, right| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)));
        if operator == Operator::BitwiseXor && (contains(&left, &right)? || contains(&right, &left)?) {
            // DataFusion takes `a # a` for 0 when a is NULL, too: https://github.com/apache/datafusion/issues/24246.
            let either = combine(left.clone(), Operator::BitwiseOr, right.clone());
            let both = combine(left, Operator::BitwiseAnd, right);
            return Ok(integer_operator(Arithmetic::Subtract, either, both));
        }
        Ok(combine(left, operator, right))
    }

    fn concatenate(&self, left: Expr, right: Expr) -> DfResult<Expr> {
        let (l, r) = (self.known(&left)?, self.known(&right)?);
        let array = |known: &Known| matches!(known.sql_type(), Some(SqlType::Array(_)));
        let jsonb = |known: &Known| matches!(known.sql_type(), Some(SqlType::Jsonb));
        let text = |known: &Known| known.sql_type().is_none_or(SqlType::is_string);
        if array(&l) || array(&r) {
            return match (&l, &r) {
                (Known::Type(SqlType::Array(a)), Known::Type(SqlType::Array(_)) | Known::Unknown) => {
                    let ty = SqlType::Array(a.clone());
                    let right = self.coerce(right, &ty)?;
                    self.context.call("array_cat", vec![left, right])
                }
                (Known::Unknown, Known::Type(ty @ SqlType::Array(_))) => {
                    let left = self.coerce(left, ty)?;
                    self.context.call("array_cat", vec![left, right])
                }
                (Known::Type(SqlType::Array(item)), _) => {
                    let right = self.coerce(right, item)?;
                    self.context.call("array_append", vec![left, right])
                }
                (_, Known::Type(SqlType::Array(item))) => {
                    let left = self.coerce(left, item)?;
                    self.context.call("array_prepend", vec![left, right])
                }
                _ => Err(no_operator("||", &l, &r)),
            };
        }
        if jsonb(&l) || jsonb(&r) {
            let (left, right) = (self.coerce(left, &SqlType::Jsonb)?, self.coerce(right, &SqlType::Jsonb)?);
            return self.context.call("jsonb_concat", vec![left, right]);
        }
        if matches!((&l, &r), (Known::Type(SqlType::Bytea), Known::Type(SqlType::Bytea) | Known::Unknown)) {
            let right = self.coerce(right, &SqlType::Bytea)?;
            return self.context.call("byteacat", vec![left, right]);
        }
        if !text(&l) && !text(&r) {
            return Err(no_operator("||", &l, &r));
        }
        let (left, right) = (self.coerce(left, &SqlType::Text)?, self.coerce(right, &SqlType::Text)?);
        Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), Operator::StringConcat, Box::new(right))))
    }

    /// Operators of json, jsonb and arrays: functions of the chapter that knows them.
    fn container(&self, symbol: &str, left: Expr, right: Expr) -> DfResult<Expr> {
        let (l, r) = (self.known(&left)?, self.known(&right)?);
        if l == Known::Unknown && r == Known::Unknown {
            // Text alone has `^@`, jsonb alone `?` and `#-`; of the others there are several.
            return match symbol {
                "^@" => {
                    let (left, right) = (self.coerce(left, &SqlType::Text)?, self.coerce(right, &SqlType::Text)?);
                    self.context.call("starts_with", vec![left, right])
                }
                "?" | "#-" => {
                    let left = self.coerce(left, &SqlType::Jsonb)?;
                    self.container(symbol, left, right)
                }
                _ => Err(not_unique(symbol)),
            };
        }
        match l.sql_type().or(r.sql_type()) {
            Some(ty @ SqlType::Array(_)) => {
                let (mut left, mut right) = (self.coerce(left, ty)?, self.coerce(right, ty)?);
                if has_length(ty) {
                    (left, right) = (interval_key(left), interval_key(right));
                }
                match symbol {
                    "@>" => self.context.call("arraycontains", vec![left, right]),
                    "<@" => self.context.call("arraycontained", vec![left, right]),
                    "&&" => self.context.call("arrayoverlap", vec![left, right]),
                    _ => Err(no_operator(symbol, &l, &r)),
                }
            }
            Some(ty) if symbol == "^@" && ty.is_string() => self.context.call("starts_with", vec![left, right]),
            Some(SqlType::Json | SqlType::Jsonb) => match self.context.json_operator(symbol) {
                Some(name) => {
                    let (left, right) = match (symbol, &l, &r) {
                        ("#>" | "#>>" | "#-" | "?|" | "?&", _, Known::Unknown) => {
                            (left, self.coerce(right, &SqlType::Array(Box::new(SqlType::Text)))?)
                        }
                        ("->" | "->>" | "?", _, Known::Unknown) => (left, self.coerce(right, &SqlType::Text)?),
                        ("@>" | "<@", Known::Unknown, _) => (self.coerce(left, &SqlType::Jsonb)?, right),
                        ("@>" | "<@", _, Known::Unknown) => (left, self.coerce(right, &SqlType::Jsonb)?),
                        _ => (left, right),
                    };
                    self.context.call(name, vec![left, right])
                }
                None => Err(no_operator(symbol, &l, &r)),
            },
            _ => Err(no_operator(symbol, &l, &r)),
        }
    }

    /// `jsonb - key`, `jsonb - keys`, `jsonb - index`.
    fn remove_from_json(&self, left: Expr, right: Expr, known: &Known) -> DfResult<Expr> {
        let right = match known {
            Known::Unknown => self.coerce(right, &SqlType::Text)?,
            Known::Type(SqlType::SmallInt) => self.coerce(right, &SqlType::Integer)?,
            Known::Type(SqlType::Integer | SqlType::Array(_)) => right,
            Known::Type(ty) if ty.is_string() => right,
            other => return Err(no_operator("-", &Known::Type(SqlType::Jsonb), other)),
        };
        self.context.call("jsonb_delete", vec![left, right])
    }

    fn negative(&self, inner: Expr) -> DfResult<Expr> {
        match self.known(&inner)? {
            Known::Type(ty) if ty.is_number() && matches!(&inner, Expr::Literal(value, _) if value.is_null()) => Ok(inner),
            Known::Type(ty @ (SqlType::SmallInt | SqlType::Integer | SqlType::BigInt)) => {
                let zero = self.coerce(Expr::Literal(ScalarValue::Int16(Some(0)), None), &ty)?;
                Ok(integer_operator(Arithmetic::Subtract, zero, inner))
            }
            Known::Type(SqlType::Real | SqlType::Double | SqlType::Numeric(_) | SqlType::Interval) => {
                Ok(Expr::Negative(Box::new(inner)))
            }
            Known::Unknown => Ok(Expr::Negative(Box::new(self.coerce(inner, &SqlType::Double)?))),
            other => Err(to_datafusion(
                SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: - {other}")).with_hint(
                    "No operator matches the given name and argument type. You might need to add an explicit type cast.",
                ),
            )),
        }
    }

    // ----- conditions

    fn in_list(&self, list: InList) -> DfResult<Expr> {
        let InList { expr, list, negated } = list;
        let mut all: Vec<Expr> = vec![*expr];
        all.extend(list);
        let mut common: Option<SqlType> = None;
        for item in &all {
            if let Known::Type(ty) = self.known(item)? {
                common = Some(match common {
                    None => widest(&ty),
                    Some(so_far) => match comparison_type(&so_far, &ty) {
                        Some(common) => common,
                        None => {
                            return Err(no_operator("=", &Known::Type(so_far), &Known::Type(ty)));
                        }
                    },
                });
            }
        }
        let common = common.unwrap_or(SqlType::Text);
        let first = self.known(&all[0])?;
        let mut all = all
            .into_iter()
            .map(|item| {
                let item = self.to_common(self.beside_char(item, &first)?, &common)?;
                if compares_by_key(&common, "=") { Ok(array_key(item)) } else { by_equality(item, self) }
            })
            .collect::<DfResult<Vec<_>>>()?;
        if has_two_zeros(&common) {
            let ty = self.field(&all[0])?.data_type().clone();
            all = with_one_zero(all, &ty);
        }
        let expr = all.remove(0);
        Ok(Expr::InList(InList::new(Box::new(expr), all, negated)))
    }

    fn between(&self, between: Between) -> DfResult<Expr> {
        let Between { expr, negated, low, high } = between;
        let (low_expr, low) = self.comparable((*expr).clone(), *low, if negated { "<" } else { ">=" })?;
        let (high_expr, high) = self.comparable(*expr, *high, if negated { ">" } else { "<=" })?;
        if low_expr == high_expr {
            return Ok(Expr::Between(Between::new(Box::new(low_expr), negated, Box::new(low), Box::new(high))));
        }
        let inside = low_expr.gt_eq(low).and(high_expr.lt_eq(high));
        Ok(if negated { Expr::Not(Box::new(inside)) } else { inside })
    }

    fn case(&self, case: Case) -> DfResult<Expr> {
        let Case { expr: operand, when_then_expr, else_expr } = case;
        let mut whens = Vec::with_capacity(when_then_expr.len());
        let mut results = Vec::with_capacity(when_then_expr.len() + 1);
        for (when, then) in when_then_expr {
            whens.push(match &operand {
                Some(operand) => self.comparable((**operand).clone(), *when, "=")?,
                None => (Expr::Literal(ScalarValue::Null, None), self.boolean(*when, "CASE/WHEN")?),
            });
            results.push(*then);
        }
        let has_operand = operand.is_some();
        let first = has_operand.then(|| whens.first().map(|(operand, _)| operand.clone())).flatten();
        // The operand is at the type that it shares with a value: not always the same one.
        let same = whens.iter().all(|(operand, _)| first.as_ref().is_none_or(|first| first == operand));
        let looked_up_by_bits = match &first {
            Some(first) if same => has_two_zeros(&mapping::sql_type(&*self.field(first)?)) && !first.is_volatile(),
            _ => false,
        };
        let one_by_one = !same || looked_up_by_bits;
        let operand_out = first.filter(|_| !one_by_one);
        if !same && operand.as_ref().is_some_and(|operand| operand.is_volatile()) {
            return Err(to_datafusion(
                SqlError::unsupported(
                    "CASE of a volatile function with WHEN values of different types is not supported",
                )
                .with_hint("Cast the WHEN values to the type of the CASE expression."),
            ));
        }
        let whens = whens.into_iter().map(|(operand, when)| match operand_out {
            None if has_operand => operand.eq(when),
            _ => when,
        });
        let has_else = else_expr.is_some();
        results.extend(else_expr.map(|expr| *expr));
        let mut results = self.unify(results, "CASE")?;
        let shown = self.shown_as(&results)?;
        let else_out = if has_else { results.pop() } else { None };
        let pairs = whens.zip(results).map(|(when, then)| (Box::new(when), Box::new(then))).collect();
        let case = Case::new(operand_out.map(Box::new), pairs, else_out.map(Box::new));
        Ok(shown.apply(guards::keep_branches(case, self.schema)?))
    }

    /// All expressions at the one type that PostgreSQL's `select_common_type` finds for them.
    pub(super) fn unify(&self, exprs: Vec<Expr>, clause: &str) -> DfResult<Vec<Expr>> {
        let mut types = Vec::with_capacity(exprs.len());
        for expr in &exprs {
            types.push(self.known(expr)?);
        }
        let common = common_type(&types, clause)?;
        if matches!(common, SqlType::Numeric(_)) {
            return self.unify_numerics(exprs);
        }
        exprs.into_iter().map(|expr| self.to_common(expr, &common)).collect()
    }

    fn function(&self, function: ScalarFunction) -> DfResult<Expr> {
        let ScalarFunction { mut func, args } = function;
        if matches!(func.name(), "coalesce" | "greatest" | "least" | "nullif" | "array_subscript") {
            func = self.context.scalar_function(func.name())?;
        }
        if let Some(operator) = func.inner().downcast_ref::<UnresolvedOperator>() {
            let symbol = operator.symbol().to_owned();
            if symbol == UNTYPED && args.len() == 2 {
                // A cast with its type's name, see `super::ordered_set`.
                return args.into_iter().next().ok_or_else(|| to_datafusion(SqlError::internal("a cast of nothing")));
            }
            if symbol == super::subqueries::ARRAY_OF_ROWS {
                return Ok(Expr::ScalarFunction(ScalarFunction { func, args }));
            }
            return self.operator(&symbol, args);
        }
        let args = match func.name() {
            // A period may be given by its length.
            "overlaps" if args.len() == 4 => self.periods(args)?,
            "octet_length" | "bit_length" => args.into_iter().map(|arg| self.padded(arg)).collect::<DfResult<_>>()?,
            "coalesce" => self.unify(args, "COALESCE")?,
            "greatest" => match self.extreme(args, "GREATEST", IntervalCode::Greatest, ArrayOrder::Greatest)? {
                Extreme::Found(expr) => return Ok(expr),
                Extreme::Of(args) => args,
            },
            "least" => match self.extreme(args, "LEAST", IntervalCode::Least, ArrayOrder::Least)? {
                Extreme::Found(expr) => return Ok(expr),
                Extreme::Of(args) => args,
            },
            "array_position" | "array_positions" | "array_remove" | "array_replace" => {
                self.array_search(func.name(), args)?
            }
            "make_array" => self.unify(args, "ARRAY")?,
            // What `<` and the like with ANY or ALL of an array are made of.
            "array_min" | "array_max" => {
                for arg in &args {
                    if matches!(self.known(arg)?, Known::Type(ty) if has_documents(&ty)) {
                        return Err(no_order_of_arrays());
                    }
                }
                args
            }
            "array_has" => return self.any_of_array(args),
            "nullif" => return self.null_if(func, args),
            "array_subscript" => match self.subscript(args)? {
                Subscripted::Value(expr) => return Ok(expr),
                Subscripted::Array(args) => args,
            },
            _ => args,
        };
        if matches!(func.name(), "coalesce" | "greatest" | "least") {
            let shown = self.shown_as(&args)?;
            return Ok(shown.apply(self.context.finish_call(self, func, args)?));
        }
        if func.name() == "make_array" {
            let item = args.first().map(|item| self.known(item)).transpose()?;
            let array = self.context.finish_call(self, func, args)?;
            return Ok(match item {
                Some(Known::Type(item)) => self.labelled(array, &SqlType::Array(Box::new(item.innermost().clone())))?,
                _ => array,
            });
        }
        self.context.finish_call(self, func, args)
    }

    /// An expression of a type of which Arrow's may not tell.
    fn labelled(&self, expr: Expr, ty: &SqlType) -> DfResult<Expr> {
        let metadata = mapping::metadata(ty);
        if !metadata.contains_key(mapping::TYPE_KEY) {
            return Ok(expr);
        }
        let field = Field::new("cast", self.field(&expr)?.data_type().clone(), true).with_metadata(metadata);
        Ok(Expr::Cast(Cast::new_from_field(Box::new(expr), Arc::new(field))))
    }

    /// `GREATEST`, `LEAST`: the arguments at one type, or the call where DataFusion's would compare otherwise.
    fn extreme(
        &self,
        args: Vec<Expr>,
        clause: &str,
        of_intervals: IntervalCode,
        of_arrays: ArrayOrder,
    ) -> DfResult<Extreme> {
        let args = self.unify(args, clause)?;
        let Some(first) = args.first() else { return Ok(Extreme::Of(args)) };
        match self.known(first)? {
            Known::Type(SqlType::Interval) => Ok(Extreme::Found(of_intervals.call(args))),
            Known::Type(ty) if has_documents(&ty) => Err(no_order_of_arrays()),
            Known::Type(SqlType::Array(_)) => Ok(Extreme::Found(self.extreme_array(args, of_arrays)?)),
            Known::Type(SqlType::Jsonb) => {
                let name = if clause == "LEAST" { "jsonb_least" } else { "jsonb_greatest" };
                Ok(Extreme::Found(self.context.call(name, args)?))
            }
            Known::Type(SqlType::Json) => Err(to_datafusion(SqlError::new(
                SqlState::UNDEFINED_FUNCTION,
                "could not identify a comparison function for type json",
            ))),
            _ => Ok(Extreme::Of(args)),
        }
    }

    /// The arguments of a function that looks for an element: intervals are found by their lengths.
    fn array_search(&self, name: &str, mut args: Vec<Expr>) -> DfResult<Vec<Expr>> {
        let intervals = match args.first() {
            Some(array) => matches!(self.known(array)?, Known::Type(ty) if has_length(&ty)),
            None => false,
        };
        if !intervals {
            return Ok(args);
        }
        if !name.starts_with("array_position") {
            return Err(to_datafusion(
                SqlError::unsupported(format!("{name} of intervals is not supported"))
                    .with_hint("Gather what is left again: ARRAY(SELECT x FROM unnest(a) AS x WHERE x <> ..)."),
            ));
        }
        for arg in args.iter_mut().take(2) {
            let value = std::mem::replace(arg, Expr::Literal(ScalarValue::Null, None));
            let ty = match self.known(&value)? {
                Known::Type(ty) => ty,
                Known::Unknown => SqlType::Interval,
            };
            let value = self.coerce(value, &ty)?;
            *arg = if has_length(&ty) { interval_key(value) } else { value };
        }
        Ok(args)
    }

    /// `NULLIF(a, b)`: the first at the type that the operator `=` takes it at, which is its own where the operator takes two
    /// types.
    fn null_if(&self, func: Arc<ScalarUDF>, mut args: Vec<Expr>) -> DfResult<Expr> {
        let (Some(right), Some(left), true) = (args.pop(), args.pop(), args.is_empty()) else {
            return Err(to_datafusion(SqlError::new(SqlState::SYNTAX_ERROR, "NULLIF takes two arguments")));
        };
        let r = self.known(&right)?;
        // `NULLIF('1', 1)` compares integers: the operator gives a literal the type of the other side.
        let left = match r.sql_type() {
            Some(ty) if !ty.is_string() => left,
            _ => self.settle_literal(left)?,
        };
        let l = self.known(&left)?;
        let (a, b) = self.comparable(left.clone(), right, "=")?;
        let result = match (l.sql_type(), r.sql_type()) {
            (Some(l), Some(r)) if compares_two_types(l, r) => left,
            // These are compared by a key.
            (Some(l), _) if has_length(l) || *l == SqlType::Jsonb || compares_by_key(l, "=") => left,
            _ => a.clone(),
        };
        let has_two_zeros = has_two_zeros(&mapping::sql_type(&*self.field(&a)?)) && !a.is_volatile();
        if result == a && !has_two_zeros && self.field(&a)?.data_type() == self.field(&b)?.data_type() {
            let shown = self.shown_as(std::slice::from_ref(&a))?;
            return Ok(shown.apply(self.context.finish_call(self, func, vec![a, b])?));
        }
        let shown = self.shown_as(std::slice::from_ref(&result))?;
        if result.is_volatile() {
            return Err(to_datafusion(
                SqlError::unsupported("NULLIF of a volatile function and a value of another type is not supported")
                    .with_hint("Cast the second argument to the type of the first."),
            ));
        }
        let field = self.field(&result)?;
        let null = typed_literal(ScalarValue::try_from(field.data_type())?, &mapping::sql_type(&field));
        let case = Case::new(None, vec![(Box::new(a.eq(b)), Box::new(null))], Some(Box::new(result)));
        Ok(shown.apply(Expr::Case(case)))
    }

    /// `a[i]` of an array, or of a document, where it is `a -> i`.
    fn subscript(&self, mut args: Vec<Expr>) -> DfResult<Subscripted> {
        let (Some(index), Some(value), true) = (args.pop(), args.pop(), args.is_empty()) else {
            return Err(to_datafusion(SqlError::internal("a subscript without its operands")));
        };
        match self.known(&value)? {
            Known::Type(SqlType::Jsonb) => return self.container("->", value, index).map(Subscripted::Value),
            Known::Type(SqlType::Array(_)) | Known::Unknown => {}
            Known::Type(ty) => {
                let message = format!("cannot subscript type {ty} because it does not support subscripting");
                return Err(to_datafusion(SqlError::new(SqlState::DATATYPE_MISMATCH, message)));
            }
        }
        let index = match self.known(&index)? {
            Known::Type(SqlType::Integer) => index,
            // As by assignment, which takes no text.
            Known::Type(ty) if ty.is_string() => {
                let message = "array subscript must have type integer";
                return Err(to_datafusion(SqlError::new(SqlState::DATATYPE_MISMATCH, message)));
            }
            _ => self.coerce(index, &SqlType::Integer)?,
        };
        Ok(Subscripted::Array(vec![value, index]))
    }

    /// `(start, length)` is `(start, start + length)`.
    fn periods(&self, args: Vec<Expr>) -> DfResult<Vec<Expr>> {
        let mut whole = Vec::with_capacity(args.len());
        for (index, arg) in args.into_iter().enumerate() {
            let is_length = index % 2 == 1 && self.known(&arg)? == Known::Type(SqlType::Interval);
            match whole.last() {
                Some(start) if is_length => {
                    let end = self.operator("+", vec![Expr::clone(start), arg])?;
                    whole.push(end);
                }
                _ => whole.push(arg),
            }
        }
        Ok(whole)
    }

    /// `x = ANY (array)`, both sides at one type.
    fn any_of_array(&self, mut args: Vec<Expr>) -> DfResult<Expr> {
        let (Some(item), Some(array), true) = (args.pop(), args.pop(), args.is_empty()) else {
            return Err(to_datafusion(SqlError::internal("ANY without its operands")));
        };
        let (array, item) = match (self.known(&array)?, self.known(&item)?) {
            (Known::Type(SqlType::Array(element)), _) => {
                let element = widest(&element);
                let array = self.coerce(array, &SqlType::Array(Box::new(element.clone())))?;
                (array, self.coerce(item, &element)?)
            }
            (Known::Unknown, Known::Type(element)) => (self.coerce(array, &SqlType::Array(Box::new(element)))?, item),
            (other, _) => {
                return Err(to_datafusion(SqlError::new(
                    SqlState::WRONG_OBJECT_TYPE,
                    format!("op ANY/ALL (array) requires array on right side, not {other}"),
                )));
            }
        };
        let (array, item) = match self.known(&array)? {
            Known::Type(ty) if has_length(&ty) => (interval_key(array), interval_key(item)),
            _ => (array, item),
        };
        let DataType::List(element) = self.field(&array)?.data_type().clone() else {
            return Err(to_datafusion(SqlError::internal("an array that is no list")));
        };
        let same = self.field(&item)?.data_type() == element.data_type();
        let item = if same { item } else { Expr::Cast(Cast::new(Box::new(item), element.data_type().clone())) };
        Ok(any_of_array(array, item))
    }

    fn settle_literal(&self, expr: Expr) -> DfResult<Expr> {
        match self.known(&expr)? {
            Known::Unknown if matches!(expr, Expr::Literal(ScalarValue::Utf8(_), _)) => {
                self.coerce(expr, &SqlType::Text)
            }
            _ => Ok(expr),
        }
    }
}

/// A literal of a type, of which Arrow's alone may not tell: that of a json is text.
fn typed_literal(value: ScalarValue, to: &SqlType) -> Expr {
    // A numeric literal shows the digits it was written with.
    let metadata = if *to == SqlType::Numeric(None) { Default::default() } else { mapping::metadata(to) };
    Expr::Literal(value, (!metadata.is_empty()).then(|| metadata.into()))
}

/// What a subscript is of.
enum Subscripted {
    /// A document: its member.
    Value(Expr),
    /// An array, with its index.
    Array(Vec<Expr>),
}

/// What `GREATEST` or `LEAST` is found by.
enum Extreme {
    /// It has been found: this.
    Found(Expr),
    /// DataFusion's function of these.
    Of(Vec<Expr>),
}

fn integer_as_numeric(value: i128) -> Expr {
    let digits = value.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
    Expr::Literal(ScalarValue::Decimal128(Some(value), digits as u8, 0), None)
}

/// A numeric literal at the precision and scale in which it is written.
fn numeric_literal(text: &str) -> DfResult<ScalarValue> {
    let plain = without_exponent(text.trim());
    let trimmed = plain.as_ref();
    let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = !(whole.is_empty() && fraction.is_empty())
        && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let written = whole.trim_start_matches('0').len() + fraction.len();
    if plain && written <= 38 {
        let mut value: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            value = value * 10 + i128::from(byte - b'0');
        }
        if trimmed.starts_with('-') {
            value = -value;
        }
        return Ok(ScalarValue::Decimal128(Some(value), (written.max(1)) as u8, fraction.len() as i8));
    }
    let format = wharf_values::TextFormat::default();
    let mut builder = ColumnBuilder::new(&SqlType::Numeric(None), &format);
    builder.push_text(text.as_bytes()).map_err(to_datafusion)?;
    ScalarValue::try_from_array(&builder.finish(), 0)
}

/// A number as it is written without an exponent: `1.5e-3` is `0.0015`, `1.50e1` is `15.0`. What is no such number, or
/// a very long one, stays.
fn without_exponent(text: &str) -> std::borrow::Cow<'_, str> {
    use std::borrow::Cow;
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return Cow::Borrowed(text) };
    let (sign, digits) = match mantissa.strip_prefix(['-', '+']) {
        Some(digits) => (&mantissa[..1], digits),
        None => ("", mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let Ok(exponent) = exponent.parse::<i64>() else { return Cow::Borrowed(text) };
    if !(-40..=40).contains(&exponent) || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Cow::Borrowed(text);
    }
    let all = format!("{whole}{fraction}");
    let point = whole.len() as i64 + exponent;
    Cow::Owned(match usize::try_from(point) {
        Ok(point) if point >= all.len() => format!("{sign}{all}{}", "0".repeat(point - all.len())),
        Ok(point) if point > 0 => format!("{sign}{}.{}", &all[..point], &all[point..]),
        _ => format!("{sign}0.{}{all}", "0".repeat(point.unsigned_abs() as usize)),
    })
}

/// Types in which all values of `ty` and a literal are compared: without the limits of a column.
fn widest(ty: &SqlType) -> SqlType {
    match ty {
        SqlType::Varchar(_) | SqlType::Name | SqlType::QChar => SqlType::Text,
        SqlType::Char(_) => SqlType::Char(0),
        SqlType::Numeric(_) => SqlType::Numeric(None),
        other => other.clone(),
    }
    .normalize_char()
}

trait NormalizeChar {
    fn normalize_char(self) -> Self;
}

impl NormalizeChar for SqlType {
    /// `char(n)` is held without its blanks, so a literal beside it is compared as text.
    fn normalize_char(self) -> Self {
        if matches!(self, SqlType::Char(_)) { SqlType::Text } else { self }
    }
}

/// The number type two operands are brought to; none when one is no number.
fn number_type(a: &SqlType, b: &SqlType) -> Option<SqlType> {
    use SqlType as T;
    if !a.is_number() || !b.is_number() {
        return None;
    }
    Some(match (a, b) {
        (T::Real, T::Real) => T::Real,
        (T::Real | T::Double, _) | (_, T::Real | T::Double) => T::Double,
        (T::Numeric(_), _) | (_, T::Numeric(_)) => T::Numeric(None),
        (T::BigInt, _) | (_, T::BigInt) => T::BigInt,
        (T::Integer, _) | (_, T::Integer) => T::Integer,
        _ => T::SmallInt,
    })
}

/// The type in which two typed operands are compared; none when PostgreSQL has no such operator.
fn comparison_type(a: &SqlType, b: &SqlType) -> Option<SqlType> {
    use SqlType as T;
    if let Some(number) = number_type(a, b) {
        return Some(number);
    }
    let oid = |ty: &T| *ty == T::Oid || ty.is_named_oid();
    let whole = |ty: &T| matches!(ty, T::SmallInt | T::Integer | T::BigInt);
    match (a, b) {
        (a, b) if a.is_string() && b.is_string() => Some(T::Text),
        (T::QChar, b) if b.is_string() || *b == T::QChar => Some(T::Text),
        (a, T::QChar) if a.is_string() => Some(T::Text),
        (a, b) if (oid(a) && (oid(b) || whole(b))) || (whole(a) && oid(b)) => Some(T::BigInt),
        (T::Date, T::Timestamp) | (T::Timestamp, T::Date) => Some(T::Timestamp),
        (T::Date | T::Timestamp, T::TimestampTz) | (T::TimestampTz, T::Date | T::Timestamp) => Some(T::TimestampTz),
        (T::Time, T::Interval) | (T::Interval, T::Time) => Some(T::Interval),
        (T::Array(x), T::Array(y)) => comparison_type(x, y).map(|item| T::Array(Box::new(item))),
        (a, b) if a == b => Some(a.clone()),
        _ => None,
    }
}

/// Has PostgreSQL a comparison of just these two types, so that neither is converted?
fn compares_two_types(a: &SqlType, b: &SqlType) -> bool {
    use SqlType as T;
    let families: [&[T]; 3] =
        [&[T::SmallInt, T::Integer, T::BigInt], &[T::Real, T::Double], &[T::Date, T::Timestamp, T::TimestampTz]];
    // A real beside an exact number: there is an operator for real and double precision.
    families.iter().any(|family| family.contains(a) && family.contains(b)) || (*a == T::Real && b.is_number())
}

/// `select_common_type` of PostgreSQL: the first type that all others convert to by themselves.
pub(super) fn common_type(types: &[Known], clause: &str) -> DfResult<SqlType> {
    let mut common: Option<SqlType> = None;
    for ty in types.iter().filter_map(Known::sql_type) {
        common = Some(match common {
            None => ty.clone(),
            Some(so_far) if so_far == *ty => so_far,
            Some(so_far) => {
                let merged = if so_far.is_string() && ty.is_string() {
                    Some(SqlType::Text)
                } else if (so_far == SqlType::Real && ty.is_number() && *ty != SqlType::Double)
                    || (*ty == SqlType::Real && so_far.is_number() && so_far != SqlType::Double)
                {
                    // Every exact number becomes a real by itself; only an operator between the two asks for more.
                    Some(SqlType::Real)
                } else {
                    comparison_type(&so_far, ty)
                };
                match merged {
                    Some(merged) => merged,
                    None => {
                        return Err(to_datafusion(SqlError::new(
                            SqlState::DATATYPE_MISMATCH,
                            format!("{clause} types {so_far} and {ty} cannot be matched"),
                        )));
                    }
                }
            }
        });
    }
    Ok(common.unwrap_or(SqlType::Text))
}

/// The type PostgreSQL assumes for an untyped operand beside one of type `ty`.
fn untyped_operand(op: Arithmetic, ty: &SqlType, untyped_is_right: bool) -> SqlType {
    use SqlType as T;
    match (op, ty) {
        (Arithmetic::Add, T::Timestamp | T::TimestampTz | T::Time) => T::Interval,
        (Arithmetic::Add, T::Date) => T::Integer,
        (Arithmetic::Subtract, T::Date | T::Timestamp | T::TimestampTz | T::Time) => ty.clone(),
        (Arithmetic::Multiply | Arithmetic::Divide, T::Interval) if untyped_is_right => T::Double,
        (Arithmetic::Multiply, T::Interval) => T::Double,
        (_, T::Numeric(_)) => T::Numeric(None),
        _ => ty.clone(),
    }
}

/// The function behind an operator on dates, times and intervals, and whether its operands change places.
fn temporal_function(op: Arithmetic, l: &SqlType, r: &SqlType) -> Option<(&'static str, bool)> {
    use Arithmetic::{Add, Divide, Multiply, Subtract};
    use SqlType as T;
    let integer = |ty: &T| matches!(ty, T::SmallInt | T::Integer);
    Some(match (op, l, r) {
        (Add, T::Date, r) if integer(r) => ("date_pli", false),
        (Add, l, T::Date) if integer(l) => ("date_pli", true),
        (Subtract, T::Date, r) if integer(r) => ("date_mii", false),
        (Subtract, T::Date, T::Date) => ("date_mi", false),
        (Add, T::Date, T::Interval) => ("date_pl_interval", false),
        (Add, T::Interval, T::Date) => ("date_pl_interval", true),
        (Subtract, T::Date, T::Interval) => ("date_mi_interval", false),
        (Add, T::Date, T::Time) => ("datetime_pl", false),
        (Add, T::Time, T::Date) => ("datetime_pl", true),
        (Add, T::Timestamp, T::Interval) => ("timestamp_pl_interval", false),
        (Add, T::Interval, T::Timestamp) => ("timestamp_pl_interval", true),
        (Subtract, T::Timestamp, T::Interval) => ("timestamp_mi_interval", false),
        (Add, T::TimestampTz, T::Interval) => ("timestamptz_pl_interval", false),
        (Add, T::Interval, T::TimestampTz) => ("timestamptz_pl_interval", true),
        (Subtract, T::TimestampTz, T::Interval) => ("timestamptz_mi_interval", false),
        (Subtract, T::Timestamp | T::Date, T::Timestamp | T::Date) => ("timestamp_mi", false),
        (Subtract, T::TimestampTz | T::Timestamp | T::Date, T::TimestampTz | T::Timestamp | T::Date) => {
            ("timestamptz_mi", false)
        }
        (Subtract, T::Time, T::Time) => ("time_mi_time", false),
        (Add, T::Time, T::Interval) => ("time_pl_interval", false),
        (Add, T::Interval, T::Time) => ("time_pl_interval", true),
        (Subtract, T::Time, T::Interval) => ("time_mi_interval", false),
        (Add, T::Interval, T::Interval) => ("interval_pl", false),
        (Subtract, T::Interval, T::Interval) => ("interval_mi", false),
        (Multiply, T::Interval, r) if r.is_number() => ("interval_mul", false),
        (Multiply, l, T::Interval) if l.is_number() => ("interval_mul", true),
        (Divide, T::Interval, r) if r.is_number() => ("interval_div", false),
        _ => return None,
    })
}

/// Is there a cast at all, by anybody's rules?
fn castable(from: &SqlType, to: &SqlType) -> bool {
    use SqlType as T;
    let text = |ty: &T| ty.is_string() || matches!(ty, T::QChar | T::Unknown);
    let number = |ty: &T| ty.is_number() || *ty == T::Oid || ty.is_named_oid();
    match (from, to) {
        (from, to) if text(from) || text(to) || from == to => true,
        (from, to) if number(from) && number(to) => true,
        (T::Boolean, T::Integer) | (T::Integer, T::Boolean) => true,
        (T::Json, T::Jsonb) | (T::Jsonb, T::Json) => true,
        (T::Jsonb, T::Boolean | T::SmallInt | T::Integer | T::BigInt | T::Real | T::Double | T::Numeric(_)) => true,
        (T::Interval, T::Time) | (T::Time, T::Interval) => true,
        (T::Date, T::Timestamp | T::TimestampTz) => true,
        (T::Timestamp, T::Date | T::Time | T::TimestampTz) => true,
        (T::TimestampTz, T::Date | T::Time | T::Timestamp) => true,
        (T::Array(a), T::Array(b)) => castable(a, b),
        _ => false,
    }
}

/// A comparison that SQL planning left open.
fn comparison(symbol: &str) -> Option<Operator> {
    Some(match symbol {
        "=" => Operator::Eq,
        "<>" => Operator::NotEq,
        "<" => Operator::Lt,
        "<=" => Operator::LtEq,
        ">" => Operator::Gt,
        ">=" => Operator::GtEq,
        _ => return None,
    })
}

/// An operator that several types have, between operands that have none.
fn not_unique(symbol: &str) -> datafusion::error::DataFusionError {
    to_datafusion(
        SqlError::new(SqlState::AMBIGUOUS_FUNCTION, format!("operator is not unique: unknown {symbol} unknown"))
            .with_hint("Could not choose a best candidate operator. You might need to add explicit type casts."),
    )
}

fn no_operator(symbol: &str, left: &Known, right: &Known) -> datafusion::error::DataFusionError {
    to_datafusion(
        SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: {left} {symbol} {right}"))
            .with_hint(
                "No operator matches the given name and argument types. You might need to add explicit type casts.",
            ),
    )
}

/// Does an expression contain another?
fn contains(expr: &Expr, part: &Expr) -> DfResult<bool> {
    expr.exists(|expr| Ok(expr == part))
}
