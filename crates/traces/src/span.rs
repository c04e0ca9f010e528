//! A span: it begins when it is made, and ends and is sent when it is dropped.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks, SpanProcessor};
use uuid::Uuid;

use crate::Traces;

/// Some time that a statement, or a part of the work for it, takes. It ends when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Span {
    traces: Arc<Traces>,
    statement: Uuid,
    id: SpanId,
    /// None for the statement itself.
    parent: Option<SpanId>,
    name: &'static str,
    started_at: SystemTime,
    /// The wall clock may be set meanwhile.
    started: Instant,
    attributes: Vec<KeyValue>,
    status: Status,
}

impl Span {
    pub(crate) fn first(traces: Arc<Traces>, statement: Uuid, name: &'static str) -> Span {
        Span::new(traces, statement, first_id(statement), None, name)
    }

    pub(crate) fn below(traces: Arc<Traces>, statement: Uuid, name: &'static str) -> Span {
        Span::new(traces, statement, SpanId::from(fastrand::u64(1..)), Some(first_id(statement)), name)
    }

    fn new(traces: Arc<Traces>, statement: Uuid, id: SpanId, parent: Option<SpanId>, name: &'static str) -> Span {
        let (started_at, started) = (SystemTime::now(), Instant::now());
        let (attributes, status) = (Vec::new(), Status::Unset);
        Span { traces, statement, id, parent, name, started_at, started, attributes, status }
    }

    /// Something that is known of it, by a name of OpenTelemetry's conventions or, for what those lack, `wharf.*`.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push(KeyValue::new(name, value));
    }

    /// It fails.
    pub fn fail(&mut self, why: impl Into<String>) {
        self.status = Status::error(why.into());
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(sending) = &self.traces.0 else { return };
        let trace = TraceId::from_bytes(self.statement.into_bytes());
        sending.processor.on_end(SpanData {
            span_context: SpanContext::new(trace, self.id, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: self.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: false,
            span_kind: if self.parent.is_none() { SpanKind::Server } else { SpanKind::Internal },
            name: self.name.into(),
            start_time: self.started_at,
            end_time: self.started_at + self.started.elapsed(),
            attributes: std::mem::take(&mut self.attributes),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: std::mem::take(&mut self.status),
            instrumentation_scope: sending.scope.clone(),
        });
    }
}

/// The id of the first span of a statement's trace: the half of its UUID that has what was counted and what is random.
fn first_id(statement: Uuid) -> SpanId {
    let (_, low) = statement.as_u64_pair();
    SpanId::from(low)
}
