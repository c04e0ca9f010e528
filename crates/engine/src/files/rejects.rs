//! The table that rejected rows go to: `file`, `line`, `column`, `error`, `text`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use sqlparser::ast::ObjectName;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use wharf_catalog::{SqlType, Table};
use wharf_values::{SqlError, SqlState};

use crate::bind::BindContext;
use crate::copy::Reject;
use crate::copy_intake::Intake;
use crate::dml::write::Write;
use crate::names::find_relation;
use crate::session::{Branch, Session};

const COLUMNS: [(&str, SqlType); 5] = [
    ("file", SqlType::Text),
    ("line", SqlType::BigInt),
    ("column", SqlType::Text),
    ("error", SqlType::Text),
    ("text", SqlType::Text),
];

/// The table of a name, which is made when there is none.
///
/// # Errors
/// `42601` for what is no name, `42703` and `42804` for a table that lacks the columns.
pub(super) async fn table(session: &mut Session, name: &str) -> Result<Arc<Table>, SqlError> {
    let parsed = parse(name)?;
    if let Err(error) = find(session, &parsed).await {
        if error.code != SqlState::UNDEFINED_TABLE {
            return Err(error);
        }
        let text =
            format!("CREATE TABLE {parsed} (file text, line bigint, \"column\" text, error text, \"text\" text)");
        let statement = crate::statement::split(&text)?.pop();
        let statement = statement.ok_or_else(|| SqlError::internal("no statement for a rejects table"))?;
        Box::pin(crate::ddl::run(session, &statement)).await?;
    }
    let table = find(session, &parsed).await?;
    for (name, ty) in &COLUMNS {
        let Some(column) = table.columns.iter().find(|column| column.name == *name) else {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
            return Err(SqlError::new(SqlState::UNDEFINED_COLUMN, message).with_hint(
                "A rejects table has the columns file text, line bigint, \"column\" text, error text, text text.",
            ));
        };
        if column.ty != *ty {
            let message = format!("column \"{name}\" of relation \"{}\" is of type {}", table.name, column.ty);
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, format!("{message} instead of {ty}")));
        }
    }
    Ok(table)
}

fn parse(name: &str) -> Result<ObjectName, SqlError> {
    let invalid = || SqlError::new(SqlState::SYNTAX_ERROR, format!("invalid name syntax: \"{name}\""));
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(name).map_err(|_| invalid())?;
    let parsed = parser.parse_object_name(false).map_err(|_| invalid())?;
    match parser.peek_token().token {
        sqlparser::tokenizer::Token::EOF => Ok(parsed),
        _ => Err(invalid()),
    }
}

async fn find(session: &mut Session, name: &ObjectName) -> Result<Arc<Table>, SqlError> {
    let catalog = session.catalog().await?;
    let context = session.bind_context(catalog);
    match find_relation(name, &context)?.as_table() {
        Some(table) => Ok(Arc::clone(table)),
        None => Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a table"))),
    }
}

/// Writes rejected rows, to `main` whichever branch the others go to.
///
/// # Errors
/// `23502` for other columns that take no nulls, and what the lake says.
pub(super) async fn write(
    session: &Session,
    table: &Arc<Table>,
    rejects: Vec<Reject>,
    context: &BindContext,
) -> Result<Write, SqlError> {
    let places = COLUMNS.iter().filter_map(|(name, _)| table.columns.iter().position(|column| column.name == *name));
    let intake = Intake::open(session, table, Branch::Main, places.collect(), false, context).await?;
    let mut rows = intake.rows(&session.engine);
    let text = |values: &dyn Fn(&Reject) -> Option<String>| -> ArrayRef {
        Arc::new(rejects.iter().map(values).collect::<StringViewArray>())
    };
    let columns: [ArrayRef; 5] = [
        text(&|reject| reject.file.as_deref().map(str::to_owned)),
        Arc::new(rejects.iter().map(|reject| Some(reject.line as i64)).collect::<Int64Array>()),
        text(&|reject| reject.column.clone()),
        text(&|reject| Some(reject.error.clone())),
        text(&|reject| Some(reject.text.clone())),
    ];
    if !rejects.is_empty() {
        rows.write(&columns).await?;
    }
    let (_, files) = rows.into_files().await?;
    Ok(Write { table: Arc::clone(table), branch: Branch::Main, files, loaded: None })
}
