//! Rows that come as Arrow batches from within the process, by the same way as INSERT's and COPY's.

use arrow::array::RecordBatch;
use futures::StreamExt;
use futures::stream::BoxStream;
use wharf_catalog::Relation;
use wharf_values::{SqlError, SqlState};

use super::write::{self, Target};
use crate::session::Session;

impl Session {
    /// Appends batches to a table: all of them or none. The columns are the table's, in its order; their Arrow types
    /// must be those of the table's SQL types or convert to them without loss. Gives the number of rows.
    ///
    /// # Errors
    /// `42P01` for a table that does not exist, `23502` for a NULL where none may be, whatever the stream raises, and
    /// what the commit raises.
    pub async fn append_batches(
        &mut self,
        schema: &str,
        table: &str,
        mut batches: BoxStream<'static, Result<RecordBatch, SqlError>>,
    ) -> Result<u64, SqlError> {
        let catalog = self.catalog().await?;
        let found = catalog
            .namespace_by_name(self.identity.database, schema)
            .and_then(|namespace| catalog.relation(namespace.oid, table).cloned());
        let Some(Relation::Table(table)) = found else {
            return Err(SqlError::new(
                SqlState::UNDEFINED_TABLE,
                format!("relation \"{schema}.{table}\" does not exist"),
            ));
        };
        let mut target = Target::open(self, &table).await?;
        let written = async {
            while let Some(batch) = batches.next().await {
                target.write(batch?.columns().to_vec()).await?;
            }
            Ok(())
        }
        .await;
        write::finish(self, target, written).await
    }
}
