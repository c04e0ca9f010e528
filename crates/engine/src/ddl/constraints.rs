//! Constraints as statements ask for them, and as the catalog keeps them.

use std::ops::ControlFlow;

use sqlparser::ast::{
    self, ColumnOption, ConstraintReferenceMatchKind, Expr, ReferentialAction, TableConstraint, VisitMut, VisitorMut,
};
use wharf_catalog::{Action, Column, Constraint, Relation, Rule, SqlType};
use wharf_values::{SqlError, SqlState};

use super::unsupported_clause;
use crate::bind::BindContext;
use crate::bind::names::fold;
use crate::dml::checks;
use crate::names::{find_relation, quoted};
use crate::session::Session;

/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// A constraint that a statement asks for.
pub(super) struct Wanted {
    pub(super) name: Option<String>,
    pub(super) what: What,
    /// Rows that are there are held against it.
    pub(super) valid: bool,
}

pub(super) enum What {
    Check(Box<Expr>),
    Key { primary: bool, columns: Vec<String>, nulls_distinct: bool },
    Reference(Box<Reference>),
}

pub(super) struct Reference {
    columns: Vec<String>,
    table: ast::ObjectName,
    targets: Vec<String>,
    on_update: Action,
    on_delete: Action,
    full: bool,
}

impl Wanted {
    /// The columns of a primary key.
    pub(super) fn primary_columns(&self) -> &[String] {
        match &self.what {
            What::Key { primary: true, columns, .. } => columns,
            _ => &[],
        }
    }

    /// Is it one that no row is held against?
    pub(super) fn is_not_enforced(&self) -> bool {
        !matches!(self.what, What::Check(_))
    }

    /// PostgreSQL makes checks first, then keys, then what refers to them.
    pub(super) fn order(&self) -> u8 {
        match self.what {
            What::Check(_) => 0,
            What::Key { .. } => 1,
            What::Reference(_) => 2,
        }
    }
}

/// Those in the definition of a column.
///
/// # Errors
/// `0A000` for what there is not.
pub(super) fn of_column(definition: &ast::ColumnDef) -> Result<Vec<Wanted>, SqlError> {
    let column = fold(&definition.name);
    let mut found = Vec::new();
    for option in &definition.options {
        let what = match &option.option {
            ColumnOption::PrimaryKey(_) => {
                What::Key { primary: true, columns: vec![column.clone()], nulls_distinct: true }
            }
            ColumnOption::Unique(unique) => What::Key {
                primary: false,
                columns: vec![column.clone()],
                nulls_distinct: unique.nulls_distinct != ast::NullsDistinctOption::NotDistinct,
            },
            ColumnOption::Check(check) => What::Check(check.expr.clone()),
            ColumnOption::ForeignKey(key) => reference(key, vec![column.clone()])?,
            _ => continue,
        };
        found.push(Wanted { name: option.name.as_ref().map(fold), what, valid: true });
    }
    Ok(found)
}

/// One that stands by itself.
///
/// # Errors
/// `0A000` for what there is not.
pub(super) fn of_table(constraint: &TableConstraint, statement: &str) -> Result<Wanted, SqlError> {
    let (name, what) = match constraint {
        TableConstraint::Check(check) => (&check.name, What::Check(check.expr.clone())),
        TableConstraint::PrimaryKey(key) => {
            (&key.name, What::Key { primary: true, columns: key_columns(&key.columns)?, nulls_distinct: true })
        }
        TableConstraint::Unique(key) => {
            let nulls_distinct = key.nulls_distinct != ast::NullsDistinctOption::NotDistinct;
            (&key.name, What::Key { primary: false, columns: key_columns(&key.columns)?, nulls_distinct })
        }
        TableConstraint::ForeignKey(key) => (&key.name, reference(key, key.columns.iter().map(fold).collect())?),
        other => return Err(unsupported_clause(statement, &format!("constraint {other}"))),
    };
    Ok(Wanted { name: name.as_ref().map(fold), what, valid: true })
}

fn key_columns(columns: &[ast::IndexColumn]) -> Result<Vec<String>, SqlError> {
    let name = |part: &ast::IndexColumn| match &part.column.expr {
        Expr::Identifier(name) => Ok(fold(name)),
        other => Err(SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{other}\""))),
    };
    columns.iter().map(name).collect()
}

fn reference(key: &ast::ForeignKeyConstraint, columns: Vec<String>) -> Result<What, SqlError> {
    if let Some(ConstraintReferenceMatchKind::Partial) = key.match_kind {
        return Err(
            SqlError::unsupported("MATCH PARTIAL not yet implemented").with_hint("Use MATCH SIMPLE or MATCH FULL.")
        );
    }
    Ok(What::Reference(Box::new(Reference {
        columns,
        table: key.foreign_table.clone(),
        targets: key.referred_columns.iter().map(fold).collect(),
        on_update: action(key.on_update),
        on_delete: action(key.on_delete),
        full: matches!(key.match_kind, Some(ConstraintReferenceMatchKind::Full)),
    })))
}

fn action(action: Option<ReferentialAction>) -> Action {
    match action {
        None | Some(ReferentialAction::NoAction) => Action::NoAction,
        Some(ReferentialAction::Restrict) => Action::Restrict,
        Some(ReferentialAction::Cascade) => Action::Cascade,
        Some(ReferentialAction::SetNull) => Action::SetNull,
        Some(ReferentialAction::SetDefault) => Action::SetDefault,
    }
}

/// The table that constraints are added to.
pub(super) struct Place<'a> {
    pub(super) session: &'a Session,
    pub(super) context: &'a BindContext,
    /// Its name.
    pub(super) table: &'a str,
    /// The name and oid of its schema.
    pub(super) schema: &'a str,
    pub(super) namespace: u32,
    /// Its oid; 0 for one that is being made.
    pub(super) oid: u32,
    pub(super) columns: &'a [Column],
}

impl Place<'_> {
    /// Adds a constraint to those of the table.
    ///
    /// # Errors
    /// `42710` and `42P07` for a name that is taken, `42703` for columns that are not there, `42P16` for a second primary
    /// key, `42830` and `42704` for a reference to what is no key, and what binding a check refuses.
    pub(super) async fn add(&self, wanted: Wanted, list: &mut Vec<Constraint>) -> Result<(), SqlError> {
        if let Some(name) = &wanted.name
            && list.iter().any(|other| other.name == *name)
        {
            let message = format!("constraint \"{name}\" for relation \"{}\" already exists", self.table);
            return Err(SqlError::new(SqlState::DUPLICATE_OBJECT, message));
        }
        let Wanted { name, what, valid } = wanted;
        let constraint = match what {
            What::Check(condition) => {
                let (condition, columns) = self.own_names(*condition)?;
                checks::bind(self.session, condition.clone(), self.table, self.columns).await?;
                let name = name.unwrap_or_else(|| {
                    let only = match columns.as_slice() {
                        [only] => self.columns.iter().find(|column| column.field_id == *only),
                        _ => None,
                    };
                    self.free_name(only.map(|column| column.name.as_str()), "check", list)
                });
                let mut condition = condition;
                crate::syntax::make_printable(&mut condition);
                let rule = Rule::Check { expression: condition.to_string(), columns };
                Constraint { oid: 0, name, rule, validated: valid }
            }
            What::Key { primary, columns, nulls_distinct } => {
                if primary && list.iter().any(Constraint::is_primary) {
                    let message = format!("multiple primary keys for table \"{}\" are not allowed", self.table);
                    return Err(SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message));
                }
                let ids = self.key(&columns, primary)?;
                let name = match name {
                    Some(name) if self.is_relation(&name) => {
                        let message = format!("relation \"{name}\" already exists");
                        return Err(SqlError::new(SqlState::DUPLICATE_TABLE, message));
                    }
                    Some(name) => name,
                    None if primary => self.free_name(None, "pkey", list),
                    None => self.free_name(Some(&columns.join("_")), "key", list),
                };
                let rule = Rule::Key { primary, columns: ids, index: 0, nulls_distinct };
                Constraint { oid: 0, name, rule, validated: true }
            }
            What::Reference(reference) => {
                let name = name.unwrap_or_else(|| self.free_name(Some(&reference.columns.join("_")), "fkey", list));
                let rule = self.refer(*reference, &name, list)?;
                Constraint { oid: 0, name, rule, validated: valid }
            }
        };
        list.push(constraint);
        Ok(())
    }

    /// The columns of a key, each once.
    fn key(&self, columns: &[String], primary: bool) -> Result<Vec<i32>, SqlError> {
        let mut ids = Vec::with_capacity(columns.len());
        for name in columns {
            let found = self.columns.iter().find(|column| column.name == *name).ok_or_else(|| {
                SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" named in key does not exist"))
            })?;
            if ids.contains(&found.field_id) {
                let kind = if primary { "primary key" } else { "unique" };
                let message = format!("column \"{name}\" appears twice in {kind} constraint");
                return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
            }
            ids.push(found.field_id);
        }
        Ok(ids)
    }

    fn refer(&self, reference: Reference, name: &str, list: &[Constraint]) -> Result<Rule, SqlError> {
        let Reference { columns, table, targets, on_update, on_delete, full } = reference;
        let missing = |column: &String| {
            let message = format!("column \"{column}\" referenced in foreign key constraint does not exist");
            SqlError::new(SqlState::UNDEFINED_COLUMN, message)
        };
        let ids = |names: &[String], of: &[Column]| {
            let id = |name: &String| {
                let found = of.iter().find(|column| column.name == *name);
                found.map(|column| column.field_id).ok_or_else(|| missing(name))
            };
            names.iter().map(id).collect::<Result<Vec<i32>, SqlError>>()
        };
        let own = ids(&columns, self.columns)?;
        let named = crate::names::existing_relation_name(&table, self.context)?;
        let other;
        let (oid, target_name, target_columns, keys) = if named.schema == self.schema && named.name == self.table {
            (self.oid, self.table, self.columns, list)
        } else {
            match find_relation(&table, self.context)? {
                Relation::Table(found) => other = found,
                Relation::Foreign(table) => {
                    let message = format!("referenced relation \"{}\" is not a table", table.name);
                    return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
                }
                Relation::View(view) => {
                    let message = format!("referenced relation \"{}\" is not a table", view.name);
                    return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
                }
            }
            (other.oid, other.name.as_str(), other.columns.as_slice(), other.constraints.as_slice())
        };
        let (targets, key) = if targets.is_empty() {
            let primary = keys.iter().find(|key| key.is_primary()).ok_or_else(|| {
                let message = format!("there is no primary key for referenced table \"{target_name}\"");
                SqlError::new(SqlState::UNDEFINED_OBJECT, message)
            })?;
            (primary.columns().to_vec(), primary)
        } else {
            let targets = ids(&targets, target_columns)?;
            let sorted = |ids: &[i32]| {
                let mut ids = ids.to_vec();
                ids.sort_unstable();
                ids
            };
            let key = keys.iter().find(|key| key.is_key() && sorted(key.columns()) == sorted(&targets));
            let key = key.ok_or_else(|| {
                let message =
                    format!("there is no unique constraint matching given keys for referenced table \"{target_name}\"");
                SqlError::new(SqlState::INVALID_FOREIGN_KEY, message)
            })?;
            (targets, key)
        };
        if targets.len() != own.len() {
            let message = "number of referencing and referenced columns for foreign key disagree";
            return Err(SqlError::new(SqlState::INVALID_FOREIGN_KEY, message));
        }
        for (own, target) in own.iter().zip(&targets) {
            let column = |id: &i32, of: &[Column]| of.iter().find(|column| column.field_id == *id).cloned();
            let (Some(own), Some(target)) = (column(own, self.columns), column(target, target_columns)) else {
                continue;
            };
            if !comparable(&own.ty, &target.ty) {
                let message = format!("foreign key constraint \"{name}\" cannot be implemented");
                return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message).with_detail(format!(
                    "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
                    own.name, target.name, own.ty, target.ty
                )));
            }
        }
        Ok(Rule::Reference { columns: own, table: oid, targets, key: key.name.clone(), on_update, on_delete, full })
    }

    /// A condition that names its columns without the table, and the columns in the order of their first use.
    fn own_names(&self, mut condition: Expr) -> Result<(Expr, Vec<i32>), SqlError> {
        struct Names<'a> {
            table: &'a str,
            columns: &'a [Column],
            found: Vec<i32>,
        }
        impl VisitorMut for Names<'_> {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
                if let Expr::CompoundIdentifier(parts) = expr
                    && let [table, column] = parts.as_slice()
                    && fold(table) == self.table
                {
                    *expr = Expr::Identifier(column.clone());
                }
                if let Expr::Identifier(name) = expr
                    && let Some(column) = self.columns.iter().find(|column| column.name == fold(name))
                    && !self.found.contains(&column.field_id)
                {
                    self.found.push(column.field_id);
                }
                ControlFlow::Continue(())
            }
        }
        let mut names = Names { table: self.table, columns: self.columns, found: Vec::new() };
        let _ = VisitMut::visit(&mut condition, &mut names);
        Ok((condition, names.found))
    }

    fn is_relation(&self, name: &str) -> bool {
        let catalog = &self.context.catalog;
        catalog.relation(self.namespace, name).is_some() || catalog.key_table(self.namespace, name).is_some()
    }

    /// The name that PostgreSQL makes up: the first that is free.
    fn free_name(&self, columns: Option<&str>, label: &str, list: &[Constraint]) -> String {
        let candidates = std::iter::once(String::new()).chain((1..).map(|number: u32| number.to_string()));
        let names = candidates.map(|number| object_name(self.table, columns, &format!("{label}{number}")));
        let taken = |name: &String| {
            list.iter().any(|other| other.name == *name)
                || (label != "check" && label != "fkey" && self.is_relation(name))
        };
        names.into_iter().find(|name| !taken(name)).unwrap_or_else(|| label.to_owned())
    }
}

/// PostgreSQL's `makeObjectName`: the longer of the two names gives way.
fn object_name(table: &str, columns: Option<&str>, label: &str) -> String {
    let available = MAX_NAME_BYTES.saturating_sub(label.len() + 1 + usize::from(columns.is_some()));
    let (mut first, mut second) = (table.len(), columns.map_or(0, str::len));
    while first + second > available {
        if first > second { first -= 1 } else { second -= 1 }
    }
    let cut = |text: &str, length: usize| {
        let end = (0..=length.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text[..end].to_owned()
    };
    match columns {
        Some(columns) => format!("{}_{}_{label}", cut(table, first), cut(columns, second)),
        None => format!("{}_{label}", cut(table, first)),
    }
}

/// Whether there is an equality between two types, as keys need it.
fn comparable(left: &SqlType, right: &SqlType) -> bool {
    let moment = |ty: &SqlType| matches!(ty, SqlType::Date | SqlType::Timestamp | SqlType::TimestampTz);
    left == right
        || (left.is_number() && right.is_number())
        || (left.is_string() && right.is_string())
        || (moment(left) && moment(right))
}

/// The text of a check under other names of columns, each with the one it had.
///
/// # Errors
/// `XX000` for a text that is no expression.
pub(super) fn renamed(expression: &str, names: &[(&str, &str)]) -> Result<String, SqlError> {
    struct Rename<'a>(&'a [(&'a str, &'a str)]);
    impl VisitorMut for Rename<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Identifier(name) = expr
                && let Some((_, new)) = self.0.iter().find(|(old, _)| fold(name) == *old)
            {
                *name = quoted(new);
            }
            ControlFlow::Continue(())
        }
    }
    let mut expr = crate::dml::constants::parse(expression)?;
    let _ = VisitMut::visit(&mut expr, &mut Rename(names));
    crate::syntax::make_printable(&mut expr);
    Ok(expr.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_cut_as_postgres_does() {
        assert_eq!(object_name("t", Some("a"), "check"), "t_a_check");
        let (table, column) = ("t".repeat(60), "c".repeat(40));
        let name = object_name(&table, Some(&column), "check1");
        assert_eq!(name.len(), 63);
        assert_eq!(name, format!("{}_{}_check1", "t".repeat(28), "c".repeat(27)));
    }

    #[test]
    fn a_renamed_column_is_renamed_in_a_check() {
        let of = |names: &[(&str, &str)]| renamed("a > 0 AND lower(b) <> 'a'", names).unwrap();
        assert_eq!(of(&[("a", "x y")]), "\"x y\" > 0 AND lower(b) <> 'a'");
        assert_eq!(of(&[("a", "b"), ("b", "a")]), "\"b\" > 0 AND lower(\"a\") <> 'a'");
    }
}
