//! How keys get from node to node.

use std::sync::Arc;

use datafusion::common::internal_err;
use datafusion::error::{DataFusionError, Result};
use datafusion_proto::protobuf;
use tonic::Status;
use uuid::Uuid;

use super::exchange::Filters;
use super::keys::Keys;
use crate::cluster::Channel;
use crate::unary::{self, Answers};

/// The keys that one task of a stage has seen.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Told {
    #[prost(bytes = "vec", tag = "1")]
    exchange: Vec<u8>,
    #[prost(fixed64, tag = "2")]
    pub(super) filter: u64,
    #[prost(uint32, tag = "3")]
    pub(super) task: u32,
    #[prost(uint32, tag = "4")]
    pub(super) tasks: u32,
    #[prost(uint64, tag = "5")]
    rows: u64,
    /// Of each column two, or none at all where one is unknown.
    #[prost(message, repeated, tag = "6")]
    bounds: Vec<protobuf::ScalarValue>,
    #[prost(uint32, tag = "7")]
    columns: u32,
    #[prost(bool, tag = "8")]
    too_many: bool,
    #[prost(fixed64, repeated, tag = "9")]
    hashes: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Heard {}

impl Told {
    /// What task `task` of `tasks` has seen, written down.
    ///
    /// # Errors
    /// Values that cannot be.
    pub(super) fn new(exchange: Uuid, filter: u64, task: usize, tasks: usize, keys: &Keys) -> Result<Told> {
        let mut bounds = Vec::new();
        for of_column in &keys.bounds {
            let Some((least, greatest)) = of_column else {
                bounds.clear();
                break;
            };
            for value in [least, greatest] {
                bounds.push(value.try_into().map_err(|error| DataFusionError::External(Box::new(error)))?);
            }
        }
        Ok(Told {
            exchange: exchange.as_bytes().to_vec(),
            filter,
            task: task as u32,
            tasks: tasks as u32,
            rows: keys.rows,
            bounds,
            columns: keys.bounds.len() as u32,
            too_many: keys.hashes.is_none(),
            hashes: keys.hashes.clone().unwrap_or_default(),
        })
    }

    pub(super) fn exchange(&self) -> Result<Uuid> {
        Uuid::from_slice(&self.exchange).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    pub(super) fn into_keys(self) -> Result<Keys> {
        let columns = self.columns as usize;
        let mut keys = Keys::new(columns.min(64));
        keys.rows = self.rows;
        keys.hashes = (!self.too_many).then_some(self.hashes);
        if !self.bounds.is_empty() {
            if self.bounds.len() != columns * 2 {
                return internal_err!("keys of {columns} columns with {} bounds", self.bounds.len());
            }
            let value = |written: &protobuf::ScalarValue| {
                written.try_into().map_err(|error| DataFusionError::External(Box::new(error)))
            };
            for (bounds, written) in keys.bounds.iter_mut().zip(self.bounds.chunks_exact(2)) {
                *bounds = Some((value(&written[0])?, value(&written[1])?));
            }
        }
        Ok(keys)
    }

    /// Tells it to a node.
    pub(super) async fn send(self, channel: Channel) -> std::result::Result<(), Status> {
        unary::ask::<Arc<Filters>>(channel, self).await.map(|_| ())
    }
}

/// Takes the keys that other nodes tell.
impl Answers for Arc<Filters> {
    type Question = Told;
    type Answer = Heard;

    const SERVICE: &'static str = "wharf.fanout.v1.Filters";
    const PATH: &'static str = "/wharf.fanout.v1.Filters/Tell";
    /// More than the keys of a task take.
    const MAX_QUESTION_BYTES: usize = 8 << 20;

    fn answer(&self, told: Told) -> std::result::Result<Heard, Status> {
        self.hear(told).map_err(|error| Status::invalid_argument(error.strip_backtrace()))?;
        Ok(Heard {})
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn keys_arrive_as_they_left() {
        let mut keys = Keys::new(1);
        keys.add(&[Arc::new(Int64Array::from(vec![5, -7])) as ArrayRef]).unwrap();
        let id = Uuid::from_u128(3);
        let told = Told::new(id, 11, 1, 3, &keys).unwrap();
        assert_eq!((told.exchange().unwrap(), told.filter, told.task, told.tasks), (id, 11, 1, 3));
        let arrived = told.into_keys().unwrap();
        assert_eq!((arrived.rows, &arrived.bounds, &arrived.hashes), (2, &keys.bounds, &keys.hashes));
    }
}
