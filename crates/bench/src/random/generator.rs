//! What the makers of expressions, relations, queries and changes share: the randomness, the names given so far, and which
//! columns can be seen.

use fastrand::Rng;

use super::changes;
use super::queries;
use super::render;
use super::schema::{CHANGED, Column, Table, tables};
use super::syntax::{Cte, Expression, Statement};
use super::types::{COMMON, SqlType};

/// Longer statements are made anew: they take long, and say little that shorter ones do not.
const LONGEST: usize = 4_000;
/// One in so many statements changes rows.
const CHANGE_SHARE: usize = 7;

/// Makes the parts of one statement.
#[derive(Debug)]
pub(super) struct Generator {
    random: Rng,
    aliases: u32,
    /// What FROM may name.
    pub(super) tables: Vec<Table>,
    /// The common table expressions that are complete.
    pub(super) ctes: Vec<Cte>,
}

/// The columns that an expression may use.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope<'a> {
    pub(super) columns: Vec<(u32, Column)>,
    /// The query around this one.
    pub(super) outer: Option<&'a Scope<'a>>,
    /// The keys of an aggregation, whose columns cannot be used beside them.
    pub(super) keys: Vec<SqlType>,
    /// What the aggregates of an aggregation are computed over.
    pub(super) aggregated: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    /// The columns of these relations, and of the query around.
    pub(super) fn new(columns: Vec<(u32, Column)>, outer: Option<&'a Scope<'a>>) -> Scope<'a> {
        Scope { columns, outer, ..Scope::default() }
    }

    /// Its own columns of a type.
    pub(super) fn of_type(&self, ty: SqlType) -> Vec<Expression> {
        let columns = self.columns.iter().filter(|(_, column)| column.ty == ty);
        columns.map(|(relation, column)| Expression::column(*relation, column)).collect()
    }
}

/// The statement of this number in a run with this seed: the same one whatever else was made before it.
pub(super) fn statement(seed: u64, number: u64) -> Statement {
    // Neighbouring seeds of the generator give unrelated sequences.
    let mut random = Rng::with_seed(Rng::with_seed(seed).u64(..) ^ number);
    loop {
        let mut generator = Generator { random: random.fork(), aliases: 0, tables: tables(), ctes: Vec::new() };
        let statement = match generator.one_in(CHANGE_SHARE) {
            true => Statement::Change(changes::change(&mut generator)),
            false => Statement::Query(queries::statement(&mut generator)),
        };
        if render::statement(&statement).len() <= LONGEST {
            return statement;
        }
    }
}

impl Generator {
    pub(super) fn random(&mut self) -> &mut Rng {
        &mut self.random
    }

    /// True once in so many times.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.random.usize(..times) == 0
    }

    /// True in so many of a hundred times.
    pub(super) fn percent(&mut self, percent: u8) -> bool {
        self.random.u8(..100) < percent
    }

    /// One of several.
    pub(super) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.random.usize(..choices.len())].clone()
    }

    /// A type for a column.
    pub(super) fn any_type(&mut self) -> SqlType {
        self.pick(COMMON)
    }

    /// One to `most` types.
    pub(super) fn types(&mut self, most: usize) -> Vec<SqlType> {
        (0..self.random.usize(1..=most)).map(|_| self.any_type()).collect()
    }

    /// A number for an alias.
    pub(super) fn alias(&mut self) -> u32 {
        self.aliases += 1;
        self.aliases
    }

    /// Lets queries read the copy of a table that the statement changes.
    pub(super) fn add_changed(&mut self, table: &'static str) {
        let copied = self.tables.iter().find(|known| known.name == table).expect("the tables are those of the schema");
        let changed = copied.copied_as(CHANGED);
        self.tables.push(changed);
    }
}
