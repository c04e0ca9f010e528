//! What a run found: how many statements ended how, which refusals are frequent, and each difference.

use std::collections::BTreeMap;

use super::judge::{Answer, Outcome, comparable};
use super::render;
use super::syntax::Statement;
use crate::workloads::wire::TextRow;

/// Rows of each side of a difference that are shown.
const SHOWN_ROWS: usize = 5;
/// Messages of each kind that are shown at the end.
const SHOWN_MESSAGES: usize = 8;

/// The counts of a run.
#[derive(Debug, Default)]
pub(super) struct Report {
    same: u64,
    both_refuse: u64,
    postgres_fails: u64,
    pub(super) different: u64,
    not_there: Tally,
    only_postgres_refuses: Tally,
}

/// Messages, how often each came, and the first statement that it came for.
#[derive(Debug, Default)]
struct Tally(BTreeMap<String, (u64, String)>);

impl Report {
    /// Counts an outcome.
    pub(super) fn count(&mut self, outcome: &Outcome, sql: &str) {
        match outcome {
            Outcome::Same => self.same += 1,
            Outcome::BothRefuse => self.both_refuse += 1,
            Outcome::PostgresFails => self.postgres_fails += 1,
            Outcome::OnlyPostgresRefuses(message) => self.only_postgres_refuses.count(message, sql),
            Outcome::NotThere(message) => self.not_there.count(message, sql),
            Outcome::Different(_) => self.different += 1,
        }
    }

    /// Prints the counts and the frequent messages.
    pub(super) fn print(&self) {
        self.not_there.print("Wharf does not have");
        self.only_postgres_refuses.print("PostgreSQL refuses, Wharf answers");
        println!(
            "{} same, {} different, {} not there (0A000), {} refused by both, {} failed in PostgreSQL, {} refused by PostgreSQL alone",
            self.same,
            self.different,
            self.not_there.total(),
            self.both_refuse,
            self.postgres_fails,
            self.only_postgres_refuses.total(),
        );
    }
}

impl Tally {
    fn count(&mut self, message: &str, sql: &str) {
        let entry = self.0.entry(class(message)).or_insert_with(|| (0, sql.to_owned()));
        entry.0 += 1;
    }

    fn total(&self) -> u64 {
        self.0.values().map(|(count, _)| count).sum()
    }

    fn print(&self, title: &str) {
        let mut messages: Vec<_> = self.0.iter().collect();
        messages.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        for (message, (count, sql)) in messages.into_iter().take(SHOWN_MESSAGES) {
            println!("{title}, {count} times: {message}");
            println!("  such as: {sql}");
        }
    }
}

/// A message without the names and numbers of its statement, so that those of one kind are counted together.
fn class(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let mut class = String::new();
    for letter in line.chars().take(120) {
        match letter {
            '0'..='9' if class.ends_with('#') => {}
            // The SQLSTATE in front stays.
            '0'..='9' if class.len() >= 5 => class.push('#'),
            letter => class.push(letter),
        }
    }
    class
}

/// Prints a difference: how to repeat it, the smaller statement, and both answers to it.
pub(super) fn print_difference(
    (seed, number): (u64, u64),
    original: &Statement,
    shrunk: &Statement,
    postgres: &Answer,
    wharf: &Answer,
) {
    println!("DIFFERENT: --seed {seed} --only {number}");
    println!("  statement: {}", render::statement(original));
    if let Statement::Change(change) = shrunk {
        println!("  changed is a copy of {}", change.table);
    }
    println!("  smaller:   {}", render::statement(shrunk));
    match (postgres, wharf) {
        (Answer::Rows(expected), Answer::Rows(actual)) => {
            let (expected, actual) = (comparable(shrunk, expected), comparable(shrunk, actual));
            let (missing, added) = (beyond(&expected, &actual), beyond(&actual, &expected));
            if missing.is_empty() && added.is_empty() {
                print_rows("PostgreSQL's order", &expected);
                print_rows("Wharf's order", &actual);
            } else {
                println!("  PostgreSQL has {} rows, Wharf {}", expected.len(), actual.len());
                print_rows("PostgreSQL alone", &missing);
                print_rows("Wharf alone", &added);
            }
        }
        _ => {
            print_answer("PostgreSQL", postgres);
            print_answer("Wharf", wharf);
        }
    }
}

fn print_answer(who: &str, answer: &Answer) {
    match answer {
        Answer::Rows(rows) => print_rows(who, rows),
        Answer::Error { code, message } => println!("  {who}: {code} {message}"),
        Answer::Gone(why) => println!("  {who}: the connection is gone: {why}"),
    }
}

fn print_rows(who: &str, rows: &[TextRow]) {
    println!("  {who}: {} rows", rows.len());
    for row in rows.iter().take(SHOWN_ROWS) {
        let values: Vec<&str> = row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
        println!("    {}", values.join(" | "));
    }
}

/// The rows that `rows` has more often than `others`.
fn beyond(rows: &[TextRow], others: &[TextRow]) -> Vec<TextRow> {
    let mut left: BTreeMap<&TextRow, usize> = BTreeMap::new();
    for row in others {
        *left.entry(row).or_default() += 1;
    }
    let more = rows.iter().filter(|row| match left.get_mut(row) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    });
    more.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_one_kind_are_counted_together() {
        let mut tally = Tally::default();
        tally.count("column x12.k0 is in no group", "a");
        tally.count("column x3.k1 is in no group\nand more", "b");
        assert_eq!(tally.total(), 2);
        assert_eq!(tally.0.values().next(), Some(&(2, "a".to_owned())));
        assert_eq!(class("42803 column x12"), "42803 column x#");
    }

    #[test]
    fn a_row_that_comes_twice_is_once_beyond_one() {
        let row = |text: &str| vec![Some(text.to_owned())];
        assert_eq!(beyond(&[row("a"), row("a"), row("b")], &[row("a"), row("b"), row("c")]), [row("a")]);
    }
}
