//! What system functions know of the session, handed to them through DataFusion's configuration.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::common::{Result, config_err};
use parking_lot::Mutex;
use wharf_catalog::State;
use wharf_consensus::Group;
use wharf_fanout::Fanout;
use wharf_lake::Warehouse;

use super::PreparedInfo;
use crate::files::progress::Progresses;
use crate::queries::Queries;
use crate::search_path::SearchPath;
use crate::session::Identity;
use crate::settings::Settings;

/// A setting that `set_config` gave a value.
#[derive(Clone, Debug)]
pub(crate) struct SettingChange {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Until the transaction's end.
    pub(crate) local: bool,
}

/// The session as system functions see it.
#[derive(Clone)]
pub(crate) struct SystemContext {
    pub(crate) catalog: Arc<State>,
    pub(crate) identity: Identity,
    pub(crate) search_path: SearchPath,
    /// The settings as the statement began, with what it changed itself.
    pub(crate) settings: Arc<Mutex<Settings>>,
    /// What `set_config` asks for, for the session to do.
    pub(crate) changes: Arc<Mutex<Vec<SettingChange>>>,
    /// The session's prepared statements, by name.
    pub(crate) statements: Arc<Mutex<BTreeMap<String, PreparedInfo>>>,
    /// For what it did to its object store.
    pub(crate) warehouse: Arc<Warehouse>,
    /// For what its nodes do.
    pub(crate) group: Arc<Group>,
    /// For who of them takes part in queries.
    pub(crate) fanout: Arc<Fanout>,
    /// How long dropped tables can come back.
    pub(crate) dropped_retention: Duration,
    /// The loads under way.
    pub(crate) progress: Arc<Progresses>,
    /// What runs now.
    pub(crate) queries: Arc<Queries>,
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
