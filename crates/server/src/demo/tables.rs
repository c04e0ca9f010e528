//! TPC-H's eight tables: their PostgreSQL definitions, as `dbgen`'s, and their rows, made by `tpchgen`.
//!
//! Always holds: a batch of [`Table::batches`] has the columns of [`Table::definition`], in that order and with the
//! Arrow types those SQL types map to. It does not know how the rows get into the server.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

/// The rows of a table, in order.
pub(crate) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// One of the tables.
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns, as CREATE TABLE has them between the parentheses.
    pub(crate) definition: &'static str,
    rows: fn(f64) -> i64,
    generate: fn(f64) -> Batches,
}

impl Table {
    /// How many rows the table has at a scale; exact for all but lineitem.
    pub(crate) fn expected_rows(&self, scale: f64) -> u64 {
        u64::try_from((self.rows)(scale)).unwrap_or_default()
    }

    /// The rows at a scale, the same in every run.
    pub(crate) fn batches(&self, scale: f64) -> Batches {
        Box::new((self.generate)(scale).map(|batch| narrow_keys(&batch?)))
    }
}

/// The generator makes keys of 64 bits and the tables have `integer`, as `dbgen`'s definitions do; the command line
/// refuses scales whose keys do not fit, and an overflow here is an error, not a NULL.
fn narrow_keys(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if *column.data_type() == DataType::Int64 {
            columns.push(cast_with_options(column, &DataType::Int32, &options)?);
            fields.push(Arc::new(field.as_ref().clone().with_data_type(DataType::Int32)));
        } else {
            columns.push(Arc::clone(column));
            fields.push(Arc::clone(field));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

macro_rules! batches {
    ($arrow:ident, $generator:ident) => {
        |scale| Box::new($arrow::new($generator::new(scale, 1, 1)))
    };
}

/// All tables, the small ones first.
pub(crate) const TABLES: [Table; 8] = [
    Table {
        name: "region",
        definition: "r_regionkey integer not null, r_name char(25) not null, r_comment varchar(152)",
        rows: |_| 5,
        generate: batches!(RegionArrow, RegionGenerator),
    },
    Table {
        name: "nation",
        definition: "n_nationkey integer not null, n_name char(25) not null, n_regionkey integer not null, \
                     n_comment varchar(152)",
        rows: |_| 25,
        generate: batches!(NationArrow, NationGenerator),
    },
    Table {
        name: "supplier",
        definition: "s_suppkey integer not null, s_name char(25) not null, s_address varchar(40) not null, \
                     s_nationkey integer not null, s_phone char(15) not null, s_acctbal numeric(15,2) not null, \
                     s_comment varchar(101) not null",
        rows: |scale| SupplierGenerator::calculate_row_count(scale, 1, 1),
        generate: batches!(SupplierArrow, SupplierGenerator),
    },
    Table {
        name: "customer",
        definition: "c_custkey integer not null, c_name varchar(25) not null, c_address varchar(40) not null, \
                     c_nationkey integer not null, c_phone char(15) not null, c_acctbal numeric(15,2) not null, \
                     c_mktsegment char(10) not null, c_comment varchar(117) not null",
        rows: |scale| CustomerGenerator::calculate_row_count(scale, 1, 1),
        generate: batches!(CustomerArrow, CustomerGenerator),
    },
    Table {
        name: "part",
        definition: "p_partkey integer not null, p_name varchar(55) not null, p_mfgr char(25) not null, \
                     p_brand char(10) not null, p_type varchar(25) not null, p_size integer not null, \
                     p_container char(10) not null, p_retailprice numeric(15,2) not null, \
                     p_comment varchar(23) not null",
        rows: |scale| PartGenerator::calculate_row_count(scale, 1, 1),
        generate: batches!(PartArrow, PartGenerator),
    },
    Table {
        name: "partsupp",
        definition: "ps_partkey integer not null, ps_suppkey integer not null, ps_availqty integer not null, \
                     ps_supplycost numeric(15,2) not null, ps_comment varchar(199) not null",
        rows: |scale| 4 * PartGenerator::calculate_row_count(scale, 1, 1),
        generate: batches!(PartSuppArrow, PartSuppGenerator),
    },
    Table {
        name: "orders",
        definition: "o_orderkey integer not null, o_custkey integer not null, o_orderstatus char(1) not null, \
                     o_totalprice numeric(15,2) not null, o_orderdate date not null, \
                     o_orderpriority char(15) not null, o_clerk char(15) not null, \
                     o_shippriority integer not null, o_comment varchar(79) not null",
        rows: |scale| OrderGenerator::calculate_row_count(scale, 1, 1),
        generate: batches!(OrderArrow, OrderGenerator),
    },
    Table {
        name: "lineitem",
        definition: "l_orderkey integer not null, l_partkey integer not null, l_suppkey integer not null, \
                     l_linenumber integer not null, l_quantity numeric(15,2) not null, \
                     l_extendedprice numeric(15,2) not null, l_discount numeric(15,2) not null, \
                     l_tax numeric(15,2) not null, l_returnflag char(1) not null, l_linestatus char(1) not null, \
                     l_shipdate date not null, l_commitdate date not null, l_receiptdate date not null, \
                     l_shipinstruct char(25) not null, l_shipmode char(10) not null, \
                     l_comment varchar(44) not null",
        // Orders have one to seven lines, four on average.
        rows: |scale| 4 * OrderGenerator::calculate_row_count(scale, 1, 1),
        generate: batches!(LineItemArrow, LineItemGenerator),
    },
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The names and Arrow types that a definition asks for.
    fn asked(definition: &str) -> Vec<(String, DataType)> {
        // A comma inside numeric(15,2) does not part columns: those are followed by a space.
        definition
            .split(", ")
            .map(|column| {
                let (name, rest) = column.trim().split_once(' ').unwrap();
                let ty = match rest.trim_end_matches(" not null") {
                    "integer" => DataType::Int32,
                    "date" => DataType::Date32,
                    "numeric(15,2)" => DataType::Decimal128(15, 2),
                    text if text.starts_with("char(") || text.starts_with("varchar(") => DataType::Utf8View,
                    other => panic!("{other}"),
                };
                (name.to_owned(), ty)
            })
            .collect()
    }

    #[test]
    fn rows_fit_the_definitions() {
        for table in &TABLES {
            let mut rows = 0;
            for batch in table.batches(0.001) {
                let batch = batch.unwrap();
                let fields = batch.schema().fields().clone();
                let made: Vec<_> = fields.iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
                assert_eq!(made, asked(table.definition), "{}", table.name);
                rows += batch.num_rows() as u64;
            }
            if table.name == "lineitem" {
                assert_eq!(rows, 6005);
            } else {
                assert_eq!(rows, table.expected_rows(0.001), "{}", table.name);
            }
        }
    }

    #[test]
    fn texts_fit_their_lengths() {
        use arrow::array::AsArray;
        for table in &TABLES {
            let lengths: Vec<Option<usize>> = table
                .definition
                .split(", ")
                .map(|column| {
                    column.split_once("char(").map(|(_, rest)| rest.split(')').next().unwrap().parse().unwrap())
                })
                .collect();
            for batch in table.batches(0.001) {
                let batch = batch.unwrap();
                for (column, length) in batch.columns().iter().zip(&lengths) {
                    let Some(length) = length else { continue };
                    let longest = column.as_string_view().iter().flatten().map(|text| text.chars().count()).max();
                    assert!(longest <= Some(*length), "{} {longest:?} > {length}", table.name);
                }
            }
        }
    }
}
