//! `wharf serve`: a node until SIGTERM or SIGINT.

use super::{ServeArguments, environment, failpoints};
use crate::config::{self, Config, Flags};
use crate::failure::Failure;
use crate::node::{self, Node};
use crate::password;
use crate::signals::Signals;
use crate::{demo::say, logging};

/// Runs the node to its end.
///
/// # Errors
/// Whatever kept it from starting.
pub(crate) fn run(arguments: ServeArguments) -> Result<(), Failure> {
    let config = config::load(&Config::default(), environment(), &flags(arguments))?;
    logging::start(&config.log)?;
    failpoints::arm()?;
    node::runtime(&config)?.block_on(async {
        let mut signals = Signals::install()?;
        let node = Node::start(&config).await?;
        announce(&node, true);
        until_stopped(node, &mut signals).await
    })
}

fn flags(arguments: ServeArguments) -> Flags {
    let ServeArguments { config, data, listen, auth, member } = arguments;
    let mut values = member.values();
    if let Some(data) = data {
        values.push(("--data", "server.data_directory", data.to_string_lossy().into_owned()));
    }
    if let Some(listen) = listen {
        values.push(("--listen", "postgres.listen", listen));
    }
    if let Some(auth) = auth {
        values.push(("--auth", "postgres.authentication", auth.name().to_owned()));
    }
    Flags { config_file: config, values }
}

/// What the first start made, if anybody needs it, then the line that scripts wait for.
pub(super) fn announce(node: &Node, with_password: bool) {
    if let Some(password) = node.generated_password().filter(|_| with_password) {
        say(format_args!(
            "created superuser {} with password {password} (shown only this once; {} gives another at the first start)",
            node::SUPERUSER,
            password::VARIABLE,
        ));
    }
    if let Some(url) = node.iceberg_url() {
        say(format_args!("Iceberg catalog on {url}"));
    }
    if let Some(address) = node.peer_address() {
        say(format_args!("peers on {address}"));
    }
    say(format_args!("listening on {}", node.address()));
}

/// Serves until the first signal, then drains; a second signal ends the process where it stands, and so does a failure.
///
/// # Errors
/// What could not be closed.
pub(super) async fn until_stopped(node: Node, signals: &mut Signals) -> Result<(), Failure> {
    let signal = tokio::select! {
        signal = signals.next() => signal,
        failure = node.failed() => {
            eprintln!("{failure}");
            at_once(1)
        }
    };
    tracing::info!(signal, "stopping: new connections are refused, running statements may end");
    tokio::select! {
        stopped = node.stop() => stopped,
        signal = signals.next() => {
            tracing::warn!(signal, "stopping at once");
            at_once(0)
        }
    }
}

/// Not by way of the runtime's end: tasks that are dropped there could make parts of queries look complete to other nodes, and
/// clients would be told of errors that are none of theirs.
fn at_once(code: i32) -> ! {
    std::process::exit(code)
}
