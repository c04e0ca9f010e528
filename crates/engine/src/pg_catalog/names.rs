//! Objects by their names and names by their oids: `regclass`, `regtype`, `regnamespace`, `regrole`.
//!
//! Such a value is an oid in an Arrow array; where it leaves for the client or becomes text, a function here puts the
//! name in its place, as the session would have to write it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, UInt32Type};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use wharf_catalog::{SqlType, State};
use wharf_values::{SqlError, SqlState, mapping};

use super::{SystemContext, constraints, system};
use crate::error::to_datafusion;
use crate::functions::quoting::push_identifier;
use crate::search_path::SearchPath;

/// A dotted name as SQL reads it: folded unless quoted.
fn parts(text: &str) -> Result<Vec<String>, SqlError> {
    let invalid = || SqlError::new(SqlState::INVALID_NAME, "invalid name syntax");
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut name = String::new();
                let mut characters = quoted.char_indices().peekable();
                let end = loop {
                    match (characters.next(), characters.peek()) {
                        (Some((_, '"')), Some((_, '"'))) => {
                            name.push('"');
                            characters.next();
                        }
                        (Some((at, '"')), _) => break at + 1,
                        (Some((_, c)), _) => name.push(c),
                        (None, _) => return Err(invalid()),
                    }
                };
                (name, quoted[end..].trim_start())
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].trim().to_ascii_lowercase(), &rest[end..])
            }
        };
        if part.is_empty() {
            return Err(invalid());
        }
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if after.is_empty() => return Ok(parts),
            None => return Err(invalid()),
        }
    }
}

/// The oid of the object of a name; a number is taken for an oid.
///
/// # Errors
/// `42P01`, `42704`, `3F000`, `42602`.
pub(crate) fn named_oid(
    ty: &SqlType,
    text: &str,
    state: &State,
    database: u32,
    search_path: &SearchPath,
) -> Result<u32, SqlError> {
    let text = text.trim();
    if text == "-" {
        return Ok(0);
    }
    if let Ok(oid) = text.parse::<u32>() {
        return Ok(oid);
    }
    match ty {
        SqlType::Regtype => type_oid(text),
        SqlType::Regnamespace => {
            let name = single(text)?;
            let found = state.namespace_by_name(database, &name).map(|namespace| namespace.oid);
            found.ok_or_else(|| SqlError::new(SqlState::UNDEFINED_SCHEMA, format!("schema \"{name}\" does not exist")))
        }
        SqlType::Regrole => {
            let name = single(text)?;
            let found = state.role_by_name(&name).map(|role| role.oid);
            found.ok_or_else(|| SqlError::new(SqlState::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")))
        }
        _ => relation_oid(text, state, database, search_path),
    }
}

fn single(text: &str) -> Result<String, SqlError> {
    let mut parts = parts(text)?;
    match (parts.pop(), parts.is_empty()) {
        (Some(name), true) => Ok(name),
        _ => Err(SqlError::new(SqlState::INVALID_NAME, "invalid name syntax")),
    }
}

fn type_oid(text: &str) -> Result<u32, SqlError> {
    let undefined = || SqlError::new(SqlState::UNDEFINED_OBJECT, format!("type \"{text}\" does not exist"));
    let bare = text.strip_prefix("pg_catalog.").unwrap_or(text);
    let parsed = crate::dml::constants::parse(&format!("NULL::{bare}")).map_err(|_| undefined())?;
    match parsed {
        sqlparser::ast::Expr::Cast { data_type, .. } => {
            crate::bind::types::sql_type_of_ast(&data_type).map(|ty| ty.oid()).map_err(|_| undefined())
        }
        _ => Err(undefined()),
    }
}

fn relation_oid(text: &str, state: &State, database: u32, search_path: &SearchPath) -> Result<u32, SqlError> {
    let parts = parts(text)?;
    let found = match parts.as_slice() {
        [name] => system::oid("pg_catalog", name)
            .or_else(|| search_path.find(state, database, name).map(|relation| relation.oid()))
            .or_else(|| search_path.schemas().iter().find_map(|schema| system::oid(schema, name)))
            .or_else(|| found_index(name, state, database, search_path)),
        [.., schema, name] => system::oid(schema, name).or_else(|| {
            let namespace = state.namespace_by_name(database, schema)?;
            let relation = state.relation(namespace.oid, name).map(|relation| relation.oid());
            relation.or_else(|| constraints::index_by_name(state, namespace.oid, name))
        }),
        [] => None,
    };
    found.ok_or_else(|| {
        SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", parts.join(".")))
    })
}

/// The index that the search path finds.
fn found_index(name: &str, state: &State, database: u32, search_path: &SearchPath) -> Option<u32> {
    let mut schemas = search_path.schemas().iter().filter_map(|schema| state.namespace_by_name(database, schema));
    schemas.find_map(|schema| constraints::index_by_name(state, schema.oid, name))
}

/// An oid's name as the session would write it; the number where there is no such object.
pub(super) fn name(ty: &SqlType, oid: u32, context: &SystemContext) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    let catalog = &context.catalog;
    let found = match ty {
        SqlType::Regtype => SqlType::from_oid(oid, -1).map(|ty| match ty {
            SqlType::Char(_) => "character".to_owned(),
            other => other.to_string(),
        }),
        SqlType::Regnamespace => catalog.namespace(oid).map(|namespace| quote(&namespace.name)),
        SqlType::Regrole => catalog.role(oid).map(|role| quote(&role.name)),
        _ => relation_name(oid, context),
    };
    found.unwrap_or_else(|| oid.to_string())
}

/// A relation's name, with its schema when the search path does not find it.
pub(super) fn relation_name(oid: u32, context: &SystemContext) -> Option<String> {
    if let Some(relation) = system::by_oid(oid) {
        let visible = relation.schema == "pg_catalog";
        return Some(if visible {
            quote(relation.name)
        } else {
            format!("{}.{}", relation.schema, quote(relation.name))
        });
    }
    let (catalog, database) = (&context.catalog, context.identity.database);
    let (name, namespace, visible) = match catalog.relation_by_oid(oid) {
        Some(relation) => {
            let visible = context.search_path.find(catalog, database, relation.name()).map(|found| found.oid());
            (relation.name(), relation.namespace(), visible)
        }
        None => {
            let (table, key) = constraints::index_by_oid(catalog, oid)?;
            let visible = found_index(&key.name, catalog, database, &context.search_path);
            (key.name.as_str(), table.namespace, visible)
        }
    };
    if visible == Some(oid) {
        return Some(quote(name));
    }
    Some(format!("{}.{}", quote(&catalog.namespace(namespace)?.name), quote(name)))
}

/// A name in quotes where SQL needs them.
pub(super) fn quote(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    push_identifier(name, &mut out);
    out
}

/// The name of each oid, shown as type `ty`.
pub(crate) fn name_of(expr: Expr, ty: &SqlType) -> Expr {
    function(ty, false).call(vec![expr])
}

/// The oid of each name, as type `ty`.
pub(crate) fn oid_of(expr: Expr, ty: &SqlType) -> Expr {
    function(ty, true).call(vec![expr])
}

fn function(ty: &SqlType, input: bool) -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Stable);
    Arc::new(ScalarUDF::new_from_impl(Conversion { ty: ty.clone(), input, signature }))
}

/// `regclassin` and `regclassout`, and those of the other types.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Conversion {
    ty: SqlType,
    input: bool,
    signature: Signature,
}

impl Conversion {
    fn data_type(&self) -> DataType {
        if self.input { DataType::UInt32 } else { DataType::Utf8View }
    }
}

impl ScalarUDFImpl for Conversion {
    fn name(&self) -> &str {
        self.ty.pg_name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(self.data_type())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let field = Field::new(self.name(), self.data_type(), true);
        Ok(Arc::new(field.with_metadata(mapping::metadata(&self.ty))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let Some(context) = args.config_options.extensions.get::<SystemContext>() else {
            return Err(to_datafusion(SqlError::internal(format!("{} without a session", self.name()))));
        };
        let given = args.args[0].to_array(args.number_rows)?;
        let made: ArrayRef = if self.input {
            let given = cast(&given, &DataType::Utf8View)?;
            let texts = given.as_string_view();
            let oids = texts.iter().map(|text| {
                let database = context.identity.database;
                let look_up = |text| named_oid(&self.ty, text, &context.catalog, database, &context.search_path);
                text.map(look_up).transpose()
            });
            Arc::new(oids.collect::<Result<UInt32Array, SqlError>>().map_err(to_datafusion)?)
        } else {
            let given = cast(&given, &DataType::UInt32)?;
            let oids = given.as_primitive::<UInt32Type>();
            let names = oids.iter().map(|oid| oid.map(|oid| name(&self.ty, oid, context)));
            Arc::new(names.collect::<StringViewArray>())
        };
        debug_assert_eq!(made.len(), args.number_rows);
        Ok(ColumnarValue::Array(made))
    }
}
