//! Which format version it takes to write a command or a state.
//!
//! Both are written in the lowest version that can say them. So nodes of the version before read what is written, as
//! long as nothing new is used, and the same state has the same bytes on all of them. Whoever adds a variant or a field
//! to what is written says here which version has it.

use crate::command::{Answer, Command, CommentTarget, Effect, Envelope};
use crate::error::CatalogError;
use crate::model::RelationKind;
use crate::state::State;

/// The format that every build reads.
pub const OLDEST_FORMAT: u16 = 1;
/// The newest format that this build reads.
pub const NEWEST_FORMAT: u16 = EXTERNAL_TABLES;
/// The format that has external tables, and is otherwise version 1.
const EXTERNAL_TABLES: u16 = 2;

impl Envelope {
    /// The lowest format that can say it.
    pub fn format(&self) -> u16 {
        self.command.format()
    }
}

impl Command {
    /// The lowest format that can say it.
    pub fn format(&self) -> u16 {
        match self {
            Command::CreateForeignTable { .. } => EXTERNAL_TABLES,
            Command::DropRelations { kind, .. }
            | Command::RenameRelation { kind, .. }
            | Command::MoveRelation { kind, .. }
            | Command::Comment { on: CommentTarget::Relation { kind, .. }, .. } => of_kind(*kind),
            Command::CloneTable { create, .. } => create.format(),
            Command::Batch(commands) => highest(commands.iter().map(Command::format)),
            Command::Bootstrap { .. }
            | Command::CreateSchema { .. }
            | Command::DropSchemas { .. }
            | Command::RenameSchema { .. }
            | Command::CreateTable { .. }
            | Command::CreateView { .. }
            | Command::RenameColumn { .. }
            | Command::Comment { .. }
            | Command::CreateRole { .. }
            | Command::AlterRolePassword { .. }
            | Command::DropRoles { .. }
            | Command::CommitTables { .. }
            | Command::UndropTable { .. }
            | Command::ForgetDropped { .. }
            | Command::Expect { .. }
            | Command::AlterTable { .. }
            | Command::ChangeOwner { .. }
            | Command::SetSchemaProperties { .. } => OLDEST_FORMAT,
        }
    }
}

impl State {
    /// The lowest format that can say it: what there is and what was answered. Looks at all of it.
    pub fn format(&self) -> u16 {
        let relations = self.relations.values().map(|relation| of_kind(relation.kind()));
        let answers = self.requests.values().map(|answer| of_answer(answer));
        highest(relations.chain(answers))
    }
}

fn of_answer(answer: &Result<Answer, CatalogError>) -> u16 {
    match answer {
        Ok(answer) => of_effect(&answer.effect),
        Err(CatalogError::UndefinedTable { kind, .. }) => of_kind(*kind),
        Err(CatalogError::WrongObjectType { expected, found, .. }) => {
            of_kind(*expected).max(found.map_or(OLDEST_FORMAT, of_kind))
        }
        // No other names a kind.
        Err(_) => OLDEST_FORMAT,
    }
}

fn of_effect(effect: &Effect) -> u16 {
    match effect {
        Effect::Dropped { relations } => highest(relations.iter().map(|relation| of_kind(relation.kind))),
        Effect::Batch(effects) => highest(effects.iter().map(of_effect)),
        Effect::Nothing | Effect::Created { .. } | Effect::Changed { .. } | Effect::Committed { .. } => OLDEST_FORMAT,
    }
}

/// Does it tell more that a relation was found to be of this kind than that it is not of the kind that was expected? Between
/// tables and views one follows from the other, and version 1 has no place for it.
pub(crate) fn tells(expected: RelationKind, found: RelationKind) -> bool {
    [expected, found].contains(&RelationKind::Foreign)
}

fn of_kind(kind: RelationKind) -> u16 {
    match kind {
        RelationKind::Table | RelationKind::View => OLDEST_FORMAT,
        RelationKind::Foreign => EXTERNAL_TABLES,
    }
}

fn highest(formats: impl Iterator<Item = u16>) -> u16 {
    formats.max().unwrap_or(OLDEST_FORMAT)
}
