//! What is done to the nodes, and to the network between them.

use std::time::Duration;

use super::NODES;
use super::cluster::Cluster;
use super::network::Cut;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// `kill -9` of the leader.
    KillLeader,
    /// `kill -9` of another node.
    KillFollower,
    /// `kill -9` of two nodes: no majority is left.
    KillTwo,
    /// `kill -9` of all nodes.
    KillAll,
    /// SIGSTOP for the leader, later SIGCONT.
    StopLeader,
    /// SIGSTOP for another node.
    StopFollower,
    /// SIGTERM for the leader, which hands over before it ends.
    EndLeader,
    /// The leader is cut off from everybody.
    CutLeader,
    /// Another node is cut off from everybody.
    CutFollower,
    /// The leader and another node do not reach each other.
    CutPair,
    /// The leader's calls do not reach one node.
    CutOneWay,
    /// Another node's calls do not reach the leader.
    CutOneWayBack,
    /// What the leader sends is lost.
    MuteLeader,
    /// What is sent to the leader is lost.
    DeafLeader,
    /// What another node sends is lost.
    MuteFollower,
    /// No room on the disk of the leader.
    FillLeader,
    /// No room on the disk of another node.
    FillFollower,
    /// Everything between nodes takes long, and some of it is lost at first.
    SlowNetwork,
    /// Another node is asked to lead.
    TransferLeader,
    /// The leader's date jumps, forward or back, and then returns.
    JumpLeader,
    /// That of another node.
    JumpFollower,
}

/// By how much dates jump, in seconds: less than a lease, more than Iceberg lets commits be out of order, and more than a token lasts.
const JUMPS: [i64; 6] = [-3_600, -90, -2, 2, 90, 3_600];

/// A fault with its victims.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// The leader before it.
    leader: usize,
    /// Another node.
    other: usize,
    /// By how many seconds a date jumps.
    jump: i64,
}

impl Fault {
    /// Chooses the victims.
    pub(super) async fn choose(kind: Kind, cluster: &Cluster, random: &mut fastrand::Rng) -> Fault {
        let leader = cluster.leader().await.unwrap_or(0);
        let other = (leader + random.usize(1..NODES)) % NODES;
        Fault { kind, leader, other, jump: JUMPS[random.usize(..JUMPS.len())] }
    }

    /// Whether it can be done here.
    pub(super) fn is_possible(kind: Kind, cluster: &Cluster) -> bool {
        match kind {
            Kind::FillLeader | Kind::FillFollower => cluster.nodes.iter().all(super::node::Node::has_small_disk),
            Kind::JumpLeader | Kind::JumpFollower => cluster.nodes.iter().all(super::node::Node::has_own_date),
            Kind::CutPair | Kind::CutOneWay | Kind::CutOneWayBack | Kind::MuteLeader | Kind::MuteFollower => {
                cluster.network.has_namespaces()
            }
            _ => true,
        }
    }

    /// The nodes that are to go on: each of them, or at least one.
    pub(super) fn survivors(&self) -> Survivors {
        let all = (0..NODES).collect::<Vec<_>>();
        let without = |node: usize| (0..NODES).filter(|other| *other != node).collect::<Vec<_>>();
        let Fault { leader, other, .. } = *self;
        match self.kind {
            Kind::KillTwo | Kind::KillAll => Survivors::None,
            Kind::KillLeader | Kind::StopLeader | Kind::EndLeader | Kind::CutLeader | Kind::DeafLeader => {
                Survivors::Each(without(leader))
            }
            Kind::MuteLeader | Kind::FillLeader => Survivors::Each(without(leader)),
            Kind::KillFollower | Kind::StopFollower | Kind::CutFollower | Kind::MuteFollower | Kind::FillFollower => {
                Survivors::Each(without(other))
            }
            // Which of the two goes on is theirs to find out.
            Kind::CutPair | Kind::CutOneWay | Kind::CutOneWayBack => Survivors::One(all),
            Kind::SlowNetwork | Kind::TransferLeader | Kind::JumpLeader | Kind::JumpFollower => Survivors::Each(all),
        }
    }

    /// The nodes whose process is not there while it lasts.
    pub(super) fn dead(&self) -> Vec<usize> {
        match self.kind {
            Kind::KillLeader | Kind::EndLeader => vec![self.leader],
            Kind::KillFollower => vec![self.other],
            Kind::KillTwo => vec![self.leader, self.other],
            Kind::KillAll => (0..NODES).collect(),
            _ => Vec::new(),
        }
    }

    fn cut(&self) -> Option<Cut> {
        let Fault { leader, other, .. } = *self;
        match self.kind {
            Kind::CutLeader => Some(Cut::Node(leader)),
            Kind::CutFollower => Some(Cut::Node(other)),
            Kind::CutPair => Some(Cut::Pair(leader, other)),
            Kind::CutOneWay => Some(Cut::OneWay(leader, other)),
            Kind::CutOneWayBack => Some(Cut::OneWay(other, leader)),
            Kind::MuteLeader => Some(Cut::Mute(leader)),
            Kind::MuteFollower => Some(Cut::Mute(other)),
            Kind::DeafLeader => Some(Cut::Deaf(leader)),
            _ => None,
        }
    }

    /// Does it.
    pub(super) async fn begin(&self, cluster: &mut Cluster) -> anyhow::Result<()> {
        if let Some(cut) = self.cut() {
            return cluster.network.set(cut, true);
        }
        match self.kind {
            Kind::EndLeader => cluster.nodes[self.leader].ask_to_end(),
            Kind::StopLeader => cluster.nodes[self.leader].pause(true),
            Kind::StopFollower => cluster.nodes[self.other].pause(true),
            Kind::FillLeader => cluster.nodes[self.leader].fill_disk(true)?,
            Kind::FillFollower => cluster.nodes[self.other].fill_disk(true)?,
            Kind::SlowNetwork => network_is(cluster, Duration::from_millis(20), 20),
            Kind::TransferLeader => cluster.transfer_leader(self.other).await,
            Kind::JumpLeader => cluster.nodes[self.leader].jump(self.jump)?,
            Kind::JumpFollower => cluster.nodes[self.other].jump(self.jump)?,
            _ => self.dead().into_iter().for_each(|node| cluster.nodes[node].kill()),
        }
        Ok(())
    }

    /// Takes it back.
    pub(super) fn end(&self, cluster: &mut Cluster) -> anyhow::Result<()> {
        if let Some(cut) = self.cut() {
            return cluster.network.set(cut, false);
        }
        match self.kind {
            Kind::StopLeader => cluster.nodes[self.leader].pause(false),
            Kind::StopFollower => cluster.nodes[self.other].pause(false),
            Kind::FillLeader | Kind::FillFollower => {
                let node = if self.kind == Kind::FillLeader { self.leader } else { self.other };
                cluster.nodes[node].fill_disk(false)?;
                self.start_again(cluster)?;
            }
            Kind::SlowNetwork => usual_network(cluster),
            Kind::TransferLeader => {}
            Kind::JumpLeader => cluster.nodes[self.leader].jump(0)?,
            Kind::JumpFollower => cluster.nodes[self.other].jump(0)?,
            _ => {
                for node in self.dead() {
                    // One that was asked to end may still be at it.
                    cluster.nodes[node].wait();
                    cluster.start_node(node)?;
                }
            }
        }
        Ok(())
    }
}

impl Fault {
    /// Starts a node that could not write to its disk, and has ended, or does only now.
    pub(super) fn start_again(&self, cluster: &mut Cluster) -> anyhow::Result<()> {
        let node = match self.kind {
            Kind::FillLeader => self.leader,
            Kind::FillFollower => self.other,
            _ => return Ok(()),
        };
        if cluster.nodes[node].ended().is_some() {
            cluster.start_node(node)?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} (leader node {}, other node {}", self.kind, self.leader + 1, self.other + 1)?;
        match self.kind {
            Kind::JumpLeader | Kind::JumpFollower => write!(f, ", {:+} s)", self.jump),
            _ => f.write_str(")"),
        }
    }
}

/// Which nodes are to take writes while a fault lasts.
pub(super) enum Survivors {
    /// There is no majority.
    None,
    /// Each of these.
    Each(Vec<usize>),
    /// At least one of these.
    One(Vec<usize>),
}

/// The network as it is without a fault: a short way, and hardly any loss.
pub(super) fn usual_network(cluster: &Cluster) {
    network_is(cluster, Duration::from_micros(200), 1);
}

fn network_is(cluster: &Cluster, delay: Duration, loss_per_mille: u64) {
    cluster.network.conditions.iter().for_each(|conditions| conditions.set(delay, loss_per_mille));
}
