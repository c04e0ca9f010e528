//! Keys of GROUP BY and DISTINCT ON that differ in a cast alone, such as `GROUP BY ts::date, ts::time`.
//!
//! DataFusion's planner names a cast after what is cast, so two such keys would be one column to it. What always holds: where that
//! could be, every cast of the SELECT says its type in its name, so that what is equal to a key is still equal to it; all other
//! SELECTs stay as they are.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, Value, ValueWithSpan, VisitMut, VisitorMut,
};

use super::names;
use super::ordered_set::NamedCasts;

/// Tells the keys of all SELECTs of a query apart, but not of those in it that are queries of their own.
pub(super) fn tell_apart(query: &mut Query) {
    match query.body.as_mut() {
        SetExpr::Select(select) => {
            if name_casts(select) {
                // The visitor never breaks off.
                let _ = query.order_by.visit(&mut NamedCasts);
            }
        }
        body => operands(body),
    }
}

/// The SELECTs of UNION and the like.
fn operands(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            name_casts(select);
        }
        SetExpr::SetOperation { left, right, .. } => {
            operands(left);
            operands(right);
        }
        _ => {}
    }
}

/// Names the casts of a SELECT by their types where its keys need it, and says whether they did.
fn name_casts(select: &mut Select) -> bool {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return false };
    let distinct = match &select.distinct {
        Some(Distinct::On(keys)) => keys.as_slice(),
        _ => &[],
    };
    if !need_names(keys, &select.projection) && !need_names(distinct, &select.projection) {
        return false;
    }
    // The visitor never breaks off.
    let _ = select.distinct.visit(&mut NamedCasts);
    let _ = select.projection.visit(&mut NamedCasts);
    let _ = select.group_by.visit(&mut NamedCasts);
    let _ = select.having.visit(&mut NamedCasts);
    let _ = select.qualify.visit(&mut NamedCasts);
    true
}

/// Do two keys differ in casts alone?
fn need_names(keys: &[Expr], projection: &[SelectItem]) -> bool {
    // What each may stand for, as it is and without casts.
    let texts: Vec<Vec<[String; 2]>> = single(keys)
        .into_iter()
        .map(|key| {
            let meanings = std::iter::once(key).chain(meant(key, projection));
            meanings.map(|key| [key.to_string(), bare(key.clone()).to_string()]).collect()
        })
        .collect();
    texts.iter().enumerate().any(|(place, key)| {
        let later = texts[place + 1..].iter().flatten();
        later.into_iter().any(|[other, bare]| key.iter().any(|[key, own]| own == bare && key != other))
    })
}

/// All keys, those of ROLLUP and its kin one by one.
pub(super) fn single(keys: &[Expr]) -> Vec<&Expr> {
    let mut single = Vec::new();
    for key in keys {
        match key {
            Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => single.extend(sets.iter().flatten()),
            key => single.push(key),
        }
    }
    single
}

/// The output that a key may stand for by its number or its name.
pub(super) fn meant<'a>(key: &Expr, projection: &'a [SelectItem]) -> Option<&'a Expr> {
    let item = match key {
        Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => {
            let place = number.parse::<usize>().ok()?.checked_sub(1)?;
            projection.get(place)
        }
        Expr::Identifier(name) => {
            let name = names::fold(name);
            let named = |item: &&SelectItem| matches!(item, SelectItem::ExprWithAlias { alias, .. } if names::fold(alias) == name);
            projection.iter().find(named)
        }
        _ => None,
    };
    match item? {
        SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) => Some(expr),
        _ => None,
    }
}

/// An expression without its casts, and its columns without their tables.
fn bare(mut expr: Expr) -> Expr {
    // The visitor never breaks off.
    let _ = expr.visit(&mut Bare);
    expr
}

struct Bare;

impl VisitorMut for Bare {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { expr: inner, .. } | Expr::Nested(inner) => {
                let inner = std::mem::replace(inner.as_mut(), Expr::Value(Value::Null.with_empty_span()));
                *expr = inner;
            }
            Expr::CompoundIdentifier(parts) => {
                if let Some(name) = parts.pop() {
                    *expr = Expr::Identifier(name);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
