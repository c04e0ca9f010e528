//! `wharf.queries`: what runs now, on all nodes.
//!
//! What always holds: the nodes are asked when the query runs, not when it is planned. A superuser sees everything, a role what runs for it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::stream;
use uuid::Uuid;
use wharf_catalog::SqlType;

use super::SystemContext;
use super::rows::{Cell, Rows};
use super::wharf::count;
use crate::engine::now_us;
use crate::queries::{NodeReport, StageReport, StatementReport};

/// The state of a node that has not said what it runs.
const SILENT: &str = "no answer";

fn columns() -> Rows {
    Rows::new(&[
        ("node_id", SqlType::BigInt),
        ("address", SqlType::Text),
        ("query_id", SqlType::Uuid),
        ("process", SqlType::Integer),
        ("role", SqlType::Name),
        ("database", SqlType::Name),
        ("kind", SqlType::Text),
        ("state", SqlType::Text),
        ("started_at", SqlType::TimestampTz),
        ("elapsed_ms", SqlType::BigInt),
        ("stage", SqlType::BigInt),
        ("tasks", SqlType::BigInt),
        ("rows", SqlType::BigInt),
        ("query", SqlType::Text),
    ])
}

/// The table.
pub(super) fn table(session: &SystemContext) -> Option<Arc<dyn TableProvider>> {
    let schema = columns().schema();
    let asked = Asked { schema: Arc::clone(&schema), session: session.clone() };
    Some(Arc::new(Table(StreamingTable::try_new(schema, vec![Arc::new(asked)]).ok()?)))
}

/// The table as DataFusion sees it. A type of its own tells it from external tables, to read which is work.
#[derive(Debug)]
struct Table(StreamingTable);

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.scan(session, projection, filters, limit).await
    }
}

/// The rows, which are there when the nodes have answered.
#[derive(Debug)]
struct Asked {
    schema: SchemaRef,
    session: SystemContext,
}

impl PartitionStream for Asked {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let session = self.session.clone();
        let rows = async move {
            let nodes = session.queries.gather(&session.group, &session.fanout).await;
            Ok(rows(&session, &nodes).batch()?)
        };
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream::once(rows)))
    }
}

/// What the session may see of what the nodes have said.
fn rows(session: &SystemContext, nodes: &[NodeReport]) -> Rows {
    let mut rows = columns();
    let visible = |role: u32| session.identity.superuser || session.identity.role_oid == role;
    let all = || nodes.iter().filter_map(|node| node.report.as_ref()).flat_map(|report| &report.statements);
    let statements: HashMap<Uuid, &StatementReport> = all().map(|statement| (statement.id, statement)).collect();
    for NodeReport { node, address, report } in nodes {
        let node = || [count(*node), address.as_deref().into()];
        let Some(report) = report else {
            let mut cells = node().to_vec();
            cells.extend([Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null, SILENT.into()]);
            rows.push(cells);
            continue;
        };
        for statement in report.statements.iter().filter(|statement| visible(statement.role)) {
            rows.push([node().as_slice(), &of_statement(session, statement)].concat());
        }
        for stage in report.stages.iter().filter(|stage| visible(stage.role)) {
            rows.push([node().as_slice(), &of_stage(session, stage, statements.get(&stage.id).copied())].concat());
        }
    }
    rows
}

fn of_statement(session: &SystemContext, statement: &StatementReport) -> [Cell; 12] {
    let [role, database] = names(session, statement.role, statement.database);
    [
        statement.id.to_string().into(),
        statement.process.into(),
        role,
        database,
        statement.kind.as_str().into(),
        statement.doing.as_str().into(),
        statement.started_us.into(),
        count(statement.elapsed_ms),
        Cell::Null,
        Cell::Null,
        count(statement.rows),
        statement.text.as_deref().into(),
    ]
}

/// What a node does for a statement, which is known if the statement's own node has answered.
fn of_stage(session: &SystemContext, stage: &StageReport, statement: Option<&StatementReport>) -> [Cell; 12] {
    let [role, database] = names(session, stage.role, stage.database);
    let elapsed_us = i64::try_from(stage.elapsed_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
    [
        stage.id.to_string().into(),
        stage.process.into(),
        role,
        database,
        statement.map(|statement| statement.kind.as_str()).into(),
        "running".into(),
        now_us().saturating_sub(elapsed_us).into(),
        count(stage.elapsed_ms),
        count(stage.stage),
        count(stage.tasks),
        count(stage.rows),
        statement.and_then(|statement| statement.text.as_deref()).into(),
    ]
}

fn names(session: &SystemContext, role: u32, database: u32) -> [Cell; 2] {
    let role = session.catalog.role(role).map(|role| role.name.as_str());
    let database = session.catalog.database(database).map(|database| database.name.as_str());
    [role.into(), database.into()]
}
