//! The network between the nodes: a network namespace for each, on a bridge of this machine, and a [`super::proxy`] before each
//! node's port for the others.
//!
//! A cut is made by the kernel, not by the proxy: the interface goes down, or packets to an address go to a neighbour that is not there,
//! so nothing is refused and nobody is told. Where namespaces are not allowed, the nodes have addresses of the loopback interface,
//! and cuts are made by the proxies, which then hold back what they are sent.
//!
//! Everything is named after this process and removed when the value is dropped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, bail};

use super::NODES;
use super::proxy::{Conditions, Proxy};

/// The port that the nodes have for each other.
const PEERS_PORT: u16 = 5442;

/// A neighbour that is not there.
const NOBODY: &str = "02:00:00:00:00:fe";

/// A way in which nodes do not reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The node is alone, also for clients.
    Node(usize),
    /// Neither reaches the other.
    Pair(usize, usize),
    /// The first does not reach the second with its calls; the second does reach the first.
    OneWay(usize, usize),
    /// What others send to the node arrives, what it sends to them does not.
    Mute(usize),
    /// What the node sends arrives, what others send to it does not.
    Deaf(usize),
}

/// The network.
pub(super) struct Network {
    namespaces: bool,
    name: String,
    subnet: [u8; 3],
    /// One for each node.
    pub(super) conditions: Vec<Arc<Conditions>>,
    proxies: Vec<Proxy>,
}

impl Network {
    /// Makes it, with namespaces if that is allowed; what it is instead is said.
    pub(super) async fn make(seed: u64, without_namespaces: bool) -> anyhow::Result<Network> {
        let number = std::process::id();
        let third = u8::try_from(number % 250).expect("it is less than 250");
        let mut network = Network {
            namespaces: false,
            name: format!("wsk{number}"),
            subnet: [127, 77, third],
            conditions: (0..NODES).map(|_| Arc::default()).collect(),
            proxies: Vec::new(),
        };
        if without_namespaces {
            println!("network: addresses of the loopback interface and proxies, as was asked for");
        } else {
            network.namespaces = true;
            network.subnet = [10, 213, third];
            match network.make_namespaces() {
                Ok(()) => println!("network: namespaces on a bridge, proxies for delay and loss"),
                Err(error) => {
                    println!(
                        "network: no namespaces here ({error:#}): loopback addresses and proxies, which cut whole nodes only"
                    );
                    network.remove_namespaces();
                    network.namespaces = false;
                    network.subnet = [127, 77, third];
                }
            }
        }
        for node in 0..NODES {
            let listen = SocketAddr::new(network.proxy_address(node), PEERS_PORT);
            let target = SocketAddr::new(network.address(node), PEERS_PORT);
            let conditions = Arc::clone(&network.conditions[node]);
            let proxy = Proxy::open(listen, target, conditions, seed.wrapping_add(node as u64)).await;
            network.proxies.push(proxy.with_context(|| format!("the proxy on {listen}"))?);
        }
        Ok(network)
    }

    /// Whether single directions and pairs can be cut.
    pub(super) fn has_namespaces(&self) -> bool {
        self.namespaces
    }

    /// Where a node is.
    pub(super) fn address(&self, node: usize) -> IpAddr {
        self.host(11 + node)
    }

    /// What a node listens on for the others.
    pub(super) fn peers_listen(&self, node: usize) -> String {
        format!("{}:{PEERS_PORT}", self.address(node))
    }

    /// Where the others reach a node: the proxy before it.
    pub(super) fn peers_address(&self, node: usize) -> String {
        format!("{}:{PEERS_PORT}", self.proxy_address(node))
    }

    /// Addresses that a node's certificate has to name.
    pub(super) fn proxy_address(&self, node: usize) -> IpAddr {
        self.host(21 + node)
    }

    fn host(&self, last: usize) -> IpAddr {
        let [first, second, third] = self.subnet;
        IpAddr::V4(Ipv4Addr::new(first, second, third, u8::try_from(last).expect("there are few nodes")))
    }

    /// A command that runs where a node is.
    pub(super) fn command(&self, node: usize, binary: &Path) -> Command {
        if !self.namespaces {
            return Command::new(binary);
        }
        // `ip netns exec` becomes the program, so a signal to the child reaches it.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(node)]).arg(binary);
        command
    }

    fn namespace(&self, node: usize) -> String {
        format!("{}n{}", self.name, node + 1)
    }

    fn make_namespaces(&self) -> anyhow::Result<()> {
        let bridge = &self.name;
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {}/24 dev {bridge}", self.host(1)))?;
        for node in 0..NODES {
            ip(&format!("addr add {}/24 dev {bridge}", self.proxy_address(node)))?;
        }
        ip(&format!("link set {bridge} up"))?;
        for node in 0..NODES {
            let (namespace, address) = (self.namespace(node), self.address(node));
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("link add {namespace} type veth peer name eth0 netns {namespace}"))?;
            ip(&format!("link set {namespace} master {bridge} up"))?;
            ip(&format!("-n {namespace} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        Ok(())
    }

    fn remove_namespaces(&self) {
        for node in 0..NODES {
            // The interface by itself, too: a namespace goes when its last process has gone.
            let _ = ip(&format!("link del {}", self.namespace(node)));
            let _ = ip(&format!("netns del {}", self.namespace(node)));
        }
        let _ = ip(&format!("link del {}", self.name));
    }

    /// Makes a cut, or takes it back.
    pub(super) fn set(&self, cut: Cut, cut_off: bool) -> anyhow::Result<()> {
        if !self.namespaces {
            // The proxies do not know who calls: what can be held back is what is sent to a node.
            let (Cut::Node(node) | Cut::Pair(_, node) | Cut::OneWay(_, node) | Cut::Mute(node) | Cut::Deaf(node)) = cut;
            self.conditions[node].hold(cut_off);
            return Ok(());
        }
        match cut {
            Cut::Node(node) => {
                let state = if cut_off { "down" } else { "up" };
                ip(&format!("link set {} {state}", self.namespace(node)))
            }
            Cut::Pair(first, second) => {
                self.drop_to(Some(first), self.proxy_address(second), cut_off)?;
                self.drop_to(Some(second), self.proxy_address(first), cut_off)
            }
            Cut::OneWay(from, to) => self.drop_to(Some(from), self.proxy_address(to), cut_off),
            Cut::Mute(node) => {
                (0..NODES).try_for_each(|proxy| self.drop_to(Some(node), self.proxy_address(proxy), cut_off))
            }
            Cut::Deaf(node) => self.drop_to(None, self.address(node), cut_off),
        }
    }

    /// Packets from a node, or from this machine, to an address.
    fn drop_to(&self, from: Option<usize>, to: IpAddr, dropped: bool) -> anyhow::Result<()> {
        let (prefix, device) = match from {
            Some(node) => (format!("-n {} ", self.namespace(node)), "eth0"),
            None => (String::new(), self.name.as_str()),
        };
        if dropped {
            ip(&format!("{prefix}neigh replace {to} lladdr {NOBODY} dev {device} nud permanent"))
        } else {
            ip(&format!("{prefix}neigh del {to} dev {device}"))
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if self.namespaces {
            self.remove_namespaces();
        }
    }
}

/// Runs `ip` with these words.
fn ip(words: &str) -> anyhow::Result<()> {
    let output =
        Command::new("ip").args(words.split_whitespace()).stdin(Stdio::null()).output().context("cannot run ip")?;
    if !output.status.success() {
        bail!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
