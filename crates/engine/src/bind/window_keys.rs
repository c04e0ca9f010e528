//! ORDER BY of windows whose frame is a RANGE, which is every one without a frame: DataFusion has these over numbers, texts, dates
//! and lists, and refuses other types even where no offset is counted in them. And `-0` and `0`, which are peers, are not to it.

use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunctionParams};
use datafusion::logical_expr::{WindowFrameBound, WindowFrameUnits, cast, lit};
use wharf_catalog::SqlType;
use wharf_values::{SqlError, mapping};

use super::resolve::{Known, Resolver};
use super::two_zeros::one_zero;
use super::window_offsets;
use crate::error::to_datafusion;

/// Gives a window keys that are in the same order, of types that DataFusion has frames of.
///
/// # Errors
/// `0A000` for an offset in a type that there is none in.
pub(super) fn order_frame(params: &mut WindowFunctionParams, resolver: &Resolver<'_>) -> DfResult<()> {
    let frame = &params.window_frame;
    if frame.units != WindowFrameUnits::Range {
        return Ok(());
    }
    let has_offset = has_offset(params);
    let keys = std::mem::take(&mut params.order_by);
    let keys = keys.into_iter().map(|key| ordered(key, has_offset, resolver)).collect::<DfResult<Vec<_>>>()?;
    params.order_by = match <[SortExpr; 1]>::try_from(keys) {
        // A frame with offsets has one key.
        Ok([key]) if has_offset => {
            let field = resolver.field(&key.expr)?;
            vec![window_offsets::read(params, key, field.data_type(), resolver)?]
        }
        Ok(key) => key.into(),
        Err(keys) => keys,
    };
    Ok(())
}

/// Refuses an offset in what has none. DataFusion counts in texts and booleans, too, and keys do not tell documents from texts.
///
/// # Errors
/// `0A000`.
pub(super) fn check_offsets(params: &WindowFunctionParams, resolver: &Resolver<'_>) -> DfResult<()> {
    if params.window_frame.units != WindowFrameUnits::Range || !has_offset(params) {
        return Ok(());
    }
    for key in &params.order_by {
        if let Known::Type(
            ty @ (SqlType::Boolean
            | SqlType::Text
            | SqlType::Varchar(_)
            | SqlType::Char(_)
            | SqlType::Name
            | SqlType::Uuid
            | SqlType::Jsonb
            | SqlType::Array(_)),
        ) = resolver.known(&key.expr)?
        {
            return Err(no_offset(&ty));
        }
    }
    Ok(())
}

fn has_offset(params: &WindowFunctionParams) -> bool {
    is_offset(&params.window_frame.start_bound) || is_offset(&params.window_frame.end_bound)
}

fn no_offset(ty: &SqlType) -> DataFusionError {
    let message = format!("RANGE with offset PRECEDING/FOLLOWING is not supported for column type {ty}");
    let error = SqlError::unsupported(message);
    to_datafusion(error.with_hint("Count in ROWS, or order by a number, a date or a timestamp."))
}

fn is_offset(bound: &WindowFrameBound) -> bool {
    match bound {
        WindowFrameBound::Preceding(count) | WindowFrameBound::Following(count) => !count.is_null(),
        WindowFrameBound::CurrentRow => false,
    }
}

fn ordered(key: SortExpr, has_offset: bool, resolver: &Resolver<'_>) -> DfResult<SortExpr> {
    let field = resolver.field(&key.expr)?;
    if field.data_type().is_floating() {
        return Ok(SortExpr { expr: one_zero(key.expr, field.data_type()), ..key });
    }
    let is_time = matches!(field.data_type(), DataType::Time32(_) | DataType::Time64(_));
    let is_bytes = matches!(
        field.data_type(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
    );
    if !is_time && !is_bytes {
        return Ok(key);
    }
    if has_offset {
        return Err(no_offset(&mapping::sql_type(&field)));
    }
    let expr = match is_time {
        true => cast(key.expr, DataType::Int64),
        // Hexadecimal digits are in the order of the bytes.
        false => resolver.context.call("encode", vec![key.expr, lit("hex")])?,
    };
    Ok(SortExpr { expr, ..key })
}
