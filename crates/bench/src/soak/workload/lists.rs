//! Lists in rows, which UPDATE and MERGE append to.

use super::super::history::{Key, Outcome, Step, Transaction};
use super::super::session::{Failure, Session};
use super::{Client, outcome};

/// Tables of lists in a generation.
pub(super) const TABLES: u8 = 3;
/// Lists in a table.
pub(super) const KEYS: u8 = 3;

/// Statements that make them.
pub(super) fn tables(generation: u32) -> Vec<String> {
    let mut statements = Vec::new();
    for table in 0..TABLES {
        let name = format!("lists_{generation}_{table}");
        // Two that change different lists of a table meet in its files, or do not.
        let partition = if table == 0 { "" } else { " PARTITION BY (key)" };
        statements.push(format!("CREATE TABLE {name} (key integer NOT NULL, list text NOT NULL){partition}"));
        let rows: Vec<String> = (0..KEYS).map(|key| format!("({key}, '')")).collect();
        statements.push(format!("INSERT INTO {name} VALUES {}", rows.join(", ")));
    }
    statements
}

/// A query for all lists of a table.
pub(super) fn read_all(generation: u32, table: u8) -> String {
    format!("SELECT key, list FROM lists_{generation}_{table} ORDER BY key")
}

/// What its rows are.
pub(super) fn reads(generation: u32, table: u8, rows: Vec<Vec<Option<String>>>) -> Vec<Step> {
    let read = |row: Vec<Option<String>>| {
        let mut columns = row.into_iter().flatten();
        // A key that is no number has to look like one that nobody wrote to.
        let key = columns.next().and_then(|key| key.parse().ok()).unwrap_or(u8::MAX);
        let list = columns.next().unwrap_or_default();
        let values = list.split_whitespace().map(|value| value.parse().unwrap_or(i64::MIN)).collect();
        Step::Read(Key { generation, table, key }, values)
    };
    rows.into_iter().map(read).collect()
}

impl Client {
    fn key(&mut self, generation: u32) -> Key {
        Key { generation, table: self.random.u8(..TABLES), key: self.random.u8(..KEYS) }
    }

    /// One statement or a transaction of up to four, which read and append.
    pub(super) async fn change_lists(&mut self, session: &Session) -> Result<(), Failure> {
        // For all of a transaction: its snapshot has no tables of a later one.
        let generation = self.shared.generation();
        let begin = self.shared.now();
        let mut steps = Vec::new();
        let (outcome, result) = match self.random.u8(..4) {
            0 => {
                let key = self.key(generation);
                let result = self.append(session, key, &mut steps).await;
                (outcome(&result), result)
            }
            1 => {
                let result = self.merge(session, generation, &mut steps).await;
                (outcome(&result), result)
            }
            _ => {
                let many = self.random.u8(1..=4);
                let steps = &mut steps;
                self.block(session, async move |client| {
                    for _ in 0..many {
                        let key = client.key(generation);
                        match client.random.u8(..5) {
                            0..=1 => client.append(session, key, steps).await?,
                            2 => client.merge(session, generation, steps).await?,
                            _ => read(session, key, steps).await?,
                        }
                    }
                    Ok(())
                })
                .await
            }
        };
        self.keep_transaction("lists", begin, outcome, steps);
        result
    }

    /// All lists of a table, by themselves.
    pub(super) async fn read_lists(&mut self, session: &Session) -> Result<(), Failure> {
        let Key { generation, table, .. } = self.key(self.shared.generation());
        let begin = self.shared.now();
        let rows = session.rows(&read_all(generation, table)).await?;
        self.keep_transaction("reads of lists", begin, Outcome::Done, reads(generation, table, rows));
        Ok(())
    }

    fn keep_transaction(&self, kind: &'static str, begin: std::time::Duration, outcome: Outcome, steps: Vec<Step>) {
        let transaction = Transaction { begin, end: self.shared.now(), outcome, node: self.node, steps };
        let mut history = self.shared.history();
        history.count(kind, outcome);
        history.transactions.push(transaction);
    }

    async fn append(&mut self, session: &Session, key: Key, steps: &mut Vec<Step>) -> Result<(), Failure> {
        let value = self.shared.number();
        steps.push(Step::Append(key, value));
        let Key { generation, table, key } = key;
        session.run(&format!("UPDATE lists_{generation}_{table} SET list = list || ' {value}' WHERE key = {key}")).await
    }

    /// Appends to two lists of a table.
    async fn merge(&mut self, session: &Session, generation: u32, steps: &mut Vec<Step>) -> Result<(), Failure> {
        let first = self.key(generation);
        let second = Key { key: (first.key + 1) % KEYS, ..first };
        let values = [first, second].map(|key| (key, self.shared.number()));
        steps.extend(values.map(|(key, value)| Step::Append(key, value)));
        let rows = values.map(|(key, value)| format!("({}, ' {value}')", key.key)).join(", ");
        let Key { table, .. } = first;
        let sql = format!(
            "MERGE INTO lists_{generation}_{table} AS l USING (VALUES {rows}) AS s (key, value) ON l.key = s.key \
             WHEN MATCHED THEN UPDATE SET list = l.list || s.value \
             WHEN NOT MATCHED THEN INSERT (key, list) VALUES (s.key, s.value)"
        );
        session.run(&sql).await
    }
}

async fn read(session: &Session, key: Key, steps: &mut Vec<Step>) -> Result<(), Failure> {
    let Key { generation, table, key } = key;
    let rows = session.rows(&format!("SELECT key, list FROM lists_{generation}_{table} WHERE key = {key}")).await?;
    steps.extend(reads(generation, table, rows));
    Ok(())
}
