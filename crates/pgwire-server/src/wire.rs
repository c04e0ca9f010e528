//! The buffers between a socket and the protocol: frames in, gathered messages out.
//!
//! What always holds: output goes to the socket only when it is flushed, in one write; input grows only as bytes arrive,
//! not as lengths claim; while a statement runs the socket is watched, so that a client that has gone is noticed, and at
//! most `READ_AHEAD_BYTES` are read ahead. What the messages mean is not known here.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use crate::error::End;
use crate::frame::{self, Expect, Frame};
use crate::limits::{FAREWELL_GRACE, IDLE_BUFFER_BYTES, READ_AHEAD_BYTES, READ_BYTES};
use crate::socket::Socket;

/// A connection's socket and buffers.
pub(crate) struct Wire {
    pub(crate) socket: Socket,
    pub(crate) input: BytesMut,
    /// Messages for the client, gathered until the next flush.
    pub(crate) output: Vec<u8>,
    expect: Expect,
    /// The room made before a read.
    read_bytes: usize,
}

impl Wire {
    /// A connection that expects a password; `input` is what was read beyond the startup packet.
    pub(crate) fn new(socket: Socket, input: BytesMut) -> Self {
        Wire { socket, input, output: Vec::new(), expect: Expect::Password, read_bytes: READ_BYTES }
    }

    /// From here on the messages of a session are expected.
    pub(crate) fn expect_session(&mut self, max_message_bytes: usize) {
        self.expect = Expect::Session { large: max_message_bytes };
    }

    /// Chooses how much to read at once.
    pub(crate) fn set_read_bytes(&mut self, read_bytes: usize) {
        self.read_bytes = read_bytes;
    }

    /// The next message if it has arrived already.
    pub(crate) fn buffered_frame(&mut self) -> Result<Option<Frame>, End> {
        Ok(frame::next_frame(&mut self.input, self.expect)?)
    }

    /// True when the next message has arrived already and is a `Sync`.
    pub(crate) fn sync_follows(&self) -> bool {
        self.input.first() == Some(&b'S')
    }

    /// The next message. Nothing is lost when this future is dropped.
    ///
    /// # Errors
    /// [`End::Disconnected`] when the client has gone, at the end of a message or within one.
    pub(crate) async fn frame(&mut self) -> Result<Frame, End> {
        loop {
            if let Some(frame) = self.buffered_frame()? {
                return Ok(frame);
            }
            self.make_room();
            if self.socket.read_buf(&mut self.input).await? == 0 {
                return Err(End::Disconnected);
            }
        }
    }

    /// Makes room for the next read. A long message gets room as it arrives, twice as much each time, never more than it
    /// says: a client that announces much and sends little costs little.
    fn make_room(&mut self) {
        let claimed = frame::claimed_bytes(&self.input, self.expect).unwrap_or_default();
        let missing = claimed.saturating_sub(self.input.len());
        self.input.reserve(missing.min(self.input.len()).max(self.read_bytes));
    }

    /// Sends what has been gathered.
    pub(crate) async fn flush(&mut self) -> Result<(), End> {
        self.socket.write_all(&self.output).await?;
        self.output.clear();
        if self.socket.is_encrypted() {
            self.socket.flush().await?;
        }
        Ok(())
    }

    /// Gives large buffers back; called when the connection waits for its client.
    pub(crate) fn release_buffers(&mut self) {
        if self.output.is_empty() && self.output.capacity() > IDLE_BUFFER_BYTES {
            self.output = Vec::new();
        }
        if self.input.is_empty() && self.input.capacity() > IDLE_BUFFER_BYTES {
            self.input = BytesMut::new();
        }
        self.read_bytes = READ_BYTES;
    }

    /// Runs `work` to its end while watching the socket.
    ///
    /// # Errors
    /// [`End::Disconnected`] when the client goes meanwhile; `work` is then where it was.
    pub(crate) async fn watch<F: Future>(&mut self, mut work: Pin<&mut F>) -> Result<F::Output, End> {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            match self.poll_read_ahead(cx) {
                Poll::Ready(end) => Poll::Ready(Err(end)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Reads what arrives, up to the limit; ready when the client has gone.
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        while self.input.len() < READ_AHEAD_BYTES {
            // The bytes pass through the stack, so that a statement that runs for long does not hold room for nothing.
            let mut bytes = [0; 16 * 1024];
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(End::from(error)),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(End::Disconnected),
                Poll::Ready(Ok(())) => self.input.extend_from_slice(buffer.filled()),
            }
        }
        // The running statement wakes the task; what the client sends meanwhile waits in the kernel.
        Poll::Pending
    }

    /// Sends what is left and closes, without waiting long for a client that does not read.
    ///
    /// A client that may still be sending (`drain`) is read from until it closes: closing a socket with unread input
    /// resets the connection, and the reset would overtake the message that says why.
    pub(crate) async fn farewell(&mut self, drain: bool) {
        let goodbye = async {
            self.flush().await?;
            self.socket.shutdown().await?;
            if drain {
                loop {
                    self.input.clear();
                    if self.socket.read_buf(&mut self.input).await? == 0 {
                        break;
                    }
                }
            }
            Ok::<(), End>(())
        };
        let _ = tokio::time::timeout(FAREWELL_GRACE, goodbye).await;
    }
}
