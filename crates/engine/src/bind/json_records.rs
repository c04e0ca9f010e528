//! JSON functions that PostgreSQL defines by what they are called with: the columns that FROM gives them, or a word that
//! says what NULL means. They are written out with `->`, `->>` and casts.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem,
    SetExpr, Statement, TableFactor, Value, ValueWithSpan,
};
use wharf_values::{SqlError, SqlState};

use super::names;
use super::normalize::{call, cast, string};

/// `FROM json_to_record(x) AS t(a int, b text)` and its kin become a subquery with these columns.
///
/// # Errors
/// `42601` without column definitions, as PostgreSQL.
pub(super) fn write_out(factor: &mut TableFactor, may_look_left: bool) -> Result<(), SqlError> {
    let (name, argument, alias) = match factor {
        TableFactor::Table { name, alias, args: Some(args), .. } => (name, args.args.as_slice(), alias),
        TableFactor::Function { name, alias, args, .. } => (name, args.as_slice(), alias),
        _ => return Ok(()),
    };
    let function = names::last_part(name);
    let (document, is_set) = match function.as_str() {
        "json_to_record" => (DataType::JSON, false),
        "jsonb_to_record" => (DataType::JSONB, false),
        "json_to_recordset" => (DataType::JSON, true),
        "jsonb_to_recordset" => (DataType::JSONB, true),
        _ => return Ok(()),
    };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = argument else { return Ok(()) };
    let columns = alias.as_ref().map_or(&[][..], |alias| alias.columns.as_slice());
    if columns.is_empty() || columns.iter().any(|column| column.data_type.is_none()) {
        let message = "a column definition list is required for functions returning \"record\"";
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
    }
    let items = columns.iter().filter_map(|column| {
        let data_type = column.data_type.as_ref()?;
        let key = names::fold(&column.name).replace('\'', "''");
        let is_document = matches!(data_type, DataType::JSON | DataType::JSONB);
        let operator = if is_document { "->" } else { "->>" };
        Some(format!("CAST(d.document {operator} '{key}' AS {data_type}) AS {}", column.name))
    });
    let items = items.collect::<Vec<_>>().join(", ");
    let elements = format!("{}_array_elements(document)", document.to_string().to_lowercase());
    let source = if is_set { format!("{elements} AS d(document)") } else { "(SELECT document) AS d(document)".into() };
    let Some(Statement::Query(mut query)) = crate::statement::parse(&format!("SELECT {items} FROM {source}"))?.pop()
    else {
        return Err(SqlError::internal("a query that is none"));
    };
    let argument = cast(argument.clone(), document);
    put_document(query.body.as_mut(), &argument);
    let mut alias = alias.take();
    if let Some(alias) = &mut alias {
        alias.columns.clear();
    }
    let lateral = may_look_left && names_columns(&argument);
    *factor = TableFactor::Derived { lateral, subquery: query, alias, sample: None };
    Ok(())
}

/// Puts the document in its place in the query made above.
fn put_document(body: &mut SetExpr, document: &Expr) {
    let SetExpr::Select(select) = body else { return };
    match select.from.first_mut().map(|from| &mut from.relation) {
        Some(TableFactor::Table { args: Some(args), .. }) => {
            args.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(document.clone()))];
        }
        Some(TableFactor::Derived { subquery, .. }) => {
            if let SetExpr::Select(inner) = subquery.body.as_mut() {
                inner.projection = vec![SelectItem::UnnamedExpr(document.clone())];
            }
        }
        _ => {}
    }
}

fn names_columns(expr: &Expr) -> bool {
    let found = sqlparser::ast::visit_expressions(expr, |expr| match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => std::ops::ControlFlow::Break(()),
        _ => std::ops::ControlFlow::Continue(()),
    });
    found.is_break()
}

/// `jsonb_set_lax(target, path, value, create, null_value_treatment)`: `jsonb_set`, but for what a value of NULL means.
///
/// # Errors
/// `22023` for a treatment that PostgreSQL has not, `0A000` for one that is no literal or raises an error.
pub(super) fn set_lax(function: &Function) -> Result<Option<Expr>, SqlError> {
    let FunctionArguments::List(list) = &function.args else { return Ok(None) };
    let mut arguments = Vec::with_capacity(5);
    for argument in &list.args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => arguments.push(expr.clone()),
            _ => return Ok(None),
        }
    }
    let treatment = match arguments.get(4) {
        None => "use_json_null".to_owned(),
        Some(Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. })) => text.clone(),
        Some(_) => {
            return Err(SqlError::unsupported("jsonb_set_lax with a treatment that is no literal is not supported")
                .with_hint("Write the treatment as a string, such as 'delete_key'."));
        }
    };
    if !(3..=5).contains(&arguments.len()) {
        return Ok(None);
    }
    arguments.truncate(4);
    let jsonb = |expr: Expr| cast(expr, DataType::JSONB);
    let (target, path, value) = (jsonb(arguments[0].clone()), arguments[1].clone(), jsonb(arguments[2].clone()));
    arguments[0] = target.clone();
    arguments[2] = value.clone();
    let of_null = match treatment.as_str() {
        "use_json_null" => {
            arguments[2] = call("coalesce", vec![value, jsonb(string("null"))]);
            return Ok(Some(call("jsonb_set", arguments)));
        }
        "delete_key" => Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(target),
            op: BinaryOperator::HashMinus,
            right: Box::new(path),
        })),
        "return_target" => target,
        "raise_exception" => {
            return Err(SqlError::unsupported("jsonb_set_lax with raise_exception is not supported")
                .with_hint("Filter by IS NOT NULL, or use another treatment."));
        }
        _ => {
            let message = "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"";
            return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
    };
    Ok(Some(Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition: Expr::IsNull(Box::new(value)), result: of_null }],
        else_result: Some(Box::new(call("jsonb_set", arguments))),
    }))
}
