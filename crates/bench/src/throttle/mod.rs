//! A proxy that makes an HTTP server near by as slow as one far away, and counts what it is asked.
//!
//! What always holds: no answer begins sooner than its latency, and bytes pass no faster than the pace, in either direction, over
//! all connections together. Requests and answers are handed on as they are, with their signatures. To each connection belongs one
//! to the server.

mod pace;
mod requests;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, Sleep, sleep_until};

use pace::Pace;
use requests::UnderWay;
pub(crate) use requests::{Answered, Requests, Totals};

/// A timer does not wait for less: a server that sends small pieces would be slower than the pace, were each waited for.
const TIMER: Duration = Duration::from_millis(2);

/// How far away the server is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distance {
    /// From the request to the first byte of its answer, at least.
    pub(crate) first_byte: Duration,
    /// In each direction, over all connections together.
    pub(crate) bytes_per_second: f64,
}

/// The proxy; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Throttle {
    address: SocketAddr,
    requests: Arc<Requests>,
    listener: JoinHandle<()>,
}

/// What its connections share.
#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    first_byte: Duration,
    up: Pace,
    down: Pace,
    requests: Arc<Requests>,
}

impl Throttle {
    /// Listens on a free port of the loopback interface.
    pub(crate) async fn start(server: SocketAddr, distance: Distance) -> anyhow::Result<Throttle> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let requests = Arc::new(Requests::new());
        let shared = Arc::new(Shared {
            server,
            first_byte: distance.first_byte,
            up: Pace::new(distance.bytes_per_second),
            down: Pace::new(distance.bytes_per_second),
            requests: Arc::clone(&requests),
        });
        Ok(Throttle { address, requests, listener: tokio::spawn(accept(listener, shared)) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked.
    pub(crate) fn requests(&self) -> &Arc<Requests> {
        &self.requests
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&shared)))),
                Err(error) => eprintln!("the throttle cannot accept a connection: {error}"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The connection to the server that belongs to a client's.
type Upstream = Arc<Mutex<Option<SendRequest<Paced>>>>;

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Without this, the last part of a request waits for the receipt of the one before.
    let _ = stream.set_nodelay(true);
    let upstream = Upstream::default();
    let service = service_fn(move |request| forward(Arc::clone(&shared), Arc::clone(&upstream), request));
    // A connection that breaks is the client's to make again.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn forward(
    shared: Arc<Shared>,
    upstream: Upstream,
    request: Request<Incoming>,
) -> anyhow::Result<Response<Paced>> {
    let begun = Instant::now();
    let under_way = shared.requests.begin(&request);
    let request = request.map(|body| Paced::new(body, &shared, &under_way, Direction::Up));
    let mut upstream = upstream.lock().await;
    let mut kept = upstream.take();
    if let Some(sender) = &mut kept
        && sender.ready().await.is_err()
    {
        kept = None;
    }
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(shared.server).await?,
    };
    let response = sender.send_request(request).await?;
    *upstream = Some(sender);
    sleep_until(begun + shared.first_byte).await;
    Ok(response.map(|body| Paced::new(body, &shared, &under_way, Direction::Down)))
}

async fn connect(server: SocketAddr) -> anyhow::Result<SendRequest<Paced>> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender, or with the server, which the next request finds out.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Up,
    Down,
}

/// A body that keeps the pace.
#[derive(Debug)]
struct Paced {
    inner: Incoming,
    shared: Arc<Shared>,
    under_way: Arc<UnderWay>,
    direction: Direction,
    /// What passes now, and until when.
    passing: Option<(Pin<Box<Sleep>>, Frame<Bytes>)>,
}

impl Paced {
    fn new(inner: Incoming, shared: &Arc<Shared>, under_way: &Arc<UnderWay>, direction: Direction) -> Paced {
        let (shared, under_way) = (Arc::clone(shared), Arc::clone(under_way));
        Paced { inner, shared, under_way, direction, passing: None }
    }

    fn way(&self) -> (&Pace, &AtomicU64) {
        match self.direction {
            Direction::Up => (&self.shared.up, &self.under_way.bytes_up),
            Direction::Down => (&self.shared.down, &self.under_way.bytes_down),
        }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if this.passing.is_none() {
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended),
            };
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            let (pace, counter) = this.way();
            counter.fetch_add(bytes, Ordering::Relaxed);
            let passed = pace.passed(bytes);
            if passed < Instant::now() + TIMER {
                return Poll::Ready(Some(Ok(frame)));
            }
            this.passing = Some((Box::pin(sleep_until(passed)), frame));
        }
        if let Some((passing, _)) = &mut this.passing {
            ready!(passing.as_mut().poll(context));
        }
        Poll::Ready(this.passing.take().map(|(_, frame)| Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.passing.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Only asked before the first byte.
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A server that answers every request with so many bytes, in pieces.
    async fn server(bytes: usize, piece: usize) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut request = vec![0; 4096];
                    while stream.read(&mut request).await.unwrap_or(0) > 0 {
                        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
                        stream.write_all(head.as_bytes()).await.unwrap();
                        for piece in vec![b'x'; bytes].chunks(piece) {
                            stream.write_all(piece).await.unwrap();
                            stream.flush().await.unwrap();
                            tokio::task::yield_now().await;
                        }
                    }
                });
            }
        });
        address
    }

    async fn get(address: SocketAddr) -> usize {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            "GET /lake/t/data/a.parquet HTTP/1.1\r\nhost: here\r\nrange: bytes=0-9\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let body = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        answer.len() - body
    }

    #[tokio::test]
    async fn answers_are_late_slow_and_counted() {
        let distance = Distance { first_byte: Duration::from_millis(50), bytes_per_second: 1e6 };
        let throttle = Throttle::start(server(100_000, 100_000).await, distance).await.unwrap();
        let begun = Instant::now();
        let (one, two) = tokio::join!(get(throttle.address()), get(throttle.address()));
        // 200 kB at 1 MB/s, of which 5 ms may be caught up on, and 2 ms are not waited for.
        assert!(begun.elapsed() > Duration::from_millis(50 + 190), "{:?}", begun.elapsed());
        assert_eq!((one, two), (100_000, 100_000));
        let (answered, most) = throttle.requests().take();
        assert_eq!((answered.len(), most), (2, 2));
        assert_eq!(answered[0].range.as_deref(), Some("bytes=0-9"));
        let totals = Totals { requests: 2, bytes_down: 200_000, bytes_up: 0 };
        assert_eq!(Totals::by_kind(&answered).into_values().collect::<Vec<_>>(), [totals]);
        assert!(throttle.requests().take().0.is_empty());
    }

    #[tokio::test]
    async fn small_pieces_are_as_fast_as_large_ones() {
        let distance = Distance { first_byte: Duration::ZERO, bytes_per_second: 100e6 };
        let throttle = Throttle::start(server(10_000_000, 4096).await, distance).await.unwrap();
        let begun = Instant::now();
        assert_eq!(get(throttle.address()).await, 10_000_000);
        // A tenth of a second; a wait for each piece would take more than two.
        assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    }
}
