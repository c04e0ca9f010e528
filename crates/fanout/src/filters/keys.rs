//! Keys of one side of a join, and the filter that they are for the other side.
//!
//! A key is known by its hash: a row of the other side whose hash is among them may have a partner, any other has none. Where there
//! are very many keys, only the least and the greatest are kept.

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
const MOST_KEYS: usize = 128 * 1024;

/// Bits for each hash of a set, by which most others are told apart.
const BITS_PER_HASH: usize = 16;

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

/// A set of hashes, by open addressing: at least every second place is free, and zero means so. Most hashes that are asked for are not in it,
/// and are found out by bits that take an eighth of the room, and stay in the processor's cache.
struct Hashes {
    bits: Vec<u64>,
    /// By what a hash is shifted to be the number of its bit.
    shift: u32,
    places: Vec<u64>,
    zero: bool,
    len: usize,
}

impl Hashes {
    fn new(hashes: &[u64]) -> Hashes {
        let bits = (hashes.len() * BITS_PER_HASH).next_power_of_two().max(64);
        let mut set = Hashes {
            bits: vec![0; bits / 64],
            shift: u64::BITS - bits.ilog2(),
            places: vec![0; (hashes.len() * 2).next_power_of_two()],
            zero: false,
            len: hashes.len(),
        };
        for hash in hashes {
            let (word, bit) = set.bit(*hash);
            set.bits[word] |= bit;
            if *hash == 0 {
                set.zero = true;
                continue;
            }
            let place = set.place(*hash);
            set.places[place] = *hash;
        }
        set
    }

    /// The word with a hash's bit, and the bit.
    fn bit(&self, hash: u64) -> (usize, u64) {
        let number = hash >> self.shift;
        ((number / 64) as usize, 1 << (number % 64))
    }

    /// Where a hash is, or would be.
    fn place(&self, hash: u64) -> usize {
        let last = self.places.len() - 1;
        // The low bits are as good as any.
        let mut place = hash as usize & last;
        while self.places[place] != 0 && self.places[place] != hash {
            place = (place + 1) & last;
        }
        place
    }

    fn contains(&self, hash: u64) -> bool {
        let (word, bit) = self.bit(hash);
        if self.bits[word] & bit == 0 {
            return false;
        }
        if hash == 0 { self.zero } else { self.places[self.place(hash)] == hash }
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
        let among = BooleanBuffer::collect_bool(rows, |row| self.known.contains(hashes[row]));
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
