//! Queries on several nodes: which are divided is the session's setting, what travels is in [`vocabulary`].
//!
//! What always holds: a query is planned for one node first, and what is divided is that plan. So a plan that is kept for the next
//! execution is one for this node, and is divided anew each time, among the nodes there are then.

mod vocabulary;

use std::sync::Arc;

use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use wharf_fanout::{Distribute, NotSpread, Spread, Wanted};
use wharf_values::SqlError;

use crate::engine::Engine;
use crate::error::from_datafusion;
use crate::optimize::physical_plan;
use crate::session::{Limits, Session, task_context};
use crate::settings::Settings;

pub(crate) use vocabulary::EngineVocabulary;

/// What the settings say.
pub(crate) fn distribute(settings: &Settings) -> Distribute {
    match settings.get("wharf.distribute").as_deref() {
        Ok("on") => Distribute::On,
        Ok("off") => Distribute::Off,
        _ => Distribute::Auto,
    }
}

impl Session {
    /// What this session wants of a query that has these limits.
    pub(crate) fn wanted(&self, limits: &Limits) -> Wanted {
        Wanted {
            distribute: distribute(&self.settings),
            min_bytes: self.settings.bytes("wharf.distribute_min_bytes"),
            split_hot_keys: self.settings.is_on("wharf.split_hot_keys"),
            deadline: limits.deadline,
            query: self.query_tag(),
            measured: false,
        }
    }

    /// Starts a plan whose rows are not the client's: a statement writes them or packs them. Its limits are the statement's.
    ///
    /// # Errors
    /// What planning raises, and what the plan says as it starts.
    pub(crate) async fn start_rows(
        &self,
        plan: &LogicalPlan,
        state: &SessionState,
    ) -> Result<SendableRecordBatchStream, SqlError> {
        let span = self.span("plan");
        let physical = physical_plan(plan, state).await?;
        drop(span);
        let task = task_context(state);
        if self.engine.fanout.nodes() < 2 {
            return execute_stream(physical, task).map_err(from_datafusion);
        }
        let limits = self.limits();
        Box::pin(self.engine.start(physical, task, self.wanted(&limits), &limits)).await
    }
}

impl Engine {
    /// A plan divided among nodes, or why it is not.
    ///
    /// # Errors
    /// `57014` when the limits are reached meanwhile.
    pub(crate) async fn spread(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        task: &Arc<TaskContext>,
        wanted: &Wanted,
        limits: &Limits,
    ) -> Result<Result<Spread, NotSpread>, SqlError> {
        // Asked first, since most queries end here.
        if let Err(reason) = self.fanout.consider(plan, wanted) {
            return Ok(Err(reason));
        }
        let _span = self.options.traces.part(wanted.query.id, "divide");
        limits.within(async { Ok(self.fanout.spread(plan, task, wanted, &[]).await) }).await
    }

    /// Starts a plan, on several nodes if it is to be and can be.
    ///
    /// # Errors
    /// What the plan says as it starts.
    pub(crate) async fn start(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        task: Arc<TaskContext>,
        wanted: Wanted,
        limits: &Limits,
    ) -> Result<SendableRecordBatchStream, SqlError> {
        match self.spread(&plan, &task, &wanted, limits).await? {
            Ok(spread) => self.fanout.run(spread, plan, task, wanted).map(|(rows, _)| rows),
            Err(reason) => {
                if let NotSpread::Cannot(reason) = reason {
                    tracing::debug!(reason, "a query stays on one node");
                }
                execute_stream(plan, task)
            }
        }
        .map_err(from_datafusion)
    }
}
