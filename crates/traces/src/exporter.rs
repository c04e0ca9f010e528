//! Sending, and telling the log when that fails, which the SDK does not do without its own events.
//!
//! The SDK calls an exporter from a thread of its own, where there is no runtime, which tonic's time limits want: what sends runs as
//! a task of the node's runtime instead.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;

/// An exporter whose failures are told once, and its recovery too.
pub(crate) struct Telling<E> {
    inner: Arc<E>,
    runtime: Handle,
    endpoint: String,
    fails: AtomicBool,
}

impl<E: SpanExporter> Telling<E> {
    pub(crate) fn new(inner: E, runtime: Handle, endpoint: String) -> Telling<E> {
        Telling { inner: Arc::new(inner), runtime, endpoint, fails: AtomicBool::new(false) }
    }
}

impl<E> fmt::Debug for Telling<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telling").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl<E: SpanExporter + 'static> SpanExporter for Telling<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let inner = Arc::clone(&self.inner);
        let sent = self.runtime.spawn(async move { inner.export(batch).await }).await;
        let result = sent.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
        let failed_before = self.fails.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !failed_before => {
                tracing::warn!(endpoint = self.endpoint, %error, "traces cannot be sent, and are lost until they can");
            }
            Ok(()) if failed_before => tracing::info!(endpoint = self.endpoint, "traces are sent again"),
            _ => {}
        }
        result
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.inner.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Nothing has been sent yet, so nobody else has it.
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.set_resource(resource);
        }
    }
}
