//! Where log lines go: standard error, as text or JSON.
//!
//! Always holds: standard output carries only what a person or script asked for (`listening on ..`, the demo's
//! table); everything else is a log line.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};
use crate::failure::Failure;

/// Installs the process's subscriber. Call once.
///
/// # Errors
/// A filter that does not parse.
pub(crate) fn start(config: &LogConfig) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(&config.filter).map_err(|error| {
        Failure::from_error(
            format_args!("log.filter = \"{}\"", config.filter),
            &error,
            "write a level such as info, or levels by module such as warn,wharf=debug",
        )
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
