//! The tables of a generation: how they are made, and what is read from them at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::super::check::{self, Found};
use super::super::history::{Key, Outcome, Step, Transaction};
use super::super::session::{Failure, Session};
use super::{Shared, accounts, lists};

/// The pause after an attempt to make them.
const PAUSE: Duration = Duration::from_millis(200);

/// Makes the tables of the next generation, all in one transaction, which is tried until it is done.
pub(super) async fn next_generation(shared: &Arc<Shared>, random: &mut fastrand::Rng) {
    let generation = shared.generation() + 1;
    let mut statements = vec!["BEGIN".to_owned()];
    statements.extend(lists::tables(generation));
    statements.extend(accounts::tables(generation));
    statements.push(format!("CREATE TABLE rows_{generation} (statement bigint NOT NULL, number integer NOT NULL)"));
    statements.push("COMMIT".to_owned());
    let sql = statements.join("; ");
    while !shared.is_stopped() {
        let address = shared.addresses[random.usize(..shared.addresses.len())];
        if let Ok(session) = Session::open(address).await {
            match session.run(&sql).await {
                Ok(()) => break,
                // An earlier attempt was done after all: all of it, or that is found at the end.
                Err(Failure { code: Some(code), .. }) if code == "42P07" => break,
                Err(failure) if failure.is_surprising() => {
                    let Failure { code, message, .. } = failure;
                    let said = format!("{} {message} (making tables)", code.unwrap_or_default());
                    *shared.history().surprises.entry(said).or_default() += 1;
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    if !shared.is_stopped() {
        shared.generation.store(generation, Ordering::SeqCst);
    }
}

/// Reads all tables of all generations on a node, for the last time. What is wrong with rows and sums is told; lists go to the
/// history.
pub(in crate::soak) async fn verify(shared: &Shared, node: usize) -> anyhow::Result<Vec<String>> {
    let session = Session::open(shared.addresses[node]).await.map_err(|error| anyhow!(error))?;
    let mut violations = Vec::new();
    for generation in 1..=shared.generation() {
        let last = verify_generation(shared, &session, node, generation, &mut violations).await;
        last.map_err(|failure| anyhow!("{failure:?}")).with_context(|| format!("generation {generation}"))?;
    }
    Ok(violations)
}

async fn verify_generation(
    shared: &Shared,
    session: &Session,
    node: usize,
    generation: u32,
    violations: &mut Vec<String>,
) -> Result<(), Failure> {
    for table in 0..lists::TABLES {
        let begin = shared.now();
        let rows = session.rows(&lists::read_all(generation, table)).await?;
        let steps = lists::reads(generation, table, rows);
        let keys: Vec<Key> =
            steps.iter().filter_map(|step| if let Step::Read(key, _) = step { Some(*key) } else { None }).collect();
        if keys.len() != usize::from(lists::KEYS) {
            violations.push(format!("lists_{generation}_{table} has the keys {keys:?}"));
        }
        let transaction = Transaction { begin, end: shared.now(), outcome: Outcome::Done, node, steps };
        shared.history().transactions.push(transaction);
    }
    let sum = session.numbers(&accounts::sum(generation)).await?;
    if sum != [accounts::expected()] {
        violations.push(format!("accounts of generation {generation} at the end: {sum:?}"));
    }
    let counts = session
        .numbers(&format!(
            "SELECT statement, count(*), count(DISTINCT number) FROM rows_{generation} GROUP BY statement"
        ))
        .await?;
    let found = counts.into_iter().map(|row| (row[0], Found { rows: row[1], distinct: row[2] })).collect();
    let history = shared.history();
    let inserts = history.inserts.range((generation, i64::MIN)..=(generation, i64::MAX));
    let inserts: BTreeMap<_, _> = inserts.map(|((_, statement), insert)| (*statement, *insert)).collect();
    let wrong = check::rows(&inserts, &found);
    violations.extend(wrong.into_iter().map(|what| format!("rows_{generation} on node {}: {what}", node + 1)));
    Ok(())
}
