//! `[traces]`: where traces of statements go.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wharf_traces::TracesOptions;

use super::{at_least, at_most};
use crate::failure::Failure;

/// `[traces]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TracesConfig {
    pub(crate) endpoint: String,
    pub(crate) sample_per_mille: u64,
    pub(crate) query_text: bool,
    pub(crate) timeout_ms: u64,
}

impl Default for TracesConfig {
    fn default() -> Self {
        TracesConfig { endpoint: String::new(), sample_per_mille: 1_000, query_text: false, timeout_ms: 10_000 }
    }
}

impl TracesConfig {
    /// What is to be sent by a node that others know by its address; none when nothing is.
    pub(crate) fn options(&self, instance: String) -> Option<TracesOptions> {
        (!self.endpoint.is_empty()).then(|| TracesOptions {
            endpoint: self.endpoint.clone(),
            sample_ratio: self.sample_per_mille as f64 / 1_000.0,
            query_text: self.query_text,
            timeout: Duration::from_millis(self.timeout_ms),
            instance,
            version: env!("CARGO_PKG_VERSION"),
        })
    }

    /// # Errors
    /// What breaks a rule.
    pub(super) fn validate(&self) -> Result<(), Failure> {
        let known = ["http://", "https://"].iter().any(|scheme| self.endpoint.starts_with(scheme));
        if !self.endpoint.is_empty() && !known {
            return Err(Failure::new(
                format!("traces.endpoint = \"{}\" is not the URL of a collector", self.endpoint),
                "write the URL at which it takes OTLP over gRPC, such as http://127.0.0.1:4317",
            ));
        }
        at_most("traces.sample_per_mille", self.sample_per_mille, 1_000)?;
        at_least("traces.timeout_ms", self.timeout_ms, 1)
    }
}
