//! INSERT .. ON CONFLICT.
//!
//! One query joins the new rows with those of the table that have the same key, and says of each new row whether it is inserted,
//! changes the row that is there, or neither. Keys among the new rows themselves are told apart as the rows are written
//! (`keys`). No key is enforced: what holds between statements that run at the same time is that only one of them is
//! committed on the same rows, and the other is made anew (`Step::Unchanged`).

use std::sync::Arc;

use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Case, Expr, LogicalPlan, LogicalPlanBuilder, lit};
use sqlparser::ast;
use wharf_catalog::{Rule, SqlType, Table};
use wharf_values::{SqlError, SqlState};

use super::change::{Action, ChangePlan, Layout, Value};
use super::keys::{Key, Keys};
use super::query::{Parts, and, case, column, local, number, numbered};
use super::returning::Returning;
use super::scope::{Relation, Scope, put_rows};
use super::target::Changed;
use super::{Command, Write, columns};
use crate::bind::names::{fold, last_part};
use crate::bind::{BindContext, assign_columns};
use crate::error::from_datafusion;
use crate::session::Session;
