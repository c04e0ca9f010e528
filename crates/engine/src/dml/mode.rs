//! Whether changed rows are taken out of their files, or marked as deleted where they are.
//!
//! A table says it by Iceberg's own properties, `write.delete.mode`, `write.update.mode` and `write.merge.mode`. Copy-on-write, the
//! default, makes writing slower and reading fast; merge-on-read the other way round. INSERT .. ON CONFLICT goes by the mode of MERGE.

use wharf_lake::LakeTable;

use super::Command;

/// How rows of a table go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The files that have them are written again.
    CopyOnWrite,
    /// Delete files say where they are.
    MergeOnRead,
}

impl Mode {
    /// The mode of a statement on a table.
    pub(super) fn of(command: Command, table: &LakeTable) -> Mode {
        let property = match command {
            Command::Delete => "write.delete.mode",
            Command::Update => "write.update.mode",
            Command::Merge | Command::Insert | Command::InsertOrNothing | Command::InsertOrUpdate => "write.merge.mode",
        };
        match table.properties().get(property) {
            Some(mode) if mode.eq_ignore_ascii_case("merge-on-read") => Mode::MergeOnRead,
            _ => Mode::CopyOnWrite,
        }
    }
}
