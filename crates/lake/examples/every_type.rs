//! Writes a table with a column of every type into a directory, prints the location of its metadata file and its rows: to see
//! what another engine makes of it.
//!
//! `cargo run --release -p wharf-lake --example every_type -- /tmp/lake`, then in Python
//! `pyiceberg.table.StaticTable.from_metadata(location).scan().to_arrow()`.

#![allow(clippy::unwrap_used)]

#[path = "../tests/lake/values.rs"]
mod values;

use std::collections::HashMap;

use uuid::Uuid;
use wharf_lake::{NewTable, TableWriter, Warehouse, WarehouseOptions, WriteOptions, commit};

#[tokio::main]
async fn main() {
    let directory = std::env::args().nth(1).expect("an argument: the directory");
    let warehouse = Warehouse::open(&directory, WarehouseOptions::default()).unwrap();
    let columns = values::columns();
    let table = NewTable {
        identifier: Vec::new(),
        id: Uuid::new_v4(),
        namespace: "example",
        name: "every_type",
        columns: &columns,
        layout: Default::default(),
        properties: HashMap::new(),
    };
    let location = warehouse.create_table(table).await.unwrap();
    let mut table = warehouse.load(&location).await.unwrap();
    let rows = values::rows(&columns);
    // The rows twice, and once more instead of both: the history has an append, an overwrite and what it removed.
    for _ in 0..2 {
        let mut writer = TableWriter::new(&warehouse, &table, WriteOptions::default());
        writer.write(rows.clone()).await.unwrap();
        let files = writer.finish().await.unwrap();
        let location = commit::append(&warehouse, &table, files).await.unwrap();
        table = warehouse.load(&location).await.unwrap();
    }
    let mut writer = TableWriter::new(&warehouse, &table, WriteOptions::default());
    writer.write(rows.clone()).await.unwrap();
    let files = writer.finish().await.unwrap();
    let location = commit::replace(&warehouse, &table, files).await.unwrap();
    println!("{location}");
    for row in 0..rows.num_rows() {
        println!("{row}");
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            let value = arrow::util::display::array_value_to_string(column, row).unwrap();
            println!("  {} = {value}", field.name());
        }
    }
}
