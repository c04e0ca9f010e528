//! Portals: statements with their values, ready to run or half way through their rows.
//!
//! What always holds: a portal keeps its stream and its place in the current batch, so that a row limit costs nothing;
//! rows go out as the client takes them, at most about 64 KiB being held for it. A portal that has given all its rows
//! gives none when it is run again, and one that gave none cannot be run again, as in PostgreSQL.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use wharf_values::TextFormat;

use crate::backend::{Prepared, ResultColumn, RowStream};
use crate::cancel::CancelHandle;
use crate::encode::rows::BatchEncoder;
use crate::encode::{Formats, messages};
use crate::error::Failure;
use crate::limits::FLUSH_BYTES;
use crate::protocol::watched;
use crate::wire::Wire;

/// A statement with its values.
pub(crate) struct Portal<P> {
    /// `None` for a text without a statement.
    pub(crate) prepared: Option<Arc<P>>,
    /// The formats of the rows.
    pub(crate) formats: Formats,
    pub(crate) state: PortalState,
}

/// How far a portal is.
pub(crate) enum PortalState {
    /// It has not run yet.
    Bound(Vec<Option<ArrayRef>>),
    /// It has rows left, or may have.
    Rows(RowCursor),
    /// It has given all its rows; the tag and whether a count follows.
    Exhausted {
        /// The command tag.
        tag: String,
        /// Whether the number of rows follows.
        counts: bool,
    },
    /// It is done and gave no rows.
    Done,
}

/// How a statement ended.
pub(crate) enum Completion {
    /// There was no statement.
    Empty,
    /// The command tag.
    Tag(String),
    /// The command tag and a number of rows.
    Rows(String, u64),
}

impl Completion {
    /// Appends the message that says so.
    pub(crate) fn send(&self, out: &mut Vec<u8>) {
        match self {
            Completion::Empty => messages::empty_query_response(out),
            Completion::Tag(tag) => messages::command_complete(out, tag),
            Completion::Rows(tag, rows) => messages::command_complete_rows(out, tag, *rows),
        }
    }
}

/// The rows of a statement on their way to the client.
pub(crate) struct RowCursor {
    stream: RowStream,
    formats: Formats,
    batch: Option<BatchEncoder>,
    /// Stops the statement.
    token: CancellationToken,
}

/// What one run of a cursor did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// How many rows went out.
    pub(crate) rows: u64,
    /// The limit was reached: there may be more.
    pub(crate) suspended: bool,
}

impl RowCursor {
    /// The rows of a statement that has just been started; `token` stops it.
    pub(crate) fn new(stream: RowStream, formats: Formats, token: CancellationToken) -> Self {
        RowCursor { stream, formats, batch: None, token }
    }

    /// Sends rows until they end or `max_rows` have been sent. Like PostgreSQL it does not look whether there would have
    /// been more when the limit is reached.
    pub(crate) async fn send(
        &mut self,
        wire: &mut Wire,
        cancel: &CancelHandle,
        text_format: &TextFormat,
        max_rows: u64,
    ) -> Result<Sent, Failure> {
        let _sending = cancel.sending(self.token.clone());
        let columns: Arc<[ResultColumn]> = self.stream.columns.clone();
        let mut rows = 0;
        loop {
            if let Some(batch) = &mut self.batch {
                while !batch.is_finished() && rows < max_rows {
                    rows += batch.append_rows(&mut wire.output, FLUSH_BYTES, max_rows - rows)?;
                    if wire.output.len() >= FLUSH_BYTES {
                        wire.flush().await?;
                    }
                }
                if rows >= max_rows {
                    return Ok(Sent { rows, suspended: true });
                }
                self.batch = None;
            }
            let batches = &mut self.stream.batches;
            let next = Box::pin(async { batches.next().await.transpose() });
            match watched(wire, cancel, next).await? {
                Some(batch) => self.batch = Some(BatchEncoder::new(&batch, &columns, &self.formats, text_format)?),
                None => return Ok(Sent { rows, suspended: false }),
            }
        }
    }

    /// How the statement ended after `rows` rows.
    pub(crate) fn completion(self, rows: u64) -> Completion {
        match self.stream.counts {
            true => Completion::Rows(self.stream.tag, rows),
            false => Completion::Tag(self.stream.tag),
        }
    }

    /// The tag and whether a count follows, for a portal that is run again.
    pub(crate) fn tag(&self) -> (String, bool) {
        (self.stream.tag.clone(), self.stream.counts)
    }
}

/// The portals of a session.
pub(crate) struct Portals<P> {
    unnamed: Option<Portal<P>>,
    named: HashMap<Box<str>, Portal<P>>,
}

impl<P> Default for Portals<P> {
    fn default() -> Self {
        Portals { unnamed: None, named: HashMap::new() }
    }
}

impl<P: Prepared> Portals<P> {
    /// The portal of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&Portal<P>> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) }
    }

    /// Keeps a portal under a name, in place of one that has it.
    pub(crate) fn put(&mut self, name: &str, portal: Portal<P>) {
        if name.is_empty() {
            self.unnamed = Some(portal);
        } else {
            self.named.insert(Box::from(name), portal);
        }
    }

    /// Takes the portal of a name out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Portal<P>> {
        if name.is_empty() { self.unnamed.take() } else { self.named.remove(name) }
    }

    /// Forgets the portal of a name, if there is one.
    pub(crate) fn forget(&mut self, name: &str) {
        drop(self.take(name));
    }

    /// Forgets all of them: their transaction has ended.
    pub(crate) fn clear(&mut self) {
        self.unnamed = None;
        self.named.clear();
    }

    /// How many have names.
    pub(crate) fn len(&self) -> usize {
        self.named.len()
    }
}
