//! Rows that are inserted in every way, and looked for on another node.

use std::time::Duration;

use super::super::history::{Insert, Outcome};
use super::super::session::{Failure, Session};
use super::{Client, Shared, outcome};

/// The pause after a write that was not acknowledged.
const WRITE_PAUSE: Duration = Duration::from_millis(20);

/// So many statements are remembered, to be looked for.
const RECENT: usize = 32;

impl Shared {
    /// Inserts a row on a node, and tries until that is acknowledged; tells of each attempt that was not. `false`: it was not
    /// acknowledged for so long.
    pub(in crate::soak) async fn write_on(&self, node: usize, patience: Duration) -> (bool, Vec<String>) {
        let mut attempts = Vec::new();
        let written = async {
            loop {
                let begun = self.now();
                let error = match self.attempt(node).await {
                    Ok(()) => return,
                    Err(error) => error,
                };
                attempts.push(format!("node {} from {begin:.3?}: {error}", node + 1, begin = begun));
                tokio::time::sleep(WRITE_PAUSE).await;
            }
        };
        let written = tokio::time::timeout(patience, written).await.is_ok();
        (written, attempts)
    }

    async fn attempt(&self, node: usize) -> Result<(), String> {
        let session = Session::open(self.addresses[node]).await?;
        let (generation, statement) = (self.generation(), self.number());
        // Known before it is sent: this may be given up at any moment.
        let keep = |outcome| self.history().inserts.insert((generation, statement), Insert { rows: 1, outcome });
        keep(Outcome::Unknown);
        let result = session.run(&format!("INSERT INTO rows_{generation} VALUES ({statement}, 0)")).await;
        keep(outcome(&result));
        result.map_err(|failure| format!("{} {}", failure.code.unwrap_or_default(), failure.message))
    }
}

impl Client {
    /// Rows by one statement, or by two in a transaction.
    pub(super) async fn insert(&mut self, session: &Session) -> Result<(), Failure> {
        let (generation, statement) = (self.shared.generation(), self.shared.number());
        let rows = self.random.i64(1..=30);
        let values = |range: std::ops::Range<i64>| {
            let values: Vec<String> = range.map(|number| format!("({statement}, {number})")).collect();
            values.join(", ")
        };
        let insert = |range| format!("INSERT INTO rows_{generation} VALUES {}", values(range));
        let (outcome, result) = match self.random.u8(..4) {
            0 => {
                let sql = format!(
                    "MERGE INTO rows_{generation} AS r USING (VALUES {}) AS s (statement, number) \
                     ON r.statement = s.statement WHEN NOT MATCHED THEN INSERT VALUES (s.statement, s.number)",
                    values(0..rows)
                );
                let result = session.run(&sql).await;
                (outcome(&result), result)
            }
            1 if rows > 1 => {
                let (first, second) = (insert(0..rows / 2), insert(rows / 2..rows));
                self.block(session, async |_| {
                    session.run(&first).await?;
                    session.run(&second).await
                })
                .await
            }
            _ => {
                let result = session.run(&insert(0..rows)).await;
                (outcome(&result), result)
            }
        };
        {
            let mut history = self.shared.history();
            history.count("inserts", outcome);
            history.inserts.insert((generation, statement), Insert { rows, outcome });
        }
        if outcome == Outcome::Done {
            let mut recent = self.shared.recent.lock().expect("nobody panics while he holds it");
            recent.push_back((generation, statement));
            if recent.len() > RECENT {
                recent.pop_front();
            }
        }
        result
    }

    /// What was acknowledged before this begins has to be seen, on whatever node.
    pub(super) async fn look_for_rows(&mut self, session: &Session) -> Result<(), Failure> {
        let newest = self.shared.recent.lock().expect("nobody panics while he holds it").back().copied();
        let Some((generation, statement)) = newest else { return Ok(()) };
        let begin = self.shared.now();
        let sql = format!("SELECT count(*) FROM rows_{generation} WHERE statement = {statement}");
        let rows = session.numbers(&sql).await?;
        let mut history = self.shared.history();
        history.count("looks for rows", Outcome::Done);
        let expected = history.inserts.get(&(generation, statement)).map_or(0, |insert| insert.rows);
        if rows != [vec![expected]] {
            let (end, node) = (self.shared.now(), self.node + 1);
            history.violations.push(format!(
                "statement {statement} was acknowledged with {expected} rows before {begin:.3?}; node {node} has {rows:?} \
                 of them at {end:.3?}"
            ));
        }
        Ok(())
    }
}
