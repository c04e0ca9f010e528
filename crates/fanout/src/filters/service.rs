//! How keys get from node to node.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion::common::internal_err;
use datafusion::error::{DataFusionError, Result};
use datafusion_proto::protobuf;
use futures::FutureExt;
use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{Request, Response};
use tonic::server::{NamedService, UnaryService};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use super::exchange::Filters;
use super::keys::Keys;
use crate::cluster::Channel;

/// The one call.
const PATH: &str = "/wharf.fanout.v1.Filters/Tell";
/// More than the keys of a task take.
const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// The keys that one task of a stage has seen.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Told {
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
struct Heard {}

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
    pub(super) async fn send(self, channel: Channel) -> Result<(), tonic::Status> {
        let mut grpc = tonic::client::Grpc::new(channel).max_encoding_message_size(MAX_MESSAGE_BYTES);
        grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<Told, Heard>::default();
        grpc.unary(tonic::Request::new(self), PathAndQuery::from_static(PATH), codec).await.map(|_| ())
    }
}

/// Takes the keys that other nodes tell.
#[derive(Clone, Debug)]
pub(crate) struct FilterService(pub(crate) Arc<Filters>);

impl NamedService for FilterService {
    const NAME: &'static str = "wharf.fanout.v1.Filters";
}

impl Service<Request<Body>> for FilterService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let tell = Tell(Arc::clone(&self.0));
        async move {
            let codec = ProstCodec::<Heard, Told>::default();
            let mut grpc = tonic::server::Grpc::new(codec).max_decoding_message_size(MAX_MESSAGE_BYTES);
            Ok(grpc.unary(tell, request).await)
        }
        .boxed()
    }
}

struct Tell(Arc<Filters>);

impl UnaryService<Told> for Tell {
    type Response = Heard;
    type Future = BoxFuture<'static, Result<tonic::Response<Heard>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<Told>) -> Self::Future {
        let heard = self.0.hear(request.into_inner());
        let answer = heard.map_err(|error| tonic::Status::invalid_argument(error.strip_backtrace()));
        std::future::ready(answer.map(|()| tonic::Response::new(Heard {}))).boxed()
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
