//! `CREATE TABLE t (LIKE other ..)`: what of the other table comes with its columns. References never do, as in PostgreSQL.

use sqlparser::ast;
use wharf_catalog::{Column, Relation, Rule, Table};
use wharf_values::SqlError;

use super::constraints::{Wanted, What};
use crate::bind::BindContext;
use crate::dml::constants;
use crate::names::find_relation;
use crate::syntax::LikeOptions;

/// What another table gives to a new one.
#[derive(Default)]
pub(super) struct Copied {
    pub(super) columns: Vec<Column>,
    pub(super) constraints: Vec<Wanted>,
}

/// Reads the other table, or view.
///
/// # Errors
/// `42P01`.
pub(super) fn copied(
    like: &ast::CreateTableLikeKind,
    options: LikeOptions,
    context: &BindContext,
) -> Result<Copied, SqlError> {
    let (ast::CreateTableLikeKind::Plain(like) | ast::CreateTableLikeKind::Parenthesized(like)) = like;
    let relation = find_relation(&like.name, context)?;
    let column = |column: &Column| Column {
        comment: column.comment.clone().filter(|_| options.comments),
        default: column.default.clone().filter(|_| options.defaults),
        ..column.clone()
    };
    let columns = relation.columns().iter().map(column).collect();
    let constraints = match &relation {
        Relation::Table(table) => constraints(table, options)?,
        Relation::View(_) | Relation::Foreign(_) => Vec::new(),
    };
    Ok(Copied { columns, constraints })
}

/// The checks under their names, and the keys, which get names of the new table's.
fn constraints(table: &Table, options: LikeOptions) -> Result<Vec<Wanted>, SqlError> {
    let name = |id: &i32| table.columns.iter().find(|column| column.field_id == *id).map(|column| column.name.clone());
    let mut wanted = Vec::new();
    for constraint in &table.constraints {
        let (name, what) = match &constraint.rule {
            Rule::Check { expression, .. } if options.constraints => {
                let condition = constants::parse(expression)?;
                (Some(constraint.name.clone()), What::Check(Box::new(condition)))
            }
            Rule::Key { primary, columns, nulls_distinct, .. } if options.indexes => {
                let columns = columns.iter().map(name).collect::<Option<Vec<_>>>();
                let columns = columns.ok_or_else(|| SqlError::internal("a key over columns that are not there"))?;
                (None, What::Key { primary: *primary, columns, nulls_distinct: *nulls_distinct })
            }
            Rule::Check { .. } | Rule::Key { .. } | Rule::Reference { .. } => continue,
        };
        wanted.push(Wanted { name, what, valid: true });
    }
    Ok(wanted)
}
