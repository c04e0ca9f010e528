//! Constraints as SQL: what `pg_get_constraintdef` shows, and what the tables' metadata keeps.

use wharf_catalog::{Action, Column, Constraint, Relation, Rule, State, Table};

use crate::functions::quoting::push_identifier;

/// The SQL of a constraint, the same for every session: a table that it refers to is named with its schema.
pub(crate) fn definition(constraint: &Constraint, table: &Table, state: &State) -> String {
    definition_where(constraint, table, state, |target| {
        state.namespace(target.namespace).is_some_and(|schema| schema.name == "public")
    })
}

/// The SQL of a constraint; a table that it refers to is named with its schema unless it is visible.
pub(crate) fn definition_where(
    constraint: &Constraint,
    table: &Table,
    state: &State,
    visible: impl Fn(&Table) -> bool,
) -> String {
    let mut text = match &constraint.rule {
        Rule::Check { expression, .. } => format!("CHECK (({expression}))"),
        Rule::Key { primary, columns, nulls_distinct, .. } => {
            let word = match (primary, nulls_distinct) {
                (true, _) => "PRIMARY KEY",
                (false, true) => "UNIQUE",
                (false, false) => "UNIQUE NULLS NOT DISTINCT",
            };
            format!("{word} ({})", names(columns, &table.columns))
        }
        Rule::Reference { columns, table: target, targets, on_update, on_delete, full, .. } => {
            let own = (*target == table.oid || *target == 0).then_some(table);
            let found = state.relation_by_oid(*target).and_then(Relation::as_table).map(AsRef::as_ref);
            let mut text = format!("FOREIGN KEY ({}) REFERENCES ", names(columns, &table.columns));
            if let Some(target) = own.or(found) {
                if let Some(namespace) = state.namespace(target.namespace).filter(|_| !visible(target)) {
                    push_identifier(&namespace.name, &mut text);
                    text.push('.');
                }
                push_identifier(&target.name, &mut text);
                text.push_str(&format!("({})", names(targets, &target.columns)));
            }
            if *full {
                text.push_str(" MATCH FULL");
            }
            for (event, action) in [("UPDATE", on_update), ("DELETE", on_delete)] {
                if *action != Action::NoAction {
                    text.push_str(&format!(" ON {event} {}", action.words()));
                }
            }
            text
        }
    };
    if !constraint.validated {
        text.push_str(" NOT VALID");
    }
    text
}

/// The names of columns, with commas between.
pub(crate) fn names(ids: &[i32], columns: &[Column]) -> String {
    let mut text = String::new();
    for id in ids {
        if !text.is_empty() {
            text.push_str(", ");
        }
        let column = columns.iter().find(|column| column.field_id == *id);
        push_identifier(column.map_or("?", |column| &column.name), &mut text);
    }
    text
}
