//! The simple query protocol: a text of statements, answered one after the other.
//!
//! What always holds: several statements in one text count together or not at all; the last one is reported complete only
//! when they do. Rows go as text.

use crate::backend::{Backend, Outcome, Session, TransactionStatus};
use crate::encode::{Format, Formats, messages};
use crate::error::Failure;
use crate::portal::{Completion, RowCursor};
use crate::protocol::{Connection, watched};

impl<B: Backend> Connection<'_, B> {
    /// Answers a `Query`, all but `ReadyForQuery`.
    pub(crate) async fn simple_query(&mut self, sql: &str) -> Result<(), Failure> {
        self.unnamed = None;
        self.portals.forget("");
        let statements = self.session.split(sql)?;
        let Some((last, earlier)) = statements.split_last() else {
            messages::empty_query_response(&mut self.wire.output);
            return self.end_implicit(true).await;
        };
        if !earlier.is_empty() {
            self.session.begin_implicit();
            self.implicit_block = true;
        }
        for statement in earlier {
            let completion = self.simple_statement(statement).await?;
            completion.send(&mut self.wire.output);
            if self.session.transaction_status() == TransactionStatus::Idle {
                self.portals.clear();
            }
        }
        let completion = self.simple_statement(last).await?;
        self.end_implicit(true).await?;
        self.send_notices();
        completion.send(&mut self.wire.output);
        Ok(())
    }

    /// Runs a statement and sends what it gives, all but its completion.
    async fn simple_statement(
        &mut self,
        statement: &<B::Session as Session>::Statement,
    ) -> Result<Completion, Failure> {
        let outcome = watched(self.wire, &self.cancel, Box::pin(self.session.run(statement))).await?;
        self.send_notices();
        let completion = match outcome {
            Outcome::Empty => Completion::Empty,
            Outcome::Complete(tag) => Completion::Tag(tag),
            Outcome::Rows(rows) => {
                Self::check_columns(rows.columns.len())?;
                let formats = Formats::All(Format::Text);
                messages::row_description(&mut self.wire.output, &rows.columns, &formats);
                let mut cursor = RowCursor::new(rows, formats, self.session.cancel_token());
                let sent = cursor.send(self.wire, &self.cancel, &self.session.text_format(), u64::MAX).await?;
                self.send_notices();
                cursor.completion(sent.rows)
            }
            // Boxed, like all that is large and rarer than a query, whose future is copied about.
            Outcome::CopyIn(copy) => Completion::Tag(Box::pin(self.copy_in(copy)).await?),
            Outcome::CopyOut(copy) => Completion::Tag(Box::pin(self.copy_out(copy)).await?),
        };
        Ok(completion)
    }
}
