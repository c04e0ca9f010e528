//! CREATE VIEW: a query's text, with the names in it fixed to what they mean now.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{self, ObjectName, ObjectNamePart, VisitMut, VisitorMut};
use wharf_catalog::{Column, Command, SqlType};
use wharf_values::{SqlError, SqlState, mapping};

use super::{propose, unsupported_clause};
use crate::bind::names::{display_name, fold};
use crate::bind::{BindContext, analyze, planner};
use crate::error::from_datafusion;
use crate::names::{new_relation_name, quoted, split_name};
use crate::session::Session;

pub(super) async fn create(session: &mut Session, create: &ast::CreateView) -> Result<(), SqlError> {
    if create.materialized {
        return Err(unsupported_clause("CREATE VIEW", "MATERIALIZED"));
    }
    if create.temporary {
        return Err(unsupported_clause("CREATE VIEW", "TEMPORARY"));
    }
    let catalog = session.catalog().await?;
    let context = session.bind_context(Arc::clone(&catalog));
    let name = new_relation_name(&create.name, &context)?;
    let mut query = create.query.as_ref().clone();
    qualify(&mut query, &context)?;
    let planned = planner::plan_query(&query, &[], &context, &session.reader()).await?;
    let plan = analyze(planned.plan, &context).map_err(from_datafusion)?;
    if create.columns.len() > plan.schema().fields().len() {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "CREATE VIEW specifies more column names than columns"));
    }
    let mut columns = Vec::new();
    for (index, field) in plan.schema().fields().iter().enumerate() {
        let given = create.columns.get(index).map(|column| fold(&column.name));
        let ty = match mapping::sql_type(field) {
            SqlType::Unknown => SqlType::Text,
            ty => ty,
        };
        columns.push(Column {
            name: given.unwrap_or_else(|| display_name(field.name()).to_owned()),
            ty,
            nullable: true,
            field_id: index as i32 + 1,
            comment: None,
            default: None,
        });
    }
    let depends_on: BTreeSet<u32> = planned.reads.into_iter().collect();
    let command = Command::CreateView {
        database: session.identity.database,
        name,
        columns,
        definition: printed(query),
        depends_on: depends_on.into_iter().collect(),
        owner: session.identity.role_oid,
        or_replace: create.or_replace,
    };
    propose(session, command).await.map(drop)
}

/// The text of a query, which reads back as the same query.
pub(super) fn printed(mut query: ast::Query) -> String {
    crate::syntax::make_printable(&mut query);
    query.to_string()
}

/// Writes the schema in front of every relation found along the search path, so that the view means the same later.
fn qualify(query: &mut ast::Query, context: &BindContext) -> Result<(), SqlError> {
    match VisitMut::visit(query, &mut Qualifier { context, ctes: Vec::new() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Qualifier<'a> {
    context: &'a BindContext,
    /// Names that stand for a WITH query rather than a relation.
    ctes: Vec<String>,
}

impl VisitorMut for Qualifier<'_> {
    type Break = Box<SqlError>;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Self::Break> {
        if let Some(with) = &query.with {
            self.ctes.extend(with.cte_tables.iter().map(|cte| fold(&cte.alias.name)));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<Self::Break> {
        let (schema, name) = match split_name(relation, self.context) {
            Ok(parts) => parts,
            Err(error) => return ControlFlow::Break(Box::new(error)),
        };
        if schema.is_some() || self.ctes.contains(&name) {
            return ControlFlow::Continue(());
        }
        let find = |name: &str| self.context.search_path.find(&self.context.catalog, self.context.database, name);
        // A metadata table is where its table is.
        let found = find(&name).or_else(|| find(wharf_lake::Inspection::split(&name)?.0));
        if let Some(relation_found) = found
            && let Some(namespace) = self.context.catalog.namespace(relation_found.namespace())
        {
            *relation = ObjectName(vec![
                ObjectNamePart::Identifier(quoted(&namespace.name)),
                ObjectNamePart::Identifier(quoted(&name)),
            ]);
        }
        ControlFlow::Continue(())
    }
}
