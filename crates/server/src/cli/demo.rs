//! `wharf demo`: a node with TPC-H in it, alone or one of several.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use super::{DemoArguments, environment, failpoints, serve};
use crate::config::{self, Authentication, Config, Flags};
use crate::demo::{self, say};
use crate::failure::Failure;
use crate::logging;
use crate::node::{self, Node};
use crate::password;
use crate::signals::Signals;

/// Loads, queries, serves.
///
/// # Errors
/// Whatever kept one of them from happening.
pub(crate) fn run(arguments: DemoArguments) -> Result<(), Failure> {
    let DemoArguments { scale, exit, data, listen, member } = arguments;
    let mut defaults = Config::default();
    // Whoever tries the demo has no password yet; a port that others can reach is refused as ever.
    defaults.postgres.authentication = Authentication::Trust;
    let mut values = member.values();
    values.push(("--data", "server.data_directory", data.to_string_lossy().into_owned()));
    values.push(("--listen", "postgres.listen", listen));
    let config = config::load(&defaults, environment(), &Flags { config_file: None, values })?;
    logging::start(&config.log)?;
    failpoints::arm()?;
    node::runtime(&config)?.block_on(async {
        let mut signals = Signals::install()?;
        let node = Node::start(&config).await?;
        // Nobody is asked for a password under trust; ALTER ROLE gives one to whoever wants to serve the folder without it.
        serve::announce(&node, config.postgres.authentication != Authentication::Trust);
        let shown = tokio::select! {
            shown = show(&node, scale) => shown,
            signal = signals.next() => Err(Failure::new(
                format!("stopped by {signal}"),
                "run the demo again: it goes on with the table it was at",
            )),
        };
        if exit || shown.is_err() {
            return shown.and(node.stop().await);
        }
        say("Ctrl-C stops the server");
        serve::until_stopped(node, &mut signals).await
    })
}

/// Loads what is missing, runs the queries, and says how to connect.
async fn show(node: &Node, scale: f64) -> Result<(), Failure> {
    let (client, connection) = connect(node).await?;
    let mut session = node.open_session().await?;
    let done = async {
        demo::load(&node.catalog(), &mut session, &client, scale).await?;
        demo::run_queries(&client).await
    };
    let done = done.await;
    // Says goodbye, so that a node that stops next does not find a client to turn out.
    drop(client);
    let _ = connection.await;
    done?;
    let address = reachable(node.address());
    say(format_args!("psql -h {} -p {} -U {} {}", address.ip(), address.port(), node::SUPERUSER, node::DATABASE,));
    Ok(())
}

/// A client of the node's own port, as any other.
async fn connect(node: &Node) -> Result<(Client, JoinHandle<()>), Failure> {
    let address = reachable(node.address());
    let mut config = tokio_postgres::Config::new();
    config.host(address.ip().to_string()).port(address.port());
    config.user(node::SUPERUSER).dbname(node::DATABASE).application_name("wharf demo");
    let given = std::env::var(password::VARIABLE).ok();
    if let Some(password) = node.generated_password().map(str::to_owned).or(given) {
        config.password(password);
    }
    let (client, connection) = config.connect(NoTls).await.map_err(|error| {
        Failure::from_error(
            "the demo cannot connect to its own port",
            &error,
            "if passwords are required, give the superuser's in the environment: WHARF_PASSWORD",
        )
    })?;
    let connection = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(%error, "the demo lost its connection");
        }
    });
    Ok((client, connection))
}

/// An address that stands for all of the machine's is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_that_stands_for_all_is_reached_on_loopback() {
        let reach = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(reach("[::]:1"), "[::1]:1");
        assert_eq!(reach("192.0.2.7:1"), "192.0.2.7:1");
    }
}
