//! What the writers asked for and were told, and whether the tables agree.
//!
//! Every statement has a number, and every row it writes carries that number, the count of rows the statement has, and its own place
//! among them. So the rows alone show a statement that is there by halves or twice. An entry is made before its statement is
//! sent; it stays open when the connection breaks, and then the statement may be there or not, but wholly. What a check finds
//! settles it: a row that was seen must stay, one that was not must not appear later.

use std::collections::BTreeMap;
use std::fmt;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// The columns of every table.
pub(super) const COLUMNS: &str =
    "statement bigint NOT NULL, expected integer NOT NULL, number integer NOT NULL, note text";

/// The number of a statement.
pub(super) type Statement = i64;

/// Rows of each statement in a table.
pub(super) type Contents = BTreeMap<Statement, i64>;

/// Whether a statement's rows are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Present,
    Absent,
}

#[derive(Clone, Debug)]
struct Entry {
    rows: i64,
    fate: Fate,
}

/// Something that one writer alone changes: what it certainly is, and what it may be when the last change is open.
#[derive(Clone, Debug, Default)]
struct Register<T> {
    certain: T,
    open: Option<T>,
}

impl<T: PartialEq> Register<T> {
    /// Takes what was found for certain, if it may be that.
    fn settle(&mut self, found: T) -> bool {
        let allowed = found == self.certain || self.open.as_ref() == Some(&found);
        self.open = None;
        self.certain = found;
        allowed
    }
}

/// Everything that was asked for, of all generations of tables.
#[derive(Debug, Default)]
pub(super) struct Journal {
    generation: u32,
    next: Statement,
    /// Tables that all writers append to, with each statement of each.
    shared: BTreeMap<String, BTreeMap<Statement, Entry>>,
    /// Tables that one writer appends to and truncates.
    own: BTreeMap<String, Register<Contents>>,
    /// Tables that a writer makes from a query and drops: their rows, or nothing when there is no such table.
    made: BTreeMap<String, Register<Option<i64>>>,
    acknowledged: usize,
    refused: BTreeMap<String, usize>,
}

/// What a check saw.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) acknowledged: usize,
    refused: usize,
    open: usize,
    kept: usize,
    rows: i64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} refused, {} open of which {} were kept, {} rows",
            self.acknowledged, self.refused, self.open, self.kept, self.rows
        )
    }
}

impl Journal {
    /// Which tables are written now.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Goes on with new tables.
    pub(super) fn begin_generation(&mut self) {
        self.generation += 1;
    }

    /// A number for a statement.
    pub(super) fn number(&mut self) -> Statement {
        self.next += 1;
        self.next
    }

    /// A statement that appends `rows` rows to a shared table is about to be sent.
    pub(super) fn appending(&mut self, table: &str, rows: i64) -> Statement {
        let statement = self.number();
        self.shared.entry(table.to_owned()).or_default().insert(statement, Entry { rows, fate: Fate::Open });
        statement
    }

    /// The server has answered it: with success, or with an error or after a ROLLBACK.
    pub(super) fn appended(&mut self, table: &str, statement: Statement, present: bool) {
        self.acknowledged += usize::from(present);
        let entry = self.shared.get_mut(table).and_then(|entries| entries.get_mut(&statement));
        entry.expect("it was entered before it was sent").fate = if present { Fate::Present } else { Fate::Absent };
    }

    /// What a table of one writer certainly holds.
    pub(super) fn own(&mut self, table: &str) -> Contents {
        self.own.entry(table.to_owned()).or_default().certain.clone()
    }

    /// A statement that leaves `contents` in it is about to be sent.
    pub(super) fn changing(&mut self, table: &str, contents: Contents) {
        self.own.entry(table.to_owned()).or_default().open = Some(contents);
    }

    /// The server has answered it.
    pub(super) fn changed(&mut self, table: &str, done: bool) {
        self.acknowledged += usize::from(done);
        let register = self.own.get_mut(table).expect("it was entered before it was sent");
        let open = register.open.take();
        if let (true, Some(contents)) = (done, open) {
            register.certain = contents;
        }
    }

    /// A table is about to be made with so many rows, or dropped.
    pub(super) fn making(&mut self, table: &str, rows: Option<i64>) {
        self.made.entry(table.to_owned()).or_default().open = Some(rows);
    }

    /// The server has answered it.
    pub(super) fn made(&mut self, table: &str, done: bool) {
        self.acknowledged += usize::from(done);
        let register = self.made.get_mut(table).expect("it was entered before it was sent");
        let open = register.open.take();
        if let (true, Some(rows)) = (done, open) {
            register.certain = rows;
        }
    }

    /// Notes the SQLSTATE of an error.
    pub(super) fn refused(&mut self, code: &str) {
        *self.refused.entry(code.to_owned()).or_default() += 1;
    }

    /// Counts the rows of this generation's tables against the entries, and begins to count statements anew.
    pub(super) async fn verify(&mut self, client: &Client, failures: &mut Vec<String>) -> anyhow::Result<Counts> {
        let prefix = table_prefix(self.generation);
        let mut counts = self.check(client, failures, |table| table.starts_with(&prefix)).await?;
        counts.acknowledged = std::mem::take(&mut self.acknowledged);
        counts.refused = std::mem::take(&mut self.refused).into_values().sum();
        Ok(counts)
    }

    /// Counts the rows of all tables that there ever were.
    pub(super) async fn verify_all(&mut self, client: &Client, failures: &mut Vec<String>) -> anyhow::Result<Counts> {
        self.check(client, failures, |_| true).await
    }

    async fn check(
        &mut self,
        client: &Client,
        failures: &mut Vec<String>,
        chosen: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Counts> {
        let mut counts = Counts::default();
        for (table, entries) in self.shared.iter_mut().filter(|(table, _)| chosen(table)) {
            let found = contents(client, table, failures).await?;
            counts.rows += found.iter().flat_map(BTreeMap::values).sum::<i64>();
            judge(table, entries, found.unwrap_or_default(), &mut counts, failures);
        }
        for (table, register) in self.own.iter_mut().filter(|(table, _)| chosen(table)) {
            let found = contents(client, table, failures).await?.unwrap_or_default();
            counts.rows += found.values().sum::<i64>();
            counts.open += usize::from(register.open.is_some());
            counts.kept += usize::from(register.open.as_ref() == Some(&found));
            let before = register.clone();
            if !register.settle(found.clone()) {
                failures.push(format!("{table} holds {found:?}, not {before:?}"));
            }
        }
        for (table, register) in self.made.iter_mut().filter(|(table, _)| chosen(table)) {
            let found = contents(client, table, failures).await?.map(|found| found.values().sum());
            counts.rows += found.unwrap_or(0);
            counts.open += usize::from(register.open.is_some());
            counts.kept += usize::from(register.open == Some(found));
            let before = register.clone();
            if !register.settle(found) {
                failures.push(format!("{table} has {found:?} rows, not {before:?}"));
            }
        }
        Ok(counts)
    }
}

/// The beginning of the names of a generation's tables.
pub(super) fn table_prefix(generation: u32) -> String {
    format!("crash_{generation}_")
}

/// Holds what was found in a shared table against its entries, and settles the open ones.
fn judge(
    table: &str,
    entries: &mut BTreeMap<Statement, Entry>,
    mut found: Contents,
    counts: &mut Counts,
    failures: &mut Vec<String>,
) {
    for (statement, entry) in entries {
        let rows = found.remove(statement).unwrap_or(0);
        let whole = rows == entry.rows;
        match entry.fate {
            Fate::Present if !whole => {
                failures.push(format!(
                    "{table}: statement {statement} was acknowledged with {} rows, has {rows}",
                    entry.rows
                ));
            }
            Fate::Absent if rows != 0 => {
                failures.push(format!(
                    "{table}: statement {statement} was not done, but has {rows} of {} rows",
                    entry.rows
                ));
            }
            Fate::Open if rows != 0 && !whole => {
                failures.push(format!("{table}: statement {statement} was cut short: {rows} of {} rows", entry.rows));
            }
            _ => {}
        }
        if entry.fate == Fate::Open {
            counts.open += 1;
            counts.kept += usize::from(whole);
            entry.fate = if whole { Fate::Present } else { Fate::Absent };
        }
    }
    for (statement, rows) in found {
        failures.push(format!("{table}: statement {statement} wrote {rows} rows here, and was never sent"));
    }
}

/// The rows of each statement in a table; `None` when there is no such table. Rows that are there twice, or whose own count
/// is not that of their statement, are failures.
async fn contents(client: &Client, table: &str, failures: &mut Vec<String>) -> anyhow::Result<Option<Contents>> {
    let sql = format!(
        "SELECT statement, count(*), count(DISTINCT number), min(number), max(number), min(expected), max(expected) \
         FROM {table} GROUP BY statement"
    );
    let rows = match client.query(&sql, &[]).await {
        Ok(rows) => rows,
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(None),
        Err(error) => {
            failures.push(format!("{table} cannot be read: {}", super::writers::describe(&error)));
            return Ok(None);
        }
    };
    let mut contents = Contents::new();
    for row in rows {
        let statement: Statement = row.try_get(0)?;
        let count: i64 = row.try_get(1)?;
        let distinct: i64 = row.try_get(2)?;
        let [lowest, highest, least, most] = [3, 4, 5, 6].map(|column| row.try_get::<_, i32>(column).map(i64::from));
        let (lowest, highest, least, most) = (lowest?, highest?, least?, most?);
        if distinct != count || lowest != 0 || highest != count - 1 || least != count || most != count {
            failures.push(format!(
                "{table}: statement {statement} has {count} rows, {distinct} different ones from {lowest} to {highest}, \
                 and should have {least} to {most}"
            ));
        }
        contents.insert(statement, count);
    }
    Ok(Some(contents))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Journal {
        let mut journal = Journal::default();
        for fate in [Some(true), Some(false), None] {
            let statement = journal.appending("t", 3);
            if let Some(present) = fate {
                journal.appended("t", statement, present);
            }
        }
        journal
    }

    fn verdict(journal: &mut Journal, found: &[(Statement, i64)]) -> Vec<String> {
        let mut failures = Vec::new();
        let entries = journal.shared.get_mut("t").expect("the journal has a table t");
        judge("t", entries, found.iter().copied().collect(), &mut Counts::default(), &mut failures);
        failures
    }

    #[test]
    fn an_open_statement_may_be_there_or_not() {
        assert_eq!(verdict(&mut journal(), &[(1, 3)]), Vec::<String>::new());
        assert_eq!(verdict(&mut journal(), &[(1, 3), (3, 3)]), Vec::<String>::new());
    }

    #[test]
    fn losses_halves_and_ghosts_are_failures() {
        for (found, word) in [
            (&[][..], "was acknowledged with 3 rows, has 0"),
            (&[(1, 2)], "was acknowledged with 3 rows, has 2"),
            (&[(1, 6)], "was acknowledged with 3 rows, has 6"),
            (&[(1, 3), (2, 3)], "was not done, but has 3"),
            (&[(1, 3), (3, 1)], "was cut short: 1 of 3"),
            (&[(1, 3), (9, 1)], "was never sent"),
        ] {
            let failures = verdict(&mut journal(), found);
            assert!(failures.len() == 1 && failures[0].contains(word), "{found:?}: {failures:?}");
        }
    }

    #[test]
    fn what_was_seen_must_stay() {
        let mut journal = journal();
        assert!(verdict(&mut journal, &[(1, 3), (3, 3)]).is_empty());
        assert_eq!(verdict(&mut journal, &[(1, 3)]).len(), 1);
        let mut journal = self::journal();
        assert!(verdict(&mut journal, &[(1, 3)]).is_empty());
        assert_eq!(verdict(&mut journal, &[(1, 3), (3, 3)]).len(), 1);
    }

    #[test]
    fn a_register_is_what_it_was_or_what_it_was_to_be() {
        let mut register = Register { certain: 1, open: Some(2) };
        assert!(register.clone().settle(1));
        assert!(register.clone().settle(2));
        assert!(!register.clone().settle(3));
        assert!(register.settle(2));
        assert!(!register.settle(1));
    }
}
