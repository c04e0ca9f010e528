//! What binding one statement needs to know, and what it finds out: the types of parameters.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::{Expr, ScalarUDF, TableSource};
use parking_lot::Mutex;
use wharf_catalog::SqlType;
use wharf_catalog::State;
use wharf_values::{SqlError, SqlState, TextFormat, mapping};

use super::resolve::{Known, Resolver};
use crate::error::to_datafusion;
use crate::search_path::SearchPath;

/// The surroundings of one statement.
pub(crate) struct BindContext {
    /// The catalog at the statement's instant.
    pub(crate) catalog: Arc<State>,
    /// The session's database.
    pub(crate) database: u32,
    /// Where unqualified names are looked up.
    pub(crate) search_path: SearchPath,
    /// The session's formats.
    pub(crate) format: TextFormat,
    /// DataFusion's session: functions and options.
    pub(crate) session: Arc<SessionState>,
    /// Relations that only this statement has, by names that no relation of a user has.
    pub(crate) locals: HashMap<String, Local>,
    /// The types of `$1`, `$2`, ... found so far, by number.
    pub(crate) parameters: Mutex<BTreeMap<usize, SqlType>>,
    /// The values of the parameters and their types, when the statement is bound to run.
    pub(crate) values: Option<BoundValues>,
    /// The plan depends on more than the catalog and the settings, and is good for one execution.
    pub(crate) unstable: AtomicBool,
}

/// The values of parameters, and their types.
pub(crate) type BoundValues = (Vec<Option<ArrayRef>>, Vec<SqlType>);

/// A relation that only one statement has.
pub(crate) struct Local {
    pub(crate) source: Arc<dyn TableSource>,
    /// The oid of the table whose columns these are, for those who ask where a column comes from.
    pub(crate) oid: Option<u32>,
}

/// The most parameters a statement can have: what the protocol can count.
const MAX_PARAMETERS: usize = 65_535;

impl BindContext {
    /// Gives a parameter the type its surroundings ask for; the first use decides. The caller converts it to `to`, which
    /// may be another type, or have limits that a parameter has not.
    pub(super) fn parameter(&self, id: String, to: &SqlType) -> DfResult<Expr> {
        let number = parameter_number(&id).map_err(to_datafusion)?;
        let mut parameters = self.parameters.lock();
        let ty = parameters.entry(number).or_insert_with(|| parameter_type(to)).clone();
        let field = Arc::new(mapping::field(&id, &ty, true));
        Ok(Expr::Placeholder(Placeholder { id, field: Some(field) }))
    }

    /// Remembers the type of a parameter that has one already: declared, or found by DataFusion's planner.
    pub(super) fn declared_parameter(&self, id: &str, field: &Field) -> DfResult<()> {
        let number = parameter_number(id).map_err(to_datafusion)?;
        let ty = match mapping::sql_type(field) {
            SqlType::Unknown => SqlType::Text,
            ty => ty,
        };
        self.parameters.lock().entry(number).or_insert(ty);
        Ok(())
    }

    /// A call of a scalar function by name.
    pub(super) fn call(&self, name: &str, args: Vec<Expr>) -> DfResult<Expr> {
        Ok(Expr::ScalarFunction(ScalarFunction { func: self.scalar_function(name)?, args }))
    }

    /// The scalar function of this name.
    pub(super) fn scalar_function(&self, name: &str) -> DfResult<Arc<ScalarUDF>> {
        self.session.scalar_functions().get(name).cloned().ok_or_else(|| {
            to_datafusion(
                SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("function {name} does not exist")).with_hint(
                    "No function matches the given name and argument types. You might need to add explicit type casts.",
                ),
            )
        })
    }

    /// The function behind an operator of json and jsonb.
    pub(super) fn json_operator(&self, symbol: &str) -> Option<&'static str> {
        Some(match symbol {
            "->" => "json_get",
            "->>" => "json_get_text",
            "#>" => "json_get_path",
            "#>>" => "json_get_path_text",
            "@>" => "jsonb_contains",
            "<@" => "jsonb_contained",
            "?" => "jsonb_exists",
            "?|" => "jsonb_exists_any",
            "?&" => "jsonb_exists_all",
            "#-" => "jsonb_delete_path",
            _ => return None,
        })
    }

    /// A function call with resolved arguments: literals and parameters without a type take the one that PostgreSQL's
    /// choice among the functions of that name gives them.
    pub(super) fn finish_call(&self, resolver: &Resolver<'_>, func: Arc<ScalarUDF>, args: Vec<Expr>) -> DfResult<Expr> {
        let mut types = Vec::with_capacity(args.len());
        for arg in &args {
            types.push(match resolver.known(arg)? {
                Known::Unknown => SqlType::Unknown,
                Known::Type(ty) => ty,
            });
        }
        let chosen = crate::functions::resolve(func.name(), &types).transpose().map_err(to_datafusion)?;
        let args = args
            .into_iter()
            .zip(types)
            .enumerate()
            .map(|(index, (arg, ty))| {
                let wanted = chosen.as_ref().and_then(|chosen| chosen.arguments.get(index));
                match (ty, wanted) {
                    (SqlType::Unknown, Some(wanted)) if *wanted != SqlType::Unknown => resolver.coerce(arg, wanted),
                    (SqlType::Unknown, _) if matches!(arg, Expr::Placeholder(_)) => {
                        resolver.coerce(arg, assumed_type(func.name()))
                    }
                    _ => Ok(arg),
                }
            })
            .collect::<DfResult<Vec<_>>>()?;
        Ok(Expr::ScalarFunction(ScalarFunction { func, args }))
    }

    /// `'name'::regclass` and its kin: the oid of the object of a name, looked up now.
    pub(super) fn named_oid(&self, text: &str, ty: &SqlType) -> DfResult<Expr> {
        let oid = crate::pg_catalog::named_oid(ty, text, &self.catalog, self.database, &self.search_path);
        Ok(self.oid_literal(oid.map_err(to_datafusion)?, ty))
    }

    fn oid_literal(&self, oid: u32, ty: &SqlType) -> Expr {
        Expr::Literal(ScalarValue::UInt32(Some(oid)), Some(mapping::metadata(ty).into()))
    }
}

/// The type of a parameter where a value of type `to` is wanted. As in PostgreSQL it is without limits: `$1::varchar(3)`
/// takes a longer text, which the cast then cuts. Where a numeric without limits has too few digits, it keeps its own.
pub(crate) fn parameter_type(to: &SqlType) -> SqlType {
    match to {
        SqlType::Varchar(_) => SqlType::Varchar(None),
        SqlType::Char(_) => SqlType::Char(0),
        SqlType::Numeric(Some((precision, scale)))
            if *scale <= 16 && i16::from(*precision) - i16::from(*scale) <= 22 =>
        {
            SqlType::Numeric(None)
        }
        SqlType::Array(element) => SqlType::Array(Box::new(parameter_type(element))),
        other => other.clone(),
    }
}

/// The type of a parameter without a type in a call of one of DataFusion's own functions.
fn assumed_type(function: &str) -> &'static SqlType {
    match function {
        "generate_series" => &SqlType::Integer,
        _ => &SqlType::Text,
    }
}

/// `$7` is 7.
pub(crate) fn parameter_number(id: &str) -> Result<usize, SqlError> {
    match id.trim_start_matches('$').parse() {
        Ok(number) if (1..=MAX_PARAMETERS).contains(&number) => Ok(number),
        _ => Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter {id}"))),
    }
}
