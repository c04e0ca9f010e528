//! A random statement as SQL.
//!
//! What must not be lost when a statement is made smaller is written here and not in the tree: the order of a window goes on
//! with all columns there are, a query is ordered by all its columns, and values that are equal but look different are made to
//! look the same where one of them is picked.

use super::schema::{CHANGED, Column};
use super::syntax::{
    Action, Body, Change, Expression, FromClause, Group, Grouping, Matched, Node, Order, Query, Relation, Select,
    Source, Statement, Window,
};

/// The SQL of a statement.
pub(super) fn statement(statement: &Statement) -> String {
    match statement {
        Statement::Query(query) => query_text(query, false),
        Statement::Change(change) => change_text(change),
    }
}

/// The SELECT that an expression stands in.
#[derive(Clone, Copy, Default)]
struct Context<'a> {
    keys: &'a [Expression],
    columns: &'a [(u32, Column)],
}

fn query_text(query: &Query, canonical: bool) -> String {
    let mut text = String::new();
    for (index, cte) in query.with.iter().enumerate() {
        text.push_str(if index == 0 { "WITH " } else { ", " });
        let body = query_text(&cte.query, false);
        text.push_str(&format!("{}({}) AS {}({body})", cte.name, names(&cte.columns), cte.materialized));
    }
    if !query.with.is_empty() {
        text.push(' ');
    }
    match &query.body {
        Body::Select(select) => text.push_str(&select_text(select, canonical)),
        Body::Set { operator, left, right } => {
            // It may keep one of several equal rows.
            let canonical = canonical || *operator != "UNION ALL";
            let (left, right) = (query_text(left, canonical), query_text(right, canonical));
            text.push_str(&format!("({left}) {operator} ({right})"));
        }
    }
    if let Some(order) = &query.order {
        text.push_str(&order_text(order));
    }
    text
}

fn order_text(order: &Order) -> String {
    let positions = order.directions.iter().enumerate();
    let keys: Vec<String> = positions.map(|(index, direction)| format!("{}{direction}", index + 1)).collect();
    let mut text = format!(" ORDER BY {}", keys.join(", "));
    if let Some(limit) = order.limit {
        text.push_str(&format!(" LIMIT {limit}"));
    }
    if let Some(offset) = order.offset {
        text.push_str(&format!(" OFFSET {offset}"));
    }
    text
}

fn select_text(select: &Select, canonical: bool) -> String {
    let columns = select.from.columns();
    let keys = select.group.as_ref().map_or(&[][..], |group| &group.keys);
    let context = Context { keys, columns: &columns };
    let canonical = canonical || select.distinct;
    let item = |(index, item): (usize, &Expression)| {
        let mut text = expression(item, context);
        if canonical {
            text = fill(item.ty.canonical(), &[text], "");
        }
        format!("{text} AS k{index}")
    };
    let items: Vec<String> = select.items.iter().enumerate().map(item).collect();
    let distinct = if select.distinct { "DISTINCT " } else { "" };
    let mut text = format!("SELECT {distinct}{} FROM {}", items.join(", "), from_text(&select.from));
    push_where(&mut text, select.filter.iter().map(|filter| expression(filter, context)));
    if let Some(group) = &select.group {
        text.push_str(&group_text(group, context));
    }
    text
}

fn group_text(group: &Group, context: Context<'_>) -> String {
    let keys: Vec<String> = group.keys.iter().map(|key| expression(key, context)).collect();
    let all = keys.join(", ");
    let mut text = match group.grouping {
        _ if keys.is_empty() => String::new(),
        Grouping::Plain => format!(" GROUP BY {all}"),
        Grouping::Rollup => format!(" GROUP BY ROLLUP ({all})"),
        Grouping::Cube => format!(" GROUP BY CUBE ({all})"),
        Grouping::Sets => {
            let alone: Vec<String> = keys.iter().map(|key| format!("({key})")).collect();
            format!(" GROUP BY GROUPING SETS (({all}), (), {})", alone.join(", "))
        }
    };
    if let Some(having) = &group.having {
        text.push_str(&format!(" HAVING {}", expression(having, context)));
    }
    text
}

fn from_text(from: &FromClause) -> String {
    match from {
        FromClause::Relation(relation) => relation_text(relation),
        FromClause::Join(join) => {
            let mut right = from_text(&join.right);
            if matches!(join.right, FromClause::Join(_)) {
                right = format!("({right})");
            }
            let mut text = format!("{} {} {right}", from_text(&join.left), join.kind);
            if let Some(condition) = &join.condition {
                text.push_str(&format!(" ON {}", expression(condition, Context::default())));
            }
            text
        }
    }
}

fn relation_text(relation: &Relation) -> String {
    let alias = format!("x{}", relation.alias);
    let columns = names(&relation.columns);
    match &relation.source {
        Source::Table(name) => format!("{name} AS {alias}"),
        Source::Cte(name) => format!("{name} AS {alias}"),
        Source::Derived { lateral, query } => {
            let lateral = if *lateral { "LATERAL " } else { "" };
            format!("{lateral}({}) AS {alias}({columns})", query_text(query, false))
        }
        Source::Values(rows) => {
            let row = |row: &Vec<Expression>| format!("({})", list(row, Context::default()).join(", "));
            let rows: Vec<String> = rows.iter().map(row).collect();
            format!("(VALUES {}) AS {alias}({columns})", rows.join(", "))
        }
        Source::Function { template, arguments } => {
            format!("{} AS {alias}({columns})", fill(template, &list(arguments, Context::default()), ""))
        }
    }
}

fn expression(of: &Expression, context: Context<'_>) -> String {
    match &of.node {
        Node::Column { relation, column } => format!("x{relation}.{column}"),
        Node::Literal(text) => text.clone(),
        Node::Form { template, arguments } => fill(template, &list(arguments, context), ""),
        Node::Scalar(query) => format!("({})", query_text(query, false)),
        Node::Exists { negated, query } => {
            format!("({}EXISTS ({}))", if *negated { "NOT " } else { "" }, query_text(query, false))
        }
        Node::In { negated, left, query } => {
            let negated = if *negated { "NOT " } else { "" };
            format!("({} {negated}IN ({}))", expression(left, context), query_text(query, false))
        }
        Node::Quantified { operator, left, query } => {
            format!("({} {operator} ({}))", expression(left, context), query_text(query, false))
        }
        Node::Key(index) => match context.keys.get(*index) {
            // Which of the equal values of its rows a group shows is not determined.
            Some(key) => fill(key.ty.canonical(), &[expression(key, context)], ""),
            None => of.ty.null(),
        },
        Node::Aggregate { template, arguments, filter } => {
            let filter = filter.as_ref().map(|filter| format!(" FILTER (WHERE {})", expression(filter, context)));
            fill(template, &list(arguments, context), &filter.unwrap_or_default())
        }
        Node::Window(window) => fill(of.ty.canonical(), &[window_text(window, context)], ""),
    }
}

fn window_text(window: &Window, context: Context<'_>) -> String {
    let mut inside = String::new();
    if let Some(partition) = &window.partition {
        inside.push_str(&format!("PARTITION BY {}", expression(partition, context)));
    }
    if window.ordered {
        let key = window.key.iter().map(|key| expression(key, context));
        let columns = context
            .columns
            .iter()
            .map(|(relation, column)| fill(column.ty.order_key(), &[format!("x{relation}.{}", column.name)], ""));
        let keys: Vec<String> = key.chain(columns).collect();
        let space = if inside.is_empty() { "" } else { " " };
        inside.push_str(&format!("{space}ORDER BY {}{}", keys.join(", "), window.frame));
    }
    format!("{} OVER ({inside})", fill(window.template, &list(&window.arguments, context), ""))
}

fn change_text(change: &Change) -> String {
    match &change.action {
        Action::Insert { columns, query } => {
            let value = |(index, column): (usize, &Column)| match column.not_null {
                true => format!("coalesce(k{index}, {})", column.ty.substitute()),
                false => format!("k{index}"),
            };
            let values: Vec<String> = columns.iter().enumerate().map(value).collect();
            let source = format!("({}) AS x0({})", query_text(query, false), names(&query.columns()));
            format!("INSERT INTO {CHANGED} ({}) SELECT {} FROM {source}", names(columns), values.join(", "))
        }
        Action::Update { target, set, source, filter } => {
            let assignment = |(column, value): &(String, Expression)| {
                format!("{column} = {}", expression(value, Context::default()))
            };
            let set: Vec<String> = set.iter().map(assignment).collect();
            let mut text = format!("UPDATE {CHANGED} AS x{target} SET {}", set.join(", "));
            let mut conditions = Vec::new();
            if let Some(Matched { relation, key }) = source {
                text.push_str(&format!(" FROM {}", relation_text(relation)));
                conditions.push(format!("{} = x{}.id", expression(key, Context::default()), relation.alias));
            }
            conditions.extend(filter.iter().map(|filter| expression(filter, Context::default())));
            push_where(&mut text, conditions.into_iter());
            text
        }
        Action::Delete { target, using, filter } => {
            let mut text = format!("DELETE FROM {CHANGED} AS x{target}");
            if let Some(relation) = using {
                text.push_str(&format!(" USING {}", relation_text(relation)));
            }
            push_where(&mut text, filter.iter().map(|filter| expression(filter, Context::default())));
            text
        }
    }
}

fn push_where(text: &mut String, conditions: impl Iterator<Item = String>) {
    for (index, condition) in conditions.enumerate() {
        text.push_str(if index == 0 { " WHERE " } else { " AND " });
        text.push_str(&condition);
    }
}

fn list(expressions: &[Expression], context: Context<'_>) -> Vec<String> {
    expressions.iter().map(|one| expression(one, context)).collect()
}

fn names(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    names.join(", ")
}

/// A template with its arguments for `$0`, `$1` .. and its FILTER for `$f`.
fn fill(template: &str, arguments: &[String], filter: &str) -> String {
    let mut parts = template.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut rest = part.chars();
        match rest.next().and_then(|place| place.to_digit(10)) {
            Some(index) => text.push_str(&arguments[index as usize]),
            None => text.push_str(filter),
        }
        text.push_str(rest.as_str());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::generator;
    use super::*;

    #[test]
    fn a_template_takes_its_arguments_wherever_they_stand() {
        let arguments = ["a".to_owned(), "b".to_owned()];
        assert_eq!(fill("f($1, $0, $1)$f", &arguments, " FILTER (WHERE c)"), "f(b, a, b) FILTER (WHERE c)");
    }

    #[test]
    fn a_seed_and_a_number_always_give_the_same_statement() {
        let of =
            |seed| -> Vec<String> { (0..100).map(|number| statement(&generator::statement(seed, number))).collect() };
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        // Not only the same ones again: the number counts, too.
        let different: std::collections::HashSet<String> = of(7).into_iter().collect();
        assert!(different.len() > 90, "{} different ones of 100", different.len());
    }

    #[test]
    fn every_statement_is_syntax() {
        for number in 0..200 {
            let text = statement(&generator::statement(1, number));
            // The parser takes an element that begins with a parenthesis for a list of columns.
            if text.contains("ROLLUP (") || text.contains("CUBE (") {
                continue;
            }
            let parser = sqlparser::parser::Parser::new(&sqlparser::dialect::PostgreSqlDialect {});
            let parsed =
                parser.with_recursion_limit(500).try_with_sql(&text).and_then(|mut parser| parser.parse_statements());
            assert!(parsed.is_ok(), "{text}: {parsed:?}");
        }
    }
}
