//! What functions know of the session, handed to them through DataFusion's configuration.
//!
//! What always holds: a function reads the session's formats, time zone and times from here alone, so that its result is
//! the same on every node that was given the same configuration. Without this extension (a configuration somebody else
//! made) PostgreSQL's defaults apply, with the time zone of DataFusion's `execution.time_zone`.

use std::any::Any;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::{Result, config_err};
use wharf_values::{TextFormat, TimeZone};

/// The session as functions see it. The session puts it into DataFusion's configuration before it plans a statement:
/// `config.options_mut().extensions.insert(FunctionContext { .. })`.
#[derive(Clone, Debug, Default)]
pub(crate) struct FunctionContext {
    /// `DateStyle`, `TimeZone` and their kin; its `now` is the start of the transaction, what `now()` returns.
    pub(crate) text: TextFormat,
    /// The start of the statement, in microseconds since 1970: what `statement_timestamp()` returns.
    pub(crate) statement_start_us: Option<i64>,
}

impl FunctionContext {
    /// The context of a configuration.
    pub(crate) fn of(config: &ConfigOptions) -> FunctionContext {
        if let Some(context) = config.extensions.get::<FunctionContext>() {
            return context.clone();
        }
        let mut context = FunctionContext::default();
        if let Some(zone) = config.execution.time_zone.as_deref().and_then(TimeZone::parse) {
            context.text.time_zone = zone;
        }
        context
    }
}

impl ConfigExtension for FunctionContext {
    const PREFIX: &'static str = "wharf_session";
}

/// The context is set as a whole by the session; it has no single options to set or list.
impl ExtensionOptions for FunctionContext {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        config_err!("the session's settings cannot be changed here: \"{key}\"")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
