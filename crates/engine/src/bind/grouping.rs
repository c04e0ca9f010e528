//! ROLLUP and CUBE whose elements are several columns, or one column twice, said as GROUPING SETS: DataFusion's planner takes single
//! columns, each once.

use std::collections::HashSet;

use sqlparser::ast::{Expr, GroupByExpr, Select};
use wharf_values::{SqlError, SqlState};

/// How many elements PostgreSQL lets a CUBE have.
const MOST_CUBE_ELEMENTS: usize = 12;

/// Writes out what DataFusion does not plan.
///
/// # Errors
/// `54011` for a CUBE of more elements than PostgreSQL takes.
pub(super) fn write_out(select: &mut Select) -> Result<(), SqlError> {
    let GroupByExpr::Expressions(exprs, _) = &mut select.group_by else { return Ok(()) };
    for expr in exprs {
        match expr {
            Expr::Rollup(elements) if has_tuple(elements) || has_twice(elements) => {
                *expr = Expr::GroupingSets((0..=elements.len()).rev().map(|kept| elements[..kept].concat()).collect());
            }
            Expr::Cube(elements) if elements.len() > MOST_CUBE_ELEMENTS => {
                let message = format!("CUBE is limited to {MOST_CUBE_ELEMENTS} elements");
                return Err(SqlError::new(SqlState::TOO_MANY_COLUMNS, message));
            }
            Expr::Cube(elements) if has_tuple(elements) || has_twice(elements) => {
                *expr = Expr::GroupingSets(subsets(elements));
            }
            _ => {}
        }
        if let Expr::GroupingSets(sets) = expr {
            sets.iter_mut().for_each(each_once);
        }
    }
    Ok(())
}

fn has_tuple(elements: &[Vec<Expr>]) -> bool {
    elements.iter().any(|element| element.len() != 1)
}

/// Is an expression more than one of the elements?
fn has_twice(elements: &[Vec<Expr>]) -> bool {
    let mut all = elements.concat();
    let count = all.len();
    each_once(&mut all);
    all.len() < count
}

/// A key that a set names twice is one of its keys.
fn each_once(set: &mut Vec<Expr>) {
    let mut seen = HashSet::new();
    set.retain(|key| seen.insert(key.to_string()));
}

/// Every choice of the elements, the greatest first.
fn subsets(elements: &[Vec<Expr>]) -> Vec<Vec<Expr>> {
    (0..1usize << elements.len())
        .rev()
        .map(|chosen| {
            let of = |(index, element): (usize, &Vec<Expr>)| (chosen >> index & 1 == 1).then(|| element.clone());
            elements.iter().enumerate().filter_map(of).flatten().collect()
        })
        .collect()
}
