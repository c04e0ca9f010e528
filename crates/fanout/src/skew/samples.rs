//! How often the values of columns are there, by samples that are kept for other queries.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;
use tokio::time::Instant;
use wharf_lake::SampleOf;

use super::trace::traced;

/// Of how many rows a sample is.
const ROWS: usize = 64 << 10;
/// How many samples are kept.
const SAMPLES: usize = 1024;
/// How many values are kept of each.
const VALUES: usize = 128;
/// Values that are there less often in a sample are there by chance.
const LEAST: u64 = 8;
/// Longer values are not kept.
const VALUE_BYTES: usize = 1024;
/// When a sample is tried again that could not be had in time.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The samples of a node.
#[derive(Default)]
pub(crate) struct Samples(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    samples: HashMap<SampleOf, Sample>,
    /// Counts who asks.
    asked: u64,
}

struct Sample {
    /// When it was last asked for.
    asked: u64,
    known: Known,
}

#[derive(Clone)]
enum Known {
    Frequent(Arc<Frequent>),
    /// It could not be had; tried again after a while.
    NotBefore(Instant),
}

impl fmt::Debug for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Samples").field("kept", &self.0.lock().samples.len()).finish()
    }
}

impl Samples {
    /// The frequent values of a column of a plan; none when it is no table's, or could not be read until then.
    pub(super) async fn of(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        column: usize,
        task: &Arc<TaskContext>,
        deadline: Instant,
    ) -> Option<Arc<Frequent>> {
        let (scan, column) = traced(plan, column)?;
        let sample = wharf_lake::column_sample(scan, column)?;
        match self.kept(sample.of()) {
            Some(Known::Frequent(frequent)) => return Some(frequent),
            Some(Known::NotBefore(then)) if Instant::now() < then => return None,
            Some(Known::NotBefore(_)) | None => {}
        }
        // Another one has taken the time, which says nothing of this one.
        if Instant::now() >= deadline {
            return None;
        }
        let frequent = match tokio::time::timeout_at(deadline, sample.read(ROWS, task)).await {
            Ok(read) => read.and_then(|columns| Frequent::count(&columns)),
            Err(_) => {
                tracing::debug!("a column could not be sampled in time");
                self.keep(sample.of(), Known::NotBefore(Instant::now() + AGAIN_AFTER));
                return None;
            }
        };
        match frequent {
            Ok(frequent) => {
                let frequent = Arc::new(frequent);
                self.keep(sample.of(), Known::Frequent(Arc::clone(&frequent)));
                Some(frequent)
            }
            Err(error) => {
                // The query says so itself, if it comes by there.
                tracing::debug!(%error, "a column could not be sampled");
                self.keep(sample.of(), Known::NotBefore(Instant::now() + AGAIN_AFTER));
                None
            }
        }
    }

    fn kept(&self, of: &SampleOf) -> Option<Known> {
        let mut kept = self.0.lock();
        kept.asked += 1;
        let asked = kept.asked;
        let sample = kept.samples.get_mut(of)?;
        sample.asked = asked;
        Some(sample.known.clone())
    }

    fn keep(&self, of: &SampleOf, known: Known) {
        let mut kept = self.0.lock();
        if kept.samples.len() >= SAMPLES && !kept.samples.contains_key(of) {
            let oldest = kept.samples.iter().min_by_key(|(_, sample)| sample.asked).map(|(of, _)| of.clone());
            if let Some(oldest) = oldest {
                kept.samples.remove(&oldest);
            }
        }
        let asked = kept.asked;
        kept.samples.insert(of.clone(), Sample { asked, known });
    }
}

/// The values of a column that are there often, the most frequent first; NULL is one of them.
pub(super) struct Frequent {
    rows: u64,
    values: Vec<(ScalarValue, u64)>,
}

impl Frequent {
    /// Counts the values of a sample.
    ///
    /// # Errors
    /// Values that have no order.
    fn count(columns: &[ArrayRef]) -> Result<Frequent> {
        let Some(first) = columns.first() else { return Ok(Frequent { rows: 0, values: Vec::new() }) };
        let converter = RowConverter::new(vec![SortField::new(first.data_type().clone())])?;
        // With each value, where it is.
        let mut counts: HashMap<Box<[u8]>, (usize, usize, u64)> = HashMap::new();
        for (index, column) in columns.iter().enumerate() {
            let values = converter.convert_columns(std::slice::from_ref(column))?;
            for (row, value) in values.iter().enumerate() {
                match counts.get_mut(value.data()) {
                    Some((_, _, count)) => *count += 1,
                    None => {
                        counts.insert(Box::from(value.data()), (index, row, 1));
                    }
                }
            }
        }
        let mut often: Vec<_> = counts.into_values().filter(|(_, _, count)| *count >= LEAST).collect();
        // The place makes it the same each time.
        often.sort_unstable_by_key(|(index, row, count)| (std::cmp::Reverse(*count), *index, *row));
        let mut values = Vec::new();
        for (index, row, count) in often.into_iter().take(VALUES) {
            let value = ScalarValue::try_from_array(&columns[index], row)?;
            if value.size() <= VALUE_BYTES {
                values.push((value.compacted(), count));
            }
        }
        let rows = columns.iter().map(|column| column.len() as u64).sum();
        Ok(Frequent { rows, values })
    }

    /// The values that more than such a share of the rows have, and their shares.
    pub(super) fn above(&self, share: f64) -> Vec<(ScalarValue, f64)> {
        let shares = self.values.iter().map(|(value, count)| (value.clone(), self.share_of(*count)));
        shares.take_while(|(_, of_value)| *of_value > share).collect()
    }

    /// The share of a value, 0 if it is not a frequent one.
    pub(super) fn share(&self, value: &ScalarValue) -> f64 {
        let found = self.values.iter().find(|(frequent, _)| frequent == value);
        found.map_or(0.0, |(_, count)| self.share_of(*count))
    }

    fn share_of(&self, count: u64) -> f64 {
        count as f64 / self.rows.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    #[test]
    fn values_are_counted_over_all_pieces() {
        let of = |sevens: usize| {
            let mut values = vec![Some(7); sevens];
            values.extend((0..50).map(|other| Some(100 + other)));
            values.extend(vec![None; 25]);
            Arc::new(Int64Array::from(values)) as ArrayRef
        };
        let frequent = Frequent::count(&[of(20), of(5)]).unwrap();
        assert_eq!(frequent.rows, 175);
        assert_eq!(
            frequent.values,
            [(ScalarValue::Int64(None), 50), (ScalarValue::Int64(Some(7)), 25)],
            "what is there twice is so by chance"
        );
        assert_eq!(frequent.above(0.2), [(ScalarValue::Int64(None), 50.0 / 175.0)]);
        assert!(frequent.share(&ScalarValue::Int64(Some(100))) == 0.0);
        assert!(Frequent::count(&[]).unwrap().above(0.0).is_empty());
    }

    #[test]
    fn long_values_are_not_kept() {
        let long = "x".repeat(2 * VALUE_BYTES);
        let values = vec![long.as_str(); 20].into_iter().chain(vec!["y"; 10]);
        let frequent = Frequent::count(&[Arc::new(StringViewArray::from_iter_values(values)) as ArrayRef]).unwrap();
        assert_eq!(frequent.values, [(ScalarValue::Utf8View(Some("y".to_owned())), 10)]);
    }
}
