//! What system functions know of the session, handed to them through DataFusion's configuration.

use std::any::Any;
use std::sync::Arc;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::common::{Result, config_err};
use wharf_catalog::State;

use crate::search_path::SearchPath;
use crate::session::Identity;
use crate::settings::Settings;

/// The session as system functions see it.
#[derive(Clone)]
pub(crate) struct SystemContext {
    pub(crate) catalog: Arc<State>,
    pub(crate) identity: Identity,
    pub(crate) search_path: SearchPath,
    pub(crate) settings: Arc<Settings>,
}

impl std::fmt::Debug for SystemContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemContext").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl ConfigExtension for SystemContext {
    const PREFIX: &'static str = "wharf_system";
}

/// The context is set as a whole by the session; it has no single options to set or list.
impl ExtensionOptions for SystemContext {
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
