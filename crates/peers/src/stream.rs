//! A connection between peers: a socket, encrypted or not.
//!
//! What always holds: once a port is closed, nothing is written to the connections it has accepted. What answers calls is dropped
//! then in no particular order, and a stream that was cut off must not look like one that is complete.
//!
//! A frame's head and its contents are written at once: each by itself would be a packet.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsStream;
use tonic::transport::server::Connected;

/// The bytes that go to and fro.
pub(crate) enum PeerStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for PeerStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            PeerStream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            PeerStream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            PeerStream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            PeerStream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            PeerStream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            PeerStream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            PeerStream::Plain(stream) => stream.is_write_vectored(),
            PeerStream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            PeerStream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            PeerStream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            PeerStream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            PeerStream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A connection that was accepted, and is counted as long as it lives.
pub(crate) struct Accepted {
    pub(crate) stream: PeerStream,
    pub(crate) peer: SocketAddr,
    /// Whether the port is closed.
    pub(crate) closed: Arc<AtomicBool>,
    pub(crate) _place: OwnedSemaphorePermit,
}

impl Accepted {
    fn open(&self) -> io::Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the port is closed")),
            false => Ok(()),
        }
    }
}

impl Connected for Accepted {
    type ConnectInfo = SocketAddr;

    fn connect_info(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for Accepted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.open()?;
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.open()?;
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open()?;
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn nothing_is_said_once_the_port_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        let (closed, places) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(1)));
        let mut accepted = Accepted {
            stream: PeerStream::Plain(stream),
            peer: address,
            closed: Arc::clone(&closed),
            _place: places.acquire_owned().await.unwrap(),
        };
        assert!(accepted.is_write_vectored());
        assert_eq!(accepted.write_vectored(&[IoSlice::new(b"ro"), IoSlice::new(b"ws")]).await.unwrap(), 4);
        closed.store(true, Ordering::Release);
        assert_eq!(accepted.write_all(b"the end").await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        let parts = [IoSlice::new(b"the"), IoSlice::new(b" end")];
        assert_eq!(accepted.write_vectored(&parts).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        drop(accepted);
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"rows");
    }
}
