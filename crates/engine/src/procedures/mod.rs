//! CALL: what is done to tables and the cluster by hand, as procedures of schema `wharf`.
//!
//! Arguments go by position, or by name with `=>` (or `:=`); those with a default may be left out. A procedure answers with rows.
//! None of them runs inside a transaction block, since what they do is committed by itself.

mod arguments;
mod backup;
mod cluster;
mod maintenance;

use std::sync::Arc;

use arrow::array::ArrayRef;
use sqlparser::ast;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState};

use crate::bind::names::fold;
use crate::session::{Outcome, ResultColumn, RowStream, Session, text_rows};
use arguments::Arguments;
pub(crate) use maintenance::parse_order;

/// A procedure as its callers see it.
pub(crate) struct Procedure {
    name: &'static str,
    parameters: &'static [Parameter],
    columns: &'static [(&'static str, SqlType)],
    what: What,
}

/// A parameter of a procedure.
struct Parameter {
    name: &'static str,
    ty: SqlType,
    /// The call has to give it.
    required: bool,
}

/// What a procedure does.
#[derive(Clone, Copy)]
enum What {
    ExpireSnapshots,
    RemoveOrphanFiles,
    RewriteDataFiles,
    RewriteManifests,
    RemoveNode,
    TransferLeader,
    Backup,
}

const fn required(name: &'static str, ty: SqlType) -> Parameter {
    Parameter { name, ty, required: true }
}

const fn optional(name: &'static str, ty: SqlType) -> Parameter {
    Parameter { name, ty, required: false }
}

/// Every procedure there is.
static PROCEDURES: &[Procedure] = &[
    Procedure {
        name: "expire_snapshots",
        parameters: &[
            required("table", SqlType::Text),
            optional("older_than", SqlType::TimestampTz),
            optional("retain_last", SqlType::Integer),
            optional("snapshot_id", SqlType::BigInt),
        ],
        columns: &[
            ("expired_snapshots", SqlType::BigInt),
            ("expired_refs", SqlType::BigInt),
            ("deleted_files", SqlType::BigInt),
        ],
        what: What::ExpireSnapshots,
    },
    Procedure {
        name: "remove_orphan_files",
        parameters: &[
            required("table", SqlType::Text),
            optional("older_than", SqlType::TimestampTz),
            optional("dry_run", SqlType::Boolean),
        ],
        columns: &[("orphan_file_location", SqlType::Text)],
        what: What::RemoveOrphanFiles,
    },
    Procedure {
        name: "rewrite_data_files",
        parameters: &[
            required("table", SqlType::Text),
            optional("target_file_size_bytes", SqlType::BigInt),
            optional("min_input_files", SqlType::Integer),
            optional("rewrite_all", SqlType::Boolean),
            optional("strategy", SqlType::Text),
            optional("sort_order", SqlType::Text),
        ],
        columns: &[
            ("rewritten_data_files", SqlType::BigInt),
            ("added_data_files", SqlType::BigInt),
            ("rewritten_bytes", SqlType::BigInt),
            ("failed_groups", SqlType::BigInt),
        ],
        what: What::RewriteDataFiles,
    },
    Procedure {
        name: "rewrite_manifests",
        parameters: &[required("table", SqlType::Text), optional("spec_id", SqlType::Integer)],
        columns: &[("rewritten_manifests", SqlType::BigInt), ("added_manifests", SqlType::BigInt)],
        what: What::RewriteManifests,
    },
    Procedure {
        name: "remove_node",
        parameters: &[required("node_id", SqlType::BigInt)],
        columns: &[("removed_node_id", SqlType::BigInt)],
        what: What::RemoveNode,
    },
    Procedure {
        name: "transfer_leader",
        parameters: &[required("node_id", SqlType::BigInt)],
        columns: &[("leader_id", SqlType::BigInt)],
        what: What::TransferLeader,
    },
    Procedure {
        name: "backup",
        parameters: &[],
        columns: &[("location", SqlType::Text), ("log_index", SqlType::BigInt), ("size_bytes", SqlType::BigInt)],
        what: What::Backup,
    },
];

/// The procedure of a CALL.
///
/// # Errors
/// `42883`.
fn find(call: &ast::Function) -> Result<&'static Procedure, SqlError> {
    let parts: Vec<String> = call.name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    let found = match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["wharf", name] => PROCEDURES.iter().find(|procedure| procedure.name == *name),
        _ => None,
    };
    found.ok_or_else(|| {
        let names: Vec<_> = PROCEDURES.iter().map(|procedure| format!("wharf.{}", procedure.name)).collect();
        SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("procedure {} does not exist", parts.join(".")))
            .with_hint(format!("There are {}.", names.join(", ")))
    })
}

/// The columns of the rows a CALL answers with.
///
/// # Errors
/// `42883` for a procedure that does not exist.
pub(crate) fn columns(call: &ast::Function) -> Result<Arc<[ResultColumn]>, SqlError> {
    Ok(find(call)?.result_columns())
}

/// Runs a CALL.
///
/// # Errors
/// `42883`, `25001` inside a transaction block, and what the procedure raises.
pub(crate) async fn run(session: &mut Session, call: &ast::Function) -> Result<Outcome, SqlError> {
    let procedure = find(call)?;
    if session.transaction.as_ref().is_some_and(|transaction| transaction.explicit) {
        let message = format!("CALL wharf.{} cannot run inside a transaction block", procedure.name);
        return Err(SqlError::new(SqlState::ACTIVE_SQL_TRANSACTION, message));
    }
    let arguments = Arguments::new(session, procedure, call).await?;
    let arrays = procedure.execute(session, &arguments).await?;
    Ok(Outcome::Rows(procedure.rows(arrays)?))
}

impl Procedure {
    fn result_columns(&self) -> Arc<[ResultColumn]> {
        let columns = self.columns.iter();
        columns.map(|(name, ty)| ResultColumn::computed(name, Arc::new(wharf_values::field(*name, ty, true)))).collect()
    }

    fn rows(&self, arrays: Vec<ArrayRef>) -> Result<RowStream, SqlError> {
        text_rows(self.result_columns(), arrays, "CALL")
    }

    async fn execute(&self, session: &mut Session, arguments: &Arguments) -> Result<Vec<ArrayRef>, SqlError> {
        match self.what {
            What::ExpireSnapshots => maintenance::expire_snapshots(session, arguments).await,
            What::RemoveOrphanFiles => maintenance::remove_orphan_files(session, arguments).await,
            What::RewriteDataFiles => maintenance::rewrite_data_files(session, arguments).await,
            What::RewriteManifests => maintenance::rewrite_manifests(session, arguments).await,
            What::RemoveNode => cluster::remove_node(session, arguments).await,
            What::TransferLeader => cluster::transfer_leader(session, arguments).await,
            What::Backup => backup::backup(session).await,
        }
    }
}
