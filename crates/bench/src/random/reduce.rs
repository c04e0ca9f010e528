//! Smaller statements that are like a given one: one part replaced by a smaller one of the same type, or left out.
//!
//! Whether such a statement is still right, PostgreSQL says. Only what would nearly always be wrong is mended here: names of
//! relations and columns that are gone become NULLs.

use std::collections::HashSet;

use super::syntax::{
    Action, Body, Change, Expression, FromClause, Group, Grouping, Node, Query, Relation, Select, Source, Statement,
};
use super::types::SqlType;
use super::walk::{self, Part};

/// What takes the place of a part.
enum Edit {
    Change(Change),
    Query(Query),
    Select(Select),
    From(FromClause),
    Relation(Relation),
    Expression(Expression),
}

/// All statements one step smaller, the smallest first.
pub(super) fn reductions(of: &Statement) -> Vec<Statement> {
    let mut edits = Vec::new();
    let mut position = 0;
    let mut whole = of.clone();
    if let Statement::Query(query) = &mut whole {
        let found = without_columns(query).into_iter().map(|(_, smaller)| Edit::Query(smaller));
        edits.extend(found.map(|edit| (0, edit)));
        edits.extend(inner_queries(query).into_iter().map(|inner| (0, Edit::Query(inner))));
    }
    walk::statement(&mut whole, &mut |part| {
        edits.extend(edits_of(&part).into_iter().map(|edit| (position, edit)));
        position += 1;
    });
    let size_of_all = size(of);
    let made = edits.into_iter().map(|(position, edit)| {
        let mut copy = of.clone();
        apply(&mut copy, position, edit);
        mend(&mut copy);
        (size(&copy), copy)
    });
    let mut smaller: Vec<(usize, Statement)> = made.filter(|(size, _)| *size < size_of_all).collect();
    smaller.sort_by_key(|(size, _)| *size);
    smaller.into_iter().map(|(_, statement)| statement).collect()
}

/// How much there is of a statement. What replaces a part has to be less, so that making smaller comes to an end.
pub(super) fn size(of: &Statement) -> usize {
    let mut total = 0;
    walk::statement(&mut of.clone(), &mut |part| {
        total += match part {
            Part::Change(change) => match &change.action {
                Action::Insert { columns, .. } => 1 + columns.len(),
                Action::Update { source, .. } => 1 + 4 * usize::from(source.is_some()),
                Action::Delete { .. } => 1,
            },
            Part::Query(query) => {
                let order = query
                    .order
                    .as_ref()
                    .map_or(0, |order| 1 + usize::from(order.limit.is_some()) + usize::from(order.offset.is_some()));
                2 + 2 * query.with.len() + order
            }
            Part::Select(select) => {
                let group = select.group.as_ref().map_or(0, |group| 1 + usize::from(group.grouping != Grouping::Plain));
                2 + usize::from(select.distinct) + select.items.len() + group
            }
            Part::From(FromClause::Relation(_)) => 0,
            Part::From(FromClause::Join(join)) => 2 + usize::from(join.kind != "JOIN"),
            Part::Relation(relation) => match &relation.source {
                Source::Table(_) => 3,
                Source::Cte(_) => 4,
                _ => 3 + relation.columns.len(),
            },
            Part::Expression(expression) => match &expression.node {
                Node::Literal(text) if *text == expression.ty.null() => 1,
                Node::Literal(_) => 2,
                Node::Column { .. } | Node::Key(_) => 3,
                Node::Window(window) => 4 + usize::from(window.ordered) + usize::from(!window.frame.is_empty()),
                _ => 4,
            },
        };
    });
    total
}

fn apply(statement: &mut Statement, position: usize, edit: Edit) {
    let mut edit = Some(edit);
    let mut at = 0;
    walk::statement(statement, &mut |part| {
        if at == position
            && let Some(edit) = edit.take()
        {
            match (part, edit) {
                (Part::Change(part), Edit::Change(edit)) => *part = edit,
                (Part::Query(part), Edit::Query(edit)) => *part = edit,
                (Part::Select(part), Edit::Select(edit)) => *part = edit,
                (Part::From(part), Edit::From(edit)) => *part = edit,
                (Part::Relation(part), Edit::Relation(edit)) => *part = edit,
                (Part::Expression(part), Edit::Expression(edit)) => *part = edit,
                _ => unreachable!("an edit is made of the part at its position"),
            }
        }
        at += 1;
    });
}

fn edits_of(part: &Part<'_>) -> Vec<Edit> {
    match part {
        Part::Change(change) => smaller_changes(change).into_iter().map(Edit::Change).collect(),
        Part::Query(query) => smaller_queries(query).into_iter().map(Edit::Query).collect(),
        Part::Select(select) => smaller_selects(select).into_iter().map(Edit::Select).collect(),
        Part::From(FromClause::Relation(_)) => Vec::new(),
        Part::From(FromClause::Join(join)) => {
            let inner = if join.condition.is_some() && join.kind != "JOIN" {
                let mut inner = (**join).clone();
                inner.kind = "JOIN";
                Some(FromClause::Join(Box::new(inner)))
            } else {
                None
            };
            [join.left.clone(), join.right.clone()].into_iter().chain(inner).map(Edit::From).collect()
        }
        Part::Relation(relation) => smaller_relations(relation).into_iter().map(Edit::Relation).collect(),
        Part::Expression(expression) => smaller_expressions(expression).into_iter().map(Edit::Expression).collect(),
    }
}

/// A changed copy.
fn with<T: Clone>(of: &T, change: impl FnOnce(&mut T)) -> T {
    let mut copy = of.clone();
    change(&mut copy);
    copy
}

fn smaller_changes(change: &Change) -> Vec<Change> {
    let mut found = Vec::new();
    match &change.action {
        Action::Insert { columns, query } => {
            for index in (0..columns.len()).filter(|index| !columns[*index].not_null) {
                let (mut columns, mut query) = (columns.clone(), query.clone());
                columns.remove(index);
                query.remove_column(index);
                found.push(Change { table: change.table, action: Action::Insert { columns, query } });
            }
        }
        Action::Update { set, source, filter, .. } => {
            for index in (0..set.len()).filter(|_| set.len() > 1) {
                found.push(with(change, |copy| {
                    if let Action::Update { set, .. } = &mut copy.action {
                        set.remove(index);
                    }
                }));
            }
            if source.is_some() || filter.is_some() {
                found.push(with(change, |copy| {
                    if let Action::Update { source, .. } = &mut copy.action {
                        *source = None;
                    }
                }));
                found.push(with(change, |copy| {
                    if let Action::Update { filter, .. } = &mut copy.action {
                        *filter = None;
                    }
                }));
            }
        }
        Action::Delete { .. } => {
            found.push(with(change, |copy| {
                if let Action::Delete { using, .. } = &mut copy.action {
                    *using = None;
                }
            }));
            found.push(with(change, |copy| {
                if let Action::Delete { filter, .. } = &mut copy.action {
                    *filter = None;
                }
            }));
        }
    }
    found
}

/// The queries inside of one, each as the whole statement, with the common table expressions that it may read. What it sees of the
/// queries around it, [`mend`] makes NULL.
fn inner_queries(query: &Query) -> Vec<Query> {
    let mut found = Vec::new();
    walk::query(&mut query.clone(), &mut |part| {
        if let Part::Query(inner) = part {
            found.push(Query { with: query.with.clone(), ..inner.clone() });
        }
    });
    // The first is the whole.
    found.split_off(1)
}

fn smaller_queries(query: &Query) -> Vec<Query> {
    let mut found = Vec::new();
    for index in 0..query.with.len() {
        found.push(with(query, |copy| drop(copy.with.remove(index))));
        // Its query in its place, wherever it is used.
        found.push(with(query, |copy| {
            let cte = copy.with.remove(index);
            walk::query(copy, &mut |part| {
                if let Part::Relation(relation) = part
                    && matches!(&relation.source, Source::Cte(name) if *name == cte.name)
                {
                    relation.source = Source::Derived { lateral: false, query: Box::new(cte.query.clone()) };
                }
            });
        }));
        for (column, smaller) in without_columns(&query.with[index].query) {
            found.push(with(query, |copy| {
                copy.with[index].query = smaller;
                copy.with[index].columns.remove(column);
            }));
        }
    }
    if let Body::Set { left, right, .. } = &query.body {
        for side in [left, right] {
            found.push(with(query, |copy| copy.body = side.body.clone()));
        }
    }
    if let Some(order) = &query.order {
        found.push(with(query, |copy| copy.order = None));
        let mut order = order.clone();
        order.offset = None;
        found.push(with(query, |copy| copy.order = Some(order)));
    }
    found
}

fn smaller_selects(select: &Select) -> Vec<Select> {
    let mut found = vec![with(select, |copy| copy.distinct = false), with(select, |copy| copy.filter = None)];
    if let Some(group) = &select.group {
        let grouped = |change: &dyn Fn(&mut Group)| with(select, |copy| copy.group.iter_mut().for_each(change));
        found.push(grouped(&|group| group.having = None));
        found.push(grouped(&|group| group.grouping = Grouping::Plain));
        for index in 0..group.keys.len() {
            found.push(without_key(select, index));
        }
        found.push(with(select, |copy| copy.group = None));
    }
    found
}

/// Without a group key: what names it becomes NULL, and what names a later one follows it.
fn without_key(select: &Select, gone: usize) -> Select {
    with(select, |copy| {
        if let Some(group) = &mut copy.group {
            group.keys.remove(gone);
            copy.items.iter_mut().chain(&mut group.having).for_each(|item| forget_key(item, gone));
        }
    })
}

fn forget_key(expression: &mut Expression, gone: usize) {
    match &mut expression.node {
        Node::Key(index) if *index == gone => *expression = Expression::null(expression.ty),
        Node::Key(index) if *index > gone => *index -= 1,
        Node::Form { arguments, .. } => arguments.iter_mut().for_each(|argument| forget_key(argument, gone)),
        Node::In { left, .. } | Node::Quantified { left, .. } => forget_key(left, gone),
        _ => {}
    }
}

fn smaller_relations(relation: &Relation) -> Vec<Relation> {
    let mut found = Vec::new();
    match &relation.source {
        Source::Derived { lateral, query } => {
            for (column, smaller) in without_columns(query) {
                found.push(with(relation, |copy| {
                    copy.source = Source::Derived { lateral: *lateral, query: Box::new(smaller) };
                    // The others keep their names.
                    copy.columns.remove(column);
                }));
            }
            // A derived table that only passes on what it reads.
            if let Body::Select(select) = &query.body
                && let FromClause::Relation(inner) = &select.from
                && matches!(inner.source, Source::Table(_))
            {
                found.push(Relation { alias: relation.alias, ..inner.clone() });
            }
        }
        Source::Values(rows) => {
            for index in (0..rows.len()).filter(|_| rows.len() > 1) {
                let mut rows = rows.clone();
                rows.remove(index);
                found.push(Relation { source: Source::Values(rows), ..relation.clone() });
            }
        }
        Source::Table(_) | Source::Cte(_) | Source::Function { .. } => {}
    }
    found
}

/// The query without each of its columns, and which one it was.
fn without_columns(query: &Query) -> Vec<(usize, Query)> {
    let count = query.types().len();
    let one = |index| (index, with(query, |copy| copy.remove_column(index)));
    (0..count).filter(|_| count > 1).map(one).collect()
}

fn smaller_expressions(expression: &Expression) -> Vec<Expression> {
    let mut found = Vec::new();
    if !expression.is_literal() {
        found.push(Expression::null(expression.ty));
        if expression.ty == SqlType::Bool {
            found.extend(["true", "false"].map(|text| Expression::literal(SqlType::Bool, text)));
        }
    }
    inside(expression, expression.ty, &mut found);
    match &expression.node {
        Node::Aggregate { template, arguments, filter: Some(_) } => {
            let node = Node::Aggregate { template, arguments: arguments.clone(), filter: None };
            found.push(Expression::new(expression.ty, node));
        }
        Node::Window(window) => {
            let mut change = |change: &dyn Fn(&mut super::syntax::Window)| {
                let window = with(&**window, |copy| change(copy));
                found.push(Expression::new(expression.ty, Node::Window(Box::new(window))));
            };
            change(&|window| window.partition = None);
            change(&|window| window.key = None);
            change(&|window| window.frame = "");
        }
        _ => {}
    }
    found
}

/// The expressions of a type in an expression, as far as they see the same columns.
fn inside(expression: &Expression, ty: SqlType, found: &mut Vec<Expression>) {
    let arguments: Vec<&Expression> = match &expression.node {
        Node::Form { arguments, .. } => arguments.iter().collect(),
        Node::In { left, .. } | Node::Quantified { left, .. } => vec![left],
        _ => Vec::new(),
    };
    for argument in arguments {
        if argument.ty == ty {
            found.push(argument.clone());
        }
        inside(argument, ty, found);
    }
}

/// Gives relations the columns that their common table expressions have, and makes NULLs of columns that are nowhere.
fn mend(statement: &mut Statement) {
    let mut ctes = Vec::new();
    walk::statement(statement, &mut |part| match part {
        Part::Query(query) => {
            ctes.extend(query.with.iter().map(|cte| (cte.name.clone(), cte.columns.clone())));
        }
        Part::Relation(relation) => {
            if let Source::Cte(name) = &relation.source
                && let Some((_, columns)) = ctes.iter().find(|(known, _)| known == name)
            {
                relation.columns = columns.clone();
            }
        }
        _ => {}
    });
    let mut known = HashSet::new();
    walk::statement(statement, &mut |part| match part {
        Part::Relation(relation) => {
            known.extend(relation.columns.iter().map(|column| (relation.alias, column.name.clone(), column.ty)));
        }
        Part::Change(change) => {
            if let Action::Update { source: Some(matched), .. } = &change.action {
                let relation = &matched.relation;
                known.extend(relation.columns.iter().map(|column| (relation.alias, column.name.clone(), column.ty)));
            }
        }
        _ => {}
    });
    let target = match statement {
        Statement::Change(Change { action: Action::Update { target, .. } | Action::Delete { target, .. }, .. }) => {
            Some(*target)
        }
        _ => None,
    };
    walk::statement(statement, &mut |part| {
        if let Part::Expression(expression) = part
            && let Node::Column { relation, column } = &expression.node
            && Some(*relation) != target
            && !known.contains(&(*relation, column.clone(), expression.ty))
        {
            *expression = Expression::null(expression.ty);
        }
    });
}
