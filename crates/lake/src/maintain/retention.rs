//! Which snapshots, branches and tags a table may forget.
//!
//! The rules are Iceberg's (<https://iceberg.apache.org/spec/#snapshot-retention-policy>): `main` never goes, another branch or a tag
//! goes when its snapshot is older than `max-ref-age-ms`. Of each branch that stays, snapshots are kept from its head backwards as long
//! as there are fewer than `min-snapshots-to-keep` or they are younger than `max-snapshot-age-ms`. Snapshots that no branch or tag
//! reaches, such as those a rollback has left behind, are kept as long as they are young enough.
//!
//! Every commit writes all snapshots that there are into the new metadata, so a commit forgets some, too ([`surplus`]): a table that nobody
//! expires would become slower with each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr;

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};

use crate::error::LakeError;
use crate::metadata;

/// `history.expire.max-snapshot-age-ms`, as Iceberg has it: five days.
const MAX_SNAPSHOT_AGE_MS: i64 = 5 * 24 * 60 * 60 * 1000;
/// `history.expire.min-snapshots-to-keep`, as Iceberg has it.
const MIN_SNAPSHOTS_TO_KEEP: usize = 1;

/// What a person asks for instead of what the table's properties say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpireOptions {
    /// Snapshots from before this moment may go, in milliseconds since 1970.
    pub older_than_ms: Option<i64>,
    /// How many of each branch stay in any case.
    pub retain_last: Option<usize>,
    /// These go however young they are, unless they are the head of a branch or a tag.
    pub snapshot_ids: Vec<i64>,
}

/// What a table may forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) snapshots: Vec<i64>,
    pub(crate) refs: Vec<String>,
}

impl Expired {
    pub(crate) fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.refs.is_empty()
    }
}

/// Applies the rules to a table at some moment.
///
/// # Errors
/// A property that is no number, a snapshot that is asked for and does not exist or is in use.
pub(crate) fn expired(
    table: &TableMetadata,
    refs: &BTreeMap<String, SnapshotReference>,
    options: &ExpireOptions,
    now_ms: i64,
) -> Result<Expired, LakeError> {
    let properties = table.properties();
    let max_age_ms = number(properties, "history.expire.max-snapshot-age-ms")?.unwrap_or(MAX_SNAPSHOT_AGE_MS);
    let min_kept = number(properties, "history.expire.min-snapshots-to-keep")?.unwrap_or(MIN_SNAPSHOTS_TO_KEEP);
    let max_ref_age_ms = number(properties, "history.expire.max-ref-age-ms")?.unwrap_or(i64::MAX);
    let time_of = |id: i64| table.snapshot_by_id(id).map(|snapshot| snapshot.timestamp_ms());

    let mut kept = BTreeSet::new();
    let mut heads = BTreeSet::new();
    let mut gone = Vec::new();
    for (name, reference) in refs {
        let (own_ref_age, own_min, own_age) = match &reference.retention {
            SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms } => {
                (*max_ref_age_ms, *min_snapshots_to_keep, *max_snapshot_age_ms)
            }
            SnapshotRetention::Tag { max_ref_age_ms } => (*max_ref_age_ms, None, None),
        };
        let Some(head_ms) = time_of(reference.snapshot_id) else { continue };
        if name != MAIN_BRANCH && now_ms.saturating_sub(head_ms) > own_ref_age.unwrap_or(max_ref_age_ms) {
            gone.push(name.clone());
            continue;
        }
        heads.insert(reference.snapshot_id);
        kept.insert(reference.snapshot_id);
        if !matches!(reference.retention, SnapshotRetention::Branch { .. }) {
            continue;
        }
        let own_min = own_min.and_then(|count| usize::try_from(count).ok());
        let least = options.retain_last.or(own_min).unwrap_or(min_kept).max(1);
        let from_ms = options.older_than_ms.unwrap_or_else(|| now_ms.saturating_sub(own_age.unwrap_or(max_age_ms)));
        let mut next = Some(reference.snapshot_id);
        let mut count = 0;
        while let Some(snapshot) = next.and_then(|id| table.snapshot_by_id(id)) {
            count += 1;
            if count > least && snapshot.timestamp_ms() < from_ms {
                break;
            }
            kept.insert(snapshot.snapshot_id());
            next = snapshot.parent_snapshot_id();
        }
    }
    let from_ms = options.older_than_ms.unwrap_or_else(|| now_ms.saturating_sub(max_age_ms));
    let reached = reached(table, refs, &gone);
    let young = table.snapshots().filter(|snapshot| snapshot.timestamp_ms() >= from_ms);
    kept.extend(young.map(|snapshot| snapshot.snapshot_id()).filter(|id| !reached.contains(id)));
    for id in &options.snapshot_ids {
        if heads.contains(id) {
            return Err(LakeError::Invalid(format!("snapshot {id} is the head of a branch or a tag")));
        }
        if time_of(*id).is_none() {
            return Err(LakeError::Invalid(format!("there is no snapshot {id}")));
        }
        kept.remove(id);
    }
    let mut snapshots: Vec<_> =
        table.snapshots().map(|snapshot| snapshot.snapshot_id()).filter(|id| !kept.contains(id)).collect();
    snapshots.sort_unstable();
    Ok(Expired { snapshots, refs: gone })
}

/// The snapshots that a commit on a branch forgets. It keeps the latest ones (`wharf.snapshots-kept`, or more when
/// `history.expire.min-snapshots-to-keep` says so), as many of each branch, what tags name, and, where the table itself has
/// `history.expire.max-snapshot-age-ms`, what is younger. A property that is no number says nothing here.
pub(crate) fn surplus(
    table: &TableMetadata,
    refs: &BTreeMap<String, SnapshotReference>,
    branch: &str,
    now_ms: i64,
) -> Vec<i64> {
    let properties = table.properties();
    let least = number(properties, "history.expire.min-snapshots-to-keep").ok().flatten().unwrap_or(0);
    let count = metadata::snapshots_kept(table).max(least);
    let max_age_ms = number::<i64>(properties, "history.expire.max-snapshot-age-ms").ok().flatten();
    let from_ms = max_age_ms.map_or(i64::MAX, |age_ms| now_ms.saturating_sub(age_ms));

    let mut latest: Vec<_> = table.snapshots().collect();
    latest.sort_unstable_by_key(|snapshot| std::cmp::Reverse((snapshot.sequence_number(), snapshot.snapshot_id())));
    // The new one is one of them.
    let mut kept: BTreeSet<i64> = latest.iter().take(count - 1).map(|snapshot| snapshot.snapshot_id()).collect();
    kept.extend(latest.iter().filter(|old| old.timestamp_ms() >= from_ms).map(|old| old.snapshot_id()));
    for (name, reference) in refs {
        let count = match &reference.retention {
            SnapshotRetention::Branch { min_snapshots_to_keep, .. } => {
                let own = min_snapshots_to_keep.and_then(|least| usize::try_from(least).ok()).unwrap_or(0);
                count.max(own) - usize::from(name == branch)
            }
            SnapshotRetention::Tag { .. } => 1,
        };
        let first = table.snapshot_by_id(reference.snapshot_id);
        let chain = std::iter::successors(first, |snapshot| table.snapshot_by_id(snapshot.parent_snapshot_id()?));
        kept.extend(chain.take(count).map(|snapshot| snapshot.snapshot_id()));
    }
    latest.into_iter().map(|snapshot| snapshot.snapshot_id()).filter(|id| !kept.contains(id)).collect()
}

/// The snapshots that branches and tags which stay lead to.
fn reached(table: &TableMetadata, refs: &BTreeMap<String, SnapshotReference>, gone: &[String]) -> BTreeSet<i64> {
    let mut reached = BTreeSet::new();
    for (_, reference) in refs.iter().filter(|(name, _)| !gone.contains(name)) {
        let mut next = Some(reference.snapshot_id);
        while let Some(snapshot) = next.and_then(|id| table.snapshot_by_id(id)) {
            if !reached.insert(snapshot.snapshot_id()) {
                break;
            }
            next = snapshot.parent_snapshot_id();
        }
    }
    reached
}

fn number<T: FromStr>(properties: &HashMap<String, String>, name: &str) -> Result<Option<T>, LakeError> {
    let parse = |text: &String| {
        text.parse().map_err(|_| LakeError::Invalid(format!("the table property \"{name}\" is no number: \"{text}\"")))
    };
    properties.get(name).map(parse).transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;
    use uuid::Uuid;
    use wharf_catalog::{Column, SqlType};

    use super::*;
    use crate::schema;

    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    const NOW_MS: i64 = 100 * DAY_MS;

    /// Snapshots as id, parent and age in days; refs as name, snapshot and retention.
    fn table(
        snapshots: &[(i64, Option<i64>, i64)],
        refs: &[(&str, i64, serde_json::Value)],
        properties: &[(&str, &str)],
    ) -> (TableMetadata, BTreeMap<String, SnapshotReference>) {
        let column = Column {
            name: "a".to_owned(),
            ty: SqlType::Text,
            nullable: true,
            field_id: 1,
            comment: None,
            default: None,
        };
        let (schema, last_id) = schema::iceberg_schema(&[column], 0, None, 0).unwrap();
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let layout = crate::partition::Layout::default();
        let table = metadata::new_table("file:///t", Uuid::nil(), &schema, last_id, &layout, properties).unwrap();
        let mut value = serde_json::to_value(&table).unwrap();
        let snapshot = |(id, parent, age): &(i64, Option<i64>, i64)| {
            json!({
                "snapshot-id": id, "parent-snapshot-id": parent, "sequence-number": id,
                "timestamp-ms": NOW_MS - age * DAY_MS, "manifest-list": format!("file:///t/{id}.avro"),
                "summary": { "operation": "append" }, "schema-id": 0,
            })
        };
        value["snapshots"] = snapshots.iter().map(snapshot).collect();
        value["last-sequence-number"] = json!(1000);
        let mut all = serde_json::Map::new();
        for (name, id, retention) in refs {
            let mut reference = retention.clone();
            reference["snapshot-id"] = json!(id);
            all.insert((*name).to_owned(), reference);
        }
        value["current-snapshot-id"] = all["main"]["snapshot-id"].clone();
        value["refs"] = all.into();
        let table: TableMetadata = serde_json::from_value(value).unwrap();
        let refs = metadata::refs_of("t", &table).unwrap();
        (table, refs)
    }

    fn branch() -> serde_json::Value {
        json!({ "type": "branch" })
    }

    fn gone(
        (table, refs): &(TableMetadata, BTreeMap<String, SnapshotReference>),
        options: &ExpireOptions,
    ) -> (Vec<i64>, Vec<String>) {
        let expired = expired(table, refs, options, NOW_MS).unwrap();
        (expired.snapshots, expired.refs)
    }

    #[test]
    fn the_head_stays_however_old_it_is() {
        let made = table(&[(1, None, 30), (2, Some(1), 20)], &[("main", 2, branch())], &[]);
        assert_eq!(gone(&made, &ExpireOptions::default()).0, [1]);
        let all = ExpireOptions { older_than_ms: Some(i64::MAX), ..ExpireOptions::default() };
        assert_eq!(gone(&made, &all).0, [1]);
    }

    #[test]
    fn properties_and_options_say_how_many_and_how_old() {
        let snapshots = [(1, None, 9), (2, Some(1), 8), (3, Some(2), 3), (4, Some(3), 0)];
        let made = table(&snapshots, &[("main", 4, branch())], &[]);
        assert_eq!(gone(&made, &ExpireOptions::default()).0, [1, 2]);
        let last = ExpireOptions { retain_last: Some(3), ..ExpireOptions::default() };
        assert_eq!(gone(&made, &last).0, [1]);
        let one = ExpireOptions { snapshot_ids: vec![3], ..ExpireOptions::default() };
        assert_eq!(gone(&made, &one).0, [1, 2, 3]);
        let day = [("history.expire.max-snapshot-age-ms", "86400000"), ("history.expire.min-snapshots-to-keep", "2")];
        let made = table(&snapshots, &[("main", 4, branch())], &day);
        assert_eq!(gone(&made, &ExpireOptions::default()).0, [1, 2]);
    }

    #[test]
    fn branches_and_tags_keep_what_they_need() {
        let snapshots =
            [(1, None, 50), (2, Some(1), 40), (3, Some(2), 30), (4, Some(3), 0), (5, None, 1), (6, None, 60)];
        let retained = json!({ "type": "branch", "min-snapshots-to-keep": 2 });
        let refs = [("main", 4, branch()), ("audit", 3, retained), ("v1", 1, json!({ "type": "tag" }))];
        // 5 belongs to nobody and is young, 6 is old.
        assert_eq!(gone(&table(&snapshots, &refs, &[]), &ExpireOptions::default()).0, [6]);
        let short = json!({ "type": "tag", "max-ref-age-ms": 10 * DAY_MS });
        let refs = [("main", 4, branch()), ("v1", 2, short)];
        let expected = (vec![1, 2, 3, 6], vec!["v1".to_owned()]);
        assert_eq!(gone(&table(&snapshots, &refs, &[]), &ExpireOptions::default()), expected);
    }

    #[test]
    fn a_commit_keeps_what_anybody_asks_for() {
        let snapshots: Vec<_> = (1..=6).map(|id| (id, (id > 1).then_some(id - 1), 7 - id)).collect();
        let gone = |refs: &[(&str, i64, serde_json::Value)], properties: &[(&str, &str)]| {
            let (table, refs) = table(&snapshots, refs, properties);
            let mut gone = surplus(&table, &refs, "main", NOW_MS);
            gone.sort_unstable();
            gone
        };
        let main = ("main", 6, branch());
        let tag = |id: i64| ("v1", id, json!({ "type": "tag" }));
        let kept = ("wharf.snapshots-kept", "3");
        assert_eq!(gone(std::slice::from_ref(&main), &[]), [0; 0]);
        // With the new one these are three.
        assert_eq!(gone(std::slice::from_ref(&main), &[kept]), [1, 2, 3, 4]);
        assert_eq!(gone(&[main.clone(), tag(2)], &[kept]), [1, 3, 4]);
        assert_eq!(gone(&[main.clone(), ("b", 4, branch())], &[kept]), [1]);
        let one = ("wharf.snapshots-kept", "1");
        assert_eq!(gone(&[main.clone(), ("b", 4, branch())], &[one]), [1, 2, 3, 5, 6]);
        let more = json!({ "type": "branch", "min-snapshots-to-keep": 2 });
        assert_eq!(gone(&[main.clone(), ("b", 4, more)], &[one]), [1, 2, 5, 6]);
        assert_eq!(gone(std::slice::from_ref(&main), &[kept, ("history.expire.min-snapshots-to-keep", "5")]), [1, 2]);
        let days = |days: i64| (days * DAY_MS).to_string();
        assert_eq!(
            gone(std::slice::from_ref(&main), &[kept, ("history.expire.max-snapshot-age-ms", &days(4))]),
            [1, 2]
        );
        assert_eq!(gone(&[main], &[kept, ("history.expire.max-snapshot-age-ms", "soon")]), [1, 2, 3, 4]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let made = table(&[(1, None, 9), (2, Some(1), 8)], &[("main", 2, branch())], &[]);
        for id in [2, 7] {
            let options = ExpireOptions { snapshot_ids: vec![id], ..ExpireOptions::default() };
            expired(&made.0, &made.1, &options, NOW_MS).unwrap_err();
        }
        let made = table(&[(1, None, 9)], &[("main", 1, branch())], &[("history.expire.max-snapshot-age-ms", "soon")]);
        let error = expired(&made.0, &made.1, &ExpireOptions::default(), NOW_MS).unwrap_err();
        assert!(error.to_string().contains("history.expire.max-snapshot-age-ms"), "{error}");
    }
}
