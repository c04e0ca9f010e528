//! Goes through the parts of a statement, from the outside to the inside.

use super::syntax::{
    Action, Body, Change, Cte, Expression, FromClause, Node, Query, Relation, Select, Source, Statement,
};

/// A part that can be looked at and replaced.
#[derive(Debug)]
pub(super) enum Part<'a> {
    Change(&'a mut Change),
    Query(&'a mut Query),
    Select(&'a mut Select),
    From(&'a mut FromClause),
    Relation(&'a mut Relation),
    Expression(&'a mut Expression),
}

/// Shows each part to `look`, then the parts in it, as `look` has left it.
pub(super) fn statement(of: &mut Statement, look: &mut dyn FnMut(Part<'_>)) {
    match of {
        Statement::Query(of) => query(of, look),
        Statement::Change(of) => change(of, look),
    }
}

/// The same of a query.
pub(super) fn query(of: &mut Query, look: &mut dyn FnMut(Part<'_>)) {
    look(Part::Query(of));
    for Cte { query: inner, .. } in &mut of.with {
        query(inner, look);
    }
    match &mut of.body {
        Body::Select(inner) => select(inner, look),
        Body::Set { left, right, .. } => {
            query(left, look);
            query(right, look);
        }
    }
}

fn change(of: &mut Change, look: &mut dyn FnMut(Part<'_>)) {
    look(Part::Change(of));
    match &mut of.action {
        Action::Insert { query: inner, .. } => query(inner, look),
        Action::Update { set, source, filter, .. } => {
            for (_, value) in set {
                expression(value, look);
            }
            if let Some(matched) = source {
                // Not as a part: it has to stay a table with a unique `id`.
                expression(&mut matched.key, look);
            }
            optional(filter, look);
        }
        Action::Delete { using, filter, .. } => {
            if let Some(using) = using {
                relation(using, look);
            }
            optional(filter, look);
        }
    }
}

fn select(of: &mut Select, look: &mut dyn FnMut(Part<'_>)) {
    look(Part::Select(of));
    from(&mut of.from, look);
    for item in &mut of.items {
        expression(item, look);
    }
    optional(&mut of.filter, look);
    if let Some(group) = &mut of.group {
        for key in &mut group.keys {
            expression(key, look);
        }
        optional(&mut group.having, look);
    }
}

fn from(of: &mut FromClause, look: &mut dyn FnMut(Part<'_>)) {
    look(Part::From(of));
    match of {
        FromClause::Relation(inner) => relation(inner, look),
        FromClause::Join(join) => {
            from(&mut join.left, look);
            from(&mut join.right, look);
            optional(&mut join.condition, look);
        }
    }
}

fn relation(of: &mut Relation, look: &mut dyn FnMut(Part<'_>)) {
    look(Part::Relation(of));
    match &mut of.source {
        Source::Table(_) | Source::Cte(_) => {}
        Source::Derived { query: inner, .. } => query(inner, look),
        Source::Values(rows) => rows.iter_mut().flatten().for_each(|value| expression(value, look)),
        Source::Function { arguments, .. } => arguments.iter_mut().for_each(|argument| expression(argument, look)),
    }
}

fn optional(of: &mut Option<Expression>, look: &mut dyn FnMut(Part<'_>)) {
    if let Some(of) = of {
        expression(of, look);
    }
}

fn expression(of: &mut Expression, look: &mut dyn FnMut(Part<'_>)) {
    look(Part::Expression(of));
    match &mut of.node {
        Node::Column { .. } | Node::Literal(_) | Node::Key(_) => {}
        Node::Form { arguments, .. } => arguments.iter_mut().for_each(|argument| expression(argument, look)),
        Node::Scalar(inner) | Node::Exists { query: inner, .. } => query(inner, look),
        Node::In { left, query: inner, .. } | Node::Quantified { left, query: inner, .. } => {
            expression(left, look);
            query(inner, look);
        }
        Node::Aggregate { arguments, filter, .. } => {
            arguments.iter_mut().for_each(|argument| expression(argument, look));
            if let Some(filter) = filter {
                expression(filter, look);
            }
        }
        Node::Window(window) => {
            window.arguments.iter_mut().for_each(|argument| expression(argument, look));
            optional(&mut window.partition, look);
            optional(&mut window.key, look);
        }
    }
}
