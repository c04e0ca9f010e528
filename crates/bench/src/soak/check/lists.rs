//! Lists that transactions append to and read, as in Kingsbury and Alvaro's Elle: since every value is appended once, a list that
//! was read tells in which order its writers came, and so what depends on what.
//!
//! What is looked for: reads that do not fit into one order (G0), values of transactions that failed (G1a) or that were not at their
//! end (G1b), values that are lost or doubled, transactions that do not see their own writes, and cycles that snapshot isolation
//! forbids ([`super::graph`]).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::graph::{Graph, Why};
use crate::soak::history::{Key, Outcome, Step, Transaction};

/// No more than so many violations of one kind are told.
const TOLD: usize = 10;

/// What is wrong with a history that ends with a read of every list.
pub(in crate::soak) fn check(transactions: &[Transaction]) -> Vec<String> {
    let mut violations = Vec::new();
    let writers = writers(transactions, &mut violations);
    let orders = orders(transactions, &mut violations);
    let mut positions: HashMap<(Key, i64), usize> = HashMap::new();
    for (key, order) in &orders {
        for (position, value) in order.iter().enumerate() {
            match writers.get(&(*key, *value)) {
                None => violations.push(format!("{key}: {value} was never appended")),
                Some(writer) if transactions[*writer].outcome == Outcome::Failed => {
                    let writer = describe(&transactions[*writer]);
                    violations.push(format!("{key}: {value} is there, and its transaction failed: {writer}"));
                }
                Some(_) => {}
            }
            if positions.insert((*key, *value), position).is_some() {
                violations.push(format!("{key}: {value} is there twice"));
            }
        }
    }
    for (at, writer) in &writers {
        let transaction = &transactions[*writer];
        if transaction.outcome == Outcome::Done && !positions.contains_key(at) {
            violations.push(format!("{}: {} was acknowledged and is lost: {}", at.0, at.1, describe(transaction)));
        }
    }
    // Of those that nobody knows of, what was seen was done.
    let seen = |step: &Step| matches!(step, Step::Append(key, value) if positions.contains_key(&(*key, *value)));
    let committed: Vec<usize> = (0..transactions.len())
        .filter(|index| match transactions[*index].outcome {
            Outcome::Done => true,
            Outcome::Failed => false,
            Outcome::Unknown => transactions[*index].steps.iter().any(seen),
        })
        .collect();
    for index in &committed {
        whole(&transactions[*index], &positions, &mut violations);
        own_writes(&transactions[*index], &mut violations);
    }
    let graph = dependencies(transactions, &committed, &orders, &writers, &mut violations);
    if let Some(cycle) = graph.cycle() {
        let edges = cycle.iter().map(|(node, why)| {
            format!("    {}\n      before the next by {why:?}", describe(&transactions[committed[*node]]))
        });
        violations.push(format!("a cycle that snapshot isolation forbids:\n{}", edges.collect::<Vec<_>>().join("\n")));
    }
    let more = violations.len().saturating_sub(TOLD);
    violations.truncate(TOLD);
    violations.extend((more > 0).then(|| format!("and {more} more of the lists")));
    violations
}

/// Who appended what.
fn writers(transactions: &[Transaction], violations: &mut Vec<String>) -> HashMap<(Key, i64), usize> {
    let mut writers = HashMap::new();
    for (index, transaction) in transactions.iter().enumerate() {
        for step in &transaction.steps {
            if let Step::Append(key, value) = step
                && writers.insert((*key, *value), index).is_some()
            {
                violations.push(format!("the test itself appended {value} to {key} twice"));
            }
        }
    }
    writers
}

/// The order of each list: its longest read, of which all others must be beginnings.
fn orders<'a>(transactions: &'a [Transaction], violations: &mut Vec<String>) -> BTreeMap<Key, &'a [i64]> {
    let mut orders: BTreeMap<Key, &[i64]> = BTreeMap::new();
    let reads = || {
        let done = transactions.iter().filter(|transaction| transaction.outcome == Outcome::Done);
        done.flat_map(|transaction| transaction.steps.iter().map(move |step| (transaction, step)))
    };
    for (_, step) in reads() {
        if let Step::Read(key, values) = step {
            let order = orders.entry(*key).or_default();
            if values.len() > order.len() {
                *order = values;
            }
        }
    }
    for (transaction, step) in reads() {
        if let Step::Read(key, values) = step
            && !orders[key].starts_with(values)
        {
            let (order, who) = (orders[key], describe(transaction));
            violations.push(format!("{key} was read as {values:?}, which is no beginning of {order:?}: {who}"));
        }
    }
    orders
}

/// All of a transaction is there, or nothing.
fn whole(transaction: &Transaction, positions: &HashMap<(Key, i64), usize>, violations: &mut Vec<String>) {
    let missing = transaction.steps.iter().find_map(|step| match step {
        Step::Append(key, value) if !positions.contains_key(&(*key, *value)) => Some((*key, *value)),
        _ => None,
    });
    if let (Some((key, value)), Outcome::Unknown) = (missing, transaction.outcome) {
        let who = describe(transaction);
        violations.push(format!("{key}: {value} is not there, but others of its transaction are: {who}"));
    }
}

/// A transaction sees its own appends, and one state of everything else.
fn own_writes(transaction: &Transaction, violations: &mut Vec<String>) {
    let mut known: HashMap<Key, Vec<i64>> = HashMap::new();
    let mut appended: HashMap<Key, Vec<i64>> = HashMap::new();
    for step in &transaction.steps {
        match step {
            Step::Append(key, value) => {
                appended.entry(*key).or_default().push(*value);
                if let Some(known) = known.get_mut(key) {
                    known.push(*value);
                }
            }
            Step::Read(key, values) => {
                let own = appended.get(key).map_or(&[][..], Vec::as_slice);
                let expected = known.insert(*key, values.clone());
                if !values.ends_with(own) || expected.is_some_and(|expected| expected != *values) {
                    let who = describe(transaction);
                    violations.push(format!("{key} was read as {values:?} within its own transaction: {who}"));
                }
            }
        }
    }
}

fn dependencies(
    transactions: &[Transaction],
    committed: &[usize],
    orders: &BTreeMap<Key, &[i64]>,
    writers: &HashMap<(Key, i64), usize>,
    violations: &mut Vec<String>,
) -> Graph {
    let node_of: HashMap<usize, usize> = committed.iter().enumerate().map(|(node, index)| (*index, node)).collect();
    let writer = |key: Key, value: i64| writers.get(&(key, value)).and_then(|index| node_of.get(index)).copied();
    let mut graph = Graph::new(committed.len());
    for (key, order) in orders {
        for pair in order.windows(2) {
            if let (Some(first), Some(second)) = (writer(*key, pair[0]), writer(*key, pair[1])) {
                graph.add(first, second, Why::WriteWrite(format!("{key} {} {}", pair[0], pair[1])));
            }
        }
    }
    for (node, index) in committed.iter().enumerate() {
        let mut own: HashMap<Key, usize> = HashMap::new();
        for step in &transactions[*index].steps {
            let (key, values) = match step {
                Step::Append(key, _) => {
                    *own.entry(*key).or_default() += 1;
                    continue;
                }
                Step::Read(key, values) => (*key, values),
            };
            // What was there before its own appends.
            let foreign = values.len().saturating_sub(own.get(&key).copied().unwrap_or(0));
            let order = orders.get(&key).copied().unwrap_or_default();
            if let Some(last) = foreign.checked_sub(1).map(|last| values[last])
                && let Some(from) = writer(key, last)
            {
                graph.add(from, node, Why::WriteRead(format!("{key} {last}")));
                let next = order.get(foreign).and_then(|next| writer(key, *next));
                if next == Some(from) && from != node {
                    let who = describe(&transactions[*index]);
                    violations.push(format!("{key} was read in the middle of a transaction, at {last}: {who}"));
                }
            }
            if let Some(next) = order.get(foreign)
                && let Some(to) = writer(key, *next)
            {
                graph.add(node, to, Why::ReadWrite(format!("{key} {next}")));
            }
        }
    }
    time(transactions, committed, &mut graph);
    graph
}

/// Who ended before another began; only edges that do not follow from others.
fn time(transactions: &[Transaction], committed: &[usize], graph: &mut Graph) {
    let mut events: Vec<(Duration, bool, usize)> = Vec::with_capacity(2 * committed.len());
    for (node, index) in committed.iter().enumerate() {
        let transaction = &transactions[*index];
        events.push((transaction.begin, false, node));
        if transaction.outcome == Outcome::Done {
            events.push((transaction.end, true, node));
        }
    }
    // What begins in the instant in which another ends may have come first.
    events.sort_unstable();
    let mut frontier: Vec<usize> = Vec::new();
    let mut before: HashMap<usize, Vec<usize>> = HashMap::new();
    for (_, is_end, node) in events {
        if is_end {
            let covered = before.remove(&node).unwrap_or_default();
            frontier.retain(|ended| !covered.contains(ended));
            frontier.push(node);
        } else {
            for ended in &frontier {
                graph.add(*ended, node, Why::Time);
            }
            before.insert(node, frontier.clone());
        }
    }
}

fn describe(transaction: &Transaction) -> String {
    let Transaction { begin, end, outcome, node, steps } = transaction;
    let steps = steps.iter().map(|step| match step {
        Step::Append(key, value) => format!("append {key} {value}"),
        Step::Read(key, values) => {
            let tail = &values[values.len().saturating_sub(4)..];
            format!("read {key} {} values ending {tail:?}", values.len())
        }
    });
    let steps = steps.collect::<Vec<_>>().join(", ");
    format!("{outcome:?} on node {} from {begin:.3?} to {end:.3?}: {steps}", node + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: Key = Key { generation: 1, table: 0, key: 0 };
    const Y: Key = Key { generation: 1, table: 1, key: 0 };

    /// A transaction from and to a second.
    fn t(begin: u64, end: u64, outcome: Outcome, steps: &[Step]) -> Transaction {
        let (begin, end) = (Duration::from_secs(begin), Duration::from_secs(end));
        Transaction { begin, end, outcome, node: 0, steps: steps.to_vec() }
    }

    fn done(begin: u64, end: u64, steps: &[Step]) -> Transaction {
        t(begin, end, Outcome::Done, steps)
    }

    fn append(key: Key, value: i64) -> Step {
        Step::Append(key, value)
    }

    fn read(key: Key, values: &[i64]) -> Step {
        Step::Read(key, values.to_vec())
    }

    #[track_caller]
    fn found(transactions: &[Transaction], words: &str) {
        let violations = check(transactions);
        assert!(violations.iter().any(|violation| violation.contains(words)), "no {words:?} in {violations:#?}");
    }

    #[test]
    fn a_correct_history_has_no_violations() {
        let history = [
            done(0, 1, &[append(X, 1), append(Y, 2)]),
            done(2, 4, &[read(X, &[1]), append(X, 3), read(X, &[1, 3])]),
            // It began before the one above ended, and sees nothing of it.
            done(3, 5, &[read(X, &[1]), read(Y, &[2])]),
            t(3, 9, Outcome::Failed, &[append(X, 4)]),
            t(3, 9, Outcome::Unknown, &[append(X, 5)]),
            t(3, 9, Outcome::Unknown, &[append(Y, 6)]),
            done(10, 11, &[read(X, &[1, 3, 5]), read(Y, &[2])]),
        ];
        assert_eq!(check(&history), Vec::<String>::new());
    }

    #[test]
    fn write_skew_is_allowed() {
        let history = [
            done(0, 5, &[read(X, &[]), append(Y, 1)]),
            done(0, 5, &[read(Y, &[]), append(X, 2)]),
            done(6, 7, &[read(X, &[2]), read(Y, &[1])]),
        ];
        assert_eq!(check(&history), Vec::<String>::new());
    }

    #[test]
    fn what_is_lost_doubled_or_was_never_written_is_found() {
        found(&[done(0, 1, &[append(X, 1)]), done(2, 3, &[read(X, &[])])], "is lost");
        found(&[done(0, 1, &[append(X, 1)]), done(2, 3, &[read(X, &[1, 1])])], "twice");
        found(&[done(2, 3, &[read(X, &[7])])], "never appended");
        let failed = t(0, 1, Outcome::Failed, &[append(X, 1)]);
        found(&[failed, done(2, 3, &[read(X, &[1])])], "its transaction failed");
        let half = t(0, 1, Outcome::Unknown, &[append(X, 1), append(Y, 2)]);
        found(&[half, done(2, 3, &[read(X, &[1]), read(Y, &[])])], "others of its transaction are");
    }

    #[test]
    fn reads_that_fit_into_no_order_are_found() {
        let writes = [done(0, 9, &[append(X, 1)]), done(0, 9, &[append(X, 2)])];
        let mut history = writes.to_vec();
        history.push(done(0, 9, &[read(X, &[2])]));
        history.push(done(10, 11, &[read(X, &[1, 2])]));
        found(&history, "no beginning");
    }

    #[test]
    fn a_read_in_the_middle_of_a_transaction_is_found() {
        let history = [
            done(0, 9, &[append(X, 1), append(X, 2)]),
            done(0, 9, &[read(X, &[1])]),
            done(10, 11, &[read(X, &[1, 2])]),
        ];
        found(&history, "in the middle");
    }

    #[test]
    fn a_transaction_that_does_not_see_its_own_writes_is_found() {
        found(&[done(0, 1, &[append(X, 1), read(X, &[])]), done(2, 3, &[read(X, &[1])])], "its own transaction");
        let other = done(0, 9, &[append(X, 1)]);
        found(&[other, done(0, 9, &[read(X, &[]), read(X, &[1])])], "its own transaction");
    }

    #[test]
    fn a_lost_update_is_found() {
        // Both read the empty list and appended to it: the second did not see the first.
        let history = [
            done(0, 5, &[read(X, &[]), append(X, 1)]),
            done(0, 5, &[read(X, &[]), append(X, 2)]),
            done(6, 7, &[read(X, &[1, 2])]),
        ];
        found(&history, "a cycle");
    }

    #[test]
    fn read_skew_is_found() {
        let history = [
            done(0, 9, &[append(X, 1), append(Y, 2)]),
            done(0, 9, &[read(X, &[]), read(Y, &[2])]),
            done(10, 11, &[read(X, &[1]), read(Y, &[2])]),
        ];
        found(&history, "a cycle");
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [done(0, 1, &[append(X, 1)]), done(2, 3, &[read(X, &[])]), done(4, 5, &[read(X, &[1])])];
        found(&history, "a cycle");
    }

    #[test]
    fn writes_against_the_clock_are_found() {
        let history = [done(0, 1, &[append(X, 1)]), done(2, 3, &[append(X, 2)]), done(4, 5, &[read(X, &[2, 1])])];
        found(&history, "a cycle");
    }
}
