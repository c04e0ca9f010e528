//! What all sessions share: the catalog's group, the warehouse, DataFusion's functions and memory.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::prelude::SessionConfig;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;
use wharf_catalog::{Answer, Command, Envelope, State};
use wharf_consensus::{ConsensusError, Group};
use wharf_fanout::{Fanout, FanoutOptions};
use wharf_lake::Warehouse;
use wharf_traces::Traces;
use wharf_values::{SqlError, SqlState};

use crate::distribute::EngineVocabulary;
use crate::error::{from_catalog, from_consensus, from_datafusion};
use crate::external_turns::ExternalTurns;
use crate::files::progress::Progresses;
use crate::helpers::Helping;
use crate::maintenance::Instants;
use crate::metrics::Statistics;
use crate::operators::OperatorPlanner;
use crate::places::Places;
use crate::queries::{Peers, Queries, Question, Report, Request};
use crate::session::{KeptPlans, Queues, Session, Startup};
use crate::task_spans;
use crate::unique_names::UniqueNamesPlanner;

/// The limits of the engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Memory for what queries keep (hash tables, sorts), in bytes; past it they spill or fail with `53200`.
    pub memory_limit_bytes: usize,
    /// Where queries spill to.
    pub spill_directory: PathBuf,
    /// How much may be spilled at once, in bytes.
    pub spill_limit_bytes: u64,
    /// Into how many partitions a query is divided; 0 is one for each core.
    pub target_partitions: usize,
    /// Rows in a batch.
    pub batch_rows: usize,
    /// How often a write that lost a race against another is tried again.
    pub commit_attempts: usize,
    /// How many statements a session keeps the plans of.
    pub plan_cache_entries: usize,
    /// How many statements that work on tables run at a time, further ones wait; 0: as many as there are.
    pub max_running_statements: usize,
    /// How many may wait; one more fails with `53300`.
    pub max_queued_statements: usize,
    /// How long a dropped table can come back; zero: not at all.
    pub dropped_retention: Duration,
    /// What the locations of files that statements name begin with, separated by commas; `*` is everything.
    pub allowed_locations: String,
    /// The limits of queries on several nodes.
    pub fanout: FanoutOptions,
    /// What takes the spans of statements.
    pub traces: Arc<Traces>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            memory_limit_bytes: 4 << 30,
            spill_directory: std::env::temp_dir(),
            spill_limit_bytes: 50 << 30,
            target_partitions: 0,
            batch_rows: 8192,
            commit_attempts: 100,
            plan_cache_entries: 256,
            max_running_statements: 0,
            max_queued_statements: 1000,
            dropped_retention: Duration::from_secs(7 * 24 * 60 * 60),
            allowed_locations: "*".to_owned(),
            fanout: FanoutOptions::default(),
            traces: Arc::default(),
        }
    }
}

/// How long a login waits for the catalog of now: longer than an election takes, as a rule. A client with a password waits so
/// long twice.
const LOGIN_READ_TIMEOUT: Duration = Duration::from_secs(3);

/// The engine of one node. Cheap to share; sessions hold it.
pub struct Engine {
    pub(crate) group: Arc<Group>,
    pub(crate) warehouse: Arc<Warehouse>,
    pub(crate) options: EngineOptions,
    /// The loads under way.
    pub(crate) progress: Arc<Progresses>,
    /// Functions, planners and memory, copied into every session with its own settings.
    pub(crate) base: SessionState,
    /// What open statements and transactions look at.
    pub(crate) instants: Instants,
    /// What sessions keep of statements they have run.
    pub(crate) kept_plans: KeptPlans,
    /// What is appended to tables at the same time.
    pub(crate) appends: Queues,
    /// What is done for the statements of other nodes.
    pub(crate) helping: Helping,
    /// When writers elsewhere have their turn.
    pub(crate) external_turns: ExternalTurns,
    /// What is counted.
    pub(crate) statistics: Arc<Statistics>,
    /// Where statements wait for their turn; none when all of them run.
    pub(crate) places: Option<Arc<Places>>,
    /// Queries on several nodes.
    pub(crate) fanout: Arc<Fanout>,
    /// What runs now.
    pub(crate) queries: Arc<Queries>,
    next_process: AtomicU32,
    /// By table, the turn of those who write to it again.
    turns: Mutex<HashMap<Uuid, Weak<tokio::sync::Mutex<()>>>>,
}

impl Engine {
    /// Builds the engine over a catalog and a warehouse.
    ///
    /// # Errors
    /// What DataFusion says of the spill directory.
    pub async fn open(
        group: Arc<Group>,
        warehouse: Arc<Warehouse>,
        options: EngineOptions,
    ) -> Result<Arc<Engine>, SqlError> {
        task_spans::keep();
        let runtime = runtime(&warehouse, &options)?;
        let base = base_state(Arc::clone(&runtime), &options);
        let fanout = Fanout::new(
            Arc::new(EngineVocabulary::new(base.clone())),
            Arc::clone(&warehouse),
            runtime,
            base.config_options().as_ref().clone(),
            options.fanout.clone(),
            Arc::clone(&options.traces),
        );
        let statistics = Arc::default();
        let places = Places::new(options.max_running_statements, options.max_queued_statements, &statistics);
        Ok(Arc::new(Engine {
            group,
            warehouse,
            options,
            base,
            instants: Instants::default(),
            kept_plans: KeptPlans::default(),
            appends: Queues::default(),
            helping: Helping::default(),
            external_turns: ExternalTurns::default(),
            fanout,
            progress: Arc::default(),
            statistics,
            places,
            queries: Arc::default(),
            next_process: AtomicU32::new(1),
            turns: Mutex::default(),
        }))
    }

    /// What is kept of a role's password, in PostgreSQL's form; none when the role does not exist or has none.
    ///
    /// # Errors
    /// As [`Engine::open_session`] for a catalog that has stopped.
    pub async fn scram_verifier(&self, role: &str) -> Result<Option<String>, SqlError> {
        let state = self.catalog_at_login().await?;
        Ok(state.role_by_name(role).and_then(|role| role.password.clone()))
    }

    /// Opens a session for a client that has proven who it is.
    ///
    /// # Errors
    /// `28000` for an unknown role, `3D000` for an unknown database, what a setting can be refused with, and what has stopped the
    /// catalog of this node.
    pub async fn open_session(self: &Arc<Self>, startup: Startup) -> Result<Session, SqlError> {
        let state = self.catalog_at_login().await?;
        let role = state
            .role_by_name(&startup.user)
            .ok_or_else(|| {
                SqlError::new(
                    SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                    format!("role \"{}\" does not exist", startup.user),
                )
            })?
            .clone();
        if !role.login {
            return Err(SqlError::new(
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                format!("role \"{}\" is not permitted to log in", startup.user),
            ));
        }
        let database = state
            .database_by_name(&startup.database)
            .ok_or_else(|| {
                SqlError::new(
                    SqlState::INVALID_CATALOG_NAME,
                    format!("database \"{}\" does not exist", startup.database),
                )
            })?
            .oid;
        let process = match startup.process {
            0 => self.next_process.fetch_add(1, Ordering::Relaxed),
            process => process.unsigned_abs(),
        };
        Session::new(Arc::clone(self), &role, database, process, startup)
    }

    /// The catalog for somebody who logs in: that of now, so that every node knows a new role and none takes a former password. Where
    /// that cannot be found out it is the one that this node has: a node that is cut off can be looked at.
    ///
    /// # Errors
    /// What has stopped the catalog of this node.
    async fn catalog_at_login(&self) -> Result<Arc<State>, SqlError> {
        let error = match tokio::time::timeout(LOGIN_READ_TIMEOUT, self.group.read()).await {
            Ok(Ok(state)) => return Ok(state),
            Ok(Err(
                error @ (ConsensusError::ReadTimeout { .. }
                | ConsensusError::NoLeader { .. }
                | ConsensusError::NotLeader),
            )) => error,
            Ok(Err(error)) => return Err(from_consensus(&error)),
            Err(_) => ConsensusError::ReadTimeout { after: LOGIN_READ_TIMEOUT },
        };
        tracing::info!(%error, "a client that logs in is judged by the catalog that this node has");
        Ok(self.group.local())
    }

    /// Queries on several nodes: what has to be told which nodes there are, and what works for the others.
    pub fn fanout(&self) -> &Arc<Fanout> {
        &self.fanout
    }

    /// From now on the other nodes of the cluster can be asked what they run.
    pub fn join_peers(&self, peers: Arc<dyn Peers>) {
        self.queries.join(peers);
    }

    /// Answers another node that asks; see [`Peers`]. What is done for it ends when this is dropped.
    pub async fn answer(&self, question: Question, request: &[u8]) -> Bytes {
        match question {
            Question::Report => self.report(request).await,
            Question::RewriteFiles => self.rewrite_files(request).await,
            Question::LoadFiles => self.load_files(request).await,
        }
    }

    /// What this node runs, or reads of a table.
    async fn report(&self, request: &[u8]) -> Bytes {
        let report = match Request::of(request).reading {
            // Who cannot say it for sure does not say it.
            Some(table) => Report { reading: self.states_read(table).await.ok(), ..Report::default() },
            None => self.queries.report(&self.fanout),
        };
        // What is in it has no key that could not be written.
        serde_json::to_vec(&report).map(Bytes::from).unwrap_or_default()
    }

    /// Where the tables are.
    pub fn warehouse(&self) -> &Arc<Warehouse> {
        &self.warehouse
    }

    /// Proposes a command and waits for its answer.
    ///
    /// # Errors
    /// What the catalog refuses, in PostgreSQL's words, and what keeps its group from answering.
    pub async fn propose(&self, command: Command) -> Result<Answer, SqlError> {
        self.try_propose(command).await?.map_err(|error| from_catalog(&error))
    }

    /// Proposes a command and waits for its answer; the catalog's refusal is apart, for callers that act on it.
    pub(crate) async fn try_propose(
        &self,
        command: Command,
    ) -> Result<Result<Answer, wharf_catalog::CatalogError>, SqlError> {
        let envelope = Envelope { request_id: uuid::Uuid::new_v4(), now_ms: now_us() / 1000, command };
        self.group.propose(envelope).await.map_err(|error| from_consensus(&error))
    }

    /// Waits for the turn to write to a table, of those who have lost a race for it or are bound to: one at a time tries, so
    /// that they do not take the race from one another.
    pub(crate) async fn turn(&self, table: Uuid) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock();
            turns.retain(|_, turn| turn.strong_count() > 0);
            let turn = turns.get(&table).and_then(Weak::upgrade).unwrap_or_default();
            turns.insert(table, Arc::downgrade(&turn));
            turn
        };
        turn.lock_owned().await
    }

    /// The catalog as of now, linearizable.
    ///
    /// # Errors
    /// What keeps the catalog's group from answering.
    pub async fn catalog(&self) -> Result<Arc<State>, SqlError> {
        self.group.read().await.map_err(|error| from_consensus(&error))
    }

    /// The same for somebody who looks at tables as they are there: while it is held, the files of these states stay.
    ///
    /// # Errors
    /// As [`Engine::catalog`].
    pub(crate) async fn instant(&self) -> Result<Arc<State>, SqlError> {
        Ok(self.noted(self.catalog().await?))
    }

    /// The same as far as this node has applied it: no other node is asked, so it may be older than what others have answered.
    ///
    /// # Errors
    /// `XX001` on a node whose state is known to be another than that of the leader.
    pub(crate) fn local_instant(&self) -> Result<Arc<State>, SqlError> {
        match self.group.failure() {
            Some(error @ ConsensusError::Diverged { .. }) => Err(from_consensus(&error)),
            _ => Ok(self.noted(self.group.local())),
        }
    }

    /// Notes an instant of this node, or a newer one.
    fn noted(&self, mut instant: Arc<State>) -> Arc<State> {
        loop {
            self.instants.note(&instant);
            // Who asked which instants there are may have come between: it was read and not yet noted. He asks after this node has
            // applied what gave files up, so then there is a newer one now; where there is none, he has not asked yet.
            let latest = self.group.local();
            if Arc::ptr_eq(&latest, &instant) {
                return instant;
            }
            instant = latest;
        }
    }
}

/// The wall clock, in microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

fn runtime(warehouse: &Warehouse, options: &EngineOptions) -> Result<Arc<RuntimeEnv>, SqlError> {
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![options.spill_directory.clone()]))
        .with_max_temp_directory_size(options.spill_limit_bytes);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_limit_bytes)))
        .with_disk_manager_builder(disk)
        .with_metadata_cache_limit(METADATA_CACHE_BYTES)
        .build_arc()
        .map_err(from_datafusion)?;
    let (url, store) = warehouse.object_store();
    runtime.register_object_store(url.as_ref(), store);
    Ok(runtime)
}

/// Parsed Parquet footers kept in memory.
const METADATA_CACHE_BYTES: usize = 256 << 20;

/// How large the smaller side of a join may be, times the number of partitions, to be built as one table that all partitions
/// share. One task builds it, which is slow where many could; but the larger side need not be divided, its rows are
/// not copied, and its scan sees the keys of the whole table.
const SINGLE_BUILD_BYTES: usize = 128 << 20;
/// The same where only the number of rows is known.
const SINGLE_BUILD_ROWS: usize = 4 << 20;

pub(crate) fn base_state(runtime: Arc<RuntimeEnv>, options: &EngineOptions) -> SessionState {
    let mut config = SessionConfig::new().with_information_schema(false).with_batch_size(options.batch_rows);
    if options.target_partitions > 0 {
        config = config.with_target_partitions(options.target_partitions);
    }
    let settings = config.options_mut();
    settings.sql_parser.parse_float_as_decimal = true;
    settings.sql_parser.map_string_types_to_utf8view = true;
    settings.sql_parser.default_null_ordering = "nulls_max".to_owned();
    // DataFusion 55 filters by the bound of `min(a)` even where another aggregate, such as `max(-b)`, needs the other rows.
    settings.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    let partitions = config.target_partitions().max(1);
    let settings = config.options_mut();
    settings.optimizer.hash_join_single_partition_threshold = SINGLE_BUILD_BYTES / partitions;
    settings.optimizer.hash_join_single_partition_threshold_rows = SINGLE_BUILD_ROWS / partitions;
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(OperatorPlanner)];
    planners.extend(SessionStateDefaults::default_expr_planners());
    let builder = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_expr_planners(planners)
        .with_query_planner(Arc::new(UniqueNamesPlanner));
    let mut state = crate::optimize::with_rules(builder).build();
    register_functions(&mut state);
    state
}

/// PostgreSQL's functions take the place of DataFusion's of the same name.
fn register_functions(state: &mut SessionState) {
    use datafusion::execution::FunctionRegistry;
    for function in crate::functions::scalar_functions().into_iter().chain(crate::pg_catalog::functions()) {
        // Registering over an existing name gives the old function back, which is what is wanted gone.
        let _replaced = state.register_udf(function);
    }
    for function in crate::aggregates::aggregate_functions() {
        let _replaced = state.register_udaf(Arc::new(function));
    }
    for (name, function) in crate::functions::table_functions() {
        state.register_udtf(&name, function);
    }
}
