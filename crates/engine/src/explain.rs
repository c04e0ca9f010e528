//! EXPLAIN and EXPLAIN ANALYZE: DataFusion's physical plan as lines of text, the way PostgreSQL sends its own.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, StringViewArray};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use sqlparser::ast::{Statement as Ast, UtilityOption};
use wharf_catalog::SqlType;
use wharf_fanout::{NotSpread, Wanted};
use wharf_values::{SqlError, SqlState};

use crate::dml;
use crate::error::from_datafusion;
use crate::optimize::physical_plan_of;
use crate::session::{Outcome, Session, task_context, text_columns, text_rows, with_values};

/// What EXPLAIN was asked for.
#[derive(Default)]
struct Options {
    analyze: bool,
    verbose: bool,
}

/// Does an EXPLAIN run what it explains? One with options that are refused does not.
pub(crate) fn analyzes(explain: &Ast) -> bool {
    asked(explain).is_ok_and(|options| options.analyze)
}

/// Runs EXPLAIN.
///
/// # Errors
/// `0A000` for formats other than text; with ANALYZE whatever the query raises.
pub(crate) async fn run(
    session: &mut Session,
    explain: &Ast,
    values: Vec<Option<ArrayRef>>,
    types: &[SqlType],
) -> Result<Outcome, SqlError> {
    let Ast::Explain { statement, format, .. } = explain else {
        return Err(SqlError::internal("not EXPLAIN"));
    };
    if format.is_some() {
        return Err(other_format());
    }
    let options = asked(explain)?;
    let catalog = session.catalog().await?;
    let mut context = session.bind_context(catalog);
    let declared: Vec<_> = types.iter().cloned().map(Some).collect();
    let plan = match statement.as_ref() {
        other if dml::is_write(other) => match dml::Write::plan(session, other, &declared, &mut context).await? {
            Some(write) if options.analyze => {
                let message = format!("EXPLAIN ANALYZE of {} is not supported", write.command().name());
                return Err(SqlError::unsupported(message).with_hint("Leave ANALYZE out, or explain its query."));
            }
            Some(write) => write.rows().clone(),
            None => return Err(SqlError::internal("not a statement that changes rows")),
        },
        Ast::Query(query) => session.plan_query(query, &declared, &context).await?,
        other => {
            let word = other.to_string().split_whitespace().next().unwrap_or_default().to_owned();
            return Err(SqlError::unsupported(format!("EXPLAIN {word} is not supported"))
                .with_hint("Explain the query in it, where it has one."));
        }
    };
    let plan = with_values(plan, values, types)?;
    let state = &context.session;
    let started = Instant::now();
    let optimized = state.optimize(&plan).map_err(from_datafusion)?;
    let physical = physical_plan_of(&optimized, state).await?;
    let limits = session.limits();
    let task = task_context(state);
    let wanted = Wanted { measured: options.analyze, ..session.wanted(&limits) };
    let spread = session.engine.spread(&physical, &task, &wanted, &limits).await?;
    let planning = started.elapsed();
    let mut lines = Vec::new();
    if options.analyze {
        let started = Instant::now();
        let (stream, ran) = match spread {
            Ok(spread) => {
                let (stream, ran) =
                    session.engine.fanout.run(spread, Arc::clone(&physical), task, wanted).map_err(from_datafusion)?;
                (stream, Some(ran))
            }
            Err(_) => (execute_stream(Arc::clone(&physical), task).map_err(from_datafusion)?, None),
        };
        let mut batches = limits.guard(stream);
        let mut rows = 0;
        while let Some(batch) = batches.next().await {
            rows += batch?.num_rows();
        }
        let execution = started.elapsed();
        match ran {
            Some(ran) => lines.extend(ran.lines(options.verbose).await),
            None => push(&mut lines, DisplayableExecutionPlan::with_metrics(physical.as_ref()), options.verbose),
        }
        lines.push(format!("Rows: {rows}"));
        lines.push(format!("Planning Time: {:.3} ms", planning.as_secs_f64() * 1000.0));
        lines.push(format!("Execution Time: {:.3} ms", execution.as_secs_f64() * 1000.0));
    } else {
        if options.verbose {
            lines.extend(optimized.display_indent().to_string().lines().map(str::to_owned));
        }
        match spread {
            Ok(spread) => lines.extend(wharf_fanout::lines(&spread)),
            Err(reason) => {
                let plan = DisplayableExecutionPlan::new(physical.as_ref() as &dyn ExecutionPlan);
                push(&mut lines, plan, options.verbose);
                if reason != NotSpread::Alone {
                    lines.push(format!("On one node: {reason}"));
                }
            }
        }
    }
    let array: ArrayRef = Arc::new(lines.iter().map(|line| Some(line.as_str())).collect::<StringViewArray>());
    let columns = text_columns(&["QUERY PLAN"]);
    Ok(Outcome::Rows(text_rows(columns, vec![array], "EXPLAIN")?))
}

fn push(lines: &mut Vec<String>, plan: DisplayableExecutionPlan<'_>, verbose: bool) {
    lines.extend(plan.indent(verbose).to_string().lines().map(str::to_owned));
}

fn other_format() -> SqlError {
    SqlError::unsupported("EXPLAIN formats other than text are not supported").with_hint("Leave FORMAT out.")
}

/// What an EXPLAIN asks for.
fn asked(explain: &Ast) -> Result<Options, SqlError> {
    let Ast::Explain { analyze, verbose, options, .. } = explain else {
        return Err(SqlError::internal("not EXPLAIN"));
    };
    let mut asked = Options { analyze: *analyze, verbose: *verbose };
    for option in options.iter().flatten() {
        apply(&mut asked, option)?;
    }
    Ok(asked)
}

fn apply(options: &mut Options, option: &UtilityOption) -> Result<(), SqlError> {
    let value = option.arg.as_ref().map_or_else(|| "true".to_owned(), |arg| arg.to_string().to_lowercase());
    let on = matches!(value.trim_matches('\''), "true" | "on" | "1");
    match option.name.value.to_lowercase().as_str() {
        "analyze" => options.analyze = on,
        "verbose" => options.verbose = on,
        "costs" | "timing" | "summary" | "buffers" | "settings" | "wal" => {}
        "format" if value.trim_matches('\'') == "text" => {}
        "format" => return Err(other_format()),
        other => {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, format!("unrecognized EXPLAIN option \"{other}\"")));
        }
    }
    Ok(())
}
