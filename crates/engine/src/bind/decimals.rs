//! Decimals of several scales in one place: operands of an operator, branches of a CASE, rows of a column.
//!
//! What always holds: digits are added and never taken away; what would need more than 76 is refused or `22003` when it runs.
//! The types that come out are the ones DataFusion computes with, so that it has nothing left to bring together.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Cast;
use wharf_values::SqlError;
use wharf_values::mapping::{NUMERIC_KEY, TYPE_KEY};

use super::resolve::Resolver;
use crate::error::to_datafusion;
use crate::operators::Arithmetic;

/// How the digits of a value are shown that comes from one of several expressions.
pub(super) enum Shown {
    /// All of them: it has the scale of its type.
    Plain,
    /// As the field says, which may be to leave out zeros at the end.
    As(Field),
}

impl Shown {
    /// The expression, with what its field has to say.
    pub(super) fn apply(self, expr: Expr) -> Expr {
        match self {
            Shown::Plain => expr,
            Shown::As(field) => Expr::Cast(Cast::new_from_field(Box::new(expr), Arc::new(field))),
        }
    }
}

impl Resolver<'_> {
    /// Operands in 256 bits where one is already, or where a product's scale would pass 38 digits. For a product each keeps
    /// its own scale: DataFusion would bring both to one, and twice as many digits come out of every step.
    pub(super) fn room(&self, op: Arithmetic, left: Expr, right: Expr) -> DfResult<(Expr, Expr)> {
        let (a, b) = (self.field(&left)?, self.field(&right)?);
        let (Some((bits1, s1)), Some((bits2, s2))) = (width(a.data_type()), width(b.data_type())) else {
            return Ok((left, right));
        };
        let product = op == Arithmetic::Multiply;
        if bits1 == 128 && bits2 == 128 && !(product && i16::from(s1) + i16::from(s2) > 38) {
            return Ok((left, right));
        }
        if product && i16::from(s1) + i16::from(s2) > 76 {
            return Err(to_datafusion(
                SqlError::unsupported("a numeric product with more than 76 digits after the point is not supported")
                    .with_hint("Cast the operands first, such as x::numeric(38, 10)."),
            ));
        }
        let wide = |expr: Expr, bits, scale, own| {
            if bits == 256 && scale == own {
                return expr;
            }
            let field = Field::new("cast", DataType::Decimal256(76, scale), true);
            Expr::Cast(Cast::new_from_field(Box::new(expr), Arc::new(field)))
        };
        let common = s1.max(s2);
        let (to1, to2) = if product { (s1, s2) } else { (common, common) };
        Ok((wide(left, bits1, to1, s1), wide(right, bits2, to2, s2)))
    }

    /// Numerics at the one decimal type that has room for the digits of all of them.
    pub(super) fn unify_numerics(&self, exprs: Vec<Expr>) -> DfResult<Vec<Expr>> {
        let is_null = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.is_null());
        let exprs = exprs
            .into_iter()
            .map(|expr| if is_null(&expr) { Ok(expr) } else { self.to_numeric(expr) })
            .collect::<DfResult<Vec<_>>>()?;
        let Some(data_type) = decimal_of_all(&exprs, self)? else { return Ok(exprs) };
        exprs
            .into_iter()
            .map(|expr| {
                if is_null(&expr) {
                    return Ok(Expr::Literal(ScalarValue::try_from(&data_type)?, None));
                }
                let own = self.field(&expr)?;
                if *own.data_type() == data_type {
                    return Ok(expr);
                }
                let field = Field::new("cast", data_type.clone(), true).with_metadata(shown(own.metadata()));
                Ok(Expr::Cast(Cast::new_from_field(Box::new(expr), Arc::new(field))))
            })
            .collect()
    }

    /// How a value is shown that is one of these, which have one type: a quotient among them decides, then a numeric
    /// without a declared scale. A type of which Arrow's does not tell, such as jsonb, stays that of the value.
    pub(super) fn shown_as(&self, exprs: &[Expr]) -> DfResult<Shown> {
        let mut as_field = Shown::Plain;
        let mut types = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let field = self.field(expr)?;
            types.push(field.metadata().get(TYPE_KEY).cloned());
            match field.metadata().get(NUMERIC_KEY).map(String::as_str) {
                Some("division") => return Ok(Shown::As(numeric_field(&field))),
                Some(_) if matches!(as_field, Shown::Plain) => as_field = Shown::As(numeric_field(&field)),
                _ => {}
            }
        }
        if let (Shown::Plain, Some(Some(ty))) = (&as_field, types.first())
            && types.iter().all(|other| other.as_ref() == Some(ty))
        {
            let data_type = self.field(&exprs[0])?.data_type().clone();
            let metadata = HashMap::from([(TYPE_KEY.to_owned(), ty.clone())]);
            return Ok(Shown::As(Field::new("cast", data_type, true).with_metadata(metadata)));
        }
        Ok(as_field)
    }
}

fn numeric_field(field: &Field) -> Field {
    Field::new("cast", field.data_type().clone(), true).with_metadata(shown(field.metadata()))
}

/// What metadata say of the digits to show.
fn shown(metadata: &HashMap<String, String>) -> HashMap<String, String> {
    metadata.get(NUMERIC_KEY).map(|value| (NUMERIC_KEY.to_owned(), value.clone())).into_iter().collect()
}

/// The decimal that holds all digits of a column of decimals, if it is one.
pub(super) fn decimal_of_all(exprs: &[Expr], resolver: &Resolver<'_>) -> DfResult<Option<DataType>> {
    let mut whole = 0i16;
    let mut scale = 0i8;
    let mut any = false;
    for expr in exprs {
        if matches!(expr, Expr::Literal(value, _) if value.is_null()) {
            continue;
        }
        match resolver.field(expr)?.data_type() {
            DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
                any = true;
                whole = whole.max(i16::from(*p) - i16::from(*s));
                scale = scale.max(*s);
            }
            DataType::Null => {}
            _ => return Ok(None),
        }
    }
    let precision = (whole + i16::from(scale)).clamp(1, 76) as u8;
    Ok(any.then_some({
        if precision <= 38 { DataType::Decimal128(precision, scale) } else { DataType::Decimal256(precision, scale) }
    }))
}

/// The bits and the scale of a decimal.
fn width(data_type: &DataType) -> Option<(u16, i8)> {
    match data_type {
        DataType::Decimal128(_, scale) => Some((128, *scale)),
        DataType::Decimal256(_, scale) => Some((256, *scale)),
        _ => None,
    }
}
