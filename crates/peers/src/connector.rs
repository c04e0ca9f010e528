//! Making a connection to a peer, within the time it may take, with the certificates of that moment.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::identity::Identity;
use crate::stream::PeerStream;

/// Where to, and as whom.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) timeout: Duration,
}

impl Connector {
    /// A connection. The peer has proved to be who answers to the host's name; whether it takes our certificate is heard with
    /// the first bytes it sends.
    pub(crate) async fn connect(self) -> io::Result<PeerStream> {
        let timeout = self.timeout;
        tokio::time::timeout(timeout, self.shake_hands()).await.unwrap_or_else(|_| {
            let message = format!("no connection within {} ms", timeout.as_millis());
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        })
    }

    async fn shake_hands(self) -> io::Result<PeerStream> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let Some(identity) = self.identity else { return Ok(PeerStream::Plain(stream)) };
        let name = ServerName::try_from(self.host)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "no certificate can be for this host's name"))?;
        let stream = TlsConnector::from(identity.client()).connect(name, stream).await?;
        Ok(PeerStream::Tls(Box::new(TlsStream::Client(stream))))
    }
}
