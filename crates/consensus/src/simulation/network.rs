//! A simulated network: it loses, delays, repeats and reorders messages, and is cut in pieces, also in one direction only.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::machine::{Machine, WORLD};
use super::runtime::Sleep;
use super::world::World;
use crate::runtime;
use crate::transport::{Peer, Transport, TransportError};

/// How the network is.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    /// Of a thousand messages, so many are lost.
    pub(crate) loss: u64,
    /// Of a thousand requests, so many arrive twice.
    pub(crate) repeats: u64,
    /// The longest time a message takes.
    pub(crate) delay: Duration,
    /// From whom to whom nothing arrives.
    pub(crate) cut: BTreeSet<(u64, u64)>,
}

impl Default for Weather {
    fn default() -> Self {
        Weather { loss: 0, repeats: 0, delay: Duration::from_millis(2), cut: BTreeSet::new() }
    }
}

/// The network between the nodes of a world.
#[derive(Default)]
pub(crate) struct Network {
    pub(crate) weather: Mutex<Weather>,
}

impl Network {
    /// How long a message takes; none for one that is lost.
    fn travel(&self, machine: &Machine, from: u64, to: u64) -> Option<Duration> {
        let weather = self.weather.lock();
        let lost = machine.happens(weather.loss) || weather.cut.contains(&(from, to));
        let delay = machine.up_to(weather.delay);
        (!lost).then_some(delay)
    }
}

/// The transport of one node.
pub(crate) struct SimulatedTransport {
    pub(crate) world: Arc<World>,
    pub(crate) node: u64,
}

#[async_trait]
impl Transport for SimulatedTransport {
    async fn call(&self, peer: &Peer, request: Bytes, timeout: Duration) -> Result<Bytes, TransportError> {
        let deadline = runtime::now() + timeout;
        let (answer, answered) = oneshot::channel();
        {
            let machine = Machine::current().unwrap();
            let (world, from, address) = (Arc::clone(&self.world), self.node, peer.address.clone());
            if machine.happens(world.network.weather.lock().repeats) {
                let (repeated, _) = oneshot::channel();
                machine.spawn_on(WORLD, carry(Arc::clone(&world), from, address.clone(), request.clone(), repeated));
            }
            // What is on its way arrives, even when its sender is no more.
            machine.spawn_on(WORLD, carry(world, from, address, request, answer));
        }
        match runtime::until(deadline, answered).await {
            Some(Ok(answer)) => answer,
            _ => {
                runtime::sleep(runtime::left(deadline)).await;
                Err(TransportError::Timeout)
            }
        }
    }
}

/// Takes a request there and its answer back.
async fn carry(
    world: Arc<World>,
    from: u64,
    address: String,
    request: Bytes,
    answer: oneshot::Sender<Result<Bytes, TransportError>>,
) {
    let with = |run: &dyn Fn(&Machine) -> Option<Duration>| run(&Machine::current().unwrap());
    let Some(to) = world.node_at(&address) else {
        drop(answer.send(Err(TransportError::Unreachable("there is no such address".to_owned()))));
        return;
    };
    let Some(there) = with(&|machine| world.network.travel(machine, from, to)) else { return };
    Sleep::new(there).await;
    let Some(group) = world.group(to) else {
        if let Some(back) = with(&|machine| world.network.travel(machine, to, from)) {
            Sleep::new(back).await;
            drop(answer.send(Err(TransportError::Unreachable("nobody listens".to_owned()))));
        }
        return;
    };
    let (handled, result) = oneshot::channel();
    Machine::current().unwrap().spawn_on(to, async move { drop(handled.send(group.handle(request).await)) });
    let Ok(result) = result.await else { return };
    let Some(back) = with(&|machine| world.network.travel(machine, to, from)) else { return };
    Sleep::new(back).await;
    drop(answer.send(Ok(result)));
}
