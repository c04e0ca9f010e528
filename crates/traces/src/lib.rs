//! Traces of statements for an OpenTelemetry collector, by OTLP over gRPC.
//!
//! A trace is a statement. Its id is the statement's UUID, which the log and `wharf.queries` show too, and the id of its first span is
//! made of that. So a node that works for a statement of another one knows where its spans belong by the UUID alone, which goes with
//! the work anyway: nothing else has to travel.
//!
//! What always holds:
//! - Nothing waits for the collector. Spans are queued, and left out when the queue is full.
//! - All nodes agree on whether a statement is traced, since its UUID decides that.
//! - A statement that is not traced costs a look at an option.
//!
//! Not here: what is worth a span, and what may be told of it.

mod exporter;
mod sample;
mod span;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanProcessor};
use tokio::runtime::Handle;
use tonic::transport::ClientTlsConfig;
use uuid::Uuid;

use crate::exporter::Telling;
use crate::sample::Sample;

pub use span::Span;

/// How long the spans that wait may take to be sent when the node stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where traces go.
#[derive(Clone, Debug)]
pub struct TracesOptions {
    /// The collector's URL, such as `http://collector:4317`. What it wants besides, such as a key, is in `OTEL_EXPORTER_OTLP_HEADERS`.
    pub endpoint: String,
    /// The part of all statements that is traced, from 0 to 1.
    pub sample_ratio: f64,
    /// Spans have the texts of statements, and whatever values are written in them.
    pub query_text: bool,
    /// How long the collector may take to answer.
    pub timeout: Duration,
    /// What tells this node's spans from others' (`service.instance.id`).
    pub instance: String,
    /// Wharf's version (`service.version`).
    pub version: &'static str,
}

/// A collector that cannot be sent to.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TracesError(String);

/// What takes the spans of a node; by default nothing does.
#[derive(Default)]
pub struct Traces(Option<Sending>);

struct Sending {
    processor: BatchSpanProcessor,
    sample: Sample,
    query_text: bool,
    scope: InstrumentationScope,
}

impl Traces {
    /// Sends spans to a collector, which need not be there yet. To be called within the runtime that is to send them.
    ///
    /// # Errors
    /// An endpoint that is no URL, or headers in the environment that are none.
    pub fn open(options: TracesOptions) -> Result<Traces, TracesError> {
        let refused = |error: &dyn fmt::Display| TracesError(error.to_string());
        let mut exporter =
            SpanExporter::builder().with_tonic().with_endpoint(&options.endpoint).with_timeout(options.timeout);
        if options.endpoint.starts_with("https:") {
            exporter = exporter.with_tls_config(ClientTlsConfig::new().with_native_roots());
        }
        let exporter = exporter.build().map_err(|error| refused(&error))?;
        let resource = Resource::builder()
            .with_service_name("wharf")
            .with_attributes([
                KeyValue::new("service.version", options.version),
                KeyValue::new("service.instance.id", options.instance),
            ])
            .build();
        let exporter = Telling::new(exporter, Handle::current(), options.endpoint);
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(&resource);
        let scope = InstrumentationScope::builder("wharf").with_version(options.version).build();
        let (sample, query_text) = (Sample::new(options.sample_ratio), options.query_text);
        Ok(Traces(Some(Sending { processor, sample, query_text, scope })))
    }

    /// A statement begins: the first span of its trace. None when it is not traced.
    pub fn statement(self: &Arc<Self>, id: Uuid, kind: &'static str) -> Option<Span> {
        self.takes(id).then(|| Span::first(Arc::clone(self), id, kind))
    }

    /// Whether spans may have the texts of statements.
    pub fn query_text(&self) -> bool {
        self.0.as_ref().is_some_and(|sending| sending.query_text)
    }

    /// A part of the work for a statement begins, on whatever node. None when it is not traced, or there is no statement (its id is
    /// zero).
    pub fn part(self: &Arc<Self>, id: Uuid, name: &'static str) -> Option<Span> {
        self.takes(id).then(|| Span::below(Arc::clone(self), id, name))
    }

    fn takes(&self, id: Uuid) -> bool {
        self.0.as_ref().is_some_and(|sending| !id.is_nil() && sending.sample.has(id))
    }

    /// Sends what waits, for a few seconds at most. Blocks.
    pub fn close(&self) {
        if let Some(Sending { processor, .. }) = &self.0
            && let Err(error) = processor.shutdown_with_timeout(CLOSE_TIMEOUT)
        {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Traces" } else { "Traces(off)" })
    }
}
