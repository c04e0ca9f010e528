//! TPC-H: its tables, its rows as CSV and Parquet files, and its 22 queries in PostgreSQL's dialect.
//!
//! The files of a scale are made once, in a cache folder, and are the same in every run. The Parquet files have the column types
//! of the SQL tables (32-bit keys), row groups of 122,880 rows, which is what DuckDB writes itself, and Snappy compression. The CSV
//! files have no header. Queries are those of `tests/tpch`, with the parameters of the specification's validation run.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tpchgen::csv::{CustomerCsv, LineItemCsv, NationCsv, OrderCsv, PartCsv, PartSuppCsv, RegionCsv, SupplierCsv};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

/// Changes when the files would: an old folder of the cache is not used then.
const LAYOUT: &str = "v1";
const ROW_GROUP_ROWS: usize = 122_880;

/// A table of TPC-H.
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns, as CREATE TABLE takes them.
    pub(crate) columns: &'static str,
    /// Statements that give PostgreSQL its keys, without which it is not a fair peer.
    pub(crate) indexes: &'static [&'static str],
    csv: fn(f64, &mut dyn Write, u64) -> std::io::Result<u64>,
    arrow: fn(f64) -> Batches,
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, arrow::error::ArrowError>>>;

macro_rules! table {
    ($name:literal, ($generator:ident, $csv:ident, $arrow:ident), $columns:literal, $indexes:expr) => {
        Table {
            name: $name,
            columns: $columns,
            indexes: $indexes,
            csv: |scale, out, limit| {
                let mut rows = 0;
                for row in $generator::new(scale, 1, 1).iter().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
                    writeln!(out, "{}", $csv::new(row))?;
                    rows += 1;
                }
                Ok(rows)
            },
            arrow: |scale| Box::new($arrow::new($generator::new(scale, 1, 1))),
        }
    };
}

/// The tables, in an order in which no key points at a later one.
pub(crate) const TABLES: [Table; 8] = [
    table!(
        "region",
        (RegionGenerator, RegionCsv, RegionArrow),
        "r_regionkey integer not null, r_name char(25) not null, r_comment varchar(152)",
        &["create unique index on region (r_regionkey)"]
    ),
    table!(
        "nation",
        (NationGenerator, NationCsv, NationArrow),
        "n_nationkey integer not null, n_name char(25) not null, n_regionkey integer not null, n_comment varchar(152)",
        &["create unique index on nation (n_nationkey)"]
    ),
    table!(
        "supplier",
        (SupplierGenerator, SupplierCsv, SupplierArrow),
        "s_suppkey integer not null, s_name char(25) not null, s_address varchar(40) not null, s_nationkey integer not null, \
         s_phone char(15) not null, s_acctbal numeric(15,2) not null, s_comment varchar(101) not null",
        &["create unique index on supplier (s_suppkey)", "create index on supplier (s_nationkey)"]
    ),
    table!(
        "customer",
        (CustomerGenerator, CustomerCsv, CustomerArrow),
        "c_custkey integer not null, c_name varchar(25) not null, c_address varchar(40) not null, c_nationkey integer not null, \
         c_phone char(15) not null, c_acctbal numeric(15,2) not null, c_mktsegment char(10) not null, \
         c_comment varchar(117) not null",
        &["create unique index on customer (c_custkey)", "create index on customer (c_nationkey)"]
    ),
    table!(
        "part",
        (PartGenerator, PartCsv, PartArrow),
        "p_partkey integer not null, p_name varchar(55) not null, p_mfgr char(25) not null, p_brand char(10) not null, \
         p_type varchar(25) not null, p_size integer not null, p_container char(10) not null, \
         p_retailprice numeric(15,2) not null, p_comment varchar(23) not null",
        &["create unique index on part (p_partkey)"]
    ),
    table!(
        "partsupp",
        (PartSuppGenerator, PartSuppCsv, PartSuppArrow),
        "ps_partkey integer not null, ps_suppkey integer not null, ps_availqty integer not null, \
         ps_supplycost numeric(15,2) not null, ps_comment varchar(199) not null",
        &["create unique index on partsupp (ps_partkey, ps_suppkey)", "create index on partsupp (ps_suppkey)"]
    ),
    table!(
        "orders",
        (OrderGenerator, OrderCsv, OrderArrow),
        "o_orderkey integer not null, o_custkey integer not null, o_orderstatus char(1) not null, \
         o_totalprice numeric(15,2) not null, o_orderdate date not null, o_orderpriority char(15) not null, \
         o_clerk char(15) not null, o_shippriority integer not null, o_comment varchar(79) not null",
        &[
            "create unique index on orders (o_orderkey)",
            "create index on orders (o_custkey)",
            "create index on orders (o_orderdate)"
        ]
    ),
    table!(
        "lineitem",
        (LineItemGenerator, LineItemCsv, LineItemArrow),
        "l_orderkey integer not null, l_partkey integer not null, l_suppkey integer not null, l_linenumber integer not null, \
         l_quantity numeric(15,2) not null, l_extendedprice numeric(15,2) not null, l_discount numeric(15,2) not null, \
         l_tax numeric(15,2) not null, l_returnflag char(1) not null, l_linestatus char(1) not null, l_shipdate date not null, \
         l_commitdate date not null, l_receiptdate date not null, l_shipinstruct char(25) not null, l_shipmode char(10) not null, \
         l_comment varchar(44) not null",
        &[
            "create unique index on lineitem (l_orderkey, l_linenumber)",
            "create index on lineitem (l_partkey, l_suppkey)",
            "create index on lineitem (l_suppkey)",
            "create index on lineitem (l_shipdate)"
        ]
    ),
];

/// The table of this name.
pub(crate) fn table(name: &str) -> &'static Table {
    TABLES.iter().find(|table| table.name == name).expect("the caller names a table of TPC-H")
}

impl Table {
    /// `CREATE TABLE`, under another name when one is given.
    pub(crate) fn create(&self, name: Option<&str>) -> String {
        format!("CREATE TABLE {} ({})", name.unwrap_or(self.name), self.columns)
    }
}

/// The files of one scale.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    folder: PathBuf,
}

impl Files {
    /// Makes what is not yet in `cache`; Parquet only when it is asked for. Says on standard error what it makes.
    pub(crate) fn prepare(cache: &Path, scale: f64, with_parquet: bool) -> anyhow::Result<Files> {
        let folder = cache.join(format!("tpch-{LAYOUT}-scale-{scale}"));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let files = Files { folder };
        for table in &TABLES {
            files.make(&files.csv(table), |path| write_csv(table, scale, u64::MAX, path))?;
            if with_parquet {
                files.make(&files.parquet(table), |path| write_parquet(table, scale, path))?;
            }
        }
        Ok(files)
    }

    /// The CSV file of a table.
    pub(crate) fn csv(&self, table: &Table) -> PathBuf {
        self.folder.join(format!("{}.csv", table.name))
    }

    /// The Parquet file of a table.
    pub(crate) fn parquet(&self, table: &Table) -> PathBuf {
        self.folder.join(format!("{}.parquet", table.name))
    }

    /// A CSV file of the first `limit` rows of a table, and how many they are.
    pub(crate) fn csv_of(&self, table: &Table, scale: f64, limit: u64) -> anyhow::Result<(PathBuf, u64)> {
        let path = self.folder.join(format!("{}-{limit}.csv", table.name));
        self.make(&path, |path| write_csv(table, scale, limit, path))?;
        let rows = lines_of(&path)?;
        Ok((path, rows))
    }

    /// Makes a file beside its place and moves it there, so that a file in place is whole.
    fn make(&self, path: &Path, write: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
        if path.exists() {
            return Ok(());
        }
        eprintln!("making {}", path.display());
        let unfinished = path.with_extension(format!("unfinished-{}", std::process::id()));
        write(&unfinished).with_context(|| format!("cannot make {}", path.display()))?;
        std::fs::rename(&unfinished, path)?;
        Ok(())
    }
}

fn lines_of(path: &Path) -> anyhow::Result<u64> {
    use std::io::BufRead;
    // No value of TPC-H holds a line break.
    let mut reader = std::io::BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut lines = 0;
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(lines);
        }
        lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = chunk.len();
        reader.consume(length);
    }
}

fn write_csv(table: &Table, scale: f64, limit: u64, path: &Path) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    (table.csv)(scale, &mut out, limit)?;
    out.flush()?;
    Ok(())
}

fn write_parquet(table: &Table, scale: f64, path: &Path) -> anyhow::Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let mut writer = None;
    for batch in (table.arrow)(scale) {
        let batch = with_small_keys(&batch?)?;
        let writer = match &mut writer {
            Some(writer) => writer,
            empty => {
                let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
                empty.insert(ArrowWriter::try_new(file, batch.schema(), Some(properties.clone()))?)
            }
        };
        writer.write(&batch)?;
    }
    writer.context("the generator made no rows")?.close()?;
    Ok(())
}

/// The generator's keys have 64 bits, the tables' 32.
fn with_small_keys(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.data_type() == &DataType::Int64 {
            fields.push(Arc::new(field.as_ref().clone().with_data_type(DataType::Int32)));
            columns.push(cast_with_options(column, &DataType::Int32, &options)?);
        } else {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// A query of TPC-H.
pub(crate) struct Query {
    /// `q01` to `q22`.
    pub(crate) name: &'static str,
    /// Its text in PostgreSQL's dialect.
    pub(crate) sql: &'static str,
    /// The columns, counted from 0, that its ORDER BY names; rows equal in these may come in any order.
    pub(crate) order: &'static [usize],
}

macro_rules! query {
    ($name:literal, $order:expr) => {
        Query { name: $name, sql: include_str!(concat!("../../../../tests/tpch/", $name, ".sql")), order: &$order }
    };
}

/// The queries, in order.
pub(crate) const QUERIES: [Query; 22] = [
    query!("q01", [0, 1]),
    query!("q02", [0, 2, 1, 3]),
    query!("q03", [1, 2]),
    query!("q04", [0]),
    query!("q05", [1]),
    query!("q06", []),
    query!("q07", [0, 1, 2]),
    query!("q08", [0]),
    query!("q09", [0, 1]),
    query!("q10", [2]),
    query!("q11", [1]),
    query!("q12", [0]),
    query!("q13", [1, 0]),
    query!("q14", []),
    query!("q15", [0]),
    query!("q16", [3, 0, 1, 2]),
    query!("q17", []),
    query!("q18", [4, 3]),
    query!("q19", []),
    query!("q20", [0]),
    query!("q21", [1, 0]),
    query!("q22", [0]),
];

/// Where generated data and installed peers stay between runs: `$WHARF_CACHE`, or `~/.cache/wharf`.
pub(crate) fn cache_folder() -> PathBuf {
    std::env::var_os("WHARF_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into())).join(".cache/wharf"),
        PathBuf::from,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn csv_and_parquet_hold_the_same_rows_with_the_columns_of_the_table() {
        let cache = tempfile::tempdir().unwrap();
        let files = Files::prepare(cache.path(), 0.001, true).unwrap();
        for table in &TABLES {
            let file = File::open(files.parquet(table)).unwrap();
            let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1024).unwrap();
            let schema = arrow::array::RecordBatchReader::schema(&reader);
            let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            // A comma inside numeric(15,2) is not followed by a space.
            let declared: Vec<&str> =
                table.columns.split(", ").map(|column| column.split(' ').next().unwrap()).collect();
            assert_eq!(columns, declared, "{}", table.name);
            assert!(schema.fields().iter().all(|field| field.data_type() != &DataType::Int64), "{}", table.name);
            let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
            assert_eq!(rows as u64, lines_of(&files.csv(table)).unwrap(), "{}", table.name);
        }
        let (_, rows) = files.csv_of(table("lineitem"), 0.001, 100).unwrap();
        assert_eq!(rows, 100);
    }

    #[test]
    fn every_query_orders_by_as_many_columns_as_it_says() {
        for query in &QUERIES {
            // Only the outermost ORDER BY counts, and it comes last.
            let ordered = query.sql.rsplit_once("order by\n").map_or(0, |(_, rest)| {
                let list = rest.split(['\n', ';']).take_while(|line| line.starts_with(' '));
                list.count()
            });
            assert_eq!(ordered, query.order.len(), "{}", query.name);
        }
    }
}
