//! Which formats of the catalog the members read: a command that one of them could not read must not get into the log.
//!
//! `wharf-catalog` writes each command in the lowest format that can say it, so most can be read by all. One that needs
//! a newer format is taken only when all members are known to read that.
//!
//! The leader asks all members anew for each such command. They are rare (definitions, no writes of rows), and what a
//! node said before may not be true any more: it keeps its number and address when another build is started in its
//! place. A member that does not answer is taken for what it last said. One that has not said anything since this node
//! started could be of the build before, and would stop at the command when it comes back, with nothing to be done but
//! to upgrade it; so the command is refused until that member is there or is removed. This lasts no longer than until
//! such a command was applied once: a state that needs a format itself is proof that all members read it, and nobody
//! joins who does not. When what needed it is gone from the state, a node that does not read it can join again; it stops
//! at such a command if the log has one yet, and can be started again when snapshots have taken the command's place.

use std::time::Duration;

use futures::future::join_all;

use crate::error::ConsensusError;
use crate::node::Node;
use crate::raft_types::{CommandAnswer, NodeId};
use crate::runtime::{self, Moment};
use crate::transport::Peer;
use crate::wire::Join;

impl Node {
    /// Has a command that is written in a format applied by this node as the leader.
    ///
    /// # Errors
    /// [`ConsensusError::OlderMembers`] when not all members are known to read it; otherwise the proposer's.
    pub(crate) async fn propose_as_leader(
        &self,
        format: u16,
        command: Vec<u8>,
        deadline: Moment,
    ) -> Result<CommandAnswer, ConsensusError> {
        if self.all_read(format) {
            return self.proposer()?.propose(command, deadline).await;
        }
        // Nobody joins between the question and the command.
        let changing = runtime::until(deadline, self.changing.lock()).await;
        let _changing = changing.ok_or(ConsensusError::Timeout { after: self.options.propose_timeout })?;
        self.ask_members(format, deadline).await?;
        self.proposer()?.propose(command, deadline).await
    }

    /// Does the node that is taken for the leader read a format? False when it does not answer: then it is not to be
    /// asked for anything.
    ///
    /// # Errors
    /// [`ConsensusError::OlderMembers`] when it does not read it: it would have no answer to such a command.
    pub(crate) async fn leader_reads(
        &self,
        leader: &Peer,
        format: u16,
        deadline: Moment,
    ) -> Result<bool, ConsensusError> {
        if self.all_read(format) {
            return Ok(true);
        }
        match self.peers.reads(leader, self.hello_timeout(deadline)).await {
            Some(reads) if reads < format => {
                Err(ConsensusError::OlderMembers { format, members: vec![(leader.id, Some(reads))] })
            }
            reads => Ok(reads.is_some()),
        }
    }

    /// Refuses a new node that does not read the catalog as it is.
    ///
    /// # Errors
    /// [`ConsensusError::ChangeRefused`].
    pub(crate) fn check_joiner_reads(&self, join: &Join) -> Result<(), ConsensusError> {
        let (needed, reads) = (self.applied.state().format(), join.reads());
        if reads < needed {
            let reason = format!(
                "the catalog is in version {needed} of its format, and the node reads up to version {reads}: upgrade it"
            );
            return Err(ConsensusError::ChangeRefused { reason });
        }
        Ok(())
    }

    /// Is it known without asking that all members read a format?
    fn all_read(&self, format: u16) -> bool {
        format <= wharf_catalog::OLDEST_FORMAT || format <= self.applied.state().format()
    }

    /// Asks all members whether they read a format.
    async fn ask_members(&self, format: u16, deadline: Moment) -> Result<(), ConsensusError> {
        let timeout = self.hello_timeout(deadline);
        let own = (self.id, Some(self.peers.caller().hello.reads()));
        let ask = |peer: Peer| async move { (peer.id, self.peers.reads(&peer, timeout).await) };
        let asked = join_all(self.others().into_iter().map(ask)).await;
        let reads_it = |reads: Option<u16>| reads.is_some_and(|reads| reads >= format);
        let older = [own].into_iter().chain(asked).filter(|(_, reads)| !reads_it(*reads));
        let members = older.collect::<Vec<(NodeId, Option<u16>)>>();
        if members.is_empty() { Ok(()) } else { Err(ConsensusError::OlderMembers { format, members }) }
    }

    /// The members but this node.
    fn others(&self) -> Vec<Peer> {
        let metrics = self.metrics.borrow();
        let nodes = metrics.membership_config.membership().nodes().filter(|(id, _)| **id != self.id);
        nodes.map(|(id, member)| Peer { id: *id, address: member.addr.clone() }).collect()
    }

    /// How long to wait for what a member says: it is known or in touch, as a rule, and the command must not wait for
    /// one that is gone.
    fn hello_timeout(&self, deadline: Moment) -> Duration {
        runtime::left(deadline).min(self.options.election_timeout.0)
    }
}
