//! Accounts in two tables, between which money moves: nobody may see it on its way.

use super::super::history::Outcome;
use super::super::session::{Failure, Session};
use super::{Client, outcome};

/// Accounts in each of the two tables.
const ACCOUNTS: i64 = 5;
/// What each begins with.
const BALANCE: i64 = 1_000;

/// Statements that make them.
pub(super) fn tables(generation: u32) -> Vec<String> {
    let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
    let rows = rows.join(", ");
    let make = |half| {
        let name = format!("accounts_{generation}_{half}");
        [
            format!("CREATE TABLE {name} (id integer NOT NULL, balance bigint NOT NULL)"),
            format!("INSERT INTO {name} VALUES {rows}"),
        ]
    };
    (0..2).flat_map(make).collect()
}

/// A query for the number of accounts and all their money.
pub(super) fn sum(generation: u32) -> String {
    format!(
        "SELECT count(*), sum(balance)::bigint FROM (SELECT balance FROM accounts_{generation}_0 UNION ALL \
         SELECT balance FROM accounts_{generation}_1) AS all_accounts"
    )
}

/// The row of its result.
pub(super) fn expected() -> Vec<i64> {
    vec![2 * ACCOUNTS, 2 * ACCOUNTS * BALANCE]
}

impl Client {
    /// Moves money: within a table by one statement, or from one to the other in a transaction.
    pub(super) async fn transfer(&mut self, session: &Session) -> Result<(), Failure> {
        let generation = self.shared.generation();
        let (from, to, amount) = (self.random.i64(..ACCOUNTS), self.random.i64(..ACCOUNTS), self.random.i64(1..100));
        let half = self.random.u8(..2);
        let (outcome, result) = if from != to && self.random.bool() {
            let result = session
                .run(&format!(
                    "UPDATE accounts_{generation}_{half} SET balance = balance + CASE id WHEN {from} THEN -{amount} \
                     ELSE {amount} END WHERE id IN ({from}, {to})"
                ))
                .await;
            (outcome(&result), result)
        } else {
            let other = 1 - half;
            let take =
                format!("UPDATE accounts_{generation}_{half} SET balance = balance - {amount} WHERE id = {from}");
            let give = format!("UPDATE accounts_{generation}_{other} SET balance = balance + {amount} WHERE id = {to}");
            self.block(session, async |_| {
                session.run(&take).await?;
                session.run(&give).await
            })
            .await
        };
        self.shared.history().count("transfers", outcome);
        result
    }

    /// Adds all accounts up, in one statement or in two of one transaction.
    pub(super) async fn sum(&mut self, session: &Session) -> Result<(), Failure> {
        let generation = self.shared.generation();
        let begin = self.shared.now();
        let rows = if self.random.bool() {
            session.numbers(&sum(generation)).await?
        } else {
            let halves = async |_: &mut Client| {
                let mut sums = vec![0, 0];
                for half in 0..2 {
                    let sql = format!("SELECT count(*), sum(balance)::bigint FROM accounts_{generation}_{half}");
                    let rows = session.numbers(&sql).await?;
                    sums.iter_mut().zip(rows.first().into_iter().flatten()).for_each(|(sum, half)| *sum += half);
                }
                Ok(vec![sums])
            };
            self.block(session, halves).await.1?
        };
        let mut history = self.shared.history();
        history.count("sums", Outcome::Done);
        if rows != [expected()] {
            let (end, node) = (self.shared.now(), self.node + 1);
            let what =
                format!("accounts of generation {generation} on node {node} from {begin:.3?} to {end:.3?}: {rows:?}");
            history.violations.push(what);
        }
        Ok(())
    }
}
