//! The configuration of a node: every key, its default, and where its value came from.
//!
//! Always holds:
//! - A value is decided in this order, the later winning: defaults, the TOML file, `WHARF_*` variables of the
//!   environment (`WHARF_POSTGRES__LISTEN` is `postgres.listen`), flags of the command line.
//! - A key nobody knows is refused, with the nearest known one; so is a value of the wrong type or outside its
//!   range, with the file and line, the variable or the flag that set it.
//! - `conf/wharf.toml` lists every key with its default and a comment; a test holds it to [`Config::default`].
//! - Names end in their unit.
//!
//! It does not touch the disk except to read that one file, and it does not start anything.

mod peers;
mod sources;
mod traces;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

pub(crate) use peers::PeersConfig;
pub(crate) use sources::{Flags, load};
pub(crate) use traces::TracesConfig;

/// Everything that can be configured. An empty string means "not set" wherever a default depends on other keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The process: its folder, its threads, how it stops.
    pub(crate) server: ServerConfig,
    /// The PostgreSQL port.
    pub(crate) postgres: PostgresConfig,
    /// The HTTP port: the Iceberg REST catalog.
    pub(crate) http: HttpConfig,
    /// The port for the other nodes of the cluster.
    pub(crate) peers: PeersConfig,
    /// The catalog and its Raft log.
    pub(crate) catalog: CatalogConfig,
    /// The tables' object store.
    pub(crate) warehouse: WarehouseConfig,
    /// How object stores are reached.
    pub(crate) store: StoreConfig,
    /// The cache before a remote object store.
    pub(crate) cache: CacheConfig,
    /// Files that statements may name.
    pub(crate) files: FilesConfig,
    /// The limits of queries.
    pub(crate) engine: EngineConfig,
    /// Queries on several nodes.
    pub(crate) fanout: FanoutConfig,
    /// What keeps tables small.
    pub(crate) maintenance: MaintenanceConfig,
    /// Backups of the catalog in the warehouse.
    pub(crate) backup: BackupConfig,
    /// What is written to standard error.
    pub(crate) log: LogConfig,
    /// Traces of statements.
    pub(crate) traces: TracesConfig,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerConfig {
    pub(crate) data_directory: PathBuf,
    pub(crate) threads: usize,
    pub(crate) shutdown_timeout_ms: u64,
}

/// `[postgres]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PostgresConfig {
    pub(crate) listen: String,
    pub(crate) authentication: Authentication,
    pub(crate) allow_insecure_listen: bool,
    pub(crate) tls_certificate_file: PathBuf,
    pub(crate) tls_key_file: PathBuf,
    pub(crate) require_tls: bool,
    pub(crate) max_connections: usize,
    pub(crate) authentication_timeout_ms: u64,
    pub(crate) max_message_bytes: usize,
    pub(crate) max_prepared_statements: usize,
    pub(crate) max_portals: usize,
    pub(crate) keepalive_idle_ms: u64,
    pub(crate) keepalive_interval_ms: u64,
    pub(crate) keepalive_probes: u32,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpConfig {
    pub(crate) enabled: bool,
    pub(crate) listen: String,
    pub(crate) allow_insecure_listen: bool,
    pub(crate) max_connections: usize,
    pub(crate) max_requests: usize,
    pub(crate) max_body_bytes: usize,
    pub(crate) request_timeout_ms: u64,
    pub(crate) idle_timeout_ms: u64,
    pub(crate) token_lifetime_ms: u64,
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub(crate) enum Authentication {
    /// A password, proved by SCRAM-SHA-256.
    #[serde(rename = "scram-sha-256")]
    #[value(name = "scram-sha-256")]
    ScramSha256,
    /// Nothing: whoever reaches the port is who they say.
    #[serde(rename = "trust")]
    Trust,
}

impl Authentication {
    /// Its name in the configuration and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Authentication::ScramSha256 => "scram-sha-256",
            Authentication::Trust => "trust",
        }
    }
}

/// `[catalog]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CatalogConfig {
    pub(crate) snapshot_every_entries: u64,
    pub(crate) max_waiting_commands: usize,
    pub(crate) max_command_bytes: usize,
    pub(crate) propose_timeout_ms: u64,
    pub(crate) read_timeout_ms: u64,
    pub(crate) startup_timeout_ms: u64,
    pub(crate) min_free_bytes: u64,
    pub(crate) max_voters: usize,
    pub(crate) replace_voter_after_ms: u64,
}

/// `[warehouse]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WarehouseConfig {
    pub(crate) url: String,
    pub(crate) metadata_cache_bytes: usize,
    pub(crate) manifest_cache_bytes: usize,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreConfig {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) path_style: bool,
    pub(crate) anonymous: bool,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) request_timeout_ms: u64,
    pub(crate) max_retries: usize,
    pub(crate) retry_timeout_ms: u64,
    pub(crate) initial_backoff_ms: u64,
    pub(crate) max_backoff_ms: u64,
    pub(crate) sts_role: String,
    pub(crate) sts_endpoint: String,
    pub(crate) sts_lifetime_ms: u64,
}

/// `[cache]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CacheConfig {
    pub(crate) memory_bytes: usize,
    pub(crate) disk_bytes: usize,
    pub(crate) directory: PathBuf,
}

/// `[files]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FilesConfig {
    pub(crate) allowed_locations: String,
}

/// `[engine]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EngineConfig {
    pub(crate) memory_limit_bytes: usize,
    pub(crate) spill_limit_bytes: u64,
    pub(crate) partitions: usize,
    pub(crate) batch_rows: usize,
    pub(crate) commit_attempts: usize,
    pub(crate) plan_cache_entries: usize,
    pub(crate) max_running_statements: usize,
    pub(crate) max_queued_statements: usize,
    pub(crate) dropped_retention_hours: u64,
}

/// `[fanout]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FanoutConfig {
    pub(crate) answer_timeout_ms: u64,
    pub(crate) attempts: usize,
    pub(crate) max_parts: usize,
    pub(crate) in_process_workers: usize,
}

/// `[maintenance]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MaintenanceConfig {
    pub(crate) enabled: bool,
    pub(crate) interval_ms: u64,
    pub(crate) quiet_ms: u64,
    pub(crate) min_input_files: usize,
    pub(crate) orphan_interval_ms: u64,
    pub(crate) orphan_age_ms: u64,
}

/// `[backup]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BackupConfig {
    pub(crate) enabled: bool,
    pub(crate) interval_ms: u64,
    pub(crate) keep: usize,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    pub(crate) filter: String,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// A line a person reads; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig { data_directory: PathBuf::from("wharf-data"), threads: 0, shutdown_timeout_ms: 30_000 }
    }
}

impl Default for PostgresConfig {
    fn default() -> Self {
        PostgresConfig {
            listen: "127.0.0.1:5439".to_owned(),
            authentication: Authentication::ScramSha256,
            allow_insecure_listen: false,
            tls_certificate_file: PathBuf::new(),
            tls_key_file: PathBuf::new(),
            require_tls: false,
            max_connections: 2_000,
            authentication_timeout_ms: 60_000,
            max_message_bytes: 64 << 20,
            max_prepared_statements: 10_000,
            max_portals: 1_000,
            keepalive_idle_ms: 60_000,
            keepalive_interval_ms: 10_000,
            keepalive_probes: 6,
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            enabled: true,
            listen: String::new(),
            allow_insecure_listen: false,
            max_connections: 1_000,
            max_requests: 256,
            max_body_bytes: 32 << 20,
            request_timeout_ms: 60_000,
            idle_timeout_ms: 60_000,
            token_lifetime_ms: 3_600_000,
        }
    }
}

impl Default for CatalogConfig {
    fn default() -> Self {
        CatalogConfig {
            snapshot_every_entries: 4096,
            max_waiting_commands: 1024,
            max_command_bytes: 4 << 20,
            propose_timeout_ms: 10_000,
            read_timeout_ms: 5_000,
            startup_timeout_ms: 30_000,
            min_free_bytes: 16 << 20,
            max_voters: 5,
            replace_voter_after_ms: 60_000,
        }
    }
}

impl Default for WarehouseConfig {
    fn default() -> Self {
        WarehouseConfig { url: String::new(), metadata_cache_bytes: 64 << 20, manifest_cache_bytes: 256 << 20 }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            endpoint: String::new(),
            region: String::new(),
            path_style: true,
            anonymous: false,
            connect_timeout_ms: 5_000,
            request_timeout_ms: 30_000,
            max_retries: 10,
            retry_timeout_ms: 180_000,
            initial_backoff_ms: 100,
            max_backoff_ms: 15_000,
            sts_role: String::new(),
            sts_endpoint: String::new(),
            sts_lifetime_ms: 3_600_000,
        }
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        CacheConfig { memory_bytes: 256 << 20, disk_bytes: 8 << 30, directory: PathBuf::new() }
    }
}

impl Default for FilesConfig {
    fn default() -> Self {
        FilesConfig { allowed_locations: "*".to_owned() }
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            memory_limit_bytes: 0,
            spill_limit_bytes: 64 << 30,
            partitions: 0,
            batch_rows: 8192,
            commit_attempts: 100,
            plan_cache_entries: 256,
            max_running_statements: 0,
            max_queued_statements: 1_000,
            dropped_retention_hours: 168,
        }
    }
}

impl Default for FanoutConfig {
    fn default() -> Self {
        FanoutConfig { answer_timeout_ms: 30_000, attempts: 3, max_parts: 4096, in_process_workers: 0 }
    }
}

impl Default for MaintenanceConfig {
    fn default() -> Self {
        MaintenanceConfig {
            enabled: true,
            interval_ms: 60_000,
            quiet_ms: 60_000,
            min_input_files: 20,
            orphan_interval_ms: 24 * 60 * 60 * 1000,
            orphan_age_ms: 3 * 24 * 60 * 60 * 1000,
        }
    }
}

impl Default for BackupConfig {
    fn default() -> Self {
        BackupConfig { enabled: true, interval_ms: 60_000, keep: 24 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { format: LogFormat::Text, filter: "warn,wharf=info,openraft=off".to_owned() }
    }
}

impl PostgresConfig {
    /// The address to bind: a literal, or the first address of a host name.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn listen_address(&self) -> Result<SocketAddr, Failure> {
        resolved("postgres.listen", &self.listen)
    }

    /// The certificate and key files, when TLS is configured.
    pub(crate) fn tls_files(&self) -> Option<(&Path, &Path)> {
        let unset = self.tls_certificate_file.as_os_str().is_empty();
        (!unset).then_some((&*self.tls_certificate_file, &*self.tls_key_file))
    }
}

/// The address that a key names.
fn resolved(key: &str, text: &str) -> Result<SocketAddr, Failure> {
    let resolved = text.to_socket_addrs().ok().and_then(|mut found| found.next());
    resolved.ok_or_else(|| {
        Failure::new(
            format!("{key} = \"{text}\" is not an address and port"),
            "write it as 127.0.0.1:5439, [::1]:5439 or host:port",
        )
    })
}

impl CatalogConfig {
    /// # Errors
    /// The first value that is out of its range.
    fn validate(&self) -> Result<(), Failure> {
        at_least("catalog.snapshot_every_entries", self.snapshot_every_entries, 1)?;
        at_least("catalog.max_waiting_commands", self.max_waiting_commands as u64, 1)?;
        at_least("catalog.max_command_bytes", self.max_command_bytes as u64, 64 << 10)?;
        at_least("catalog.propose_timeout_ms", self.propose_timeout_ms, 1)?;
        at_least("catalog.read_timeout_ms", self.read_timeout_ms, 1)?;
        at_least("catalog.startup_timeout_ms", self.startup_timeout_ms, 1)?;
        at_least("catalog.max_voters", self.max_voters as u64, 1)?;
        // Every write waits for more than half of them.
        at_most("catalog.max_voters", self.max_voters as u64, 9)?;
        if self.max_voters.is_multiple_of(2) {
            return Err(Failure::new(
                format!("catalog.max_voters = {} is an even number", self.max_voters),
                "set it to 1, 3, 5, 7 or 9: an even number of voters outlives the loss of no more nodes than one voter \
                 less does",
            ));
        }
        // A restart shall not cost a vote.
        at_least("catalog.replace_voter_after_ms", self.replace_voter_after_ms, 1_000)
    }
}

impl Config {
    /// The address of the HTTP port: a key of its own, or the port after PostgreSQL's; none when there is to be none.
    ///
    /// # Errors
    /// When it is no address.
    pub(crate) fn http_address(&self) -> Result<Option<SocketAddr>, Failure> {
        if !self.http.enabled {
            return Ok(None);
        }
        if !self.http.listen.is_empty() {
            return resolved("http.listen", &self.http.listen).map(Some);
        }
        let mut address = self.postgres.listen_address()?;
        // Whoever lets the system choose the one port lets it choose the other.
        if address.port() != 0 {
            let next = address.port().checked_add(1).ok_or_else(|| {
                Failure::new(
                    "there is no port after postgres.listen for HTTP",
                    "set http.listen, or http.enabled = false",
                )
            })?;
            address.set_port(next);
        }
        Ok(Some(address))
    }

    /// The rules of safety of the HTTP port are those of PostgreSQL's.
    fn validate_http(&self) -> Result<(), Failure> {
        let Some(address) = self.http_address()? else { return Ok(()) };
        let follows = self.http.listen.is_empty() && self.postgres.allow_insecure_listen;
        if !is_loopback(address.ip()) && !self.http.allow_insecure_listen && !follows {
            let trust = self.postgres.authentication == Authentication::Trust;
            if trust || self.postgres.tls_files().is_none() {
                return Err(Failure::new(
                    format!("refusing to serve HTTP on {address} without TLS and passwords"),
                    "set postgres.tls_certificate_file and postgres.tls_key_file, which HTTP uses too, and \
                     postgres.authentication = \"scram-sha-256\"; or set http.listen = \"127.0.0.1:5440\", or \
                     http.allow_insecure_listen = true if this network is yours alone",
                ));
            }
        }
        let http = &self.http;
        at_least("http.max_connections", http.max_connections as u64, 1)?;
        at_least("http.max_requests", http.max_requests as u64, 1)?;
        at_least("http.max_body_bytes", http.max_body_bytes as u64, 64 << 10)?;
        at_least("http.request_timeout_ms", http.request_timeout_ms, 1)?;
        at_least("http.idle_timeout_ms", http.idle_timeout_ms, 1)?;
        at_least("http.token_lifetime_ms", http.token_lifetime_ms, 1_000)
    }

    /// Holds the rules that span keys, the security rules first of all.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub(crate) fn validate(&self) -> Result<(), Failure> {
        let postgres = &self.postgres;
        let certificate = !postgres.tls_certificate_file.as_os_str().is_empty();
        let key = !postgres.tls_key_file.as_os_str().is_empty();
        if certificate != key {
            let (set, missing) = if certificate {
                ("tls_certificate_file", "tls_key_file")
            } else {
                ("tls_key_file", "tls_certificate_file")
            };
            return Err(Failure::new(
                format!("postgres.{set} is set and postgres.{missing} is not"),
                format!("set postgres.{missing} as well: TLS needs both"),
            ));
        }
        if postgres.require_tls && !certificate {
            return Err(Failure::new(
                "postgres.require_tls is true and there is no certificate",
                "set postgres.tls_certificate_file and postgres.tls_key_file",
            ));
        }
        let address = postgres.listen_address()?;
        if !is_loopback(address.ip()) && !postgres.allow_insecure_listen {
            if postgres.authentication == Authentication::Trust {
                return Err(Failure::new(
                    format!("refusing to let everybody in who can reach {address} without a password"),
                    "set postgres.authentication = \"scram-sha-256\", listen on 127.0.0.1, or set \
                     postgres.allow_insecure_listen = true if this network is yours alone",
                ));
            }
            if !certificate {
                return Err(Failure::new(
                    format!("refusing to listen on {address} without TLS: passwords and data would be readable"),
                    "set postgres.tls_certificate_file and postgres.tls_key_file, listen on 127.0.0.1, or set \
                     postgres.allow_insecure_listen = true if this network is yours alone",
                ));
            }
        }
        at_least("postgres.max_connections", postgres.max_connections as u64, 1)?;
        at_least("postgres.authentication_timeout_ms", postgres.authentication_timeout_ms, 1)?;
        at_least("postgres.max_message_bytes", postgres.max_message_bytes as u64, 64 << 10)?;
        at_least("postgres.max_prepared_statements", postgres.max_prepared_statements as u64, 1)?;
        at_least("postgres.max_portals", postgres.max_portals as u64, 1)?;
        if postgres.keepalive_idle_ms > 0 {
            // The operating system counts in seconds.
            at_least("postgres.keepalive_idle_ms", postgres.keepalive_idle_ms, 1_000)?;
            at_least("postgres.keepalive_interval_ms", postgres.keepalive_interval_ms, 1_000)?;
            at_least("postgres.keepalive_probes", postgres.keepalive_probes.into(), 1)?;
        }
        at_least("fanout.answer_timeout_ms", self.fanout.answer_timeout_ms, 1)?;
        at_least("fanout.attempts", self.fanout.attempts as u64, 1)?;
        at_least("fanout.max_parts", self.fanout.max_parts as u64, 1)?;
        self.validate_http()?;
        self.peers.validate()?;
        self.catalog.validate()?;
        at_least("store.connect_timeout_ms", self.store.connect_timeout_ms, 1)?;
        at_least("store.request_timeout_ms", self.store.request_timeout_ms, 1)?;
        at_least("store.initial_backoff_ms", self.store.initial_backoff_ms, 1)?;
        at_least("store.max_backoff_ms", self.store.max_backoff_ms, self.store.initial_backoff_ms)?;
        let (shortest, longest) = wharf_lake::VENDING_LIFETIMES.into_inner();
        at_least("store.sts_lifetime_ms", self.store.sts_lifetime_ms, shortest.as_millis() as u64)?;
        at_most("store.sts_lifetime_ms", self.store.sts_lifetime_ms, longest.as_millis() as u64)?;
        at_least("cache.memory_bytes", self.cache.memory_bytes as u64, 16 << 20)?;
        if self.cache.disk_bytes != 0 {
            at_least("cache.disk_bytes", self.cache.disk_bytes as u64, wharf_lake::MIN_DISK_BYTES as u64)?;
        }
        self.traces.validate()?;
        at_least("backup.interval_ms", self.backup.interval_ms, 10)?;
        at_least("backup.keep", self.backup.keep as u64, 1)?;
        at_least("engine.batch_rows", self.engine.batch_rows as u64, 1)?;
        at_least("engine.commit_attempts", self.engine.commit_attempts as u64, 1)?;
        at_least("engine.plan_cache_entries", self.engine.plan_cache_entries as u64, 1)?;
        if self.engine.memory_limit_bytes != 0 {
            at_least("engine.memory_limit_bytes", self.engine.memory_limit_bytes as u64, 64 << 20)?;
        }
        Ok(())
    }

    /// The root of the object store: `warehouse.url`, or the folder `warehouse` in `data_directory`.
    ///
    /// # Errors
    /// When the folder's path cannot be written as a URL.
    pub(crate) fn warehouse_url(&self, data_directory: &Path) -> Result<String, Failure> {
        if !self.warehouse.url.is_empty() {
            return Ok(self.warehouse.url.clone());
        }
        let folder = data_directory.join("warehouse");
        url::Url::from_directory_path(&folder).map(String::from).map_err(|()| {
            Failure::new(
                format!("{} cannot be written as a file URL", folder.display()),
                "choose another data folder with --data, or set warehouse.url",
            )
        })
    }
}

fn at_least(key: &str, value: u64, least: u64) -> Result<(), Failure> {
    if value >= least {
        return Ok(());
    }
    Err(Failure::new(format!("{key} = {value} is too small"), format!("set it to {least} or more")))
}

fn at_most(key: &str, value: u64, most: u64) -> Result<(), Failure> {
    if value <= most {
        return Ok(());
    }
    Err(Failure::new(format!("{key} = {value} is too large"), format!("set it to {most} or less")))
}

/// Whether nobody but this machine can reach the address.
pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
    }
}

#[cfg(test)]
mod tests;
