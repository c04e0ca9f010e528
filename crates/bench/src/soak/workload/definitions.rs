//! Tables that are made and dropped under the same few names. A table's mark is the name of its column.

use super::super::history::{Change, Definition, Outcome};
use super::super::session::{Failure, Session};
use super::Client;

/// Names in a generation.
const NAMES: u8 = 3;

impl Client {
    /// Makes a table, drops one, or looks which is there.
    pub(super) async fn define(&mut self, session: &Session) -> Result<(), Failure> {
        let name = format!("defined_{}_{}", self.shared.generation(), self.random.u8(..NAMES));
        let begin = self.shared.now();
        let (wanted, refused, result) = match self.random.u8(..4) {
            0 => {
                let mark = u32::try_from(self.shared.number()).unwrap_or(u32::MAX);
                let result = session.run(&format!("CREATE TABLE {name} (m{mark} integer)")).await;
                (Change::Created(mark), Some(("42P07", Change::Existed)), result)
            }
            1 => {
                let result = session.run(&format!("DROP TABLE {name}")).await;
                (Change::Dropped, Some(("42P01", Change::Missing)), result)
            }
            _ => {
                let sql = format!("SELECT column_name FROM information_schema.columns WHERE table_name = '{name}'");
                let rows = session.rows(&sql).await?;
                let column = rows.first().and_then(|row| row.first().cloned().flatten());
                let mark = column.map(|column| column.trim_start_matches('m').parse().unwrap_or(u32::MAX));
                (Change::Seen(mark), None, Ok(()))
            }
        };
        let end = Some(self.shared.now());
        let (definition, outcome, result) = match (result, refused) {
            (Ok(()), _) => (Some(Definition { begin, end, change: wanted }), Outcome::Done, Ok(())),
            (Err(failure), Some((code, change))) if failure.code.as_deref() == Some(code) => {
                (Some(Definition { begin, end, change }), Outcome::Done, Ok(()))
            }
            (Err(failure), _) => {
                let unknown = failure.outcome == Outcome::Unknown;
                (unknown.then_some(Definition { begin, end: None, change: wanted }), failure.outcome, Err(failure))
            }
        };
        let mut history = self.shared.history();
        history.count("definitions", outcome);
        if let Some(definition) = definition {
            history.definitions.entry(name).or_default().push(definition);
        }
        result
    }
}
