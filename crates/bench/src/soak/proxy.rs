//! A TCP proxy before a node's port for the others, which delays what passes, and now and then delays it as long as TCP does when a
//! packet is lost and sent again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, tcp};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// How long a lost packet takes to arrive: what TCP waits for before it sends again.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// A node that cannot be reached by then is not there.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// So many bytes pass at a time.
const CHUNK_BYTES: usize = 16 << 10;
/// So many of these are on the way at most, as in TCP's window.
const WINDOW_CHUNKS: usize = 64;

/// How the way to a node is.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    delay_us: AtomicU64,
    loss_per_mille: AtomicU64,
    held: AtomicBool,
    released: Notify,
}

impl Conditions {
    /// Everything takes so long, and of a thousand pieces so many are lost at first.
    pub(super) fn set(&self, delay: Duration, loss_per_mille: u64) {
        self.delay_us.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.loss_per_mille.store(loss_per_mille, Ordering::Relaxed);
    }

    /// Holds back what is sent to the node, or lets it go.
    pub(super) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
        self.released.notify_waiters();
    }

    /// How long the next piece takes.
    fn delay(&self, random: &mut fastrand::Rng) -> Duration {
        let delay = Duration::from_micros(self.delay_us.load(Ordering::Relaxed));
        let lost = random.u64(..1_000) < self.loss_per_mille.load(Ordering::Relaxed);
        if lost { delay + RETRANSMISSION } else { delay }
    }

    /// Waits until what is sent to the node is not held back.
    async fn passable(&self) {
        loop {
            let released = self.released.notified();
            if !self.held.load(Ordering::SeqCst) {
                return;
            }
            released.await;
        }
    }
}

/// A running proxy; dropping it ends it and its connections.
pub(super) struct Proxy {
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Opens a proxy on one address to another. It calls the node from its own address.
    pub(super) async fn open(
        listen: SocketAddr,
        target: SocketAddr,
        conditions: Arc<Conditions>,
        seed: u64,
    ) -> std::io::Result<Proxy> {
        let listener = TcpListener::bind(listen).await?;
        let mut random = fastrand::Rng::with_seed(seed);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((caller, _)) = accepted {
                            let (conditions, random) = (Arc::clone(&conditions), random.fork());
                            connections.spawn(serve(caller, listen, target, conditions, random));
                        }
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Proxy { task })
    }
}

async fn serve(
    caller: TcpStream,
    from: SocketAddr,
    target: SocketAddr,
    conditions: Arc<Conditions>,
    mut random: fastrand::Rng,
) {
    let Ok(socket) = TcpSocket::new_v4() else { return };
    if socket.bind(SocketAddr::new(from.ip(), 0)).is_err() {
        return;
    }
    let Ok(Ok(node)) = tokio::time::timeout(CONNECT_LIMIT, socket.connect(target)).await else { return };
    let _ = (caller.set_nodelay(true), node.set_nodelay(true));
    let ((caller_reads, caller_writes), (node_reads, node_writes)) = (caller.into_split(), node.into_split());
    let back = pipe(node_reads, caller_writes, Arc::clone(&conditions), random.fork());
    let there = pipe(caller_reads, node_writes, conditions, random);
    // One side that is closed closes the other: HTTP/2 has no use for halves.
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

/// Pieces are on their way at the same time, and arrive in their order.
async fn pipe(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    conditions: Arc<Conditions>,
    mut random: fastrand::Rng,
) {
    let (sender, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(WINDOW_CHUNKS);
    let arriving = Arc::clone(&conditions);
    let reads = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let arrives = Instant::now() + conditions.delay(&mut random);
            if sender.send((arrives, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writes = async move {
        while let Some((arrives, bytes)) = on_the_way.recv().await {
            // One that is late holds up those behind it.
            tokio::time::sleep_until(arrives).await;
            arriving.passable().await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    let mut writes = std::pin::pin!(writes);
    tokio::select! {
        () = reads => writes.await,
        () = &mut writes => {}
    }
}
