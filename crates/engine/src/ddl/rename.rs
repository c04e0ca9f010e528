//! The queries of views, when something they read gets another name.
//!
//! A view's query is kept as text with the schema before every relation. So that it means the same after a rename, the new
//! name is written where the old one stood, and the old names become aliases: of the relation, and of its columns.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, ObjectName, ObjectNamePart, Select, SelectItem, SelectItemQualifiedWildcardKind, Statement, TableAlias,
    TableAliasColumnDef, TableFactor, VisitMut, VisitorMut,
};
use wharf_catalog::{Column, RelationName, State, View, ViewText};
use wharf_lake::Inspection;
use wharf_values::SqlError;

use crate::bind::names::fold;
use crate::names::quoted;

/// What gets another name.
pub(super) enum Renamed<'a> {
    Schema {
        old: String,
        new: String,
    },
    Relation {
        old: RelationName,
        new: String,
    },
    /// A column of a relation, whose columns have these names before.
    Column {
        of: RelationName,
        columns: &'a [Column],
    },
    /// Nothing does: a relation gets more columns, and stays one with these.
    Fixed {
        of: RelationName,
        columns: &'a [Column],
    },
    /// A relation goes to another schema.
    Moved {
        old: RelationName,
        schema: String,
    },
}

/// The new texts of the views that read one of the relations.
///
/// # Errors
/// `XX000` when a view's text cannot be read.
pub(super) fn views(
    state: &State,
    relations: impl IntoIterator<Item = u32>,
    renamed: &Renamed<'_>,
) -> Result<Vec<ViewText>, SqlError> {
    let readers: BTreeSet<u32> = relations.into_iter().flat_map(|oid| state.dependents(oid)).collect();
    let mut texts = Vec::new();
    for view in readers.into_iter().filter_map(|oid| state.relation_by_oid(oid)?.as_view()) {
        let expected = view.definition.clone();
        texts.push(ViewText { oid: view.oid, expected, definition: text(view, renamed)? });
    }
    Ok(texts)
}

/// The new text of a view.
///
/// # Errors
/// `XX000` when its text cannot be read.
pub(super) fn text(view: &View, renamed: &Renamed<'_>) -> Result<String, SqlError> {
    let Some(Statement::Query(mut query)) = crate::statement::parse(&view.definition)?.pop() else {
        return Err(SqlError::internal(format!("view \"{}\" is not a query", view.name)));
    };
    let _ = VisitMut::visit(&mut query, &mut Writer { renamed });
    Ok(super::view::printed(*query))
}

struct Writer<'a> {
    renamed: &'a Renamed<'a>,
}

/// The last two parts of a name: schema and relation.
pub(super) fn schema_and_name(name: &ObjectName) -> Option<(String, String)> {
    let mut parts = name.0.iter().rev().filter_map(|part| part.as_ident()).map(fold);
    let relation = parts.next()?;
    Some((parts.next()?, relation))
}

impl Writer<'_> {
    fn concerns(&self, schema: &str, relation: &str) -> bool {
        match self.renamed {
            Renamed::Schema { old, .. } => old == schema,
            Renamed::Relation { old: name, .. }
            | Renamed::Column { of: name, .. }
            | Renamed::Fixed { of: name, .. }
            | Renamed::Moved { old: name, .. } => name.schema == schema && name.name == relation,
        }
    }
}

impl VisitorMut for Writer<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, version, .. } = factor else { return ControlFlow::Continue(()) };
        let Some((schema, relation)) = schema_and_name(name) else { return ControlFlow::Continue(()) };
        // `t$files` goes with `t`, and has columns of its own; so does a version, which has the columns it had.
        let (base, suffix) = match Inspection::split(&relation) {
            Some((base, _)) if !self.concerns(&schema, &relation) => {
                (base.to_owned(), relation[base.len()..].to_owned())
            }
            _ => (relation.clone(), String::new()),
        };
        let own_columns = !suffix.is_empty() || version.is_some();
        if !self.concerns(&schema, &base) || (own_columns && matches!(self.renamed, Renamed::Column { .. })) {
            return ControlFlow::Continue(());
        }
        if let Renamed::Fixed { .. } = self.renamed {
            // Afterwards, since what takes its place names it again.
            return ControlFlow::Continue(());
        }
        let alias = alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            name: quoted(&relation),
            columns: Vec::new(),
            at: None,
        });
        let (schema, relation) = match self.renamed {
            Renamed::Schema { new, .. } => (new.clone(), relation),
            Renamed::Relation { new, .. } => (schema, format!("{new}{suffix}")),
            Renamed::Moved { schema: new, .. } => (new.clone(), relation),
            Renamed::Fixed { .. } => (schema, relation),
            Renamed::Column { columns, .. } => {
                let missing = columns.iter().skip(alias.columns.len());
                let missing = missing.map(|column| TableAliasColumnDef { name: quoted(&column.name), data_type: None });
                alias.columns.extend(missing);
                (schema, relation)
            }
        };
        *name = ObjectName(vec![
            ObjectNamePart::Identifier(quoted(&schema)),
            ObjectNamePart::Identifier(quoted(&relation)),
        ]);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let Renamed::Fixed { of, columns } = self.renamed else { return ControlFlow::Continue(()) };
        // A version has the columns it had.
        let TableFactor::Table { name, alias, version: None, .. } = &*factor else {
            return ControlFlow::Continue(());
        };
        let found = schema_and_name(name);
        let Some((schema, relation)) = found.filter(|(schema, name)| *schema == of.schema && *name == of.name) else {
            return ControlFlow::Continue(());
        };
        let names = columns.iter().map(|column| quoted(&column.name).to_string()).collect::<Vec<_>>().join(", ");
        let text = format!("SELECT {names} FROM {}.{}", quoted(&schema), quoted(&relation));
        if let Ok(Some(Statement::Query(subquery))) = crate::statement::parse(&text).map(|mut parsed| parsed.pop()) {
            let alias = alias.clone().unwrap_or_else(|| TableAlias {
                explicit: true,
                name: quoted(&relation),
                columns: Vec::new(),
                at: None,
            });
            *factor = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
        }
        ControlFlow::Continue(())
    }

    /// `schema.relation.column` is found through the alias from now on.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [.., schema, relation, _] = parts.as_slice()
            && self.concerns(&fold(schema), &fold(relation))
        {
            parts.drain(..parts.len() - 2);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
                && schema_and_name(name).is_some_and(|(schema, relation)| self.concerns(&schema, &relation))
            {
                name.0.drain(..name.0.len() - 1);
            }
        }
        ControlFlow::Continue(())
    }
}
