//! The functions, operators and settings that plans speak of, for the codec of fan-out.
//!
//! A function travels by its name if the engine has exactly this function under the name, and a cast with its type. What looks at the
//! session's catalog does not travel: the node of the session alone has it.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::{internal_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use serde::{Deserialize, Serialize};
use wharf_catalog::SqlType;
use wharf_fanout::{Vocabulary, WrittenOperator};
use wharf_values::SqlError;

use crate::cast::{CastFunction, CastMode};
use crate::dml::checked_rows::CheckRowsExec;
use crate::error::from_datafusion;
use crate::functions::FunctionContext;
use crate::settings::Settings;
use crate::{operators, optimize, pg_catalog};

/// The vocabulary of an engine.
pub(crate) struct EngineVocabulary {
    /// The functions that sessions start with.
    base: SessionState,
    single_value: Arc<AggregateUDF>,
}

impl std::fmt::Debug for EngineVocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EngineVocabulary")
    }
}

/// A scalar function without its name.
#[derive(Deserialize, Serialize)]
enum Function {
    /// The one of that name.
    Named,
    Cast {
        to: SqlType,
        assignment: bool,
    },
}

/// The settings that change what functions say.
const TEXT_SETTINGS: &[&str] = &["DateStyle", "IntervalStyle", "TimeZone", "extra_float_digits", "bytea_output"];

/// [`FunctionContext`] on its way.
#[derive(Deserialize, Serialize)]
struct Context {
    /// The values of [`TEXT_SETTINGS`].
    settings: Vec<String>,
    now: Option<i64>,
    statement_start_us: Option<i64>,
}

impl EngineVocabulary {
    pub(crate) fn new(base: SessionState) -> EngineVocabulary {
        EngineVocabulary { base, single_value: Arc::new(operators::single_value_function()) }
    }

    fn named(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        operators::by_name(name).map(Arc::new).or_else(|| self.base.scalar_functions().get(name).cloned())
    }
}

impl Vocabulary for EngineVocabulary {
    fn write_scalar(&self, function: &ScalarUDF) -> Result<Vec<u8>> {
        let written = match function.inner().downcast_ref::<CastFunction>() {
            Some(cast) => Function::Cast { to: cast.to().clone(), assignment: cast.mode() == CastMode::Assignment },
            None if pg_catalog::reads_session(function) => {
                return plan_err!("{} looks at the session", function.name());
            }
            None if self.named(function.name()).is_some_and(|known| *known == *function) => Function::Named,
            None => return plan_err!("{} is known to this node alone", function.name()),
        };
        serde_json::to_vec(&written).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn read_scalar(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        match serde_json::from_slice(bytes).map_err(|error| DataFusionError::External(Box::new(error)))? {
            Function::Cast { to, assignment } => {
                let mode = if assignment { CastMode::Assignment } else { CastMode::Explicit };
                Ok(CastFunction::function(to, mode))
            }
            Function::Named => match self.named(name) {
                Some(function) => Ok(function),
                None => internal_err!("there is no function {name}"),
            },
        }
    }

    fn aggregate(&self, name: &str) -> Result<Arc<AggregateUDF>> {
        if name == self.single_value.name() {
            return Ok(Arc::clone(&self.single_value));
        }
        match self.base.aggregate_functions().get(name) {
            Some(function) => Ok(Arc::clone(function)),
            None => internal_err!("there is no aggregate {name}"),
        }
    }

    fn window(&self, name: &str) -> Result<Arc<WindowUDF>> {
        match self.base.window_functions().get(name) {
            Some(function) => Ok(Arc::clone(function)),
            None => internal_err!("there is no window function {name}"),
        }
    }

    fn write_operator(&self, operator: &Arc<dyn ExecutionPlan>) -> Result<Option<WrittenOperator>> {
        operator.downcast_ref::<CheckRowsExec>().map(CheckRowsExec::written).transpose()
    }

    fn read_operator(
        &self,
        written: &WrittenOperator,
        input: &Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let format = FunctionContext::of(config.options()).text;
        Ok(Arc::new(CheckRowsExec::read(written, input, format)?))
    }

    fn write_session(&self, config: &SessionConfig) -> Result<String> {
        let FunctionContext { text, statement_start_us } = FunctionContext::of(config.options());
        let settings = vec![
            text.date_style.to_string(),
            text.interval_style.to_string(),
            text.time_zone.to_string(),
            text.extra_float_digits.to_string(),
            text.bytea_output.to_string(),
        ];
        let context = Context { settings, now: text.now, statement_start_us };
        serde_json::to_string(&context).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn read_session(&self, text: &str, mut config: SessionConfig) -> Result<SessionConfig> {
        let context: Context =
            serde_json::from_str(text).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let mut settings = Settings::new("", false);
        for (name, value) in TEXT_SETTINGS.iter().zip(&context.settings) {
            settings.set(name, value).map_err(crate::error::to_datafusion)?;
        }
        let mut format = settings.format;
        format.now = context.now;
        let options = config.options_mut();
        options.execution.time_zone = Some(format.time_zone.to_string());
        let statement_start_us = context.statement_start_us;
        options.extensions.insert(FunctionContext { text: format, statement_start_us });
        Ok(config)
    }

    fn finish(&self, part: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        optimize::finished(part, options)
    }

    fn sql_error(&self, error: DataFusionError) -> SqlError {
        from_datafusion(error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn vocabulary() -> EngineVocabulary {
        let runtime = Arc::default();
        EngineVocabulary::new(crate::engine::base_state(runtime, &crate::EngineOptions::default()))
    }

    #[test]
    fn every_function_that_does_not_look_at_the_session_travels() {
        let vocabulary = vocabulary();
        // Where a function of ours has replaced DataFusion's, that is still there under its other names.
        let own_name = |(name, function): &(&String, &Arc<ScalarUDF>)| *name == function.name();
        for (name, function) in vocabulary.base.scalar_functions().iter().filter(own_name) {
            match vocabulary.write_scalar(function) {
                Ok(bytes) => assert_eq!(vocabulary.read_scalar(function.name(), &bytes).unwrap(), *function),
                Err(error) => assert!(pg_catalog::reads_session(function), "{name}: {error}"),
            }
        }
        let cast = CastFunction::function(SqlType::Varchar(Some(3)), CastMode::Assignment);
        let bytes = vocabulary.write_scalar(&cast).unwrap();
        assert_eq!(vocabulary.read_scalar("cast", &bytes).unwrap(), cast);
        let operators = [
            "int_add",
            "float_modulo",
            "numeric_multiply",
            "numeric_divide",
            "any_of_array",
            "interval_key",
            "interval_rank",
            "array_key",
            "array_least",
            "numeric_square",
            "numeric_stddev_samp",
            "numeric_var_pop_trimmed",
        ];
        for name in operators {
            let operator = operators::by_name(name).unwrap();
            let bytes = vocabulary.write_scalar(&operator).unwrap();
            assert_eq!(*vocabulary.read_scalar(name, &bytes).unwrap(), operator);
        }
    }

    #[test]
    fn a_session_arrives_as_it_left() {
        let vocabulary = vocabulary();
        let mut settings = Settings::new("", false);
        for (name, value) in [
            ("DateStyle", "German"),
            ("TimeZone", "Asia/Tokyo"),
            ("extra_float_digits", "-3"),
            ("bytea_output", "escape"),
        ] {
            settings.set(name, value).unwrap();
        }
        let mut text = settings.format;
        text.now = Some(17);
        let mut config = SessionConfig::new();
        let left = FunctionContext { text, statement_start_us: Some(23) };
        config.options_mut().extensions.insert(left.clone());
        let written = vocabulary.write_session(&config).unwrap();
        let arrived = vocabulary.read_session(&written, SessionConfig::new()).unwrap();
        let found = FunctionContext::of(arrived.options());
        assert_eq!(found.text, left.text);
        assert_eq!(found.statement_start_us, Some(23));
        assert_eq!(arrived.options().execution.time_zone.as_deref(), Some("Asia/Tokyo"));
    }
}
