//! Questions to all other nodes of the cluster at once, which each of them answers with yes or no.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use wharf_consensus::Group;
use wharf_peers::PeerChannels;

/// The message that says yes, in JSON.
const YES: &[u8] = b"true";
/// The message that says no.
const NO: &[u8] = b"false";

/// An answer as a message.
pub(super) fn message(yes: bool) -> Bytes {
    Bytes::from_static(if yes { YES } else { NO })
}

/// The other nodes.
pub(super) struct Others {
    group: Arc<Group>,
    channels: Arc<PeerChannels>,
}

impl Others {
    /// Those of a group, as it is when they are asked.
    pub(super) fn new(group: &Arc<Group>, channels: &Arc<PeerChannels>) -> Others {
        Others { group: Arc::clone(group), channels: Arc::clone(channels) }
    }

    /// What they answer, in the order in which they do. A node that does not answer in time, or does not know the
    /// service, is left out.
    pub(super) fn ask(&self, service: &'static str, request: Bytes, timeout: Duration) -> impl Stream<Item = bool> {
        let status = self.group.status();
        let others = status.members.into_iter().filter(|member| member.node != status.node);
        let answers = others.map(|member| {
            let (channels, request) = (Arc::clone(&self.channels), request.clone());
            async move {
                let answer = channels.call(&member.address, service, request, timeout).await;
                if let Err(error) = &answer {
                    tracing::debug!(node = member.node, service, %error, "a node did not answer");
                }
                answer.ok()
            }
        });
        let answers: FuturesUnordered<_> = answers.collect();
        answers.filter_map(|answer| ready(answer.map(|answer| *answer == *YES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_json() {
        assert_eq!(
            [true, false].map(|yes| serde_json::from_slice::<bool>(&message(yes)).ok()),
            [Some(true), Some(false)]
        );
    }
}
