//! SET and SHOW, of settings and of the transaction.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray};
use sqlparser::ast;
use wharf_values::{SqlError, SqlState};

use super::Session;
use super::dispatch::{text_columns, text_rows};
use super::result::Outcome;
use crate::bind::names::fold;
use crate::settings::Settings;
use crate::syntax::Clauses;

impl Session {
    pub(super) fn set(&mut self, set: &ast::Set, clauses: Clauses) -> Result<Outcome, SqlError> {
        match set {
            ast::Set::SingleAssignment { scope, variable, values, .. } => {
                let name = setting_name(variable);
                let local = matches!(scope, Some(ast::ContextModifier::Local));
                if let [ast::Expr::Identifier(word)] = values.as_slice()
                    && word.quote_style.is_none()
                    && word.value.eq_ignore_ascii_case("default")
                {
                    if !self.set_characteristic(&name, None)? {
                        self.remember_local(&name, local)?;
                        self.settings.reset(&name)?;
                    }
                } else {
                    let value = setting_value(&name, values)?;
                    if !self.set_characteristic(&name, Some(&value))? {
                        self.remember_local(&name, local)?;
                        self.settings.set(&name, &value)?;
                    }
                }
            }
            ast::Set::SetTimeZone { local, value } => {
                self.remember_local("TimeZone", *local)?;
                match value {
                    ast::Expr::Identifier(word) if matches!(fold(word).as_str(), "default" | "local") => {
                        self.settings.reset("TimeZone")?;
                    }
                    ast::Expr::Interval(interval) => {
                        let zone = zone_of_interval(&interval.value)?;
                        self.settings.set("TimeZone", &zone)?;
                    }
                    value => self.settings.set("TimeZone", &setting_value("TimeZone", std::slice::from_ref(value))?)?,
                }
            }
            ast::Set::SetNames { charset_name, .. } => self.settings.set("client_encoding", &charset_name.value)?,
            ast::Set::SetNamesDefault {} => self.settings.reset("client_encoding")?,
            ast::Set::SetTransaction { snapshot: Some(_), .. } => {
                return Err(SqlError::unsupported("SET TRANSACTION SNAPSHOT is not supported")
                    .with_hint("FOR SYSTEM_TIME AS OF reads a table as it was at a time."));
            }
            ast::Set::SetTransaction { modes, session, .. } => {
                self.set_transaction(modes, clauses.deferrable, *session)?;
            }
            ast::Set::SetRole { role_name, .. } => match role_name {
                Some(name) if fold(name) != self.identity.role => {
                    return Err(
                        SqlError::unsupported("SET ROLE is not supported").with_hint("Connect as the role instead.")
                    );
                }
                _ => {}
            },
            other => return Err(SqlError::unsupported(format!("{other} is not supported"))),
        }
        Ok(Outcome::Complete("SET".to_owned()))
    }

    pub(super) fn remember_local(&mut self, name: &str, local: bool) -> Result<(), SqlError> {
        if !local {
            return Ok(());
        }
        if self.transaction.is_none() {
            self.notice(
                "WARNING",
                SqlError::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "SET LOCAL can only be used in transaction blocks"),
            );
        }
        let value = self.settings.get(name)?;
        self.local_settings.push((name.to_owned(), value));
        Ok(())
    }

    pub(super) fn show(&mut self, name: &str) -> Result<Outcome, SqlError> {
        if name == "all" {
            let all = self.settings.all();
            let (names, values): (Vec<_>, Vec<_>) = all.into_iter().unzip();
            let descriptions = vec![""; names.len()];
            let columns = text_columns(&["name", "setting", "description"]);
            let arrays: Vec<ArrayRef> = vec![
                Arc::new(StringViewArray::from(names)),
                Arc::new(values.iter().map(|value| Some(value.as_str())).collect::<StringViewArray>()),
                Arc::new(StringViewArray::from(descriptions)),
            ];
            return Ok(Outcome::Rows(text_rows(columns, arrays, "SHOW")?));
        }
        let characteristic = match &self.transaction {
            Some(transaction) => transaction.characteristic(name),
            None => self.new_transaction(false).characteristic(name),
        };
        let value = characteristic.map_or_else(|| self.settings.get(name), Ok)?;
        let columns = text_columns(&[&Settings::spelling(name)]);
        Ok(Outcome::Rows(text_rows(columns, vec![Arc::new(StringViewArray::from(vec![value.as_str()]))], "SHOW")?))
    }
}

pub(super) fn show_name(variable: &[ast::Ident]) -> String {
    let name = variable.iter().map(|part| part.value.to_lowercase()).collect::<Vec<_>>();
    match name.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["time", "zone"] => "timezone".to_owned(),
        ["transaction", "isolation", "level"] => "transaction_isolation".to_owned(),
        ["session", "authorization"] => "session_authorization".to_owned(),
        parts => parts.join("."),
    }
}

pub(super) fn setting_name(name: &ast::ObjectName) -> String {
    name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect::<Vec<_>>().join(".")
}

/// The value of SET as text; a list is joined by commas.
fn setting_value(name: &str, values: &[ast::Expr]) -> Result<String, SqlError> {
    let parts = values
        .iter()
        .map(|value| match value {
            ast::Expr::Value(value) => match &value.value {
                ast::Value::SingleQuotedString(text) | ast::Value::DoubleQuotedString(text) => Ok(text.clone()),
                ast::Value::Number(number, _) => Ok(number.clone()),
                ast::Value::Boolean(value) => Ok(if *value { "on" } else { "off" }.to_owned()),
                other => Err(SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{other}\""))),
            },
            ast::Expr::Identifier(word) if word.quote_style.is_some() => {
                Ok(if name == "search_path" { format!("\"{}\"", word.value) } else { word.value.clone() })
            }
            ast::Expr::Identifier(word) => Ok(word.value.clone()),
            ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => {
                Ok(format!("-{}", setting_value(name, std::slice::from_ref(expr))?))
            }
            ast::Expr::Interval(interval) => setting_value(name, std::slice::from_ref(&interval.value)),
            other => Ok(other.to_string()),
        })
        .collect::<Result<Vec<_>, SqlError>>()?;
    Ok(parts.join(", "))
}

/// `SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE`: so far east of Greenwich, as PostgreSQL shows it: `<+02>-02`. A name
/// like `+02:00` would be so far west.
fn zone_of_interval(value: &ast::Expr) -> Result<String, SqlError> {
    let ast::Expr::Value(value) = value else { return Err(invalid_zone("")) };
    let text = value.clone().into_string().unwrap_or_default();
    let digits = text.trim().trim_start_matches(['+', '-']);
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
    let number = |part: &str| part.parse::<u8>().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()));
    match (number(hours), number(minutes)) {
        (Some(hours @ 0..=167), Some(minutes @ 0..=59)) => {
            let (east, west) = if text.trim().starts_with('-') { ('-', '+') } else { ('+', '-') };
            let offset = if minutes == 0 { format!("{hours:02}") } else { format!("{hours:02}:{minutes:02}") };
            Ok(format!("<{east}{offset}>{west}{offset}"))
        }
        _ => Err(invalid_zone(&text)),
    }
}

fn invalid_zone(text: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"TimeZone\": \"{text}\""))
}
