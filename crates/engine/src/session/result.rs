//! What a statement gives back, described for the front end.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use bytes::Bytes;
use datafusion::common::DFSchema;
use futures::stream::BoxStream;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, mapping};

use super::stream::RowStream;
use crate::bind::Origin;
use crate::bind::names::display_name;
use crate::copy_from::CopyIn;

/// A column of a result.
#[derive(Clone, Debug)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// The table it comes from, or 0.
    pub table_oid: u32,
    /// Its number in that table, or 0.
    pub attribute: i16,
    /// Its Arrow field.
    pub field: FieldRef,
}

impl ResultColumn {
    /// A column of computed values.
    pub(crate) fn computed(name: &str, field: FieldRef) -> Self {
        let ty = match mapping::sql_type(&field) {
            SqlType::Unknown => SqlType::Text,
            ty => ty,
        };
        ResultColumn { name: display_name(name).to_owned(), ty, table_oid: 0, attribute: 0, field }
    }
}

/// The columns of a plan's rows and where they come from.
pub(crate) fn columns_of(schema: &DFSchema, origins: &[Option<Origin>]) -> Arc<[ResultColumn]> {
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        let column = ResultColumn::computed(field.name(), Arc::clone(field));
        match origins.get(index).copied().flatten() {
            Some(Origin { table, attribute }) => ResultColumn { table_oid: table, attribute, ..column },
            None => column,
        }
    });
    columns.collect()
}

/// What running a statement gave.
pub enum Outcome {
    /// There was nothing to run.
    Empty,
    /// It is done; the command tag.
    Complete(String),
    /// It gives rows.
    Rows(RowStream),
    /// It wants the client's data.
    CopyIn(CopyIn),
    /// It gives data in the format the statement chose.
    CopyOut(CopyOut),
}

/// The data of a COPY to the client.
pub struct CopyOut {
    /// PostgreSQL's binary format.
    pub binary: bool,
    /// How many columns a row has.
    pub columns: usize,
    /// Bytes and how many rows are in them; a row is never cut.
    pub chunks: BoxStream<'static, Result<(Bytes, u64), SqlError>>,
}

/// Where a session stands between transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No block is open.
    Idle,
    /// A block is open.
    Active,
    /// A block is open and has failed.
    Failed,
}

/// Something a statement wants to tell without failing.
#[derive(Clone, Debug)]
pub struct Notice {
    /// `NOTICE`, `WARNING`, `INFO`.
    pub severity: &'static str,
    /// What it says.
    pub error: SqlError,
}
