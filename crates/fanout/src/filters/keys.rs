//! Keys of one side of a join, and the filter that they are for the other side.
//!
//! A key is known by its hash: a row of the other side whose hash is among them may have a partner, any other has none. They are told as
//! they are, and asked for in a [Bloom filter](Hashes), which lets a few others through. Where there are very many keys, only the least and
//! the greatest are kept.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, lit};
use datafusion::physical_expr::{PhysicalExpr, conjunction};
use datafusion_functions_aggregate_common::min_max::{max_batch, min_batch};

/// As many different keys are told one by one.
pub(super) const MOST_KEYS: usize = 128 * 1024;

/// Bits for each hash of a set at least, and up to twice as many: of hashes that are not in it, a few of a hundred are taken for one that is.
/// With more bits it would be fewer, and the set would not stay in the processor's cache.
const BITS_PER_HASH: usize = 8;

/// Of a few keys all bits would be in a word or two, and most others would be taken for one of them.
const FEWEST_WORDS: usize = 64;

/// The same on all nodes; another one than rows are divided by, whose hashes are alike within a partition.
const HASH: RandomState = RandomState::with_seed(0x6b65_7973);

/// Whether keys of a type can be told: those that are equal exactly if their values have the same bits.
pub(super) fn can_be_told(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Date32
                | DataType::Date64
                | DataType::Timestamp(..)
                | DataType::Decimal128(..)
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
        )
}

/// The keys that were seen.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// How many rows had one.
    pub(super) rows: u64,
    /// Of each column of the key, the least and the greatest value.
    pub(super) bounds: Vec<Option<(ScalarValue, ScalarValue)>>,
    /// The hashes of the keys; none when there are too many.
    pub(super) hashes: Option<Vec<u64>>,
}

impl Keys {
    /// None yet, of so many columns.
    pub(super) fn new(columns: usize) -> Keys {
        Keys { rows: 0, bounds: vec![None; columns], hashes: Some(Vec::new()) }
    }

    /// Adds rows, by the columns of their keys. A row with a NULL among them has no partner.
    ///
    /// # Errors
    /// Types that have no order or no hash.
    pub(super) fn add(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let Some(first) = columns.first() else { return internal_err!("a join without keys") };
        let nulls = nulls(columns);
        let valid = first.len() - nulls.as_ref().map_or(0, NullBuffer::null_count);
        if valid == 0 {
            return Ok(());
        }
        self.rows += valid as u64;
        for (bounds, column) in self.bounds.iter_mut().zip(columns) {
            widen(bounds, (min_batch(column)?, max_batch(column)?));
        }
        let Some(known) = &mut self.hashes else { return Ok(()) };
        let mut hashes = vec![0; first.len()];
        create_hashes(columns, &HASH, &mut hashes)?;
        match &nulls {
            None => known.extend(hashes),
            Some(nulls) => {
                known.extend(hashes.into_iter().zip(nulls).filter_map(|(hash, valid)| valid.then_some(hash)))
            }
        }
        self.shrink(2 * MOST_KEYS);
        Ok(())
    }

    /// Adds what others have seen.
    pub(super) fn merge(&mut self, other: Keys) {
        self.rows += other.rows;
        for (bounds, others) in self.bounds.iter_mut().zip(other.bounds) {
            if let Some(others) = others {
                widen(bounds, others);
            }
        }
        match (&mut self.hashes, other.hashes) {
            (Some(known), Some(hashes)) => known.extend(hashes),
            (known, _) => *known = None,
        }
        self.shrink(2 * MOST_KEYS);
    }

    /// To be told: no more than may be.
    pub(super) fn told(mut self) -> Keys {
        self.shrink(MOST_KEYS);
        self
    }

    /// Where there are more than so many: each key once, and none when they are still too many. Keys that come twice do no harm, and to find
    /// them costs more than they do.
    fn shrink(&mut self, many: usize) {
        let Some(known) = self.hashes.as_mut().filter(|known| known.len() > many) else { return };
        known.sort_unstable();
        known.dedup();
        if known.len() > MOST_KEYS {
            self.hashes = None;
        }
    }

    /// What rows of the other side, whose keys these expressions are, have to satisfy.
    pub(super) fn filter(self, keys: &[Arc<dyn PhysicalExpr>]) -> Arc<dyn PhysicalExpr> {
        if self.rows == 0 {
            return lit(false);
        }
        let mut conditions: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        for (key, bounds) in keys.iter().zip(self.bounds) {
            let Some((least, greatest)) = bounds else { continue };
            let mut holds = |operator, bound| {
                conditions.push(Arc::new(BinaryExpr::new(Arc::clone(key), operator, lit(bound))) as _);
            };
            holds(Operator::GtEq, least);
            holds(Operator::LtEq, greatest);
        }
        if let Some(hashes) = self.hashes {
            let known = Arc::new(Hashes::new(&hashes));
            conditions.push(Arc::new(AmongKeys { keys: keys.to_vec(), known }));
        }
        conjunction(conditions)
    }
}

/// In which rows one of the columns is NULL.
fn nulls(columns: &[ArrayRef]) -> Option<NullBuffer> {
    let nulls = columns.iter().map(|column| column.logical_nulls());
    nulls.fold(None, |all, nulls| NullBuffer::union(all.as_ref(), nulls.as_ref()))
}

fn widen(bounds: &mut Option<(ScalarValue, ScalarValue)>, (least, greatest): (ScalarValue, ScalarValue)) {
    if least.is_null() || greatest.is_null() {
        return;
    }
    match bounds {
        None => *bounds = Some((least, greatest)),
        Some((low, high)) => {
            if least < *low {
                *low = least;
            }
            if greatest > *high {
                *high = greatest;
            }
        }
    }
}

/// Hashes that may be asked for, as a Bloom filter whose bits for one hash are in one word: to ask costs one access to memory, and no branch
/// (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom Filters", 2007).
struct Hashes {
    words: Vec<u64>,
    /// By what a hash is shifted to be the number of its word.
    shift: u32,
    len: usize,
}

impl Hashes {
    fn new(hashes: &[u64]) -> Hashes {
        let words = (hashes.len() * BITS_PER_HASH).div_ceil(64).next_power_of_two().max(FEWEST_WORDS);
        let shift = u64::BITS - words.ilog2();
        let mut set = Hashes { words: vec![0; words], shift, len: hashes.len() };
        for hash in hashes {
            set.words[(hash >> shift) as usize] |= Hashes::bits(*hash);
        }
        set
    }

    /// The bits of a hash, by its low end; its word is by the high one.
    #[inline]
    fn bits(hash: u64) -> u64 {
        (1 << (hash & 63)) | (1 << ((hash >> 6) & 63)) | (1 << ((hash >> 12) & 63))
    }

    #[inline]
    fn may_contain(&self, hash: u64) -> bool {
        let bits = Hashes::bits(hash);
        self.words[(hash >> self.shift) as usize] & bits == bits
    }
}

impl fmt::Debug for Hashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.len)
    }
}

/// Whether a row's key is among those that were told.
#[derive(Clone, Debug)]
struct AmongKeys {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    known: Arc<Hashes>,
}

impl PartialEq for AmongKeys {
    fn eq(&self, other: &AmongKeys) -> bool {
        Arc::ptr_eq(&self.known, &other.known) && self.keys == other.keys
    }
}

impl Eq for AmongKeys {}

impl Hash for AmongKeys {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.known).hash(state);
        self.keys.hash(state);
    }
}

impl fmt::Display for AmongKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (index, key) in self.keys.iter().enumerate() {
            write!(f, "{}{key}", if index == 0 { "" } else { ", " })?;
        }
        write!(f, ") IN ({} keys of a join)", self.known.len)
    }
}

impl PhysicalExpr for AmongKeys {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let columns: Vec<ArrayRef> =
            self.keys.iter().map(|key| key.evaluate(batch)?.into_array(rows)).collect::<Result<_>>()?;
        let mut hashes = vec![0; rows];
        create_hashes(&columns, &HASH, &mut hashes)?;
        let among = BooleanBuffer::collect_bool(rows, |row| self.known.may_contain(hashes[row]));
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(among, None))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.keys.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(AmongKeys { keys: children, known: Arc::clone(&self.known) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::Field;
    use datafusion::physical_expr::expressions::Column;

    use super::*;

    fn passing(keys: Keys, columns: Vec<ArrayRef>) -> Vec<bool> {
        let fields =
            columns.iter().zip(["a", "b"]).map(|(column, name)| Field::new(name, column.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let names = schema.fields().iter().enumerate();
        let expressions: Vec<Arc<dyn PhysicalExpr>> =
            names.map(|(index, field)| Arc::new(Column::new(field.name(), index)) as _).collect();
        let filter = keys.filter(&expressions);
        let batch = RecordBatch::try_new(schema, columns).unwrap();
        let passed = filter.evaluate(&batch).unwrap().into_array(batch.num_rows()).unwrap();
        passed.as_boolean().iter().map(|passes| passes == Some(true)).collect()
    }

    fn ints(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
        Arc::new(Int64Array::from_iter(values))
    }

    #[test]
    fn rows_pass_whose_keys_were_seen() {
        let mut keys = Keys::new(1);
        keys.add(&[ints([Some(3), None, Some(9)])]).unwrap();
        let mut others = Keys::new(1);
        others.add(&[ints([Some(12)])]).unwrap();
        keys.merge(others);
        assert_eq!(keys.rows, 3);
        let passed = passing(keys, vec![ints([Some(3), Some(4), None, Some(9), Some(12), Some(13)])]);
        assert_eq!(passed, [true, false, false, true, true, false]);
    }

    #[test]
    fn few_rows_pass_whose_keys_were_not_seen() {
        let mut keys = Keys::new(1);
        keys.add(&[ints((0..100_000).map(|key| Some(key * 2)))]).unwrap();
        let passed = passing(keys, vec![ints((0..199_999).map(Some))]);
        let (seen, others): (Vec<_>, Vec<_>) = passed.into_iter().enumerate().partition(|(key, _)| key % 2 == 0);
        assert!(seen.into_iter().all(|(_, passes)| passes));
        let others = others.into_iter().filter(|(_, passes)| *passes).count();
        assert!((1..6_000).contains(&others), "{others} of 99,999");
    }

    #[test]
    fn a_key_of_two_columns_is_a_pair() {
        let texts = |values: [&str; 3]| Arc::new(StringArray::from_iter_values(values)) as ArrayRef;
        let mut keys = Keys::new(2);
        keys.add(&[ints([Some(1), Some(2), Some(2)]), texts(["x", "y", "z"])]).unwrap();
        let passed = passing(keys, vec![ints([Some(1), Some(1), Some(2)]), texts(["x", "y", "z"])]);
        assert_eq!(passed, [true, false, true]);
    }

    #[test]
    fn nothing_passes_where_nothing_was_seen() {
        assert_eq!(passing(Keys::new(1), vec![ints([Some(1), None])]), [false, false]);
    }

    #[test]
    fn of_very_many_keys_the_bounds_are_left() {
        let most = i64::try_from(MOST_KEYS).unwrap();
        let mut keys = Keys::new(1);
        keys.add(&[ints((0..=2 * most).map(|key| Some(key * 2)))]).unwrap();
        assert!(keys.hashes.is_none());
        let passed = passing(keys, vec![ints([Some(-1), Some(0), Some(1), Some(4 * most), Some(4 * most + 1)])]);
        assert_eq!(passed, [false, true, true, true, false]);
    }
}
