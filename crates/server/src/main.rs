//! `wharf`: the binary. Configuration, command line, and the wiring of the layers.
//!
//! Always holds: this crate is the only one that knows all layers and the only one that knows configuration and
//! flags; it has no SQL, no storage and no protocol of its own. Whatever keeps the server from starting ends the
//! process with exit code 1 and two lines on standard error: what went wrong, and what to do.

mod backup;
mod cert;
mod cli;
mod cluster;
mod config;
mod data_directory;
mod demo;
mod failure;
mod logging;
mod machine;
mod node;
mod password;
mod peers;
mod restore;
mod signals;

use std::process::ExitCode;

use clap::Parser;

/// Queries allocate and free large buffers on many threads, where the system's allocator is slow and keeps memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(cli::CommandLine::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
