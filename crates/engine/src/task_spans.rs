//! The spans of tasks that DataFusion starts: what is logged in such a task goes where it would go in whoever has started it.

use std::any::Any;

use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::{Instrument, Span};

/// What a task gives, whatever it is.
type Output = Box<dyn Any + Send>;

struct SameSpan;

impl JoinSetTracer for SameSpan {
    fn trace_future(&self, task: BoxFuture<'static, Output>) -> BoxFuture<'static, Output> {
        let span = Span::current();
        if span.is_none() { task } else { task.instrument(span).boxed() }
    }

    fn trace_block(&self, block: Box<dyn FnOnce() -> Output + Send>) -> Box<dyn FnOnce() -> Output + Send> {
        let span = Span::current();
        Box::new(move || span.in_scope(block))
    }
}

/// Has all tasks of this process that are started from now on keep the span.
pub(crate) fn keep() {
    // An error is that another engine of the process has done it.
    let _ = set_join_set_tracer(&SameSpan);
}
