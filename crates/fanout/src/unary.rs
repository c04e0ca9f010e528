//! Services between nodes that have one call: a question is asked, an answer comes back.
//!
//! The services and clients that tonic generates take a `.proto` file and a build step; this takes the two messages.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{Request, Response};
use tonic::server::{NamedService, UnaryService};
use tonic::{Status, client, server};
use tonic_prost::ProstCodec;

use crate::cluster::Channel;

/// Whoever answers a question of other nodes.
pub(crate) trait Answers: Clone + Send + Sync + 'static {
    type Question: prost::Message + Default + 'static;
    type Answer: prost::Message + Default + 'static;

    /// The service, such as `wharf.fanout.v1.Load`.
    const SERVICE: &'static str;
    /// Its one call, with the service: `/wharf.fanout.v1.Load/Ask`.
    const PATH: &'static str;
    /// No question is longer.
    const MAX_QUESTION_BYTES: usize;

    /// # Errors
    /// What is wrong with the question.
    fn answer(&self, question: Self::Question) -> Result<Self::Answer, Status>;
}

/// Asks the node at the other end of a channel.
///
/// # Errors
/// `Unavailable` where it is not reached, `Unimplemented` where it does not know the question, and its own.
pub(crate) async fn ask<A: Answers>(channel: Channel, question: A::Question) -> Result<A::Answer, Status> {
    let mut grpc = client::Grpc::new(channel).max_encoding_message_size(A::MAX_QUESTION_BYTES);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<A::Question, A::Answer>::default();
    let answer = grpc.unary(tonic::Request::new(question), PathAndQuery::from_static(A::PATH), codec).await?;
    Ok(answer.into_inner())
}

/// The service of whoever answers.
#[derive(Clone, Debug)]
pub(crate) struct Unary<A>(pub(crate) A);

impl<A: Answers> NamedService for Unary<A> {
    const NAME: &'static str = A::SERVICE;
}

impl<A: Answers> Service<Request<Body>> for Unary<A> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = Call(self.0.clone());
        async move {
            let codec = ProstCodec::<A::Answer, A::Question>::default();
            let mut grpc = server::Grpc::new(codec).max_decoding_message_size(A::MAX_QUESTION_BYTES);
            Ok(grpc.unary(call, request).await)
        }
        .boxed()
    }
}

struct Call<A>(A);

impl<A: Answers> UnaryService<A::Question> for Call<A> {
    type Response = A::Answer;
    type Future = BoxFuture<'static, Result<tonic::Response<A::Answer>, Status>>;

    fn call(&mut self, request: tonic::Request<A::Question>) -> Self::Future {
        std::future::ready(self.0.answer(request.into_inner()).map(tonic::Response::new)).boxed()
    }
}
