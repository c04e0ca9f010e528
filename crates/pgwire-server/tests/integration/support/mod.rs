//! What the tests share: a client that sees every message, a server over the scripted engine.

pub(crate) mod client;
pub(crate) mod double;
pub(crate) mod dump;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wharf_pgwire_server::{Authentication, Options, serve};

use double::Double;

/// A server over the scripted engine on a port of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Arc<Double>,
    pub(crate) shutdown: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Starts a server with settings of the test's choice.
    pub(crate) async fn start(options: Options) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let engine = Arc::new(Double::default());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(listener, engine.clone(), options, Arc::default(), shutdown.clone()));
        Server { address, engine, shutdown, task }
    }

    /// Starts a server that believes everybody.
    pub(crate) async fn trusting() -> Server {
        Server::start(trust()).await
    }

    /// Waits for the server to stop after `shutdown`.
    pub(crate) async fn stopped(self) {
        self.task.await.unwrap().unwrap();
    }
}

/// Options that ask for no password.
pub(crate) fn trust() -> Options {
    Options { authentication: Authentication::Trust, ..Options::default() }
}
