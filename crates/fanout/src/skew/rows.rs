//! Batches with their salts: dealt or copied.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_plan::metrics::Time;

use super::hot::Hot;

/// The salt of rows that are not of a hot key.
const COLD: i32 = 0;

/// What batches are given their salts by.
#[derive(Clone)]
pub(super) struct Salting {
    pub(super) hot: Arc<Hot>,
    /// Which column is the key.
    pub(super) key: usize,
    /// The columns and the salt.
    pub(super) schema: SchemaRef,
    /// How many rows a batch has at most that is made here.
    pub(super) batch_rows: usize,
    pub(super) elapsed: Time,
}

impl Salting {
    fn places(&self, batch: &RecordBatch) -> Result<Option<Vec<u8>>> {
        self.hot.places(batch.column(self.key))
    }

    fn with(&self, batch: &RecordBatch, salts: Vec<i32>) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        columns.push(Arc::new(Int32Array::from(salts)));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// Gives each row of a hot key the salt after the one that the last row of the key was given.
pub(super) struct Dealer {
    salting: Salting,
    /// For each key, which of its salts is the next.
    next: Vec<usize>,
}

impl Dealer {
    /// Dealers that begin at different places do not all send what they have few of to the same partition.
    pub(super) fn new(salting: Salting, begin: usize) -> Dealer {
        let next = vec![begin; salting.hot.len()];
        Dealer { salting, next }
    }

    /// The rows with their salts.
    ///
    /// # Errors
    /// Columns of other types than the plan has said.
    pub(super) fn deal(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let elapsed = self.salting.elapsed.clone();
        let _timer = elapsed.timer();
        let mut salts = vec![COLD; batch.num_rows()];
        if let Some(places) = self.salting.places(batch)? {
            for (salt, place) in salts.iter_mut().zip(places) {
                if let Some(key) = usize::from(place).checked_sub(1) {
                    let of_key = self.salting.hot.salts(key);
                    *salt = of_key[self.next[key] % of_key.len()];
                    self.next[key] = self.next[key].wrapping_add(1);
                }
            }
        }
        self.salting.with(batch, salts)
    }
}

/// The rows of a batch, those of hot keys once with each salt of their key; as batches that are made one by one.
pub(super) struct Copies {
    salting: Salting,
    batch: RecordBatch,
    /// None when no row is of a hot key.
    places: Option<Vec<u8>>,
    /// What is next: which row, and which of its copies.
    row: usize,
    copy: usize,
}

impl Copies {
    /// # Errors
    /// Columns of other types than the plan has said.
    pub(super) fn new(salting: &Salting, batch: RecordBatch) -> Result<Copies> {
        let places = {
            let _timer = salting.elapsed.timer();
            salting.places(&batch)?
        };
        Ok(Copies { salting: salting.clone(), batch, places, row: 0, copy: 0 })
    }

    fn some(&mut self) -> Result<RecordBatch> {
        let Some(places) = &self.places else {
            self.row = self.batch.num_rows();
            return self.salting.with(&self.batch, vec![COLD; self.batch.num_rows()]);
        };
        let (mut rows, mut salts) = (Vec::new(), Vec::new());
        while self.row < places.len() && rows.len() < self.salting.batch_rows.max(1) {
            // No batch has more rows than Arrow's own numbers of them.
            rows.push(self.row as u32);
            match usize::from(places[self.row]).checked_sub(1) {
                Some(key) => {
                    let of_key = self.salting.hot.salts(key);
                    salts.push(of_key[self.copy]);
                    self.copy += 1;
                    if self.copy == of_key.len() {
                        (self.row, self.copy) = (self.row + 1, 0);
                    }
                }
                None => {
                    salts.push(COLD);
                    self.row += 1;
                }
            }
        }
        self.salting.with(&take_record_batch(&self.batch, &UInt32Array::from(rows))?, salts)
    }
}

impl Iterator for Copies {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let elapsed = self.salting.elapsed.clone();
        let _timer = elapsed.timer();
        (self.row < self.batch.num_rows()).then(|| self.some())
    }
}
