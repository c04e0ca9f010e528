//! Which files a table was loaded from, for COPY to load each once.
//!
//! A property of the table has digests of the files, in groups, and of each group the snapshots from which on the rows of its files
//! are there: `17:aa,bb;23+42:cc`. What always holds: a file is loaded in a state of the table exactly when a snapshot of its group is
//! the state's own or one that it was made from, and none since then was a TRUNCATE. So whoever moves a branch, by a rollback, a
//! fast-forward or through the Iceberg catalog, moves with it what is loaded there, and only who forgets snapshots has to think of the
//! files ([`carried`]): a snapshot that loses its parent takes over what was loaded in that.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{Snapshot, SnapshotRef, TableMetadata, TableMetadataBuilder};

use crate::table::LakeTable;

/// The property.
pub(crate) const LOADED_FILES: &str = "wharf.loaded-files";
/// In the summary of a snapshot: what was loaded before it does not count as loaded in it.
pub(crate) const TRUNCATED: &str = "wharf.truncated";

/// How many files are remembered; the oldest are forgotten.
const REMEMBERED: usize = 50_000;

impl LakeTable {
    /// The digests of the files whose loading is in the history of this state. Rows that were deleted or updated since count; those
    /// before a TRUNCATE do not.
    pub fn loaded_digests(&self) -> HashSet<&str> {
        Memory::of(self.metadata()).of_snapshot(self.metadata(), self.snapshot_id())
    }
}

/// Files that became loaded by the same snapshots.
#[derive(Debug, PartialEq)]
struct Group<'a> {
    /// In order.
    snapshots: Vec<i64>,
    /// The latest last.
    digests: Vec<&'a str>,
}

/// What a table remembers, the oldest first.
#[derive(Debug, PartialEq)]
pub(crate) struct Memory<'a>(Vec<Group<'a>>);

impl<'a> Memory<'a> {
    /// What the property of a table says.
    pub(crate) fn of(table: &'a TableMetadata) -> Memory<'a> {
        let text = table.properties().get(LOADED_FILES).map_or("", String::as_str);
        let digests = |text: &'a str| text.split(',').filter(|digest| !digest.is_empty()).collect::<Vec<_>>();
        let groups = match text.contains(':') {
            true => {
                let group = |text: &'a str| {
                    let (snapshots, text) = text.split_once(':')?;
                    let snapshots = snapshots.split('+').map(str::parse).collect::<Result<_, _>>().ok()?;
                    Some(Group { snapshots, digests: digests(text) })
                };
                text.split(';').filter_map(group).collect()
            }
            // Of earlier builds, which did not note the snapshots: as if it had all been there before everything else.
            false => vec![Group { snapshots: oldest(table), digests: digests(text) }],
        };
        Memory(groups.into_iter().filter(|group| !group.snapshots.is_empty() && !group.digests.is_empty()).collect())
    }

    /// The files that are loaded in a snapshot of the table.
    pub(crate) fn of_snapshot(&self, table: &TableMetadata, snapshot: Option<i64>) -> HashSet<&'a str> {
        let history = history(table, snapshot);
        self.0.iter().filter(|group| group.is_in(&history)).flat_map(|group| &group.digests).copied().collect()
    }

    /// Adds files that a snapshot has loaded.
    pub(crate) fn add(&mut self, snapshot: i64, digests: impl Iterator<Item = &'a str>) {
        self.put(Group { snapshots: vec![snapshot], digests: digests.collect() });
        let mut surplus = self.0.iter().map(|group| group.digests.len()).sum::<usize>().saturating_sub(REMEMBERED);
        for group in &mut self.0 {
            let count = surplus.min(group.digests.len());
            group.digests.drain(..count);
            surplus -= count;
        }
        self.0.retain(|group| !group.digests.is_empty());
    }

    /// Adds a group, to the one of the same snapshots if there is one.
    fn put(&mut self, group: Group<'a>) {
        match self.0.iter_mut().find(|known| known.snapshots == group.snapshots) {
            Some(known) => {
                let new: HashSet<&str> = group.digests.iter().copied().collect();
                known.digests.retain(|digest| !new.contains(digest));
                known.digests.extend(group.digests);
            }
            None => self.0.push(group),
        }
    }

    /// It as a property; an empty text for nothing.
    pub(crate) fn text(&self) -> String {
        let snapshots = |group: &Group<'_>| group.snapshots.iter().map(i64::to_string).collect::<Vec<_>>().join("+");
        let groups = self.0.iter().map(|group| format!("{}:{}", snapshots(group), group.digests.join(",")));
        groups.collect::<Vec<_>>().join(";")
    }
}

impl Group<'_> {
    fn is_in(&self, history: &HashSet<i64>) -> bool {
        self.snapshots.iter().any(|snapshot| history.contains(snapshot))
    }
}

/// What a table remembers that has forgotten snapshots, and may have got new ones: the text of the property, none where it stays what it was.
pub(crate) fn carried<'s>(before: &TableMetadata, after: impl Iterator<Item = &'s SnapshotRef>) -> Option<String> {
    before.properties().get(LOADED_FILES)?;
    let after: HashMap<i64, &SnapshotRef> = after.map(|snapshot| (snapshot.snapshot_id(), snapshot)).collect();
    if before.snapshots().all(|snapshot| after.contains_key(&snapshot.snapshot_id())) {
        return None;
    }
    let mut memory = Memory::of(before);
    for (id, snapshot) in &after {
        let Some(parent) = snapshot.parent_snapshot_id().filter(|parent| !after.contains_key(parent)) else { continue };
        // None of a parent that was gone before, which had left to this one what was loaded in it.
        let history = if truncates(snapshot) { HashSet::new() } else { history(before, Some(parent)) };
        memory.0.iter_mut().filter(|group| group.is_in(&history)).for_each(|group| group.snapshots.push(*id));
    }
    let mut left = Memory(Vec::new());
    for mut group in memory.0 {
        group.snapshots.retain(|id| after.contains_key(id));
        group.snapshots.sort_unstable();
        group.snapshots.dedup();
        if !group.snapshots.is_empty() {
            left.put(group);
        }
    }
    Some(left.text())
}

/// What a clone of a state of a table remembers, whose only snapshot is that of the state; an empty text for nothing.
pub(crate) fn of_clone(source: &LakeTable) -> String {
    let snapshot = source.snapshot_id();
    let history = history(source.metadata(), snapshot);
    let mut memory = Memory(Vec::new());
    for group in Memory::of(source.metadata()).0.into_iter().filter(|group| group.is_in(&history)) {
        memory.put(Group { snapshots: snapshot.into_iter().collect(), ..group });
    }
    memory.text()
}

/// Gives a table what it is to remember.
///
/// # Errors
/// None that is known of: Iceberg refuses other properties.
pub(crate) fn set(builder: TableMetadataBuilder, text: String) -> Result<TableMetadataBuilder, iceberg::Error> {
    match text.is_empty() {
        true => builder.remove_properties(&[LOADED_FILES.to_owned()]),
        false => builder.set_properties(HashMap::from([(LOADED_FILES.to_owned(), text)])),
    }
}

/// A snapshot and those it was made from, as far as they are known, up to a TRUNCATE.
fn history(table: &TableMetadata, snapshot: Option<i64>) -> HashSet<i64> {
    let mut history = HashSet::new();
    let mut next = snapshot;
    while let Some(snapshot) = next.and_then(|id| table.snapshot_by_id(id)) {
        if !history.insert(snapshot.snapshot_id()) || truncates(snapshot) {
            break;
        }
        next = snapshot.parent_snapshot_id();
    }
    history
}

fn truncates(snapshot: &Snapshot) -> bool {
    snapshot.summary().additional_properties.contains_key(TRUNCATED)
}

/// The snapshots of which no parent is known.
fn oldest(table: &TableMetadata) -> Vec<i64> {
    let is_known = |id: i64| table.snapshot_by_id(id).is_some();
    let oldest = table.snapshots().filter(|snapshot| !snapshot.parent_snapshot_id().is_some_and(is_known));
    let mut oldest: Vec<_> = oldest.map(|snapshot| snapshot.snapshot_id()).collect();
    oldest.sort_unstable();
    oldest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;
    use uuid::Uuid;
    use wharf_catalog::{Column, SqlType};

    use super::*;
    use crate::partition::Layout;
    use crate::{metadata, schema};

    /// A table with snapshots of id and parent, those below zero being TRUNCATEs, and what it remembers.
    fn table(snapshots: &[(i64, Option<i64>)], text: &str) -> TableMetadata {
        let column = Column {
            name: "a".to_owned(),
            ty: SqlType::Text,
            nullable: true,
            field_id: 1,
            comment: None,
            default: None,
        };
        let (schema, last_id) = schema::iceberg_schema(&[column], 0, None, 0).unwrap();
        let properties = HashMap::from([(LOADED_FILES.to_owned(), text.to_owned())]);
        let made = metadata::new_table("file:///t", Uuid::nil(), &schema, last_id, &Layout::default(), properties);
        let mut value = serde_json::to_value(made.unwrap()).unwrap();
        let snapshot = |(id, parent): &(i64, Option<i64>)| {
            let mut summary = json!({ "operation": "append" });
            if *id < 0 {
                summary[TRUNCATED] = json!("true");
            }
            json!({
                "snapshot-id": id, "parent-snapshot-id": parent, "sequence-number": id.abs(), "timestamp-ms": id.abs(),
                "manifest-list": format!("file:///t/{id}.avro"), "summary": summary, "schema-id": 0,
            })
        };
        value["snapshots"] = snapshots.iter().map(snapshot).collect();
        value["last-sequence-number"] = json!(1000);
        serde_json::from_value(value).unwrap()
    }

    fn loaded(table: &TableMetadata, snapshot: i64) -> Vec<&str> {
        let mut loaded: Vec<_> = Memory::of(table).of_snapshot(table, Some(snapshot)).into_iter().collect();
        loaded.sort_unstable();
        loaded
    }

    /// The table without some of its snapshots.
    fn without(table: &TableMetadata, gone: &[i64]) -> TableMetadata {
        let builder = table.clone().into_builder(None).remove_snapshots(gone);
        let left = table.snapshots().filter(|snapshot| !gone.contains(&snapshot.snapshot_id()));
        let builder = match carried(table, left) {
            Some(text) => set(builder, text).unwrap(),
            None => builder,
        };
        builder.build().unwrap().metadata
    }

    #[test]
    fn a_file_is_loaded_where_its_rows_are_in_the_history() {
        let table = table(
            &[(1, None), (2, Some(1)), (3, Some(2)), (4, Some(1)), (-5, Some(3)), (6, Some(-5))],
            "2:aa;4:bb,cc;6:dd",
        );
        assert_eq!(loaded(&table, 1), [""; 0]);
        assert_eq!(loaded(&table, 3), ["aa"]);
        assert_eq!(loaded(&table, 4), ["bb", "cc"]);
        // After a TRUNCATE nothing is, and going back behind it everything is again.
        assert_eq!(loaded(&table, -5), [""; 0]);
        assert_eq!(loaded(&table, 6), ["dd"]);
        assert!(Memory::of(&table).of_snapshot(&table, None).is_empty());
    }

    #[test]
    fn what_is_forgotten_leaves_what_it_loaded_to_what_was_made_from_it() {
        let snapshots = [(1, None), (2, Some(1)), (3, Some(2)), (4, Some(3)), (5, Some(2)), (6, Some(1))];
        let before = table(&snapshots, "1:aa;2:bb;3:cc;6:dd");
        let after = without(&before, &[1, 2]);
        for (snapshot, expected) in [(4, vec!["aa", "bb", "cc"]), (5, vec!["aa", "bb"]), (6, vec!["aa", "dd"])] {
            assert_eq!(loaded(&before, snapshot), expected);
            assert_eq!(loaded(&after, snapshot), expected);
        }
        // And on, until one of each line is left; what leads nowhere goes with its files.
        let last = without(&after, &[3, 6]);
        assert_eq!((loaded(&last, 4), loaded(&last, 5)), (vec!["aa", "bb", "cc"], vec!["aa", "bb"]));
        assert_eq!(last.properties()[LOADED_FILES], "4+5:aa,bb;4:cc");
        assert!(!without(&last, &[4, 5]).properties().contains_key(LOADED_FILES));
    }

    #[test]
    fn a_snapshot_that_stays_before_a_gap_keeps_what_it_loaded_and_so_does_what_comes_after() {
        let before = table(&[(1, None), (2, Some(1)), (3, Some(2))], "1:aa;2:bb");
        let after = without(&before, &[2]);
        assert_eq!(loaded(&after, 1), ["aa"]);
        assert_eq!(loaded(&after, 3), ["aa", "bb"]);
    }

    #[test]
    fn a_truncate_holds_when_it_is_forgotten_itself() {
        let before = table(&[(1, None), (-2, Some(1)), (3, Some(-2)), (4, Some(3))], "1:aa;3:bb");
        assert_eq!(loaded(&without(&before, &[1]), 4), ["bb"]);
        assert_eq!(loaded(&without(&before, &[1, -2]), 4), ["bb"]);
        assert_eq!(loaded(&without(&before, &[-2]), 4), ["bb"]);
        assert_eq!(loaded(&without(&before, &[1, -2, 3]), 4), ["bb"]);
    }

    #[test]
    fn files_of_which_no_snapshot_was_noted_are_loaded_everywhere_until_a_truncate() {
        let table = table(&[(1, None), (2, Some(1)), (7, Some(99)), (-3, Some(2)), (4, Some(-3))], "aa,bb");
        for snapshot in [1, 2, 7] {
            assert_eq!(loaded(&table, snapshot), ["aa", "bb"]);
        }
        assert_eq!(loaded(&table, 4), [""; 0]);
        let after = without(&table, &[1]);
        assert_eq!((loaded(&after, 2), loaded(&after, 4)), (vec!["aa", "bb"], vec![]));
        assert_eq!(loaded(&without(&after, &[2, -3]), 4), [""; 0]);
    }

    #[test]
    fn the_oldest_are_forgotten_and_what_is_loaded_again_is_not_among_them() {
        let table = table(&[(1, None), (2, Some(1))], "");
        let digests: Vec<String> = (0..REMEMBERED).map(|number| format!("{number:05}")).collect();
        let mut memory = Memory::of(&table);
        memory.add(1, digests.iter().map(String::as_str));
        memory.add(2, ["xx", "00001"].into_iter());
        let loaded = memory.of_snapshot(&table, Some(2));
        assert_eq!(loaded.len(), REMEMBERED);
        assert!(loaded.contains("xx") && loaded.contains("00001") && !loaded.contains("00000"));
        memory.add(2, ["xx"].into_iter());
        assert_eq!(memory.0[1], Group { snapshots: vec![2], digests: vec!["00001", "xx"] });
        assert!(memory.text().ends_with(";2:00001,xx"));
    }

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        let table = table(&[(1, None)], "x:aa;1:bb,;:cc;1+y:dd;;9:ee");
        assert_eq!(loaded(&table, 1), ["bb"]);
    }
}
