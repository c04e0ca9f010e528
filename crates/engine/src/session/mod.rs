//! A client's session: its settings, its transaction, its prepared statements.
//!
//! What always holds: one statement runs at a time; a failed statement leaves the session usable; inside a block every
//! statement reads the same instant of the catalog plus the block's own writes.

mod canceller;
mod consistency;
mod constant_row;
mod cursor;
mod dispatch;
mod kept_plans;
mod observe;
mod plan_cache;
mod prepare;
mod query_id;
mod queue;
mod result;
mod set;
mod stream;
mod transaction;
mod write_branch;

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::session_state::SessionState;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharf_catalog::{Answer, Command, Effect, Role, SqlType, State};
use wharf_fanout::{Distribute, QueryTag};
use wharf_lake::SpreadScans;
use wharf_lake::commit::{Step, Uncommitted};
use wharf_traces::Span;
use wharf_values::{SqlError, SqlState, TextFormat};

use crate::bind::BindContext;
use crate::engine::{Engine, now_us};
use crate::error::from_catalog;
use crate::files::progress::{Listed, Work};
use crate::functions::FunctionContext;
use crate::pg_catalog::{PreparedInfo, SettingChange, SystemContext};
use crate::places::Place;
use crate::queries::Connected;
use crate::search_path::SearchPath;
use crate::settings::Settings;
use crate::statement::{self, Statement};
use crate::table_reader::TableReader;

pub use canceller::Canceller;
pub use prepare::Prepared;
pub use result::{CopyOut, Notice, Outcome, ResultColumn, TransactionStatus};
pub use stream::RowStream;

pub(crate) use dispatch::{text_columns, text_rows};
pub(crate) use kept_plans::KeptPlans;
pub(crate) use observe::Observed;
pub(crate) use prepare::{has_placeholders, task_context, with_object_names, with_values};
pub(crate) use result::columns_of;
pub(crate) use stream::Limits;
pub(crate) use transaction::{Queues, Reads, Transaction, append, conflict, same_shape};
pub(crate) use write_branch::Branch;

use plan_cache::PlanCache;

/// Who wants a session, and how.
#[derive(Clone, Debug, Default)]
pub struct Startup {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// The settings the client asks for, in order.
    pub parameters: Vec<(String, String)>,
    /// The client's address.
    pub peer: String,
    /// What `pg_backend_pid()` shows; 0 to choose one.
    pub process: i32,
}

/// Who the session is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) role: String,
    pub(crate) role_oid: u32,
    pub(crate) superuser: bool,
    pub(crate) database: u32,
    pub(crate) process: u32,
}

/// One client's session.
pub struct Session {
    pub(crate) engine: Arc<Engine>,
    pub(crate) identity: Identity,
    pub(crate) settings: Settings,
    /// The settings at BEGIN, which ROLLBACK brings back.
    settings_at_begin: Option<Settings>,
    /// What SET LOCAL replaced, which the end of the block brings back.
    local_settings: Vec<(String, String)>,
    last_reported: HashMap<&'static str, String>,
    /// The state of the settings that was reported last.
    last_reported_version: Option<u64>,
    pub(crate) transaction: Option<Transaction>,
    statements: HashMap<String, Option<Arc<Prepared>>>,
    /// The same for `pg_prepared_statements`.
    statement_list: Arc<Mutex<BTreeMap<String, PreparedInfo>>>,
    /// What `set_config` asked for since the session looked last.
    setting_changes: Arc<Mutex<Vec<SettingChange>>>,
    plans: PlanCache,
    /// DataFusion's session of what was bound last, for the execution that follows at once.
    bound: Option<Arc<SessionState>>,
    cursors: cursor::Cursors,
    notices: Vec<Notice>,
    canceller: Arc<Canceller>,
    /// The COPY whose data come now.
    pub(crate) copying: Option<Observed>,
    /// The session on the list of what runs.
    connected: Connected,
    /// The id of the statement that runs, or ran last.
    statement_id: Uuid,
    /// The place of the statement that runs now, until it answers.
    place: Option<Arc<Place>>,
    /// How long that has waited for it, which counts for `statement_timeout`.
    waited: Duration,
    /// The catalog whose tables the plan of this statement is of, held until it has its scans: until then nothing else keeps the files
    /// of the tables from being removed.
    looks_at: Option<Arc<State>>,
    /// The statement that is bound, or runs, writes nothing.
    only_reads: bool,
    /// The session has written, and has not seen since that this node has applied it.
    has_written: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.engine.statistics.sessions.dec();
    }
}

/// The setting by which a client says what it is.
const APPLICATION_NAME: &str = "application_name";
/// The most prepared statements a session may keep.
const MAX_STATEMENTS: usize = 10_000;
/// The most notices kept for one statement.
const MAX_NOTICES: usize = 1_000;

impl Session {
    pub(crate) fn new(
        engine: Arc<Engine>,
        role: &Role,
        database: u32,
        process: u32,
        startup: Startup,
    ) -> Result<Self, SqlError> {
        let mut settings = Settings::new(&role.name, role.superuser);
        for (name, value) in &startup.parameters {
            settings.set(name, value)?;
        }
        settings.keep_as_initial();
        let plans = PlanCache::new(engine.options.plan_cache_entries);
        tracing::debug!(role = role.name, peer = startup.peer, process, "session opened");
        engine.statistics.sessions.inc();
        let application = settings.get(APPLICATION_NAME).unwrap_or_default();
        let canceller = Arc::new(Canceller::default());
        let connected = engine.queries.connect(process, role.oid, database, &startup.peer, application, &canceller);
        Ok(Session {
            engine,
            identity: Identity {
                role: role.name.clone(),
                role_oid: role.oid,
                superuser: role.superuser,
                database,
                process,
            },
            settings,
            settings_at_begin: None,
            local_settings: Vec::new(),
            last_reported: HashMap::new(),
            last_reported_version: None,
            transaction: None,
            statements: HashMap::new(),
            statement_list: Arc::default(),
            setting_changes: Arc::default(),
            plans,
            bound: None,
            cursors: cursor::Cursors::new(),
            notices: Vec::new(),
            canceller,
            copying: None,
            connected,
            statement_id: Uuid::nil(),
            place: None,
            waited: Duration::ZERO,
            looks_at: None,
            only_reads: false,
            has_written: false,
        })
    }

    /// Parses a text into its statements, in order; none when there is nothing but blanks and comments.
    ///
    /// # Errors
    /// `42601`.
    pub fn split(&self, sql: &str) -> Result<Vec<Statement>, SqlError> {
        // A text with a plan was one statement when it was parsed, and still is.
        match self.plans.get(sql) {
            Some(known) => Ok(vec![known.statement.clone()]),
            None => statement::split(sql).inspect_err(|error| observe::unreadable(&self.engine.statistics, error)),
        }
    }

    /// Runs a statement without parameters.
    ///
    /// # Errors
    /// Whatever the statement raises.
    pub async fn run(&mut self, statement: &Statement) -> Result<Outcome, SqlError> {
        let mut observed = self.observe(statement);
        let result = observed.follow(pin!(self.run_unobserved(statement))).await;
        self.answered(observed, result)
    }

    async fn run_unobserved(&mut self, statement: &Statement) -> Result<Outcome, SqlError> {
        // What an earlier statement left: its clock is not this one's.
        self.bound = None;
        let without = || {
            let error = SqlError::new(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1");
            crate::syntax::locate(error, &statement.ast, &statement.text)
        };
        let prepared = self.prepare_unobserved(statement, &[]).await.map_err(|error| match error.code {
            SqlState::INDETERMINATE_DATATYPE if error.message.contains("of parameter $") => without(),
            _ => error,
        })?;
        if !prepared.parameters().is_empty() {
            return Err(without());
        }
        self.execute_bound(&prepared, Vec::new()).await
    }

    /// A statement begins.
    fn observe(&mut self, statement: &Statement) -> Observed {
        (self.copying, self.looks_at) = (None, None);
        (self.place, self.waited) = (None, Duration::ZERO);
        let observed = Observed::begin(&self.engine, statement, self.connected.client());
        self.statement_id = observed.id();
        observed
    }

    /// What a statement comes to.
    fn answered(&mut self, observed: Observed, result: Result<Outcome, SqlError>) -> Result<Outcome, SqlError> {
        // What it reads has its tables now.
        self.looks_at = None;
        let (result, copying) = observed.answered(result, self.place.take());
        self.copying = copying;
        self.connected.stands(self.transaction_status());
        result
    }

    /// Remembers a statement under a name; `None` is a text without a statement in it.
    pub fn store_statement(&mut self, name: &str, prepared: Option<Arc<Prepared>>) {
        if self.statements.len() < MAX_STATEMENTS || name.is_empty() {
            if let Some(prepared) = prepared.as_ref().filter(|_| !name.is_empty()) {
                let info = PreparedInfo {
                    statement: prepared.statement.text.to_string(),
                    prepared_us: now_us(),
                    parameters: prepared.parameters().iter().map(SqlType::oid).collect(),
                    from_sql: prepared.statement.from_sql,
                };
                self.statement_list.lock().insert(name.to_owned(), info);
            }
            self.statements.insert(name.to_owned(), prepared);
        }
    }

    /// The statement of a name.
    pub fn statement(&self, name: &str) -> Option<Option<Arc<Prepared>>> {
        self.statements.get(name).cloned()
    }

    /// Forgets the statement of a name.
    pub fn forget_statement(&mut self, name: &str) {
        self.statements.remove(name);
        self.statement_list.lock().remove(name);
    }

    /// Forgets all statements that have a name.
    pub(crate) fn forget_statements(&mut self) {
        self.statements.clear();
        self.statement_list.lock().clear();
    }

    /// Does what `set_config` asked for.
    pub(crate) fn apply_setting_changes(&mut self) {
        let changes = std::mem::take(&mut *self.setting_changes.lock());
        for change in changes {
            // The function has checked name and value.
            if !change.local || self.remember_local(&change.name, true).is_ok() {
                let _ = self.settings.set(&change.name, &change.value);
            }
        }
    }

    /// How many statements have names.
    pub fn statement_count(&self) -> usize {
        self.statements.len()
    }

    /// Where the session stands.
    pub fn transaction_status(&self) -> TransactionStatus {
        match &self.transaction {
            Some(transaction) if transaction.explicit && transaction.failed => TransactionStatus::Failed,
            Some(transaction) if transaction.explicit => TransactionStatus::Active,
            _ => TransactionStatus::Idle,
        }
    }

    /// An error was reported: an open block has failed.
    pub fn fail(&mut self) {
        self.copying = None;
        self.setting_changes.lock().clear();
        if let Some(transaction) = &mut self.transaction {
            transaction.failed = true;
        }
        self.connected.stands(self.transaction_status());
    }

    /// Several statements follow that count together or not at all.
    pub fn begin_implicit(&mut self) {
        if self.transaction.is_none() {
            self.transaction = Some(self.new_transaction(false));
        }
    }

    /// The end of statements that count together; an explicit block stays open.
    ///
    /// # Errors
    /// What the commit raises; nothing of it counts then.
    pub async fn end_implicit(&mut self, commit: bool) -> Result<(), SqlError> {
        match self.transaction.take() {
            Some(transaction) if transaction.explicit => {
                self.transaction = Some(transaction);
                Ok(())
            }
            Some(transaction) if commit && !transaction.failed => {
                let writes = !transaction.is_empty();
                let _span = writes.then(|| self.span("commit")).flatten();
                // Boxed, since this is asked after every statement and most have nothing to commit.
                let result = Box::pin(transaction.commit(&self.engine)).await;
                self.has_written |= writes && consistency::may_have_written(&result);
                self.end_cursors(result.is_ok());
                result
            }
            Some(_) => {
                self.end_cursors(false);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The settings clients are told about that have changed since the last call; all of them the first time.
    pub fn settings_to_report(&mut self) -> Vec<(&'static str, String)> {
        self.apply_setting_changes();
        let mut changed = Vec::new();
        // Asked after every statement, and most change no setting.
        if self.last_reported_version.replace(self.settings.version) == Some(self.settings.version) {
            return changed;
        }
        for (name, value) in self.settings.reported() {
            if self.last_reported.get(name) != Some(&value) {
                changed.push((name, value));
            }
        }
        for (name, value) in &changed {
            if *name == APPLICATION_NAME {
                self.connected.rename(value);
            }
            self.last_reported.insert(name, value.clone());
        }
        changed
    }

    /// The notices raised since the last call.
    pub fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub(crate) fn notice(&mut self, severity: &'static str, error: SqlError) {
        if self.notices.len() < MAX_NOTICES {
            self.notices.push(Notice { severity, error });
        }
    }

    /// How values are written as text.
    pub fn text_format(&self) -> TextFormat {
        self.settings.format.clone()
    }

    /// The token of the statement that runs now.
    pub fn cancel_token(&self) -> CancellationToken {
        self.canceller.current()
    }

    /// What stops whatever the session runs, and does nothing when it is idle.
    pub fn canceller(&self) -> Arc<Canceller> {
        Arc::clone(&self.canceller)
    }

    /// A part of the work for the statement that runs now begins; it ends when what is returned is dropped.
    pub(crate) fn span(&self, name: &'static str) -> Option<Span> {
        self.engine.options.traces.part(self.statement_id, name)
    }

    /// What tells other nodes whose work they do.
    pub(crate) fn query_tag(&self) -> QueryTag {
        self.connected.tag(self.statement_id)
    }

    pub(crate) fn limits(&self) -> Limits {
        let timeout = self.settings.statement_timeout();
        Limits::new(self.canceller.current(), timeout.map(|timeout| timeout.saturating_sub(self.waited)))
    }

    /// The catalog as this statement sees it.
    pub(crate) async fn catalog(&mut self) -> Result<Arc<State>, SqlError> {
        if let Some(catalog) = self.transaction.as_ref().and_then(Transaction::catalog) {
            return Ok(Arc::clone(catalog));
        }
        let catalog = self.instant().await?;
        if let Some(transaction) = &mut self.transaction {
            transaction.begin_at(Arc::clone(&catalog));
        }
        Ok(catalog)
    }

    /// The catalog whose tables the statement's plan is of.
    ///
    /// # Errors
    /// As [`Session::catalog`], when there is none yet.
    pub(crate) async fn catalog_of_plan(&mut self) -> Result<Arc<State>, SqlError> {
        match &self.looks_at {
            Some(catalog) if self.transaction.is_none() => Ok(Arc::clone(catalog)),
            _ => self.catalog().await,
        }
    }

    /// Does a step to a table whose head is at the location: at once outside of a transaction, else with it.
    ///
    /// # Errors
    /// `40001` when another transaction was faster, and what the lake says.
    pub(crate) async fn step(&mut self, table: Uuid, location: &str, step: Step) -> Result<(), SqlError> {
        let engine = Arc::clone(&self.engine);
        match &mut self.transaction {
            Some(transaction) => transaction.step(&engine, table, location, step).await,
            None => {
                let mut transaction = Transaction::new(false);
                transaction.step(&engine, table, location, step).await?;
                let _span = self.span("commit");
                transaction.commit(&engine).await
            }
        }
    }

    /// Has a command applied, and with it a step of a table's metadata: at once outside of a transaction, else with it.
    /// `written` are files it leads to, which go when it comes to nothing.
    ///
    /// # Errors
    /// What the catalog answers.
    pub(crate) async fn define(
        &mut self,
        command: Command,
        step: Option<(Uuid, Step)>,
        mut written: Uncommitted,
    ) -> Result<Answer, SqlError> {
        let engine = Arc::clone(&self.engine);
        match (&mut self.transaction, step) {
            (Some(transaction), step) => transaction.define(&engine, command, step, written).await,
            (None, Some(step)) => {
                let mut transaction = Transaction::new(false);
                let answer = transaction.define(&engine, command, Some(step), written).await?;
                transaction.commit(&engine).await?;
                Ok(answer)
            }
            (None, None) => {
                written.set_in_doubt(true);
                let answer = engine.try_propose(command).await?;
                written.set_in_doubt(answer.as_ref().is_ok_and(|answer| answer.effect != Effect::Nothing));
                answer.map_err(|error| from_catalog(&error))
            }
        }
    }

    pub(crate) fn search_path(&self) -> SearchPath {
        let value = self.settings.get("search_path").unwrap_or_default();
        SearchPath::parse(&value, &self.identity.role)
    }

    /// Lists what this session begins to do in `wharf.progress`, until the value is dropped.
    pub(crate) fn begin_work(&self, command: &'static str, table: &str) -> Listed {
        let Identity { process, database, .. } = self.identity;
        self.engine.progress.begin(Work { process: Some(process), database, command, table: table.to_owned() })
    }

    /// How this statement reads tables.
    pub(crate) fn reader(&self) -> TableReader {
        TableReader { warehouse: Arc::clone(&self.engine.warehouse), engine: Arc::clone(&self.engine) }
    }

    /// DataFusion's session for one statement.
    pub(crate) fn session_state(&self, catalog: &Arc<State>) -> Arc<SessionState> {
        let mut state = self.engine.base.clone();
        let statement_start_us = now_us();
        let start_us = self.transaction.as_ref().map_or(statement_start_us, |transaction| transaction.start_us);
        let mut text = self.settings.format.clone();
        text.now = Some(start_us);
        let options = state.config_mut().options_mut();
        options.execution.time_zone = Some(text.time_zone.to_string());
        options.extensions.insert(FunctionContext { text, statement_start_us: Some(statement_start_us) });
        options.extensions.insert(SystemContext {
            catalog: Arc::clone(catalog),
            identity: self.identity.clone(),
            search_path: self.search_path(),
            settings: Arc::new(Mutex::new(self.settings.clone())),
            changes: Arc::clone(&self.setting_changes),
            statements: Arc::clone(&self.statement_list),
            warehouse: Arc::clone(&self.engine.warehouse),
            group: Arc::clone(&self.engine.group),
            fanout: Arc::clone(&self.engine.fanout),
            dropped_retention: self.engine.options.dropped_retention,
            progress: Arc::clone(&self.engine.progress),
            queries: Arc::clone(&self.engine.queries),
        });
        if self.engine.fanout.nodes() > 1 && crate::distribute::distribute(&self.settings) == Distribute::On {
            state.config_mut().set_extension(Arc::new(SpreadScans));
        }
        if let Some(reads) = self.transaction.as_ref().and_then(Transaction::reads) {
            state.config_mut().set_extension(Arc::clone(reads));
        }
        // Functions get the options that are in force now, not those the engine was built with.
        state.mark_start_execution();
        Arc::new(state)
    }

    /// DataFusion's session for the execution of a plan: the one it was bound in, when that was just now.
    pub(crate) fn execution_state(&mut self, catalog: &Arc<State>) -> Arc<SessionState> {
        self.bound.take().unwrap_or_else(|| self.session_state(catalog))
    }

    /// The surroundings of one statement for the binder.
    pub(crate) fn bind_context(&self, catalog: Arc<State>) -> BindContext {
        let session = self.session_state(&catalog);
        let mut format = self.settings.format.clone();
        format.now = Some(self.transaction.as_ref().map_or_else(now_us, |transaction| transaction.start_us));
        BindContext {
            catalog,
            database: self.identity.database,
            search_path: self.search_path(),
            format,
            session,
            locals: HashMap::new(),
            parameters: Default::default(),
            values: None,
            unstable: Default::default(),
        }
    }

    /// Refuses a write where it cannot be.
    pub(crate) fn require_write(&self, what: &str) -> Result<(), SqlError> {
        let read_only = match &self.transaction {
            Some(transaction) if transaction.explicit => transaction.read_only,
            _ => self.settings.is_on("default_transaction_read_only"),
        };
        if read_only {
            return Err(SqlError::new(
                SqlState::READ_ONLY_SQL_TRANSACTION,
                format!("cannot execute {what} in a read-only transaction"),
            ));
        }
        Ok(())
    }
}
