//! Which files a table was loaded from, as branches are moved and snapshots forgotten.

use serde_json::json;
use wharf_lake::commit::{Edit, IfTaken, LoadedFiles, RefEdit, RefKind, RefRetention, Requested, Step, Uncommitted};
use wharf_lake::maintain::{self, ExpireOptions};
use wharf_lake::{NewClone, Version};

use super::foreign::metadata;
use super::*;

const STAGE: &str = "stage";

async fn apply(lake: &Lake, table: &Arc<LakeTable>, steps: &[Step]) -> Option<Arc<LakeTable>> {
    let mut written = Uncommitted::new(&lake.warehouse);
    let location = commit::apply(&lake.warehouse, table, steps, &mut written).await.unwrap();
    written.set_in_doubt(true);
    Some(lake.warehouse.load(&location?).await.unwrap())
}

fn on(branch: &str, step: Step) -> Step {
    match branch {
        "main" => step,
        other => Step::OnBranch(other.to_owned(), Box::new(step)),
    }
}

/// Loads a file of one row into a branch, as COPY does; none when it is there already.
async fn load(lake: &Lake, table: &Arc<LakeTable>, branch: &str, file: &str) -> Option<Arc<LakeTable>> {
    let files = write(&lake.warehouse, table, [bigints([1])], WriteOptions::default()).await;
    let loaded = LoadedFiles { digests: vec![file.to_owned()], again: false };
    let steps = [Step::Append(files), Step::Edit(Edit::Loaded(loaded))];
    apply(lake, table, &steps.map(|step| on(branch, step))).await
}

async fn edit(lake: &Lake, table: &Arc<LakeTable>, edit: RefEdit) -> Arc<LakeTable> {
    apply(lake, table, &[Step::Edit(Edit::Refs { edit, seen: None })]).await.unwrap()
}

async fn branch(lake: &Lake, table: &Arc<LakeTable>, name: &str) -> Arc<LakeTable> {
    let (kind, retention, if_taken) = (RefKind::Branch, RefRetention::default(), IfTaken::Fail);
    let snapshot_id = table.snapshot_id().unwrap();
    edit(lake, table, RefEdit::Create { kind, name: name.to_owned(), snapshot_id, retention, if_taken }).await
}

/// What is loaded in a branch, for a reader who has nothing in memory.
async fn loaded(lake: &Lake, table: &Arc<LakeTable>, branch: &str) -> Vec<String> {
    let version = Version::Ref(branch.to_owned());
    let table = lake.reopened().load_at(table.metadata_location(), &version).await.unwrap();
    let mut loaded: Vec<_> = table.loaded_digests().into_iter().map(str::to_owned).collect();
    loaded.sort_unstable();
    loaded
}

async fn forget_all(lake: &Lake, table: &Arc<LakeTable>) -> Arc<LakeTable> {
    let options = ExpireOptions { older_than_ms: Some(i64::MAX), retain_last: Some(1), ..ExpireOptions::default() };
    let expired = maintain::expire(&lake.warehouse, table, &options, i64::MAX / 2).await.unwrap().unwrap();
    lake.warehouse.load(&expired.location).await.unwrap()
}

#[tokio::test]
async fn what_was_rolled_back_is_not_loaded_and_what_comes_back_is() {
    let lake = Lake::new();
    let first = load(&lake, &lake.table(&bigint()).await, "main", "aa").await.unwrap();
    let second = load(&lake, &first, "main", "bb").await.unwrap();
    assert!(load(&lake, &second, "main", "aa").await.is_none(), "it would be there twice");
    let to =
        |snapshot: &LakeTable| RefEdit::Rollback { snapshot_id: snapshot.snapshot_id().unwrap(), to_ancestor: false };
    let back = edit(&lake, &second, to(&first)).await;
    assert_eq!(loaded(&lake, &back, "main").await, ["aa"]);
    let forward = edit(&lake, &back, to(&second)).await;
    assert_eq!(loaded(&lake, &forward, "main").await, ["aa", "bb"]);
    // Not even when what was rolled back is forgotten.
    let third = load(&lake, &back, "main", "cc").await.unwrap();
    let third = forget_all(&lake, &third).await;
    assert_eq!(metadata(&third).snapshots().len(), 1);
    assert_eq!(loaded(&lake, &third, "main").await, ["aa", "cc"]);
    let again = load(&lake, &third, "main", "bb").await.unwrap();
    assert_eq!(all(&lake.warehouse, &again).await, [1, 1, 1]);
}

#[tokio::test]
async fn branches_are_loaded_each_by_itself() {
    let lake = Lake::new();
    let table = load(&lake, &lake.table(&bigint()).await, "main", "aa").await.unwrap();
    let table = branch(&lake, &table, STAGE).await;
    let table = load(&lake, &table, STAGE, "bb").await.unwrap();
    let table = load(&lake, &table, "main", "cc").await.unwrap();
    assert!(load(&lake, &table, STAGE, "bb").await.is_none());
    for table in [&table, &forget_all(&lake, &table).await] {
        assert_eq!(loaded(&lake, table, "main").await, ["aa", "cc"]);
        assert_eq!(loaded(&lake, table, STAGE).await, ["aa", "bb"]);
        let table = load(&lake, table, "main", "bb").await.unwrap();
        assert_eq!(loaded(&lake, &table, "main").await, ["aa", "bb", "cc"]);
        assert_eq!(all(&lake.warehouse, &table).await, [1, 1, 1]);
    }
    // Where main has nothing of its own since, it can be moved to the branch.
    let table = load(&lake, &lake.table(&bigint()).await, "main", "aa").await.unwrap();
    let table = load(&lake, &branch(&lake, &table, STAGE).await, STAGE, "bb").await.unwrap();
    let forward = RefEdit::FastForward { branch: "main".to_owned(), to: STAGE.to_owned() };
    assert_eq!(loaded(&lake, &edit(&lake, &table, forward).await, "main").await, ["aa", "bb"]);
}

#[tokio::test]
async fn a_truncated_table_was_loaded_from_nowhere() {
    let lake = Lake::new();
    let table = load(&lake, &lake.table(&bigint()).await, "main", "aa").await.unwrap();
    let table = branch(&lake, &table, STAGE).await;
    let table = apply(&lake, &table, &[Step::Replace(Vec::new())]).await.unwrap();
    assert!(loaded(&lake, &table, "main").await.is_empty());
    assert_eq!(loaded(&lake, &table, STAGE).await, ["aa"]);
    let table = load(&lake, &table, "main", "aa").await.unwrap();
    assert_eq!(loaded(&lake, &forget_all(&lake, &table).await, "main").await, ["aa"]);
    // With what is written after it in one step, and of a table that has lost its rows another way.
    let files = write(&lake.warehouse, &table, [bigints([5])], WriteOptions::default()).await;
    let loaded_again = LoadedFiles { digests: vec!["aa".to_owned()], again: false };
    let steps =
        commit::squash([Step::Replace(Vec::new()), Step::Append(files), Step::Edit(Edit::Loaded(loaded_again))]);
    assert_eq!(steps.len(), 2);
    let table = apply(&lake, &table, &steps).await.unwrap();
    assert_eq!(all(&lake.warehouse, &table).await, [5]);
    let empty = commit::replace(&lake.warehouse, &table, Vec::new()).await.unwrap();
    let empty = lake.warehouse.load(&empty).await.unwrap();
    assert_eq!(loaded(&lake, &empty, "main").await, ["aa"]);
    let empty = apply(&lake, &empty, &[Step::Replace(Vec::new())]).await.unwrap();
    assert!(loaded(&lake, &empty, "main").await.is_empty());
    let same = apply(&lake, &empty, &[Step::Replace(Vec::new())]).await.unwrap();
    assert_eq!(same.metadata_location(), empty.metadata_location());
}

#[tokio::test]
async fn commits_that_forget_snapshots_forget_no_file() {
    let lake = Lake::new();
    let properties = HashMap::from([("wharf.snapshots-kept".to_owned(), "1".to_owned())]);
    let mut table = create_with(&lake.warehouse, &bigint(), Layout::default(), properties).await;
    for number in 0..4 {
        table = load(&lake, &table, "main", &format!("{number}a")).await.unwrap();
        table = append(&lake.warehouse, &table, bigints([2])).await.unwrap();
    }
    assert_eq!(metadata(&table).snapshots().len(), 1);
    assert_eq!(loaded(&lake, &table, "main").await, ["0a", "1a", "2a", "3a"]);
    let id = table.snapshot_id().unwrap();
    assert_eq!(table.properties()["wharf.loaded-files"], format!("{id}:0a,1a,2a,3a"));
}

#[tokio::test]
async fn a_clone_was_loaded_from_what_its_source_had_been() {
    let lake = Lake::new();
    let first = load(&lake, &lake.table(&bigint()).await, "main", "aa").await.unwrap();
    let second = load(&lake, &first, "main", "bb").await.unwrap();
    let version = Version::Snapshot(first.snapshot_id().unwrap());
    let former = lake.warehouse.load_at(second.metadata_location(), &version).await.unwrap();
    for (source, expected) in [(former, vec!["aa"]), (second, vec!["aa", "bb"])] {
        let constraints = std::collections::BTreeMap::new();
        let clone = NewClone { id: Uuid::new_v4(), namespace: "wharf", name: "c", constraints: &constraints };
        let location = lake.warehouse.clone_table(&source, clone).await.unwrap();
        let clone = lake.warehouse.load(&location).await.unwrap();
        assert_eq!(loaded(&lake, &clone, "main").await, expected);
    }
}

#[tokio::test]
async fn another_engine_rolls_back_and_forgets_snapshots() {
    let lake = Lake::new();
    let first = load(&lake, &lake.table(&bigint()).await, "main", "aa").await.unwrap();
    let second = load(&lake, &first, "main", "bb").await.unwrap();
    let third = append(&lake.warehouse, &second, bigints([2])).await.unwrap();
    let ids = [&first, &second, &third].map(|table| table.snapshot_id().unwrap());
    let requested = async |updates: serde_json::Value| {
        let request = Requested::parse(json!([]), updates, false).unwrap();
        commit::requested(&lake.warehouse, &third, &request).await.unwrap()
    };
    let main = |id: i64| json!({"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id});
    let remove = |ids: &[i64]| json!({"action": "remove-snapshots", "snapshot-ids": ids});
    let back = requested(json!([main(ids[0])])).await;
    assert_eq!(loaded(&lake, &back, "main").await, ["aa"]);
    let forgotten = requested(json!([remove(&ids[..2])])).await;
    assert_eq!(loaded(&lake, &forgotten, "main").await, ["aa", "bb"]);
    let both = requested(json!([main(ids[0]), remove(&ids[1..])])).await;
    assert_eq!(loaded(&lake, &both, "main").await, ["aa"]);
    assert_eq!(metadata(&both).metadata_log().len(), metadata(&back).metadata_log().len(), "it is one commit");
}
