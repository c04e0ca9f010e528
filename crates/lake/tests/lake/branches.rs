//! Rows of branches under other columns.

use std::time::Duration;

use wharf_lake::commit::{
    Edit, IfTaken, RefEdit, RefKind, RefRetention, Rewritten, SchemaChange, SeenRows, Step, Uncommitted,
};
use wharf_lake::{Version, WriteOptions};

use super::*;

/// A table of `a` with the row 1 and three branches: `main` and `same`, which are at one snapshot, and `other`, which has the row 2 besides.
async fn branched(lake: &Lake) -> Arc<LakeTable> {
    let table = lake.table(&bigint()).await;
    let table = append(&lake.warehouse, &table, bigints([1])).await.unwrap();
    let files = write(&lake.warehouse, &table, [bigints([2])], WriteOptions::default()).await;
    let create = |name: &str| {
        let edit = RefEdit::Create {
            kind: RefKind::Branch,
            name: name.to_owned(),
            snapshot_id: table.snapshot_id().unwrap(),
            retention: RefRetention::default(),
            if_taken: IfTaken::Fail,
        };
        Step::Edit(Edit::Refs { edit, seen: None })
    };
    let append = Step::OnBranch("other".to_owned(), Box::new(Step::Append(files)));
    step(lake, &table, [create("same"), create("other"), append]).await.unwrap().unwrap()
}

/// Makes steps; none for a conflict. What a failure has written is given up.
async fn step<const N: usize>(
    lake: &Lake,
    table: &Arc<LakeTable>,
    steps: [Step; N],
) -> Result<Option<Arc<LakeTable>>, LakeError> {
    let mut written = Uncommitted::new(&lake.warehouse);
    for step in &steps {
        written.add_files(step.files());
    }
    let location = commit::apply(&lake.warehouse, table, &steps, &mut written).await?;
    written.set_in_doubt(true);
    match location {
        Some(location) => lake.warehouse.load(&location).await.map(Some),
        None => Ok(None),
    }
}

/// The column `b`, which is ten times `a` and has to be computed, with the rows of all branches.
async fn computed(lake: &Lake, table: &Arc<LakeTable>) -> SchemaChange {
    let columns = vec![bigint()[0].clone(), column("b", SqlType::BigInt, 2)];
    let mut change = SchemaChange { computed: vec![2], checked: true, ..SchemaChange::of(table, &columns) };
    let state = commit::set_columns(&lake.warehouse, table, &change).await.unwrap();
    let state = lake.warehouse.load(&state).await.unwrap();
    let rows = |values: Vec<i64>| {
        let b = Int64Array::from_iter_values(values.iter().map(|a| a * 10));
        batch([("a", Arc::new(Int64Array::from(values)) as ArrayRef), ("b", Arc::new(b) as ArrayRef)])
    };
    let mut rewritten = Rewritten::default();
    for (branches, values) in [(vec!["main", "same"], vec![1]), (vec!["other"], vec![1, 2])] {
        let files = write(&lake.warehouse, &state, [rows(values)], WriteOptions::default()).await;
        rewritten.add(branches.into_iter().map(str::to_owned).collect(), files);
    }
    change.rewritten = Some(rewritten);
    change
}

async fn branch(lake: &Lake, table: &LakeTable, name: &str) -> Arc<LakeTable> {
    let version = Version::Ref(name.to_owned());
    lake.warehouse.load_at(table.metadata_location(), &version).await.unwrap()
}

async fn sum(lake: &Lake, table: &Arc<LakeTable>) -> i64 {
    number(&session(&lake.warehouse, table).await, "SELECT sum(b) FROM t").await
}

#[tokio::test]
async fn a_schema_comes_with_the_rows_of_every_branch() {
    let lake = Lake::new();
    let table = branched(&lake).await;
    let before = table.snapshot_id().unwrap();
    let change = computed(&lake, &table).await;
    let table = step(&lake, &table, [Step::Edit(Edit::Schema(Box::new(change)))]).await.unwrap().unwrap();
    for (name, expected) in [("main", 10), ("same", 10), ("other", 30)] {
        assert_eq!(sum(&lake, &branch(&lake, &table, name).await).await, expected, "{name}");
    }
    assert_eq!(branch(&lake, &table, "same").await.snapshot_id(), table.snapshot_id());

    // The rows of before have no values: whoever wants them is told, and no branch goes there.
    let former = lake.warehouse.load_as_head(table.metadata_location(), before).await.unwrap();
    assert_eq!(all(&lake.warehouse, &former).await, [1]);
    let context = session(&lake.warehouse, &former).await;
    for sql in ["SELECT b FROM t", "SELECT count(b) FROM t", "SELECT a FROM t WHERE b IS NULL"] {
        let error = context.sql(sql).await.unwrap().collect().await.unwrap_err();
        assert!(error.to_string().contains("column \"b\" has no values"), "{sql}: {error}");
    }
    let back = RefEdit::Rollback { snapshot_id: before, to_ancestor: true };
    assert_eq!(table.unproven(before).absent, [2]);
    for seen in [None, Some(SeenRows { snapshot_id: before, fit: table.unproven(before) })] {
        let back = Step::Edit(Edit::Refs { edit: back.clone(), seen });
        assert!(step(&lake, &table, [back]).await.unwrap().is_none());
    }

    // What was ahead still is.
    let forward = RefEdit::FastForward { branch: "main".to_owned(), to: "other".to_owned() };
    let forward = Step::Edit(Edit::Refs { edit: forward, seen: None });
    let table = step(&lake, &table, [forward]).await.unwrap().unwrap();
    assert_eq!(sum(&lake, &table).await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_branches_that_are_not_all_put_in_place_leave_nothing() {
    let lake = Lake::alone();
    let scenario = fail::FailScenario::setup();
    let table = branched(&lake).await;
    let before = lake.files("");
    let change = computed(&lake, &table).await;
    // The state that the files were written for is another's to remove.
    let scratch: Vec<_> = lake.files(".metadata.json").into_iter().filter(|file| !before.contains(file)).collect();
    // The rows of the first head come to be, those of the second do not.
    fail::cfg("lake::manifest_list_written", "1*off->1*return").unwrap();
    let result = step(&lake, &table, [Step::Edit(Edit::Schema(Box::new(change)))]).await;
    assert!(result.is_err(), "the failpoint was not passed");
    let mut left = Vec::new();
    for _ in 0..100 {
        left = lake.files("");
        left.retain(|file| !before.contains(file) && !scratch.contains(file));
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(all(&lake.warehouse, &branch(&lake, &table, "other").await).await, [1, 2]);
    scenario.teardown();
}
