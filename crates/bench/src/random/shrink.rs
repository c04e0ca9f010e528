//! Makes a statement smaller for as long as something about it remains true.

use std::collections::HashSet;

use super::reduce::reductions;
use super::render;
use super::syntax::Statement;

/// The smallest statement found of which `remains` is true, as it is of the given one. It is asked `tries` times at most, and
/// about no statement twice.
pub(super) fn shrink(statement: Statement, tries: usize, mut remains: impl FnMut(&Statement) -> bool) -> Statement {
    let mut current = statement;
    let mut tried = HashSet::new();
    loop {
        let smaller = reductions(&current)
            .into_iter()
            .find(|candidate| tried.len() < tries && tried.insert(render::statement(candidate)) && remains(candidate));
        match smaller {
            Some(smaller) => current = smaller,
            None => return current,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::generator;
    use super::super::reduce::size;
    use super::*;

    /// Statements of a run that have this in them.
    fn statements_with(text: &str) -> Vec<Statement> {
        let all = (0..300).map(|number| generator::statement(3, number));
        let found: Vec<Statement> = all.filter(|statement| render::statement(statement).contains(text)).collect();
        assert!(!found.is_empty(), "no statement has {text}");
        found
    }

    #[test]
    fn what_is_wanted_stays_and_little_else() {
        for wanted in ["EXISTS (", "LEFT JOIN", "EXCEPT", "OVER (", "ROLLUP", "DELETE"] {
            for statement in statements_with(wanted).into_iter().take(5) {
                let before = size(&statement);
                let small = shrink(statement, 100_000, |candidate| render::statement(candidate).contains(wanted));
                let text = render::statement(&small);
                assert!(text.contains(wanted), "{text}");
                assert!(size(&small) <= before);
                assert!(size(&small) < 80, "{} is left: {text}", size(&small));
            }
        }
    }

    #[test]
    fn nothing_smaller_is_overlooked() {
        let wanted = |candidate: &Statement| render::statement(candidate).contains("coalesce(");
        for statement in statements_with("coalesce(").into_iter().take(5) {
            let mut asked = HashSet::new();
            let small = shrink(statement, 100_000, |candidate| {
                asked.insert(render::statement(candidate));
                wanted(candidate)
            });
            let left: Vec<_> =
                reductions(&small).into_iter().filter(wanted).map(|left| render::statement(&left)).collect();
            assert!(left.iter().all(|left| asked.contains(left)), "{}: {left:?}", render::statement(&small));
        }
    }

    #[test]
    fn it_gives_up_after_so_many_tries() {
        let statement = statements_with("LEFT JOIN").swap_remove(0);
        let mut asked = 0;
        shrink(statement, 7, |_| {
            asked += 1;
            false
        });
        assert_eq!(asked, 7);
    }

    #[test]
    fn what_cannot_be_smaller_stays_as_it_is() {
        let statement = statements_with("WHERE").swap_remove(0);
        let text = render::statement(&statement);
        assert_eq!(render::statement(&shrink(statement, 1_000, |_| false)), text);
    }
}
