//! Functions about the session and the catalog: `current_schema()`, `version()`, `format_type()`, ...
//!
//! What always holds: they read the session through [`SystemContext`] alone, and but for those that stop sessions (`signals`) they change
//! nothing. Functions about things
//! Wharf does not have (publications, statistics objects) give NULL or false, as PostgreSQL does for objects that do not exist.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, ListBuilder, StringViewArray, StringViewBuilder,
    UInt32Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState, mapping};

use super::{SettingChange, SystemContext, definitions, system};
use crate::error::to_datafusion;
use crate::settings::SERVER_VERSION;

/// One row's arguments, as numbers and texts.
pub(super) struct Row<'a> {
    pub(super) context: &'a SystemContext,
    pub(super) numbers: &'a [Option<i64>],
    pub(super) texts: &'a [Option<String>],
}

/// One value of a result.
pub(super) enum Value {
    Null,
    Text(String),
    Bool(bool),
    Int(i64),
    Texts(Vec<String>),
}

type Compute = fn(&Row<'_>) -> Result<Value, SqlError>;

/// A function: its name, the type of its result, and how a row is computed.
struct Definition {
    name: &'static str,
    returns: Kind,
    compute: Compute,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Text,
    Name,
    Bool,
    Integer,
    BigInt,
    /// An oid that is shown by name.
    Oid(SqlType),
    Names,
    Void,
}

impl Kind {
    fn sql_type(&self) -> SqlType {
        match self {
            Kind::Text => SqlType::Text,
            Kind::Name => SqlType::Name,
            Kind::Bool => SqlType::Boolean,
            Kind::Integer => SqlType::Integer,
            Kind::BigInt => SqlType::BigInt,
            Kind::Oid(ty) => ty.clone(),
            Kind::Names => SqlType::Array(Box::new(SqlType::Name)),
            Kind::Void => SqlType::Void,
        }
    }
}

const fn define(name: &'static str, returns: Kind, compute: Compute) -> Definition {
    Definition { name, returns, compute }
}

pub(super) fn text(value: impl Into<String>) -> Result<Value, SqlError> {
    Ok(Value::Text(value.into()))
}

static DEFINITIONS: &[Definition] = &[
    define("version", Kind::Text, |_| {
        text(format!(
            "PostgreSQL {SERVER_VERSION} (Wharf {}) on {}-{}",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::ARCH,
            std::env::consts::OS
        ))
    }),
    define("current_database", Kind::Name, current_database),
    define("current_catalog", Kind::Name, current_database),
    define("current_user", Kind::Name, |row| text(&row.context.identity.role)),
    define("session_user", Kind::Name, |row| text(&row.context.identity.role)),
    define("current_role", Kind::Name, |row| text(&row.context.identity.role)),
    define("user", Kind::Name, |row| text(&row.context.identity.role)),
    define("current_schema", Kind::Name, |row| {
        let context = row.context;
        Ok(match context.search_path.current(&context.catalog, context.identity.database) {
            Some(schema) => Value::Text(schema.to_owned()),
            None => Value::Null,
        })
    }),
    define("current_schemas", Kind::Names, current_schemas),
    define("pg_backend_pid", Kind::Integer, |row| Ok(Value::Int(i64::from(row.context.identity.process)))),
    define("pg_cancel_backend", Kind::Bool, super::signals::cancel),
    define("pg_terminate_backend", Kind::Bool, super::signals::terminate),
    define("pg_client_encoding", Kind::Name, |_| text("UTF8")),
    define("inet_server_port", Kind::Integer, unknown),
    define("pg_is_in_recovery", Kind::Bool, |_| Ok(Value::Bool(false))),
    define("current_setting", Kind::Text, current_setting),
    define("set_config", Kind::Text, set_config),
    define("pg_get_userbyid", Kind::Name, |row| {
        let Some(oid) = number(row, 0) else { return Ok(Value::Null) };
        match row.context.catalog.role(oid) {
            Some(role) => text(&role.name),
            None => text(format!("unknown (OID={oid})")),
        }
    }),
    define("pg_table_is_visible", Kind::Bool, table_is_visible),
    define("pg_type_is_visible", Kind::Bool, |_| Ok(Value::Bool(true))),
    define("pg_function_is_visible", Kind::Bool, |_| Ok(Value::Bool(true))),
    define("pg_collation_is_visible", Kind::Bool, |_| Ok(Value::Bool(true))),
    define("pg_conversion_is_visible", Kind::Bool, unknown),
    define("pg_opclass_is_visible", Kind::Bool, unknown),
    define("pg_operator_is_visible", Kind::Bool, unknown),
    define("pg_opfamily_is_visible", Kind::Bool, unknown),
    define("pg_statistics_obj_is_visible", Kind::Bool, unknown),
    define("pg_ts_config_is_visible", Kind::Bool, unknown),
    define("pg_ts_dict_is_visible", Kind::Bool, unknown),
    define("pg_ts_parser_is_visible", Kind::Bool, unknown),
    define("pg_ts_template_is_visible", Kind::Bool, unknown),
    define("pg_char_to_encoding", Kind::Integer, |row| {
        let name = row.texts.first().and_then(Option::as_deref).unwrap_or_default();
        Ok(Value::Int(if name.eq_ignore_ascii_case("utf8") { 6 } else { -1 }))
    }),
    define("obj_description", Kind::Text, |row| describe(row, None)),
    define("col_description", Kind::Text, |row| describe(row, number(row, 1))),
    define("shobj_description", Kind::Text, |_| Ok(Value::Null)),
    define("pg_get_expr", Kind::Text, |row| Ok(row.texts[0].clone().map_or(Value::Null, Value::Text))),
    define("pg_get_viewdef", Kind::Text, definitions::view),
    define("pg_get_constraintdef", Kind::Text, definitions::constraint),
    define("pg_get_indexdef", Kind::Text, definitions::index),
    define("pg_get_partkeydef", Kind::Text, |_| Ok(Value::Null)),
    define("pg_get_statisticsobjdef_columns", Kind::Text, |_| Ok(Value::Null)),
    define("pg_get_function_identity_arguments", Kind::Text, |_| Ok(Value::Null)),
    define("pg_relation_is_publishable", Kind::Bool, |_| Ok(Value::Bool(false))),
    define("format_type", Kind::Text, |row| {
        let Some(oid) = number(row, 0) else { return Ok(Value::Null) };
        let typmod = row.numbers.get(1).copied().flatten().unwrap_or(-1) as i32;
        match SqlType::from_oid(oid, typmod) {
            Some(ty) => text(ty.to_string()),
            None => text("???"),
        }
    }),
    define("pg_encoding_to_char", Kind::Name, |row| match number(row, 0) {
        Some(6) => text("UTF8"),
        _ => text(""),
    }),
    define("has_table_privilege", Kind::Bool, |_| Ok(Value::Bool(true))),
    define("has_any_column_privilege", Kind::Bool, |_| Ok(Value::Bool(true))),
    define("has_column_privilege", Kind::Bool, |_| Ok(Value::Bool(true))),
    define("has_schema_privilege", Kind::Bool, |_| Ok(Value::Bool(true))),
    define("has_database_privilege", Kind::Bool, |_| Ok(Value::Bool(true))),
    define("has_function_privilege", Kind::Bool, |_| Ok(Value::Bool(true))),
    define("pg_relation_size", Kind::BigInt, unknown),
    define("pg_table_size", Kind::BigInt, unknown),
    define("pg_total_relation_size", Kind::BigInt, unknown),
    define("pg_database_size", Kind::BigInt, unknown),
    define("pg_indexes_size", Kind::BigInt, unknown),
    define("pg_tablespace_size", Kind::BigInt, unknown),
    define("pg_size_pretty", Kind::Text, size_pretty),
    define("pg_tablespace_location", Kind::Text, |_| text("")),
    define("pg_get_function_result", Kind::Text, unknown),
    define("pg_get_function_arguments", Kind::Text, unknown),
    define("pg_get_functiondef", Kind::Text, unknown),
    define("pg_get_ruledef", Kind::Text, unknown),
    define("pg_get_triggerdef", Kind::Text, unknown),
    define("pg_get_serial_sequence", Kind::Text, unknown),
    define("pg_get_statisticsobjdef", Kind::Text, unknown),
    // There are no advisory locks, so there is none to give back.
    define("pg_advisory_unlock_all", Kind::Void, |_| text("")),
    define("to_regclass", Kind::Oid(SqlType::Regclass), |row| oid_or_null(row, &SqlType::Regclass)),
    define("to_regtype", Kind::Oid(SqlType::Regtype), |row| oid_or_null(row, &SqlType::Regtype)),
    define("to_regnamespace", Kind::Oid(SqlType::Regnamespace), |row| oid_or_null(row, &SqlType::Regnamespace)),
    define("to_regrole", Kind::Oid(SqlType::Regrole), |row| oid_or_null(row, &SqlType::Regrole)),
];

/// What is not known, or does not exist.
fn unknown(_row: &Row<'_>) -> Result<Value, SqlError> {
    Ok(Value::Null)
}

/// Bytes in the unit that leaves fewer than 10240 of them, rounded half away from zero.
fn size_pretty(row: &Row<'_>) -> Result<Value, SqlError> {
    let Some(size) = row.numbers.first().copied().flatten() else { return Ok(Value::Null) };
    const LIMIT: i64 = 10 * 1024;
    if size.abs() < LIMIT {
        return text(format!("{size} bytes"));
    }
    // Kept in halves of the unit until the last step, which rounds.
    let mut halves = size / 512;
    let units = ["kB", "MB", "GB", "TB", "PB"];
    for (index, unit) in units.iter().enumerate() {
        if halves.abs() < 2 * LIMIT - 1 || index + 1 == units.len() {
            return text(format!("{} {unit}", (halves + halves.signum()) / 2));
        }
        halves /= 1024;
    }
    Ok(Value::Null)
}

/// The oid of the object of a name; NULL when there is none. A number is no name here.
fn oid_or_null(row: &Row<'_>, ty: &SqlType) -> Result<Value, SqlError> {
    let Some(name) = row.texts.first().and_then(Option::as_deref) else { return Ok(Value::Null) };
    if name.parse::<u32>().is_ok() {
        return Ok(Value::Null);
    }
    let context = row.context;
    let found = super::named_oid(ty, name, &context.catalog, context.identity.database, &context.search_path);
    Ok(found.map_or(Value::Null, |oid| Value::Int(i64::from(oid))))
}

pub(super) fn number(row: &Row<'_>, index: usize) -> Option<u32> {
    row.numbers.get(index).copied().flatten().and_then(|value| u32::try_from(value).ok())
}

fn current_database(row: &Row<'_>) -> Result<Value, SqlError> {
    let database = row.context.catalog.database(row.context.identity.database);
    Ok(database.map_or(Value::Null, |database| Value::Text(database.name.clone())))
}

fn current_schemas(row: &Row<'_>) -> Result<Value, SqlError> {
    let context = row.context;
    let mut schemas = Vec::new();
    if row.texts.first().is_some_and(|text| matches!(text.as_deref(), Some("true" | "t"))) {
        schemas.push("pg_catalog".to_owned());
    }
    schemas.extend(
        context
            .search_path
            .schemas()
            .iter()
            .filter(|name| context.catalog.namespace_by_name(context.identity.database, name).is_some())
            .cloned(),
    );
    Ok(Value::Texts(schemas))
}

fn current_setting(row: &Row<'_>) -> Result<Value, SqlError> {
    let Some(name) = &row.texts[0] else { return Ok(Value::Null) };
    match row.context.settings.lock().get(name) {
        Ok(value) => text(value),
        Err(_) if matches!(row.texts.get(1).and_then(Option::as_deref), Some("true" | "t")) => Ok(Value::Null),
        Err(error) => Err(error),
    }
}

/// Takes effect for the rest of this statement at once, and for the session when it looks next.
fn set_config(row: &Row<'_>) -> Result<Value, SqlError> {
    let Some(name) = row.texts.first().and_then(Option::as_deref) else {
        return Err(SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "SET requires parameter name"));
    };
    let local = matches!(row.texts.get(2).and_then(Option::as_deref), Some("true" | "t"));
    let value = row.texts.get(1).and_then(Option::clone).unwrap_or_default();
    let mut settings = row.context.settings.lock();
    settings.set(name, &value)?;
    let shown = settings.get(name)?;
    row.context.changes.lock().push(SettingChange { name: name.to_owned(), value, local });
    text(shown)
}

fn table_is_visible(row: &Row<'_>) -> Result<Value, SqlError> {
    let context = row.context;
    if let Some(relation) = number(row, 0).and_then(system::by_oid) {
        let named = context.search_path.schemas().iter().any(|schema| schema == relation.schema);
        return Ok(Value::Bool(relation.schema == "pg_catalog" || named));
    }
    let Some(relation) = number(row, 0).and_then(|oid| context.catalog.relation_by_oid(oid)) else {
        return Ok(Value::Null);
    };
    let found = context.search_path.find(&context.catalog, context.identity.database, relation.name());
    Ok(Value::Bool(found.is_some_and(|found| found.oid() == relation.oid())))
}

fn describe(row: &Row<'_>, column: Option<u32>) -> Result<Value, SqlError> {
    let Some(oid) = number(row, 0) else { return Ok(Value::Null) };
    let comment = match (row.context.catalog.relation_by_oid(oid), column) {
        (Some(relation), None) => relation.comment().map(str::to_owned),
        (Some(relation), Some(column)) => (column as usize)
            .checked_sub(1)
            .and_then(|index| relation.columns().get(index))
            .and_then(|column| column.comment.clone()),
        (None, _) => row.context.catalog.namespace(oid).and_then(|namespace| namespace.comment.clone()),
    };
    Ok(comment.map_or(Value::Null, Value::Text))
}

/// All functions of this chapter.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions: Vec<Arc<ScalarUDF>> = (0..DEFINITIONS.len())
        .map(|index| {
            let nullary = TypeSignature::Nullary;
            // What one of them changes the other sees, in the order they are written.
            let volatility = match DEFINITIONS[index].name {
                "current_setting" | "set_config" | "pg_cancel_backend" | "pg_terminate_backend" => Volatility::Volatile,
                _ => Volatility::Stable,
            };
            Arc::new(ScalarUDF::new_from_impl(SystemFunction {
                index,
                signature: Signature::one_of(vec![nullary, TypeSignature::VariadicAny], volatility),
            }))
        })
        .collect();
    functions.push(Arc::new(super::sleep::function()));
    functions.push(Arc::new(ScalarUDF::new_from_impl(TypeOf { signature: Signature::any(1, Volatility::Immutable) })));
    functions
}

/// Whether a function looks at the session or the catalog, which other nodes do not have.
pub(crate) fn reads_session(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<SystemFunction>().is_some()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SystemFunction {
    index: usize,
    signature: Signature,
}

impl SystemFunction {
    fn definition(&self) -> &'static Definition {
        &DEFINITIONS[self.index]
    }
}

impl ScalarUDFImpl for SystemFunction {
    fn name(&self) -> &str {
        self.definition().name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(mapping::arrow_type(&self.definition().returns.sql_type()))
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::new(mapping::field(self.name(), &self.definition().returns.sql_type(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let Some(context) = args.config_options.extensions.get::<SystemContext>() else {
            return Err(to_datafusion(SqlError::internal(format!("{} without a session", self.name()))));
        };
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let mut numbers = Vec::with_capacity(args.args.len());
        let mut texts = Vec::with_capacity(args.args.len());
        for arg in &args.args {
            let array = arg.to_array(rows)?;
            numbers.push(cast(&array, &DataType::Int64).ok());
            texts.push(cast(&array, &DataType::Utf8View).ok());
        }
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            let row_numbers: Vec<Option<i64>> = numbers
                .iter()
                .map(|column| {
                    column.as_ref().and_then(|column| {
                        let column = column.as_primitive::<Int64Type>();
                        arrow::array::Array::is_valid(column, row).then(|| column.value(row))
                    })
                })
                .collect();
            let row_texts: Vec<Option<String>> = texts
                .iter()
                .map(|column| {
                    column.as_ref().and_then(|column| {
                        let column = column.as_string_view();
                        arrow::array::Array::is_valid(column, row).then(|| column.value(row).to_owned())
                    })
                })
                .collect();
            let row = Row { context, numbers: &row_numbers, texts: &row_texts };
            values.push((self.definition().compute)(&row).map_err(to_datafusion)?);
        }
        let array = to_array(&self.definition().returns, values);
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}

fn to_array(kind: &Kind, values: Vec<Value>) -> ArrayRef {
    let int = |value: &Value| match value {
        Value::Int(value) => Some(*value),
        _ => None,
    };
    match kind {
        Kind::Text | Kind::Name | Kind::Void => Arc::new(
            values
                .iter()
                .map(|value| match value {
                    Value::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect::<StringViewArray>(),
        ),
        Kind::Bool => Arc::new(
            values
                .iter()
                .map(|value| match value {
                    Value::Bool(value) => Some(*value),
                    _ => None,
                })
                .collect::<BooleanArray>(),
        ),
        Kind::Integer => Arc::new(values.iter().map(|v| int(v).map(|v| v as i32)).collect::<Int32Array>()),
        Kind::BigInt => Arc::new(values.iter().map(int).collect::<Int64Array>()),
        Kind::Oid(_) => Arc::new(values.iter().map(|v| int(v).map(|v| v as u32)).collect::<UInt32Array>()),
        Kind::Names => {
            let item = Arc::new(Field::new_list_field(DataType::Utf8View, true));
            let mut builder = ListBuilder::new(StringViewBuilder::new()).with_field(item);
            for value in &values {
                match value {
                    Value::Texts(texts) => {
                        for text in texts {
                            builder.values().append_value(text);
                        }
                        builder.append(true);
                    }
                    _ => builder.append(false),
                }
            }
            Arc::new(builder.finish())
        }
    }
}

/// `pg_typeof(any)`: the name of the argument's type, known when the plan is made.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TypeOf {
    signature: Signature,
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &str {
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let field = Field::new("pg_typeof", DataType::Utf8View, false);
        let metadata = mapping::metadata(&SqlType::Regtype);
        Ok(Arc::new(field.with_metadata(metadata)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let ty = match (args.arg_fields[0].data_type(), &args.args[0]) {
            (DataType::Utf8, ColumnarValue::Scalar(_)) => "unknown".to_owned(),
            _ => without_limits(&mapping::sql_type(&args.arg_fields[0])),
        };
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(Some(ty))))
    }
}

/// The name of a type without precision or length, which regtype does not show.
pub(crate) fn without_limits(ty: &SqlType) -> String {
    match ty {
        SqlType::Numeric(_) => "numeric".to_owned(),
        SqlType::Varchar(_) => "character varying".to_owned(),
        SqlType::Char(_) => "character".to_owned(),
        SqlType::Array(element) => format!("{}[]", without_limits(element)),
        other => other.to_string(),
    }
}
