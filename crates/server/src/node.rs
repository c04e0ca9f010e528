//! A node: the layers, wired. The only place that knows them all.
//!
//! Always holds:
//! - The order of a start: the data folder and its lock, the addresses, TLS, the catalog, the first database and role
//!   when there are none, the warehouse, the engine, the ports. What fails leaves nothing running.
//! - The ports answer only when everything below is up; until then the kernel keeps clients waiting.
//! - The order of a stop is the reverse, and the folder's lock goes last.
//!
//! It decides nothing about SQL, storage or the protocol: it translates configuration into each layer's options.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::OptionFuture;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharf_catalog::{CatalogError, Command, Envelope, State};
use wharf_consensus::{ConsensusError, Group, GroupOptions, MemberStatus, Role};
use wharf_engine::{BackupOptions, Engine, EngineOptions, FanoutOptions, MaintenanceOptions, Session, Startup};
use wharf_lake::{CacheOptions, StoreOptions, VendingOptions, Warehouse, WarehouseOptions};
use wharf_pgwire_server::{Keepalive, Options, Tls};
use wharf_traces::Traces;

use crate::config::{Authentication, Config, MaintenanceConfig, PostgresConfig, is_loopback};
use crate::data_directory::DataDirectory;
use crate::failure::Failure;
use crate::peers::Peers;
use crate::{machine, password};

/// The database that the first start creates.
pub(crate) const DATABASE: &str = "wharf";

/// The superuser that the first start creates.
pub(crate) const SUPERUSER: &str = "wharf";

/// How long another node may take to be the leader in the place of one that stops.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before a catalog that did not answer is asked again.
const READ_PAUSE: Duration = Duration::from_millis(250);

/// How often it is looked whether the catalog has failed.
const FAILURE_PAUSE: Duration = Duration::from_millis(250);

/// A running node.
pub(crate) struct Node {
    address: SocketAddr,
    generated_password: Option<String>,
    group: Arc<Group>,
    engine: Arc<Engine>,
    shutdown: CancellationToken,
    front_end: JoinHandle<std::io::Result<()>>,
    http: Option<Http>,
    maintenance: Option<JoinHandle<()>>,
    backups: Option<JoinHandle<()>>,
    peers: Option<Peers>,
    traces: Arc<Traces>,
    /// Held to the end: dropping it lets another process in.
    data: DataDirectory,
}

/// The HTTP port.
struct Http {
    address: SocketAddr,
    encrypted: bool,
    front_end: JoinHandle<std::io::Result<()>>,
}

/// The runtime that everything runs on.
///
/// # Errors
/// When the operating system gives no threads.
pub(crate) fn runtime(config: &Config) -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads(config))
        .thread_name("wharf")
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::from_error("cannot start threads", &error, "raise the limit of threads or lower server.threads")
        })
}

fn threads(config: &Config) -> usize {
    match config.server.threads {
        0 => machine::cores(),
        threads => threads,
    }
}

impl Node {
    /// Starts everything.
    ///
    /// # Errors
    /// The first layer that does not come up, with what to do about it.
    pub(crate) async fn start(config: &Config) -> Result<Node, Failure> {
        let data = DataDirectory::open(&config.server.data_directory)?;
        let (listener, address) = listen(config.postgres.listen_address()?, "--listen").await?;
        let options = front_end_options(config, address, &data)?;
        let peers = match config.peers.listen_address()? {
            Some(wanted) => Some(listen(wanted, "peers.listen").await?),
            None => None,
        };
        let mut http = match config.http_address()? {
            Some(wanted) => {
                Some((listen(wanted, "http.listen").await?, http_options(config)?, catalog_options(config, &data)?))
            }
            None => None,
        };

        let mut peers = peers.map(|(listener, bound)| Peers::open(listener, bound, config)).transpose()?;
        let group = open_catalog(config, &data, peers.as_ref()).await?;
        if let Some(peers) = &peers {
            peers.serve_group(&group);
        }
        let generated_password = bootstrap(&group, Duration::from_millis(config.catalog.startup_timeout_ms)).await?;
        let warehouse = open_warehouse(config, &data).await?;
        let instance = peers.as_ref().map_or_else(|| address.to_string(), |peers| peers.address().to_owned());
        let traces = Arc::new(open_traces(config, instance)?);
        let engine_options =
            EngineOptions { traces: Arc::clone(&traces), ..engine_options(config, data.empty_spill()?) };
        let engine = Engine::open(Arc::clone(&group), warehouse, engine_options)
            .await
            .map_err(|error| Failure::from_error("cannot start the engine", &error, "see the log above"))?;

        if let Some(peers) = &mut peers {
            peers.serve_fanout(engine.fanout(), &group)?;
            peers.serve_backups(&engine);
            peers.serve_engine(&engine);
            if let Some((_, _, catalog)) = &mut http {
                peers.share_tokens(catalog, &group);
            }
        }
        let cancels = peers.as_ref().map(|peers| peers.share_cancels(&group)).unwrap_or_default();
        warn_of_trust(config, address);
        let shutdown = CancellationToken::new();
        let front_end = tokio::spawn({
            let (engine, shutdown) = (Arc::clone(&engine), shutdown.clone());
            async move { wharf_pgwire_server::serve(listener, engine, options, cancels, shutdown).await }
        });
        let http = http.map(|((listener, address), options, catalog)| {
            let encrypted = options.tls.is_some();
            let (engine, shutdown) = (Arc::clone(&engine), shutdown.clone());
            let serve = async move { wharf_http_server::serve(listener, engine, catalog, options, shutdown).await };
            Http { address, encrypted, front_end: tokio::spawn(serve) }
        });
        let maintenance = maintenance_options(&config.maintenance)
            .map(|options| tokio::spawn(Arc::clone(&engine).maintain(options, shutdown.clone())));
        let backups = config.backup.enabled.then(|| {
            let interval = Duration::from_millis(config.backup.interval_ms);
            let options = BackupOptions { interval, keep: config.backup.keep };
            tokio::spawn(Arc::clone(&engine).keep_backups(options, shutdown.clone()))
        });
        tracing::info!(%address, data = %data.root().display(), "ready");
        Ok(Node {
            address,
            generated_password,
            group,
            engine,
            shutdown,
            front_end,
            http,
            maintenance,
            backups,
            peers,
            traces,
            data,
        })
    }

    /// Where clients connect; the port is the real one when 0 was configured.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients of the Iceberg REST catalog connect, if they may.
    pub(crate) fn iceberg_url(&self) -> Option<String> {
        let http = self.http.as_ref()?;
        let scheme = if http.encrypted { "https" } else { "http" };
        Some(format!("{scheme}://{}/iceberg", http.address))
    }

    /// Where the other nodes of the cluster reach this one, if they do.
    pub(crate) fn peer_address(&self) -> Option<&str> {
        self.peers.as_ref().map(Peers::address)
    }

    /// The superuser's password, if this start made one up.
    pub(crate) fn generated_password(&self) -> Option<&str> {
        self.generated_password.as_deref()
    }

    /// The catalog as this node knows it now.
    pub(crate) fn catalog(&self) -> Arc<State> {
        self.group.local()
    }

    /// A session of the superuser without a socket.
    ///
    /// # Errors
    /// What the engine refuses a client for.
    pub(crate) async fn open_session(&self) -> Result<Session, Failure> {
        let startup = Startup {
            user: SUPERUSER.to_owned(),
            database: DATABASE.to_owned(),
            parameters: Vec::new(),
            peer: "internal".to_owned(),
            process: 0,
        };
        let session = self.engine.open_session(startup).await;
        session.map_err(|error| Failure::from_error("cannot open a session", &error, "see the log above"))
    }

    /// Returns when this node of a cluster can take no part in it any more, since its disk has failed it or is full. The others go on,
    /// and a process that is started again can; one that stays would turn away all who ask it. (A node that is alone has nobody
    /// who goes on: it serves reads.)
    pub(crate) async fn failed(&self) -> Failure {
        loop {
            tokio::time::sleep(FAILURE_PAUSE).await;
            if self.peers.is_some()
                && let Some(error @ (ConsensusError::DiskFull { .. } | ConsensusError::Io { .. })) =
                    self.group.failure()
            {
                return consensus_failure("the catalog has stopped", &error);
            }
        }
    }

    /// Lets running statements end, as long as the configuration allows, and stops.
    ///
    /// # Errors
    /// A catalog that could not be closed; what was acknowledged is on disk all the same.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        let Node { group, shutdown, front_end, http, maintenance, backups, peers, traces, data, .. } = self;
        shutdown.cancel();
        if let Some(peers) = &peers {
            peers.stop_fanout();
        }
        // Both drain at the same time.
        for front_end in [Some(front_end), http.map(|http| http.front_end)].into_iter().flatten() {
            match front_end.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "the front end ended with an error"),
                Err(error) => tracing::error!(%error, "the front end ended abnormally"),
            }
        }
        if let Some(Err(error)) = OptionFuture::from(maintenance).await {
            tracing::error!(%error, "maintenance ended abnormally");
        }
        if let Some(Err(error)) = OptionFuture::from(backups).await {
            tracing::error!(%error, "backups ended abnormally");
        }
        if peers.is_some() {
            hand_over(&group).await;
        }
        let closed = group.shutdown().await;
        if let Some(peers) = peers {
            peers.close().await;
        }
        if let Err(error) = tokio::task::spawn_blocking(move || traces.close()).await {
            tracing::error!(%error, "traces ended abnormally");
        }
        drop(data);
        tracing::info!("stopped");
        closed.map_err(|error| consensus_failure("cannot close the catalog", &error))
    }
}

/// None when nothing is looked after.
fn maintenance_options(config: &MaintenanceConfig) -> Option<MaintenanceOptions> {
    config.enabled.then(|| MaintenanceOptions {
        interval: Duration::from_millis(config.interval_ms),
        quiet: Duration::from_millis(config.quiet_ms),
        min_input_files: config.min_input_files,
        orphan_interval: Duration::from_millis(config.orphan_interval_ms),
        orphan_age: Duration::from_millis(config.orphan_age_ms),
    })
}

/// Takes an address, which `setting` has named.
async fn listen(wanted: SocketAddr, setting: &str) -> Result<(TcpListener, SocketAddr), Failure> {
    let refuse = |error: std::io::Error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::AddrInUse => "stop what listens there, or choose another port with",
            _ => "choose an address of this machine and a port this user may use with",
        };
        Failure::from_error(format_args!("cannot listen on {wanted}"), &error, &format!("{remedy} {setting}"))
    };
    let listener = TcpListener::bind(wanted).await.map_err(refuse)?;
    let address = listener.local_addr().map_err(refuse)?;
    Ok((listener, address))
}

async fn open_catalog(config: &Config, data: &DataDirectory, peers: Option<&Peers>) -> Result<Arc<Group>, Failure> {
    let catalog = &config.catalog;
    let options = GroupOptions {
        snapshot_every: catalog.snapshot_every_entries,
        max_waiting_commands: catalog.max_waiting_commands,
        max_command_bytes: catalog.max_command_bytes,
        propose_timeout: Duration::from_millis(catalog.propose_timeout_ms),
        read_timeout: Duration::from_millis(catalog.read_timeout_ms),
        startup_timeout: Duration::from_millis(catalog.startup_timeout_ms),
        min_free_bytes: catalog.min_free_bytes,
        max_voters: catalog.max_voters,
        replace_after: Duration::from_millis(catalog.replace_voter_after_ms),
        address: peers.map_or_else(String::new, |peers| peers.address().to_owned()),
        ..GroupOptions::new(data.catalog())
    };
    let opened = match peers {
        None => Group::open(options).await,
        Some(peers) => match peers.contact(&config.peers.contacts()).await {
            Some(contact) => Group::join(options, peers.transport(), &contact).await,
            None => Group::open_with(options, peers.transport()).await,
        },
    };
    opened.map_err(|error| consensus_failure("cannot open the catalog", &error))
}

/// Lets another voter lead, so that the others need not find out by themselves that this node has gone.
async fn hand_over(group: &Group) {
    let status = group.status();
    let follows = |member: &&MemberStatus| member.node != status.node && member.role == Role::Voter;
    let successor = status.members.iter().filter(follows).min_by_key(|member| (member.lag, member.last_contact));
    let Some(successor) = successor.filter(|_| status.leads) else { return };
    match tokio::time::timeout(HAND_OVER_TIMEOUT, group.transfer_leader(successor.node)).await {
        Ok(Ok(())) => tracing::info!(node = successor.node, "handed the lead over"),
        Ok(Err(error)) => tracing::warn!(%error, "the others have to elect a leader themselves"),
        Err(_) => tracing::warn!("the others have to elect a leader themselves: handing the lead over took too long"),
    }
}

/// The catalog's errors know what to do about them.
pub(crate) fn consensus_failure(what: &str, error: &ConsensusError) -> Failure {
    let hint = error.hint();
    Failure::from_error(what, error, hint.as_deref().unwrap_or("start again; the log above may say more"))
}

/// The catalog when it answers: a member of a cluster waits for others, which may be starting too.
async fn first_read(group: &Group, timeout: Duration) -> Result<Arc<State>, Failure> {
    let (deadline, mut said) = (Instant::now() + timeout, false);
    loop {
        let error = match group.read().await {
            Ok(state) => return Ok(state),
            Err(error) => error,
        };
        // Others can come; a node that is out, or has failed, does not come back by waiting.
        let hopeless = group.failure().is_some() || matches!(error, ConsensusError::Removed { .. });
        if hopeless || Instant::now() >= deadline {
            return Err(consensus_failure("the catalog does not answer", &error));
        }
        if !std::mem::replace(&mut said, true) {
            tracing::info!(%error, "waiting for the other nodes of the cluster");
        }
        tokio::time::sleep(READ_PAUSE).await;
    }
}

/// Creates the first database and superuser in an empty catalog. Returns the password if one was made up.
async fn bootstrap(group: &Group, timeout: Duration) -> Result<Option<String>, Failure> {
    let refuse = |error: ConsensusError| consensus_failure("cannot create the first database", &error);
    if first_read(group, timeout).await?.is_bootstrapped() {
        return Ok(None);
    }
    let (command, generated) = bootstrap_command()?;
    let envelope = Envelope { request_id: Uuid::new_v4(), now_ms: now_ms(), command };
    match group.propose(envelope).await.map_err(refuse)? {
        Ok(_) => Ok(generated),
        // Another start came first and was told its password.
        Err(CatalogError::AlreadyBootstrapped) => Ok(None),
        Err(error) => Err(Failure::from_error("cannot create the first database", &error, "report this")),
    }
}

/// The first command of a catalog, and the superuser's password if none was given.
///
/// # Errors
/// When the operating system has no randomness to give.
pub(crate) fn bootstrap_command() -> Result<(Command, Option<String>), Failure> {
    let given = std::env::var(password::VARIABLE).ok().filter(|given| !given.is_empty());
    let generated = if given.is_some() { None } else { Some(password::generate()?) };
    let password = given.as_ref().or(generated.as_ref()).expect("one of the two is there");
    let (database, superuser) = (DATABASE.to_owned(), SUPERUSER.to_owned());
    let command = Command::Bootstrap { database, superuser, verifier: Some(password::verifier(password)?) };
    Ok((command, generated))
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

async fn open_warehouse(config: &Config, data: &DataDirectory) -> Result<Arc<Warehouse>, Failure> {
    let url = config.warehouse_url(data.root())?;
    let options = WarehouseOptions {
        store: store_options(config),
        cache: CacheOptions {
            memory_bytes: config.cache.memory_bytes,
            disk_bytes: config.cache.disk_bytes,
            directory: match config.cache.directory.as_os_str().is_empty() {
                true => data.root().join("cache"),
                false => config.cache.directory.clone(),
            },
        },
        metadata_cache_bytes: config.warehouse.metadata_cache_bytes,
        manifest_cache_bytes: config.warehouse.manifest_cache_bytes,
        ..WarehouseOptions::default()
    };
    let warehouse = Warehouse::open(&url, options).map_err(|error| {
        Failure::from_error(
            format_args!("cannot open the warehouse {url}"),
            &error,
            "correct warehouse.url, [store] and the credentials of the store in the environment",
        )
    })?;
    warehouse.open_cache().await.map_err(|error| {
        Failure::from_error("cannot open the cache of the warehouse", &error, "correct cache.directory")
    })?;
    Ok(warehouse)
}

pub(crate) fn store_options(config: &Config) -> StoreOptions {
    let (store, milliseconds) = (&config.store, Duration::from_millis);
    StoreOptions {
        endpoint: store.endpoint.clone(),
        region: store.region.clone(),
        path_style: store.path_style,
        anonymous: store.anonymous,
        connect_timeout: milliseconds(store.connect_timeout_ms),
        request_timeout: milliseconds(store.request_timeout_ms),
        max_retries: store.max_retries,
        retry_timeout: milliseconds(store.retry_timeout_ms),
        initial_backoff: milliseconds(store.initial_backoff_ms),
        max_backoff: milliseconds(store.max_backoff_ms),
        vending: VendingOptions {
            role: store.sts_role.clone(),
            endpoint: store.sts_endpoint.clone(),
            lifetime: milliseconds(store.sts_lifetime_ms),
        },
        ..StoreOptions::default()
    }
}

fn engine_options(config: &Config, spill_directory: PathBuf) -> EngineOptions {
    let memory_limit_bytes = match config.engine.memory_limit_bytes {
        0 => usize::try_from(machine::memory_bytes() / 2).unwrap_or(usize::MAX),
        limit => limit,
    };
    EngineOptions {
        memory_limit_bytes,
        spill_directory,
        spill_limit_bytes: config.engine.spill_limit_bytes,
        target_partitions: match config.engine.partitions {
            0 => threads(config),
            partitions => partitions,
        },
        batch_rows: config.engine.batch_rows,
        commit_attempts: config.engine.commit_attempts,
        plan_cache_entries: config.engine.plan_cache_entries,
        max_running_statements: config.engine.max_running_statements,
        max_queued_statements: config.engine.max_queued_statements,
        dropped_retention: Duration::from_secs(config.engine.dropped_retention_hours.saturating_mul(60 * 60)),
        allowed_locations: config.files.allowed_locations.clone(),
        fanout: FanoutOptions {
            answer_timeout: Duration::from_millis(config.fanout.answer_timeout_ms),
            attempts: config.fanout.attempts,
            max_parts: config.fanout.max_parts,
            in_process_workers: config.fanout.in_process_workers,
            ..FanoutOptions::default()
        },
        ..EngineOptions::default()
    }
}

/// What takes the spans of statements, if anything is to.
fn open_traces(config: &Config, instance: String) -> Result<Traces, Failure> {
    let Some(options) = config.traces.options(instance) else { return Ok(Traces::default()) };
    Traces::open(options).map_err(|error| {
        Failure::from_error(
            format_args!("cannot send traces to {}", config.traces.endpoint),
            &error,
            "correct traces.endpoint, and OTEL_EXPORTER_OTLP_HEADERS in the environment",
        )
    })
}

fn front_end_options(config: &Config, address: SocketAddr, data: &DataDirectory) -> Result<Options, Failure> {
    let postgres = &config.postgres;
    let exposed = !is_loopback(address.ip()) && !postgres.allow_insecure_listen;
    let milliseconds = Duration::from_millis;
    let keepalive = (postgres.keepalive_idle_ms > 0).then(|| Keepalive {
        idle: milliseconds(postgres.keepalive_idle_ms),
        interval: milliseconds(postgres.keepalive_interval_ms),
        count: postgres.keepalive_probes,
    });
    Ok(Options {
        authentication: match postgres.authentication {
            Authentication::ScramSha256 => wharf_pgwire_server::Authentication::ScramSha256,
            Authentication::Trust => wharf_pgwire_server::Authentication::Trust,
        },
        tls: with_certificate(postgres, Tls::from_pem)?,
        require_tls: postgres.require_tls || exposed,
        max_connections: postgres.max_connections,
        authentication_timeout: milliseconds(postgres.authentication_timeout_ms),
        max_message_bytes: postgres.max_message_bytes,
        max_prepared_statements: postgres.max_prepared_statements,
        max_portals: postgres.max_portals,
        keepalive,
        drain_timeout: milliseconds(config.server.shutdown_timeout_ms),
        mock_authentication_secret: data.authentication_secret()?,
    })
}

fn http_options(config: &Config) -> Result<wharf_http_server::Options, Failure> {
    let http = &config.http;
    Ok(wharf_http_server::Options {
        tls: with_certificate(&config.postgres, wharf_http_server::Tls::from_pem)?,
        max_connections: http.max_connections,
        silence_timeout: Duration::from_millis(http.request_timeout_ms.saturating_add(http.idle_timeout_ms)),
        drain_timeout: Duration::from_millis(config.server.shutdown_timeout_ms),
    })
}

fn catalog_options(config: &Config, data: &DataDirectory) -> Result<wharf_iceberg_rest::Options, Failure> {
    let http = &config.http;
    Ok(wharf_iceberg_rest::Options {
        authentication: match config.postgres.authentication {
            Authentication::ScramSha256 => wharf_iceberg_rest::Authentication::Password,
            Authentication::Trust => wharf_iceberg_rest::Authentication::Trust { role: SUPERUSER.to_owned() },
        },
        database: DATABASE.to_owned(),
        max_requests: http.max_requests,
        max_body_bytes: http.max_body_bytes,
        request_timeout: Duration::from_millis(http.request_timeout_ms),
        token_lifetime: Duration::from_millis(http.token_lifetime_ms),
        token_secret: data.token_secret()?,
        other_nodes: None,
    })
}

/// What is made of the configured certificate and key; none without.
fn with_certificate<T, E: std::error::Error + 'static>(
    config: &PostgresConfig,
    make: impl FnOnce(&[u8], &[u8]) -> Result<T, E>,
) -> Result<Option<T>, Failure> {
    let Some((certificate_file, key_file)) = config.tls_files() else { return Ok(None) };
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| {
            Failure::from_io("read", path, &error, "correct postgres.tls_certificate_file and postgres.tls_key_file")
        })
    };
    let (certificate, key) = (read(certificate_file)?, read(key_file)?);
    let made = make(&certificate, &key).map_err(|error| {
        Failure::from_error(
            format_args!("cannot use {} with {}", certificate_file.display(), key_file.display()),
            &error,
            "both files are PEM: the server's certificate first, then its issuers; the key unencrypted",
        )
    })?;
    Ok(Some(made))
}

/// Whoever reads the log shall see that nobody is asked for a password.
fn warn_of_trust(config: &Config, address: SocketAddr) {
    if config.postgres.authentication == Authentication::Trust {
        tracing::warn!(
            %address,
            "authentication is \"trust\": whoever reaches this address is let in without a password, as any role",
        );
    }
}
