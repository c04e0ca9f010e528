//! Finding the heads of tables by their files alone, when the catalog that knew them is lost.
//!
//! A metadata file names those that were heads before it (`metadata-log`), so the files of a table are a tree, and its heads were a
//! path through it. What the files do not tell is where that path ends: a file may be the last step of a commit that was answered, or
//! of one that never was (a crash came in between, or another commit over the same head was faster). Who lost and did not crash has
//! removed his files, so a tree nearly always is a path. Where it is not, the longest path is taken, and of such the youngest,
//! and the other ends are told of.
//!
//! What always holds: nothing is written or removed here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Deserialize;
use uuid::Uuid;

use crate::error::LakeError;
use crate::maintain::{of_snapshots, of_table};
use crate::table::LakeTable;
use crate::warehouse::Warehouse;

/// How many metadata files are read at the same time.
const CONCURRENT_READS: usize = 16;

/// How far a table's head can be moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The last metadata file; none when there is none after the one that was known.
    pub newest: Option<String>,
    /// How many steps it is from there, or from the beginning of what its metadata remembers.
    pub steps: usize,
    /// The ends of other branches of the tree, from the same beginning: not more than one of all these ends has been a head.
    pub others: Vec<String>,
    /// Files that could not be read as metadata.
    pub unreadable: Vec<String>,
}

/// What of a metadata file says where in the tree it is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Node {
    table_uuid: Uuid,
    #[serde(default)]
    last_updated_ms: i64,
    #[serde(default)]
    metadata_log: Vec<Before>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Before {
    metadata_file: String,
}

/// The tables that have a folder of their own in the warehouse, as Wharf makes them: their ids and locations, in order.
///
/// # Errors
/// A store that fails.
pub async fn find_tables(warehouse: &Warehouse) -> Result<Vec<(Uuid, String)>, LakeError> {
    let store = warehouse.store();
    let folders = async |path: &Path| {
        let listed = store.objects().list_with_delimiter(Some(path)).await;
        listed.map(|listed| listed.common_prefixes).map_err(|error| LakeError::store(store.location(path), error))
    };
    let mut found = BTreeMap::new();
    for namespace in folders(store.root_path()).await? {
        for table in folders(&namespace).await? {
            if let Some(id) = table.filename().and_then(|name| name.parse::<Uuid>().ok()) {
                found.insert(id, store.location(&table));
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// Where a table's metadata files are, by a former head of it: that one need not be there any more.
pub async fn metadata_folder(warehouse: &Arc<Warehouse>, head: &str) -> String {
    match warehouse.load(head).await {
        Ok(table) => format!("{}/metadata", table.location()),
        Err(_) => head.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned(),
    }
}

/// What came after a head of a table, which need not be there any more; without one, the last that there is.
///
/// # Errors
/// A store that fails.
pub async fn lineage(
    warehouse: &Arc<Warehouse>,
    folder: &str,
    id: Uuid,
    base: Option<&str>,
) -> Result<Lineage, LakeError> {
    let store = warehouse.store();
    let listed = store.objects().list(Some(&store.path(folder)?)).try_collect::<Vec<_>>().await;
    let listed = listed.map_err(|error| LakeError::store(folder, error))?;
    let locations = listed.iter().map(|file| store.location(&file.location));
    let since = base.and_then(version);
    let files: Vec<String> = locations
        .filter(|location| location.ends_with(".metadata.json") && Some(location.as_str()) != base)
        // What was numbered before it cannot come after it.
        .filter(|location| since.is_none_or(|since| version(location).is_none_or(|version| version > since)))
        .collect();
    let reads: Vec<_> = files.into_iter().map(|location| read(warehouse, location)).collect();
    let read: Vec<(String, Result<Node, LakeError>)> =
        futures::stream::iter(reads).buffer_unordered(CONCURRENT_READS).collect().await;
    let (mut nodes, mut unreadable) = (HashMap::new(), Vec::new());
    for (location, node) in read {
        match node {
            Ok(node) if node.table_uuid == id => drop(nodes.insert(location, node)),
            Ok(_) => {}
            // It went while it was looked for.
            Err(LakeError::NotFound { .. }) => {}
            Err(LakeError::Corrupt { .. }) => unreadable.push(location),
            Err(error) => return Err(error),
        }
    }
    unreadable.sort_unstable();
    Ok(Lineage { unreadable, ..last_of(&nodes, base) })
}

async fn read(warehouse: &Arc<Warehouse>, location: String) -> (String, Result<Node, LakeError>) {
    let content = warehouse.store().get(&location).await;
    let node = content
        .and_then(|content| serde_json::from_slice(&content).map_err(|error| LakeError::corrupt(&location, error)));
    (location, node)
}

/// The number in a metadata file's name.
fn version(location: &str) -> Option<u32> {
    location.rsplit('/').next()?.split_once('-')?.0.parse().ok()
}

fn last_of(nodes: &HashMap<String, Node>, base: Option<&str>) -> Lineage {
    // The steps to each, counted from the base; files that do not come from it are not of this table's history.
    let steps = |location: &str| -> Option<usize> {
        let log = &nodes.get(location)?.metadata_log;
        match base {
            Some(base) => log.iter().rev().position(|before| before.metadata_file == base).map(|steps| steps + 1),
            None => Some(log.len()),
        }
    };
    // A log is of a limited length: what does not know the base itself may come from a file that does.
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut by_version: Vec<&str> = nodes.keys().map(String::as_str).collect();
    by_version.sort_unstable_by_key(|location| (version(location), *location));
    for location in &by_version {
        let through = || {
            let log = &nodes[*location].metadata_log;
            log.iter()
                .rev()
                .enumerate()
                .find_map(|(between, before)| known.get(before.metadata_file.as_str()).map(|steps| steps + between + 1))
        };
        if let Some(steps) = steps(location).into_iter().chain(through()).max() {
            known.insert(location, steps);
        }
    }
    let parents: HashSet<&str> = known
        .keys()
        .flat_map(|location| nodes[*location].metadata_log.iter().map(|before| before.metadata_file.as_str()))
        .collect();
    let mut ends: Vec<&str> = known.keys().copied().filter(|location| !parents.contains(location)).collect();
    ends.sort_unstable_by_key(|location| {
        (known[location], version(location), nodes[*location].last_updated_ms, *location)
    });
    let newest = ends.pop();
    let mut others: Vec<String> = ends.into_iter().map(str::to_owned).collect();
    others.reverse();
    Lineage {
        newest: newest.map(str::to_owned),
        steps: newest.map_or(0, |newest| known[newest]),
        others,
        unreadable: Vec::new(),
    }
}

/// Files that the head of a table needs and that are not there, in order: of its current snapshot, its manifest list alone or, with
/// `all`, everything behind it too.
///
/// # Errors
/// A store that fails.
pub async fn missing_files(table: &Arc<LakeTable>, all: bool) -> Result<Vec<String>, LakeError> {
    let Some(snapshot) = table.snapshot() else { return Ok(Vec::new()) };
    let needed = match all {
        true => match of_snapshots(table, [snapshot.snapshot_id()]).await {
            Ok(needed) => needed,
            Err(LakeError::NotFound { location }) => return Ok(vec![location]),
            Err(error) => return Err(error),
        },
        false => HashSet::from([snapshot.manifest_list().to_owned()]),
    };
    let store = table.store();
    let look = async |location: String| match store.path(&location) {
        Ok(path) => match store.objects().head(&path).await {
            Ok(_) => Ok(None),
            Err(object_store::Error::NotFound { .. }) => Ok(Some(location)),
            Err(error) => Err(LakeError::store(location, error)),
        },
        // It could not be read either.
        Err(_) => Ok(Some(location)),
    };
    let looks: Vec<_> = needed.into_iter().map(look).collect();
    let mut looked = futures::stream::iter(looks).buffer_unordered(CONCURRENT_READS);
    let mut missing = BTreeSet::new();
    while let Some(found) = looked.try_next().await? {
        missing.extend(found);
    }
    Ok(missing.into_iter().collect())
}

/// Does a table refer to files that are not below its own location? Then it is a clone of another, or other engines have added files.
///
/// # Errors
/// Manifests that cannot be read.
pub async fn refers_elsewhere(table: &Arc<LakeTable>) -> Result<bool, LakeError> {
    let own = table.store().path(table.location())?;
    let needed = of_table(table).await?;
    Ok(needed.iter().any(|location| !table.store().path(location).is_ok_and(|path| path.prefix_matches(&own))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(log: &[&str], last_updated_ms: i64) -> Node {
        let metadata_log = log.iter().map(|file| Before { metadata_file: (*file).to_owned() }).collect();
        Node { table_uuid: Uuid::nil(), last_updated_ms, metadata_log }
    }

    fn tree(files: &[(&str, &[&str], i64)]) -> HashMap<String, Node> {
        files.iter().map(|(name, log, time)| ((*name).to_owned(), node(log, *time))).collect()
    }

    fn found(newest: Option<&str>, steps: usize, others: &[&str]) -> Lineage {
        let others = others.iter().map(|name| (*name).to_owned()).collect();
        Lineage { newest: newest.map(str::to_owned), steps, others, unreadable: Vec::new() }
    }

    #[test]
    fn the_end_of_a_path_is_found() {
        let nodes = tree(&[("1-b", &["0-a"], 1), ("2-c", &["0-a", "1-b"], 2)]);
        assert_eq!(last_of(&nodes, Some("0-a")), found(Some("2-c"), 2, &[]));
        assert_eq!(last_of(&nodes, Some("1-b")), found(Some("2-c"), 1, &[]));
        assert_eq!(last_of(&nodes, None), found(Some("2-c"), 2, &[]));
        assert_eq!(last_of(&nodes, Some("2-c")), found(None, 0, &[]));
    }

    #[test]
    fn what_does_not_come_from_the_base_is_passed_over() {
        // A commit over 0 that lost against the one that made the base.
        let nodes = tree(&[("1-lost", &["0-a"], 9), ("2-c", &["0-a", "1-b"], 2)]);
        assert_eq!(last_of(&nodes, Some("1-b")), found(Some("2-c"), 1, &[]));
        let nodes = tree(&[("1-lost", &["0-a"], 9), ("2-lost", &["0-a", "1-lost"], 10)]);
        assert_eq!(last_of(&nodes, Some("1-b")), found(None, 0, &[]));
    }

    #[test]
    fn of_several_ends_the_longest_and_then_the_youngest_is_taken_and_the_others_are_named() {
        let nodes = tree(&[("1-b", &["0-a"], 9), ("1-c", &["0-a"], 1), ("2-d", &["0-a", "1-c"], 2)]);
        assert_eq!(last_of(&nodes, Some("0-a")), found(Some("2-d"), 2, &["1-b"]));
        let nodes = tree(&[("1-b", &["0-a"], 9), ("1-c", &["0-a"], 1)]);
        assert_eq!(last_of(&nodes, Some("0-a")), found(Some("1-b"), 1, &["1-c"]));
    }

    #[test]
    fn a_base_that_the_last_file_has_forgotten_is_found_through_others() {
        let nodes = tree(&[("1-b", &["0-a"], 1), ("2-c", &["1-b"], 2), ("3-d", &["2-c"], 3)]);
        assert_eq!(last_of(&nodes, Some("0-a")), found(Some("3-d"), 3, &[]));
    }
}
