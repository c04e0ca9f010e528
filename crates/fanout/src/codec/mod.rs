//! Plans as bytes.
//!
//! DataFusion writes its own operators and expressions down; here is what it does not know, and what it would lose:
//! - a scan of a table (its field ids, deletes, readers: [`wharf_lake::take_apart`]), what writes a table's files, and our own operators;
//! - the operators of the engine, by what the [`Vocabulary`] says of them;
//! - functions, by what the [`Vocabulary`] says of them;
//! - the SQL types of expressions, which are in the metadata of their fields ([`expressions`]);
//! - the value of an uncorrelated scalar subquery, which was computed before and travels as a constant.
//!
//! `datafusion-distributed` asks a list of codecs, which does not pass expressions and window functions on. So a plan of ours goes
//! through it as an [`Envelope`] whose contents this codec alone reads.

mod envelope;
mod expressions;

use std::sync::Arc;

use datafusion::common::{internal_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, Volatility, WindowUDF};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion_distributed::DistributedCodec;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_proto_converter, physical_plan_to_bytes_with_proto_converter,
};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wharf_lake::{PlaceRuntimeFilters, Warehouse, WriteFilesExec};

use crate::filters::{Awaited, GatherKeysExec, Gathered};
use crate::skew::SaltExec;
use crate::task::TaskExec;
use crate::vocabulary::{Vocabulary, WrittenOperator};
pub(crate) use envelope::Envelope;
use expressions::{Reader, Subqueries, Writer};

/// The codec of a node.
#[derive(Clone)]
pub(crate) struct Codec {
    vocabulary: Arc<dyn Vocabulary>,
    warehouse: Arc<Warehouse>,
    /// Functions that have another value each time are written, too.
    volatile: bool,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec").field("warehouse", &self.warehouse.url()).finish_non_exhaustive()
    }
}

/// How DataFusion shows a scalar subquery that was not computed yet.
const OPEN_SUBQUERY: &str = "scalar_subquery(<pending>)";

/// What the bytes of an operator are.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// One of `datafusion-distributed`.
    Library = 0,
    Envelope = 1,
    Scan = 2,
    Task = 3,
    Keys = 4,
    Salt = 5,
    WriteFiles = 6,
    /// One of the engine.
    Engine = 7,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        let own = [Kind::Envelope, Kind::Scan, Kind::Task, Kind::Keys, Kind::Salt, Kind::WriteFiles];
        let all = own.into_iter().chain([Kind::Library, Kind::Engine]);
        { all }.find(|kind| *kind as u8 == byte)
    }
}

impl Codec {
    pub(crate) fn new(vocabulary: Arc<dyn Vocabulary>, warehouse: Arc<Warehouse>) -> Codec {
        Codec { vocabulary, warehouse, volatile: false }
    }

    /// The same for what one node alone computes, once for each row: where it has that from does not matter then.
    pub(crate) fn with_volatile(&self) -> Codec {
        Codec { volatile: true, ..self.clone() }
    }

    pub(crate) fn vocabulary(&self) -> &Arc<dyn Vocabulary> {
        &self.vocabulary
    }

    /// A plan as bytes.
    ///
    /// # Errors
    /// What cannot travel.
    pub(crate) fn write(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<u8>> {
        let writer = Writer::new(self, Subqueries::Computed);
        Ok(physical_plan_to_bytes_with_proto_converter(plan, self, &writer)?.into())
    }

    /// The plan that was written.
    ///
    /// # Errors
    /// What no node of this version has written.
    pub(crate) fn read(&self, bytes: &[u8], context: &TaskContext) -> Result<Arc<dyn ExecutionPlan>> {
        physical_plan_from_bytes_with_proto_converter(bytes, context, self, &Reader::new(self))
    }

    /// Writes a plan whose subqueries are not computed yet and reads it back.
    ///
    /// # Errors
    /// What cannot travel, or comes back as something else.
    pub(crate) fn try_out(&self, plan: &Arc<dyn ExecutionPlan>, context: &TaskContext) -> Result<()> {
        let writer = Writer::new(self, Subqueries::Open);
        let written = physical_plan_to_bytes_with_proto_converter(Arc::clone(plan), self, &writer);
        let bytes = written.map_err(|error| writer.into_refusal().unwrap_or(error))?;
        same(plan, &self.read(&bytes, context)?)
    }
}

impl Codec {
    /// A plan that is part of what an operator is, and what else there is of it.
    fn write_beside(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        rest: &[u8],
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let plan = physical_plan_to_bytes_with_proto_converter(plan, self, converter)?;
        buf.extend_from_slice(&(plan.len() as u64).to_le_bytes());
        buf.extend_from_slice(&plan);
        buf.extend_from_slice(rest);
        Ok(())
    }

    /// What was written so.
    fn read_beside<'a>(
        &self,
        bytes: &'a [u8],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<(Arc<dyn ExecutionPlan>, &'a [u8])> {
        let Some((length, bytes)) = bytes.split_first_chunk::<8>() else {
            return internal_err!("a plan without a length");
        };
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((plan, rest)) = bytes.split_at_checked(length) else {
            return internal_err!("a plan shorter than it says");
        };
        Ok((physical_plan_from_bytes_with_proto_converter(plan, context, self, converter)?, rest))
    }
}

/// Whether two plans have the same operators with the same columns, and say the same of themselves.
fn same(one: &Arc<dyn ExecutionPlan>, other: &Arc<dyn ExecutionPlan>) -> Result<()> {
    if one.name() != other.name() || one.children().len() != other.children().len() {
        return internal_err!("{} became {}", one.name(), other.name());
    }
    if one.schema() != other.schema() {
        return internal_err!("{} with columns {:?} has {:?} then", one.name(), one.schema(), other.schema());
    }
    let partitions = |plan: &Arc<dyn ExecutionPlan>| plan.properties().partitioning.partition_count();
    if partitions(one) != partitions(other) {
        return internal_err!("{} has another number of partitions then", one.name());
    }
    let text = |plan: &Arc<dyn ExecutionPlan>| {
        without_hints(DisplayableExecutionPlan::new(plan.as_ref()).one_line().to_string())
    };
    let (said, says) = (text(one), text(other));
    // Of an open subquery, NULL is what was written.
    if said != says && !said.contains(OPEN_SUBQUERY) {
        return internal_err!("{} became {}", said.trim_end(), says.trim_end());
    }
    one.children().into_iter().zip(other.children()).try_for_each(|(one, other)| same(one, other))
}

/// What an operator says of itself without the order in which a scan would best come by its files: the sort above it sorts all the same.
fn without_hints(mut text: String) -> String {
    const HINT: &str = ", sort_order_for_reorder=[";
    if let Some(begins) = text.find(HINT)
        && let Some(length) = text[begins..].find(']')
    {
        text.replace_range(begins..=begins + length, "");
    }
    text.replace(", reverse_row_groups=true", "")
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| DataFusionError::External(Box::new(error)))
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| DataFusionError::External(Box::new(error)))
}

impl PhysicalExtensionCodec for Codec {
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if let Some(envelope) = node.downcast_ref::<Envelope>() {
            buf.push(Kind::Envelope as u8);
            buf.extend_from_slice(envelope.contents());
        } else if let Some(task) = node.downcast_ref::<TaskExec>() {
            buf.push(Kind::Task as u8);
            buf.extend_from_slice(&task.stage().to_le_bytes());
            buf.extend(json(task.awaited())?);
        } else if let Some(gather) = node.downcast_ref::<GatherKeysExec>() {
            buf.push(Kind::Keys as u8);
            buf.extend(json(gather.gathered().as_ref())?);
        } else if let Some(salt) = node.downcast_ref::<SaltExec>() {
            buf.push(Kind::Salt as u8);
            buf.extend_from_slice(&salt.to_bytes()?);
        } else if let Some((plain, rest)) = wharf_lake::take_apart(&node, &self.warehouse)? {
            let plain = datafusion::datasource::source::DataSourceExec::from_data_source(plain);
            buf.push(Kind::Scan as u8);
            self.write_beside(plain, &rest, buf, converter)?;
        } else if let Some(write) = node.downcast_ref::<WriteFilesExec>() {
            buf.push(Kind::WriteFiles as u8);
            buf.extend_from_slice(&write.to_bytes()?);
        } else if let Some(WrittenOperator { bytes, expressions }) = self.vocabulary.write_operator(&node)? {
            buf.push(Kind::Engine as u8);
            self.write_beside(expressions, &bytes, buf, converter)?;
        } else if node.is::<LazyMemoryExec>() {
            return plan_err!("rows made up on the way stay where they are");
        } else {
            buf.push(Kind::Library as u8);
            DistributedCodec.try_encode(node, buf, converter)?;
        }
        Ok(())
    }

    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some((kind, bytes)) = buf.split_first() else { return internal_err!("an operator without bytes") };
        match (Kind::of(*kind), inputs) {
            (Some(Kind::Envelope), []) => self.read(bytes, context),
            (Some(Kind::Task), [input]) => {
                let Some((stage, bytes)) = bytes.split_first_chunk::<8>() else {
                    return internal_err!("a task without a stage");
                };
                let awaited: Vec<Awaited> = from_json(bytes)?;
                // All of the task is here: which of its joins make filters for which of its scans is known.
                let options = context.session_config().options();
                let elsewhere = awaited.iter().map(|awaited| awaited.filter).collect();
                let input = PlaceRuntimeFilters::and(elsewhere).optimize(Arc::clone(input), options)?;
                let input = self.vocabulary.finish(input, options)?;
                let vocabulary = Arc::clone(&self.vocabulary);
                Ok(Arc::new(TaskExec::new(input, u64::from_le_bytes(*stage), awaited, vocabulary)))
            }
            (Some(Kind::Keys), [input]) => {
                let gathered: Gathered = from_json(bytes)?;
                let columns = input.schema().fields().len();
                if gathered.keys.iter().any(|key| *key >= columns) {
                    return internal_err!("keys in columns that there are not");
                }
                Ok(Arc::new(GatherKeysExec::new(Arc::clone(input), Arc::new(gathered))))
            }
            (Some(Kind::Salt), [input]) => Ok(Arc::new(SaltExec::from_bytes(bytes, Arc::clone(input))?)),
            (Some(Kind::Scan), []) => {
                let (plain, rest) = self.read_beside(bytes, context, converter)?;
                wharf_lake::put_together(&plain, rest, &self.warehouse, &context.runtime_env())
            }
            (Some(Kind::WriteFiles), [input]) => {
                Ok(Arc::new(WriteFilesExec::from_bytes(bytes, Arc::clone(input), &self.warehouse)?))
            }
            (Some(Kind::Engine), [input]) => {
                let (expressions, rest) = self.read_beside(bytes, context, converter)?;
                let written = WrittenOperator { bytes: rest.to_vec(), expressions };
                self.vocabulary.read_operator(&written, input, context.session_config())
            }
            (Some(Kind::Library), inputs) => DistributedCodec.try_decode(bytes, inputs, context, converter),
            _ => internal_err!("an operator of an unknown kind"),
        }
    }

    fn try_encode_udf(&self, function: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        if !self.volatile && function.signature().volatility == Volatility::Volatile {
            return plan_err!("{} has another value each time", function.name());
        }
        // Never without a byte: that would mean a function that the session of the other node has by its name.
        buf.push(0);
        buf.extend(self.vocabulary.write_scalar(function)?);
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.vocabulary.read_scalar(name, buf.get(1..).unwrap_or_default())
    }

    fn try_encode_udaf(&self, function: &AggregateUDF, buf: &mut Vec<u8>) -> Result<()> {
        if *self.vocabulary.aggregate(function.name())? != *function {
            return plan_err!("{} is not the aggregate of that name", function.name());
        }
        buf.push(0);
        Ok(())
    }

    fn try_decode_udaf(&self, name: &str, _: &[u8]) -> Result<Arc<AggregateUDF>> {
        self.vocabulary.aggregate(name)
    }

    fn try_encode_udwf(&self, function: &WindowUDF, buf: &mut Vec<u8>) -> Result<()> {
        if *self.vocabulary.window(function.name())? != *function {
            return plan_err!("{} is not the window function of that name", function.name());
        }
        buf.push(0);
        Ok(())
    }

    fn try_decode_udwf(&self, name: &str, _: &[u8]) -> Result<Arc<WindowUDF>> {
        self.vocabulary.window(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_a_scan_would_like_is_no_difference() {
        let scan =
            "DataSourceExec: sort_order=x, sort_order_for_reorder=[d@1 ASC, id@0 ASC], reverse_row_groups=true, read=1";
        assert_eq!(without_hints(scan.to_owned()), "DataSourceExec: sort_order=x, read=1");
        assert_eq!(without_hints("FilterExec: a@0 = 1".to_owned()), "FilterExec: a@0 = 1");
    }
}
