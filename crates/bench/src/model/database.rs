//! The model: tables as maps in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A row as a client sees it: texts and NULLs, the id first.
pub(super) type Row = Vec<Option<String>>;

/// The kinds of columns there are besides the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    BigInt,
    Numeric,
    Text,
}

impl Kind {
    pub(super) const ALL: [Kind; 4] = [Kind::Integer, Kind::BigInt, Kind::Numeric, Kind::Text];

    /// As it is written.
    pub(super) fn sql(self) -> &'static str {
        match self {
            Kind::Integer => "integer",
            Kind::BigInt => "bigint",
            Kind::Numeric => "numeric(12,2)",
            Kind::Text => "text",
        }
    }

    /// A value as a client sees it, and so that it can be written between quotes.
    pub(super) fn value(self, random: &mut fastrand::Rng) -> Option<String> {
        if random.u8(..10) == 0 {
            return None;
        }
        Some(match self {
            Kind::Integer => random.i32(-1000..1000).to_string(),
            Kind::BigInt => random.i64(i64::MIN..i64::MAX).to_string(),
            Kind::Numeric => format!("{}.{:02}", random.u32(..1_000_000), random.u8(..100)),
            Kind::Text => (0..random.usize(..12)).map(|_| random.alphanumeric()).collect(),
        })
    }
}

/// A column besides the id.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Which one it is, however it is called.
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) default: Option<String>,
}

/// What a table holds: columns and rows by id. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Arc<BTreeMap<i64, Row>>,
}

impl Contents {
    pub(super) fn column_list(&self) -> String {
        std::iter::once("id")
            .chain(self.columns.iter().map(|column| column.name.as_str()))
            .collect::<Vec<_>>()
            .join(", ")
    }

    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.rows.values()
    }
}

/// A table and what it was.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) now: Contents,
    /// It has a key that ON CONFLICT can name.
    pub(super) has_key: bool,
    /// Its id, by which it may be partitioned, is not a bigint yet.
    pub(super) has_narrow_id: bool,
    /// By snapshot id.
    history: BTreeMap<String, Contents>,
    /// Snapshots of whose columns the model does not know when they changed.
    unknown: BTreeSet<String>,
    /// The snapshots that came one from another, oldest first: those that ROLLBACK may go to.
    line: Vec<String>,
}

impl Table {
    pub(super) fn column_list(&self) -> String {
        self.now.column_list()
    }

    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.now.rows()
    }

    pub(super) fn rows_mut(&mut self) -> &mut BTreeMap<i64, Row> {
        Arc::make_mut(&mut self.now.rows)
    }

    pub(super) fn history(&self) -> impl Iterator<Item = (&String, &Contents)> {
        self.history.iter()
    }

    /// Notes the snapshot that the table has now, if it is new, and forgets those that are not there any more.
    pub(super) fn note_snapshot(&mut self, current: Option<String>, there: &BTreeSet<String>) {
        self.history.retain(|id, _| there.contains(id));
        self.line.retain(|id| there.contains(id));
        let Some(current) = current else { return };
        if !self.history.contains_key(&current) && !self.unknown.contains(&current) {
            self.history.insert(current.clone(), self.now.clone());
            self.line.push(current);
        }
    }

    /// The snapshot that the table has now may have other columns than the table.
    pub(super) fn ignore_snapshot(&mut self, current: Option<String>) {
        self.unknown.extend(current.filter(|id| !self.history.contains_key(id)));
    }

    /// The snapshots that ROLLBACK can go to.
    pub(super) fn ancestors(&self) -> &[String] {
        self.line.split_last().map_or(&[], |(_, ancestors)| ancestors)
    }

    /// Goes back to a snapshot: its rows, at the columns there are now. One that was not there then is what it was in the rows there were
    /// when it came. False when the snapshot is not known.
    pub(super) fn rollback(&mut self, id: &str) -> bool {
        let Some(former) = self.history.get(id) else { return false };
        let place = |column: &Column| former.columns.iter().position(|was| was.id == column.id);
        let places: Vec<_> = self.now.columns.iter().map(|column| (place(column), &column.default)).collect();
        let now = |row: &Row| -> Row {
            let value = |(place, default): &(Option<usize>, &Option<String>)| match place {
                Some(place) => row[place + 1].clone(),
                None => (*default).clone(),
            };
            std::iter::once(row[0].clone()).chain(places.iter().map(value)).collect()
        };
        let rows = former.rows.iter().map(|(id, row)| (*id, now(row))).collect();
        self.now.rows = Arc::new(rows);
        if let Some(place) = self.line.iter().position(|known| known == id) {
            self.line.truncate(place + 1);
        }
        true
    }

    /// A copy without a history.
    pub(super) fn cloned(&self) -> Table {
        let Table { now, has_key, has_narrow_id, .. } = self;
        Table { now: now.clone(), has_key: *has_key, has_narrow_id: *has_narrow_id, ..Table::default() }
    }
}

/// All tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Database {
    pub(super) tables: BTreeMap<String, Table>,
    /// Tables that were dropped and not brought back, the last one last.
    pub(super) dropped: Vec<(String, Table)>,
    /// Counts up, for names.
    pub(super) names: u64,
}

impl Database {
    pub(super) fn new_name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }
}
