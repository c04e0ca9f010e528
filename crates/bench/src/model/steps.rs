//! The steps: each does something to the server and the same to the model.

use std::collections::BTreeSet;

use super::Run;
use super::database::{Column, Contents, Database, Kind, Row, Table};

/// The most tables at a time.
const MAX_TABLES: usize = 5;
/// The most columns besides the id.
const MAX_COLUMNS: usize = 6;
/// Ids are below this, so that they meet.
const IDS: i64 = 300;

/// One random step.
pub(super) async fn step(run: &mut Run, database: &mut Database) -> anyhow::Result<()> {
    if database.tables.is_empty() {
        return create(run, database).await;
    }
    match run.random.u8(..100) {
        0..=2 if database.tables.len() < MAX_TABLES => create(run, database).await,
        3 => drop_table(run, database).await,
        4..=5 => undrop(run, database).await,
        6..=7 if database.tables.len() < MAX_TABLES => clone(run, database).await,
        8..=19 => transaction(run, database).await,
        20..=23 => rollback_to(run, database).await,
        24..=28 => maintain(run, database).await,
        29..=30 => {
            run.count("crashes");
            run.crash().await?;
            run.check_all(database).await
        }
        31..=42 => alone(run, database, Change::Ddl).await,
        _ => alone(run, database, Change::Rows).await,
    }
}

/// What kind of change.
#[derive(Clone, Copy)]
enum Change {
    Rows,
    Ddl,
}

/// A change outside of a transaction.
async fn alone(run: &mut Run, database: &mut Database, kind: Change) -> anyhow::Result<()> {
    let name = choose(run, database);
    let mut table = database.tables.remove(&name).unwrap_or_default();
    let result = change(run, &name, &mut table, kind, &mut database.names).await;
    let result = match result {
        Ok(()) => settle(run, &name, &mut table).await,
        error => error,
    };
    database.tables.insert(name, table);
    result
}

/// Compares a table that was changed, and notes its snapshot.
async fn settle(run: &mut Run, name: &str, table: &mut Table) -> anyhow::Result<()> {
    run.check(name, table).await?;
    run.note_snapshot(name, table).await
}

fn choose(run: &mut Run, database: &Database) -> String {
    let names: Vec<_> = database.tables.keys().collect();
    names[run.random.usize(..names.len())].clone()
}

async fn change(run: &mut Run, name: &str, table: &mut Table, kind: Change, names: &mut u64) -> anyhow::Result<()> {
    match kind {
        Change::Rows => match run.random.u8(..20) {
            0..=6 => insert(run, name, table).await,
            7..=10 => update(run, name, table).await,
            11..=14 => delete(run, name, table).await,
            15..=16 => merge(run, name, table).await,
            17..=18 => upsert(run, name, table).await,
            _ => truncate(run, name, table).await,
        },
        Change::Ddl => match run.random.u8(..10) {
            0..=3 => add_column(run, name, table, names).await,
            4..=5 => drop_column(run, name, table).await,
            6..=7 => rename_column(run, name, table, names).await,
            8 => widen(run, name, table).await,
            _ => set_mode(run, name).await,
        },
    }
}

fn literal(value: Option<&str>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| format!("'{value}'"))
}

fn new_row(run: &mut Run, id: i64, columns: &[Column]) -> Row {
    let values = columns.iter().map(|column| column.kind.value(&mut run.random));
    std::iter::once(Some(id.to_string())).chain(values).collect()
}

fn values_list(rows: &[Row]) -> String {
    let row = |row: &Row| {
        let (id, values) = row.split_first().expect("a row begins with its id");
        let id = id.clone().unwrap_or_default();
        let values = values.iter().map(|value| literal(value.as_deref()));
        format!("({})", std::iter::once(id).chain(values).collect::<Vec<_>>().join(", "))
    };
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

/// Ids that are not in the table, each once.
fn new_ids(run: &mut Run, table: &Table, count: usize) -> Vec<i64> {
    let mut ids: Vec<i64> = (0..count * 2).map(|_| run.random.i64(0..IDS)).collect();
    ids.retain(|id| !table.now.rows.contains_key(id));
    ids.sort_unstable();
    ids.dedup();
    ids.truncate(count);
    ids
}

async fn insert(run: &mut Run, name: &str, table: &mut Table) -> anyhow::Result<()> {
    run.count("inserts");
    let count = run.random.usize(1..20);
    let ids = new_ids(run, table, count);
    // Sometimes columns are left out, which then have their defaults.
    let given = if run.random.bool() { table.now.columns.len() } else { run.random.usize(..=table.now.columns.len()) };
    let columns = table.now.columns.clone();
    let rows: Vec<Row> = ids.iter().map(|id| new_row(run, *id, &columns[..given])).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let list = Contents { columns: columns[..given].to_vec(), ..Contents::default() }.column_list();
    run.execute(&format!("INSERT INTO {name} ({list}) VALUES {}", values_list(&rows))).await?;
    for (id, mut row) in ids.into_iter().zip(rows) {
        row.extend(columns[given..].iter().map(|column| column.default.clone()));
        table.rows_mut().insert(id, row);
    }
    Ok(())
}

/// `id % divisor = rest`, and which ids that is.
fn condition(run: &mut Run) -> (String, impl Fn(i64) -> bool + use<>) {
    let divisor = run.random.i64(2..30);
    let rest = run.random.i64(0..divisor);
    (format!("id % {divisor} = {rest}"), move |id| id % divisor == rest)
}

async fn update(run: &mut Run, name: &str, table: &mut Table) -> anyhow::Result<()> {
    run.count("updates");
    if table.now.columns.is_empty() {
        return Ok(());
    }
    let place = run.random.usize(..table.now.columns.len());
    let column = table.now.columns[place].clone();
    let value = column.kind.value(&mut run.random);
    let (text, matches) = condition(run);
    run.execute(&format!("UPDATE {name} SET {} = {} WHERE {text}", column.name, literal(value.as_deref()))).await?;
    for (_, row) in table.rows_mut().iter_mut().filter(|(id, _)| matches(**id)) {
        row[place + 1].clone_from(&value);
    }
    Ok(())
}

async fn delete(run: &mut Run, name: &str, table: &mut Table) -> anyhow::Result<()> {
    run.count("deletes");
    let (text, matches) = condition(run);
    run.execute(&format!("DELETE FROM {name} WHERE {text}")).await?;
    table.rows_mut().retain(|id, _| !matches(*id));
    Ok(())
}

async fn truncate(run: &mut Run, name: &str, table: &mut Table) -> anyhow::Result<()> {
    run.count("truncates");
    run.execute(&format!("TRUNCATE {name}")).await?;
    table.rows_mut().clear();
    Ok(())
}

/// Rows of which some meet others by their id.
fn some_rows(run: &mut Run, table: &Table) -> Vec<Row> {
    let mut ids: Vec<i64> = (0..run.random.usize(1..12)).map(|_| run.random.i64(0..IDS)).collect();
    ids.extend(table.now.rows.keys().filter(|_| run.random.u8(..20) == 0));
    ids.sort_unstable();
    ids.dedup();
    ids.iter().map(|id| new_row(run, *id, &table.now.columns)).collect()
}

fn id_of(row: &Row) -> i64 {
    row.first().and_then(|id| id.as_deref()?.parse().ok()).expect("a row begins with its id")
}

async fn merge(run: &mut Run, name: &str, table: &mut Table) -> anyhow::Result<()> {
    run.count("merges");
    if table.now.columns.is_empty() {
        return Ok(());
    }
    let rows = some_rows(run, table);
    let columns = table.now.columns.clone();
    let typed = |column: &Column| format!("s.{}::{} AS {0}", column.name, column.kind.sql());
    let source = format!(
        "(SELECT id, {} FROM (VALUES {}) AS s ({}))",
        columns.iter().map(typed).collect::<Vec<_>>().join(", "),
        values_list(&rows),
        table.column_list()
    );
    let set = columns.iter().map(|column| format!("{0} = s.{0}", column.name)).collect::<Vec<_>>().join(", ");
    let new = columns.iter().map(|column| format!("s.{}", column.name)).collect::<Vec<_>>().join(", ");
    run.execute(&format!(
        "MERGE INTO {name} AS t USING {source} AS s ON t.id = s.id WHEN MATCHED AND s.id % 3 = 0 THEN DELETE WHEN MATCHED THEN \
         UPDATE SET {set} WHEN NOT MATCHED THEN INSERT ({}) VALUES (s.id, {new})",
        table.column_list()
    ))
    .await?;
    for row in rows {
        let id = id_of(&row);
        if id % 3 == 0 && table.now.rows.contains_key(&id) {
            table.rows_mut().remove(&id);
        } else {
            table.rows_mut().insert(id, row);
        }
    }
    Ok(())
}

async fn upsert(run: &mut Run, name: &str, table: &mut Table) -> anyhow::Result<()> {
    if !table.has_key || table.now.columns.is_empty() {
        return insert(run, name, table).await;
    }
    run.count("upserts");
    let rows = some_rows(run, table);
    let update = run.random.bool();
    let columns = &table.now.columns;
    let set = columns.iter().map(|column| format!("{0} = excluded.{0}", column.name)).collect::<Vec<_>>().join(", ");
    let action = if update { format!("UPDATE SET {set}") } else { "NOTHING".to_owned() };
    run.execute(&format!(
        "INSERT INTO {name} ({}) VALUES {} ON CONFLICT (id) DO {action}",
        table.column_list(),
        values_list(&rows)
    ))
    .await?;
    for row in rows {
        let id = id_of(&row);
        if update || !table.now.rows.contains_key(&id) {
            table.rows_mut().insert(id, row);
        }
    }
    Ok(())
}

async fn add_column(run: &mut Run, name: &str, table: &mut Table, names: &mut u64) -> anyhow::Result<()> {
    if table.now.columns.len() >= MAX_COLUMNS {
        return Ok(());
    }
    run.count("columns added");
    *names += 1;
    let kind = Kind::ALL[run.random.usize(..Kind::ALL.len())];
    let default = if run.random.bool() { kind.value(&mut run.random) } else { None };
    let column = Column { id: *names, name: format!("c{names}"), kind, default };
    let clause = column.default.as_ref().map(|value| format!(" DEFAULT '{value}'")).unwrap_or_default();
    run.execute(&format!("ALTER TABLE {name} ADD COLUMN {} {}{clause}", column.name, kind.sql())).await?;
    for row in table.rows_mut().values_mut() {
        row.push(column.default.clone());
    }
    table.now.columns.push(column);
    Ok(())
}

async fn drop_column(run: &mut Run, name: &str, table: &mut Table) -> anyhow::Result<()> {
    if table.now.columns.is_empty() {
        return Ok(());
    }
    run.count("columns dropped");
    let place = run.random.usize(..table.now.columns.len());
    run.execute(&format!("ALTER TABLE {name} DROP COLUMN {}", table.now.columns[place].name)).await?;
    table.now.columns.remove(place);
    for row in table.rows_mut().values_mut() {
        row.remove(place + 1);
    }
    Ok(())
}

async fn rename_column(run: &mut Run, name: &str, table: &mut Table, names: &mut u64) -> anyhow::Result<()> {
    if table.now.columns.is_empty() {
        return Ok(());
    }
    run.count("columns renamed");
    *names += 1;
    let place = run.random.usize(..table.now.columns.len());
    let column = &mut table.now.columns[place];
    let new = format!("c{names}");
    run.execute(&format!("ALTER TABLE {name} RENAME COLUMN {} TO {new}", column.name)).await?;
    column.name = new;
    Ok(())
}

async fn widen(run: &mut Run, name: &str, table: &mut Table) -> anyhow::Result<()> {
    if table.has_narrow_id && run.random.bool() {
        run.count("ids widened");
        table.has_narrow_id = false;
        return run.execute(&format!("ALTER TABLE {name} ALTER COLUMN id TYPE bigint")).await;
    }
    let Some(column) = table.now.columns.iter_mut().find(|column| column.kind == Kind::Integer) else {
        return Ok(());
    };
    run.count("columns widened");
    run.execute(&format!("ALTER TABLE {name} ALTER COLUMN {} TYPE bigint", column.name)).await?;
    column.kind = Kind::BigInt;
    Ok(())
}

async fn set_mode(run: &mut Run, name: &str) -> anyhow::Result<()> {
    run.count("properties set");
    let property = ["write.delete.mode", "write.update.mode", "write.merge.mode"][run.random.usize(..3)];
    let mode = ["copy-on-write", "merge-on-read"][run.random.usize(..2)];
    run.execute(&format!("ALTER TABLE {name} SET ('{property}' = '{mode}')")).await
}

async fn create(run: &mut Run, database: &mut Database) -> anyhow::Result<()> {
    run.count("tables created");
    let name = database.new_name("t");
    let mut table = Table::default();
    table.has_key = run.random.bool();
    table.has_narrow_id = run.random.bool();
    for _ in 0..run.random.usize(1..4) {
        let kind = Kind::ALL[run.random.usize(..Kind::ALL.len())];
        let name = database.new_name("c");
        table.now.columns.push(Column { id: database.names, name, kind, default: None });
    }
    let key = if table.has_key { " PRIMARY KEY" } else { "" };
    let columns = table.now.columns.iter().map(|column| format!(", {} {}", column.name, column.kind.sql()));
    let id = if table.has_narrow_id { "integer" } else { "bigint" };
    let partition = ["", " PARTITION BY (bucket(3, id))", " PARTITION BY (truncate(50, id))"][run.random.usize(..3)];
    let columns = columns.collect::<String>();
    run.execute(&format!("CREATE TABLE {name} (id {id} NOT NULL{key}{columns}){partition}")).await?;
    database.tables.insert(name, table);
    Ok(())
}

async fn drop_table(run: &mut Run, database: &mut Database) -> anyhow::Result<()> {
    run.count("tables dropped");
    let name = choose(run, database);
    run.execute(&format!("DROP TABLE {name}")).await?;
    if let Some(table) = database.tables.remove(&name) {
        database.dropped.push((name, table));
    }
    Ok(())
}

async fn undrop(run: &mut Run, database: &mut Database) -> anyhow::Result<()> {
    let Some((name, mut table)) = database.dropped.pop() else { return Ok(()) };
    run.count("tables undropped");
    run.execute(&format!("UNDROP TABLE {name}")).await?;
    let result = settle(run, &name, &mut table).await;
    database.tables.insert(name, table);
    result
}

async fn clone(run: &mut Run, database: &mut Database) -> anyhow::Result<()> {
    run.count("tables cloned");
    let source = choose(run, database);
    let name = database.new_name("t");
    run.execute(&format!("CREATE TABLE {name} CLONE {source}")).await?;
    let mut table = database.tables[&source].cloned();
    let current = run.current_snapshot(&name).await?;
    table.ignore_snapshot(current);
    let result = settle(run, &name, &mut table).await;
    database.tables.insert(name, table);
    result
}

async fn rollback_to(run: &mut Run, database: &mut Database) -> anyhow::Result<()> {
    let name = choose(run, database);
    let Some(table) = database.tables.get_mut(&name) else { return Ok(()) };
    let ancestors = table.ancestors();
    if ancestors.is_empty() {
        return Ok(());
    }
    let id = ancestors[run.random.usize(..ancestors.len())].clone();
    if !table.rollback(&id) {
        return Ok(());
    }
    run.count("rollbacks");
    run.execute(&format!("ALTER TABLE {name} ROLLBACK TO VERSION {id}")).await?;
    run.check(&name, table).await
}

async fn maintain(run: &mut Run, database: &mut Database) -> anyhow::Result<()> {
    let name = choose(run, database);
    let Some(table) = database.tables.get_mut(&name) else { return Ok(()) };
    let call = match run.random.u8(..3) {
        0 => format!("CALL wharf.rewrite_data_files(table => '{name}', min_input_files => 2)"),
        1 => {
            let last = run.random.u8(1..5);
            let soon = "now() + interval '1 hour'";
            format!("CALL wharf.expire_snapshots(table => '{name}', older_than => {soon}, retain_last => {last})")
        }
        _ => format!("CALL wharf.rewrite_data_files(table => '{name}', rewrite_all => true)"),
    };
    run.count("maintenance");
    run.execute(&call).await?;
    settle(run, &name, table).await
}

/// Several changes of several tables in one transaction, with savepoints, to its end or back or into a crash.
async fn transaction(run: &mut Run, database: &mut Database) -> anyhow::Result<()> {
    run.count("transactions");
    let before = database.clone();
    let mut savepoint = None;
    let mut altered = BTreeSet::new();
    run.execute("BEGIN").await?;
    for _ in 0..run.random.usize(1..6) {
        match run.random.u8(..10) {
            0 => {
                run.execute("SAVEPOINT here").await?;
                savepoint = Some(database.clone());
            }
            1 => {
                if let Some(saved) = savepoint.clone() {
                    run.execute("ROLLBACK TO SAVEPOINT here").await?;
                    *database = Database { names: database.names, ..saved };
                }
            }
            kind => {
                let name = choose(run, database);
                let mut table = database.tables.remove(&name).unwrap_or_default();
                let kind = if kind == 2 { Change::Ddl } else { Change::Rows };
                if matches!(kind, Change::Ddl) {
                    altered.insert(name.clone());
                }
                let changed = change(run, &name, &mut table, kind, &mut database.names).await;
                let checked = match changed {
                    Ok(()) => run.check(&name, &table).await,
                    error => error,
                };
                database.tables.insert(name, table);
                checked?;
            }
        }
    }
    match run.random.u8(..10) {
        0..=6 => run.execute("COMMIT").await?,
        7..=8 => {
            run.execute("ROLLBACK").await?;
            *database = Database { names: database.names, ..before };
        }
        _ => {
            run.count("crashes");
            run.crash().await?;
            *database = Database { names: database.names, ..before };
        }
    }
    let names: Vec<String> = database.tables.keys().cloned().collect();
    for name in names {
        let Some(mut table) = database.tables.remove(&name) else { continue };
        if altered.contains(&name) {
            let current = run.current_snapshot(&name).await?;
            table.ignore_snapshot(current);
        }
        let settled = settle(run, &name, &mut table).await;
        database.tables.insert(name, table);
        settled?;
    }
    Ok(())
}
