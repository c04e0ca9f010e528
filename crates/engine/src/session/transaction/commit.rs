//! The commit: one command for all that a transaction has done, made anew when others were faster.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;
use wharf_catalog::{CatalogError, Command, DroppedRelation, Effect, State, TableChange};
use wharf_lake::commit::{self as lake, Edit, Step, Uncommitted};
use wharf_values::SqlError;

use super::{Entry, Operation, Transaction, apply, change_for, conflict, dropped, make, moved};
use crate::engine::Engine;
use crate::error::{from_catalog, from_lake};

/// From this attempt on a writer that lost waits a little.
const ATTEMPTS_AT_ONCE: usize = 2;
/// The longest such wait.
const SPREAD_MS: u128 = 20;

impl Transaction {
    /// Makes everything count, in one command.
    ///
    /// # Errors
    /// `40001` when another transaction changed what this one replaced or defined, `42P01` when a table was dropped, and what
    /// the catalog answers to a definition that is not possible any more, such as `42P07` for a name that was taken.
    pub(crate) async fn commit(mut self, engine: &Engine) -> Result<(), SqlError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let mut heads = match (self.reads(), &self.base) {
            (Some(reads), Some(origin)) => reads.heads(origin),
            _ => HashMap::new(),
        };
        for attempt in 0..engine.options.commit_attempts.max(1) {
            if attempt > ATTEMPTS_AT_ONCE {
                // Spread writers that keep meeting; bounded, and different for each.
                let spread = (Uuid::new_v4().as_u128() % SPREAD_MS) as u64;
                tokio::time::sleep(std::time::Duration::from_millis(spread)).await;
            }
            // Side by side: however many tables there are, it is a second at most.
            futures::future::join_all(self.entries.iter().filter_map(|entry| match &entry.operation {
                Operation::Steps { table, .. } => Some(engine.external_turns.wait(*table)),
                Operation::Define { .. } => None,
            }))
            .await;
            let Some(command) = self.command(&heads) else { return Ok(()) };
            self.set_in_doubt(true);
            let Err(refused) = engine.try_propose(command).await? else {
                return Ok(());
            };
            self.set_in_doubt(false);
            match refused {
                CatalogError::CommitConflict { .. } | CatalogError::DefinitionsChanged => {
                    let fresh = engine.instant().await?;
                    self.reads.check(engine, &mut heads, &fresh).await?;
                    self.rebase(engine, fresh).await?;
                }
                other => return Err(from_catalog(&other)),
            }
        }
        Err(conflict().with_detail("Other transactions kept changing the same table."))
    }

    fn set_in_doubt(&mut self, in_doubt: bool) {
        self.entries.iter_mut().for_each(|entry| entry.written.set_in_doubt(in_doubt));
    }

    /// All that was done as one command, in order; none when nothing is left of it.
    fn command(&self, heads_read: &HashMap<Uuid, String>) -> Option<Command> {
        let mut commands = Vec::new();
        let mut heads: Vec<TableChange> = Vec::new();
        let mut definitions = false;
        for entry in &self.entries {
            match &entry.operation {
                Operation::Steps { .. } => heads = merged(heads, entry.moved.as_ref()),
                Operation::Define { command, .. } => {
                    definitions = true;
                    commands.extend(commit_of(&mut heads));
                    match command.as_ref() {
                        Command::Batch(several) => commands.extend(several.iter().cloned()),
                        one => commands.push(one.clone()),
                    }
                }
            }
        }
        commands.extend(commit_of(&mut heads));
        if definitions || !heads_read.is_empty() {
            // What the definitions were tried on.
            let definitions = self.base.as_ref().filter(|_| definitions).map(|base| base.definitions());
            let heads = heads_read.iter().map(|(id, head)| (*id, head.clone())).collect();
            commands.insert(0, Command::Expect { definitions, heads });
        }
        if commands.len() > 1 { Some(Command::Batch(commands)) } else { commands.pop() }
    }

    /// Does everything again on the catalog as it is now.
    async fn rebase(&mut self, engine: &Engine, fresh: Arc<State>) -> Result<(), SqlError> {
        let entries = std::mem::take(&mut self.entries);
        // TRUNCATE by itself empties whatever there is, and a rollback goes back from wherever.
        let truncates = |step: &Step| match step.on_any_branch() {
            Step::Replace(files) => files.is_empty(),
            Step::Edit(Edit::Refs { edit, .. }) => edit.moves_main(),
            _ => false,
        };
        let blind = !self.explicit
            && entries.iter().all(|entry| match &entry.operation {
                Operation::Steps { steps, .. } => steps.iter().all(truncates),
                Operation::Define { .. } => false,
            });
        let (state, oids) = (Arc::clone(&fresh), BTreeMap::new());
        let mut replay = Replay { engine, state, oids, blind, done: Vec::new() };
        let mut left: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
        for at in 0..left.len() {
            let Some(entry) = left[at].take() else { continue };
            match &entry.operation {
                Operation::Define { .. } => replay.define(entry).await?,
                Operation::Steps { table, .. } => {
                    let run = run_of(*table, &mut left[at + 1..], replay.head(*table)?, &entry);
                    replay.steps(*table, entry, run).await?;
                }
            }
        }
        self.entries = replay.done;
        self.base = Some(fresh);
        Ok(())
    }
}

/// The entries to be made one with the first, which are the next steps of its table up to a definition of it; none when the
/// head is still where the first began, so that all of them stay as they are.
fn run_of(table: Uuid, later: &mut [Option<Entry>], head: &str, first: &Entry) -> Vec<Entry> {
    let mut run = Vec::new();
    if first.moved.as_ref().is_none_or(|moved| moved.expected == head) {
        return run;
    }
    for slot in later {
        match slot.as_ref().map(|entry| &entry.operation) {
            Some(Operation::Steps { table: other, .. }) if *other == table => run.extend(slot.take()),
            Some(Operation::Define { step: Some((other, _)), .. }) if *other == table => break,
            _ => {}
        }
    }
    run
}

/// A transaction that is done again.
struct Replay<'a> {
    engine: &'a Engine,
    state: Arc<State>,
    /// The oids that its new objects had, and those that they have now.
    oids: BTreeMap<u32, u32>,
    /// What it did depends on nothing that was there before.
    blind: bool,
    done: Vec<Entry>,
}

impl Replay<'_> {
    fn head(&self, table: Uuid) -> Result<&str, SqlError> {
        let row = self.state.table_by_id(table).ok_or_else(|| dropped(table))?;
        Ok(&row.metadata_location)
    }

    fn commit(&mut self, change: &TableChange) -> Result<(), SqlError> {
        (self.state, _) = apply(&self.state, Command::CommitTables { changes: vec![change.clone()] })?;
        Ok(())
    }

    /// Makes a definition again: it must do to the same objects what it did.
    async fn define(&mut self, mut entry: Entry) -> Result<(), SqlError> {
        let Operation::Define { command, effect, step } = &mut entry.operation else { return Ok(()) };
        command.renumber(&self.oids);
        if let Some((table, step)) = step {
            let head = self.head(*table)?;
            if entry.moved.as_ref().is_none_or(|moved| moved.expected != head) {
                let expected = entry.moved.as_ref().map_or("", |moved| &moved.expected);
                // An edit says what the columns are, so they must be what it was made from.
                let (before, now) = (load(self.engine, expected).await?, load(self.engine, head).await?);
                let bound = matches!(step, Step::Edit(edit) if edit.depends_on_rows());
                if bound || before.columns() != now.columns() || before.constraints() != now.constraints() {
                    return Err(conflict());
                }
                entry.written = Uncommitted::new(&self.engine.warehouse);
                entry.written.add_files(step.files());
                let change = change_for(self.engine, &self.state, *table, step, command, &mut entry.written).await?;
                entry.moved = Some(change);
            }
        }
        let (state, answer) = apply(&self.state, command.as_ref().clone())?;
        if !same(effect, &answer.effect, &mut self.oids) {
            return Err(conflict());
        }
        *effect = answer.effect;
        self.state = state;
        self.done.push(entry);
        Ok(())
    }

    /// Makes the steps of a table again where its head is another than the one they were made over.
    async fn steps(&mut self, table: Uuid, first: Entry, run: Vec<Entry>) -> Result<(), SqlError> {
        let head = self.head(table)?.to_owned();
        let Some(before) = first.moved.as_ref().filter(|moved| moved.expected != head) else {
            if let Some(change) = &first.moved {
                self.commit(change)?;
            }
            self.done.push(first);
            return Ok(());
        };
        let (before, now) = (load(self.engine, &before.expected).await?, load(self.engine, &head).await?);
        let mut written = first.written;
        let mut steps = first.operation.into_steps();
        for entry in run {
            written.absorb(entry.written);
            steps.extend(entry.operation.into_steps());
        }
        let steps = lake::squash(steps);
        let edits = steps.iter().any(|step| matches!(step, Step::Edit(_)));
        let replaces = steps.iter().any(|step| match step.on_any_branch() {
            Step::Replace(_) => true,
            Step::Edit(Edit::Refs { edit, .. }) => edit.moves_main(),
            _ => false,
        });
        let stale = (replaces && !self.blind) || (edits && before.columns() != now.columns());
        if stale || !lake::still_fits(&before, &now) {
            return Err(conflict());
        }
        let files: Vec<_> = steps.iter().flat_map(Step::files).cloned().collect();
        // The states over the old head go, and the files that only they have.
        written.let_go(&files);
        drop(written);
        let mut written = Uncommitted::new(&self.engine.warehouse);
        written.add_files(&files);
        let new = make(self.engine, &head, &steps, &mut written).await?;
        if new != head {
            let change = moved(table, head, new, &steps);
            self.commit(&change)?;
            self.done.push(Entry { operation: Operation::Steps { table, steps }, moved: Some(change), written });
        }
        Ok(())
    }
}

impl Operation {
    fn into_steps(self) -> Vec<Step> {
        match self {
            Operation::Steps { steps, .. } => steps,
            Operation::Define { .. } => Vec::new(),
        }
    }
}

async fn load(engine: &Engine, location: &str) -> Result<Arc<wharf_lake::LakeTable>, SqlError> {
    engine.warehouse.load(location).await.map_err(|error| from_lake(&error))
}

/// Moves of heads, and one more: of a table that was moved already the end of the move is another.
fn merged(mut heads: Vec<TableChange>, next: Option<&TableChange>) -> Vec<TableChange> {
    let Some(next) = next else { return heads };
    match heads.iter_mut().find(|change| change.id == next.id) {
        Some(change) => {
            change.new.clone_from(&next.new);
            if next.columns.is_some() {
                change.columns.clone_from(&next.columns);
            }
        }
        None => heads.push(next.clone()),
    }
    heads
}

fn commit_of(heads: &mut Vec<TableChange>) -> Option<Command> {
    (!heads.is_empty()).then(|| Command::CommitTables { changes: std::mem::take(heads) })
}

/// Did a command do the same again? New objects have other oids, which are noted.
fn same(before: &Effect, now: &Effect, oids: &mut BTreeMap<u32, u32>) -> bool {
    match (before, now) {
        (Effect::Nothing, Effect::Nothing) | (Effect::Committed { .. }, Effect::Committed { .. }) => true,
        (Effect::Created { oid: before }, Effect::Created { oid: now }) => {
            oids.insert(*before, *now);
            true
        }
        (Effect::Changed { oid: before }, Effect::Changed { oid: now }) => oids.get(before).unwrap_or(before) == now,
        (Effect::Dropped { relations: before }, Effect::Dropped { relations: now }) => {
            let before: HashSet<u32> = before.iter().map(|DroppedRelation { oid, .. }| *oid).collect();
            let before: HashSet<u32> = before.iter().map(|oid| *oids.get(oid).unwrap_or(oid)).collect();
            now.iter().map(|relation| relation.oid).collect::<HashSet<_>>() == before
        }
        (Effect::Batch(before), Effect::Batch(now)) => {
            before.len() == now.len() && before.iter().zip(now).all(|(before, now)| same(before, now, oids))
        }
        _ => false,
    }
}
