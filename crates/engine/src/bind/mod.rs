//! From SQL text's syntax tree to a typed DataFusion plan.
//!
//! The way of a query: [`normalize`] says in plain SQL what is special syntax, [`planner`] finds the tables and views
//! and lets DataFusion's `SqlToRel` build a plan, in which operators are still open (`crate::operators`), [`analyze`]
//! gives every expression PostgreSQL's type, [`subqueries`] makes joins of subqueries. What comes out is ready for
//! DataFusion's own analyzer and optimizer. No rows are read here.

mod aggregate_order;
mod aggregates;
mod analyze;
mod array_order;
mod assignment;
mod clauses;
mod context;
mod decimals;
mod equality;
mod group_keys;
mod grouping;
mod guards;
mod in_lists;
mod json_records;
mod like_lists;
mod lists;
mod misplaced;
pub(crate) mod names;
pub(crate) mod normalize;
mod number;
mod ordered_set;
mod origin;
pub(crate) mod planner;
mod qualified;
mod relations;
mod resolve;
mod rows;
mod set_functions;
mod set_operations;
pub(crate) mod subqueries;
mod temporal;
mod text_operators;
mod two_zeros;
pub(crate) mod types;
mod using;
pub(crate) mod versions;
mod window_keys;
mod window_offsets;

pub(crate) use analyze::{analyze, settle_outputs};
pub(crate) use assignment::assign_columns;
pub(crate) use context::{BindContext, BoundValues, Local, parameter_number, parameter_type};
pub(crate) use origin::Origin;
pub(crate) use set_operations::coerce_columns;
