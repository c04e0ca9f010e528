//! Hot keys, and the salts of their rows.
//!
//! What always holds: each key has salts, at least one. Where rows are divided by key and salt among as many partitions as the salts
//! were made for, the salts of a key lead to as many different partitions.

use std::fmt;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, Scalar, UInt32Array};
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{filter, is_not_null, prep_null_mask_filter, take};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use datafusion::common::{DataFusionError, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::metrics::Time;
use datafusion::physical_plan::repartition::BatchPartitioner;
use serde::{Deserialize, Serialize};

/// How many keys of a join are split, at most.
pub(super) const MOST_HOT: usize = 64;
/// Among how many partitions the rows of a key are spread, at most.
const MOST_WAYS: usize = 512;
/// How many salts are tried, times the number of partitions. Fewer than one in a million partitions is left out by then.
const TRIES: usize = 16;

/// Hot keys with the salts of each.
pub(crate) struct Hot {
    keys: ArrayRef,
    /// The keys again, each by itself.
    each: Vec<Scalar<ArrayRef>>,
    salts: Vec<Vec<i32>>,
}

impl fmt::Debug for Hot {
    /// Without the keys, which may be what not everyone may see.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hot").field("keys", &self.len()).field("ways", &self.ways()).finish()
    }
}

/// As it travels.
#[derive(Deserialize, Serialize)]
pub(super) struct WireHot {
    /// A batch of one column.
    keys: String,
    salts: Vec<Vec<i32>>,
}

impl Hot {
    fn new(keys: ArrayRef, salts: Vec<Vec<i32>>) -> Result<Hot> {
        if keys.len() != salts.len() || keys.len() > MOST_HOT || salts.iter().any(Vec::is_empty) {
            return internal_err!("{} hot keys with salts for {}", keys.len(), salts.len());
        }
        let each = (0..keys.len()).map(|index| Scalar::new(keys.slice(index, 1))).collect();
        Ok(Hot { keys, each, salts })
    }

    /// Keys whose rows are to be spread over so many partitions.
    ///
    /// # Errors
    /// No key, or keys of several types.
    pub(super) fn spread(keys: Vec<ScalarValue>, partitions: usize) -> Result<Hot> {
        let keys = ScalarValue::iter_to_array(keys)?;
        let salts =
            (0..keys.len()).map(|index| salts(&keys.slice(index, 1), partitions)).collect::<Result<Vec<_>>>()?;
        Hot::new(keys, salts)
    }

    /// The keys that are values.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn without_null(&self) -> Result<Hot> {
        let values = is_not_null(&self.keys)?;
        let salts = self.salts.iter().zip(values.values().iter()).filter(|(_, is)| *is).map(|(salts, _)| salts.clone());
        Hot::new(filter(&self.keys, &values)?, salts.collect())
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many copies there are of a row, at most.
    pub(super) fn ways(&self) -> usize {
        self.salts.iter().map(Vec::len).max().unwrap_or(1)
    }

    /// Their type.
    pub(super) fn data_type(&self) -> &DataType {
        self.keys.data_type()
    }

    /// The salts of a key, by its place from 0.
    pub(super) fn salts(&self, key: usize) -> &[i32] {
        &self.salts[key]
    }

    /// For each of these values the place of the same key, counted from 1; 0 for those that are not hot. None when no value is.
    ///
    /// # Errors
    /// Values of another type.
    pub(super) fn places(&self, values: &ArrayRef) -> Result<Option<Vec<u8>>> {
        let mut places: Option<Vec<u8>> = None;
        for (place, key) in (1_u8..).zip(&self.each) {
            let mut set = |row: usize| places.get_or_insert_with(|| vec![0; values.len()])[row] = place;
            if self.keys.is_null(usize::from(place) - 1) {
                if let Some(nulls) = values.nulls() {
                    (!nulls.inner()).set_indices().for_each(&mut set);
                }
                continue;
            }
            let same = eq(values, key)?;
            let same = if same.null_count() > 0 { prep_null_mask_filter(&same) } else { same };
            same.values().set_indices().for_each(&mut set);
        }
        Ok(places)
    }

    /// As it travels.
    ///
    /// # Errors
    /// What Arrow cannot write down.
    pub(super) fn to_wire(&self) -> Result<WireHot> {
        let schema = Arc::new(Schema::new(vec![Field::new("key", self.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(&self.keys)])?;
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &schema)?;
        writer.write(&batch)?;
        writer.finish()?;
        drop(writer);
        Ok(WireHot { keys: BASE64.encode(bytes), salts: self.salts.clone() })
    }

    /// What was written so.
    ///
    /// # Errors
    /// What no node of this version has written.
    pub(super) fn from_wire(wire: WireHot) -> Result<Hot> {
        let bytes = BASE64.decode(wire.keys).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
        let Some(batch) = reader.next().transpose()? else { return internal_err!("hot keys without a batch") };
        let [keys] = batch.columns() else { return internal_err!("hot keys of several columns") };
        Hot::new(Arc::clone(keys), wire.salts)
    }
}

/// Salts that lead the rows of a key to as many different partitions, in the order of the partitions. The partitioner itself is asked
/// where they lead.
fn salts(key: &ArrayRef, partitions: usize) -> Result<Vec<i32>> {
    let partitions = partitions.max(1);
    let fields = vec![Field::new("key", key.data_type().clone(), true), Field::new("salt", DataType::Int32, false)];
    let schema = Arc::new(Schema::new(fields));
    let by: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(Column::new("key", 0)), Arc::new(Column::new("salt", 1))];
    let mut partitioner = BatchPartitioner::new_hash_partitioner(by, partitions, Time::new())?;
    let repeated = take(key, &UInt32Array::from(vec![0; partitions]), None)?;
    let mut found: Vec<Option<i32>> = vec![None; partitions];
    for tried in 0..TRIES {
        let from = i32::try_from(tried * partitions).unwrap_or(i32::MAX);
        let salts = Int32Array::from_iter_values((0..partitions).zip(from..).map(|(_, salt)| salt));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(&repeated), Arc::new(salts)])?;
        partitioner.partition(batch, |partition, rows| {
            if let Some(salt) = rows.column(1).as_primitive::<Int32Type>().values().first() {
                found[partition].get_or_insert(*salt);
            }
            Ok(())
        })?;
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    let found = found.into_iter().flatten();
    Ok(found.take(MOST_WAYS).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    fn text(value: &str) -> ScalarValue {
        ScalarValue::Utf8View(Some(value.to_owned()))
    }

    #[test]
    fn keys_are_found_among_values() {
        let hot = Hot::spread(vec![text("a"), ScalarValue::Utf8View(None), text("a longer text than a view has")], 6);
        let hot = hot.unwrap();
        let values: ArrayRef = Arc::new(StringViewArray::from(vec![
            Some("b"),
            Some("a"),
            None,
            Some("a longer text than a view has"),
            Some("a longer text than a view had"),
            Some("a"),
        ]));
        assert_eq!(hot.places(&values).unwrap().unwrap(), [0, 1, 2, 3, 0, 1]);
        assert_eq!(hot.places(&values.slice(0, 1)).unwrap(), None);
        let hot = hot.without_null().unwrap();
        assert_eq!(hot.len(), 2);
        assert_eq!(hot.places(&values).unwrap().unwrap(), [0, 1, 0, 2, 0, 1]);
    }

    #[test]
    fn a_key_has_a_salt_for_each_partition() {
        for partitions in [1, 2, 6, 17, 64] {
            let hot = Hot::spread(vec![ScalarValue::Int64(Some(7)), ScalarValue::Int64(None)], partitions).unwrap();
            assert_eq!(hot.ways(), partitions);
            for key in 0..2 {
                assert_eq!(hot.salts(key).iter().collect::<BTreeSet<_>>().len(), partitions);
            }
        }
    }

    #[test]
    fn what_travels_arrives() {
        let sent = Hot::spread(vec![ScalarValue::Int64(Some(7)), ScalarValue::Int64(None)], 4).unwrap();
        let bytes = serde_json::to_vec(&sent.to_wire().unwrap()).unwrap();
        let arrived = Hot::from_wire(serde_json::from_slice(&bytes).unwrap()).unwrap();
        assert_eq!(arrived.salts, sent.salts);
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), Some(8), None]));
        assert_eq!(arrived.places(&values).unwrap().unwrap(), [1, 0, 2]);
        assert!(!format!("{arrived:?}").contains('7'), "{arrived:?}");
    }
}
