//! Expressions as bytes, with what DataFusion would lose of them.
//!
//! In Wharf the metadata of a field says which SQL type it has: json and text are the same to Arrow. DataFusion writes the Arrow type of a
//! call, a constant or a cast alone. So an expression whose field has metadata is written as an extension around itself, with a
//! [`Note`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, ScalarValue, internal_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::{CastExpr, DynamicFilterPhysicalExpr, Literal};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::from_proto::parse_physical_expr_with_converter;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr_with_converter;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalPlanNodeExt, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::physical_expr_node::ExprType;
use datafusion_proto::protobuf::{PhysicalExprNode, PhysicalExtensionExprNode, PhysicalPlanNode};
use serde::{Deserialize, Serialize};

use super::Codec;

type Metadata = HashMap<String, String>;

/// What is known of an expression besides what DataFusion writes.
#[derive(Deserialize, Serialize)]
enum Note {
    Call { metadata: Metadata },
    Constant { metadata: Metadata },
    Cast { name: String, nullable: bool, metadata: Metadata },
}

impl Note {
    fn of(expr: &Arc<dyn PhysicalExpr>) -> Result<Option<Note>> {
        if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
            let field = call.return_field(&Schema::empty())?;
            let metadata = field.metadata();
            return Ok((!metadata.is_empty()).then(|| Note::Call { metadata: metadata.clone() }));
        }
        if let Some(constant) = expr.downcast_ref::<Literal>() {
            let field = constant.return_field(&Schema::empty())?;
            let metadata = field.metadata();
            return Ok((!metadata.is_empty()).then(|| Note::Constant { metadata: metadata.clone() }));
        }
        if let Some(cast) = expr.downcast_ref::<CastExpr>().filter(|cast| cast.has_explicit_metadata()) {
            let field = cast.target_field();
            let (name, nullable) = (field.name().clone(), field.is_nullable());
            return Ok(Some(Note::Cast { name, nullable, metadata: field.metadata().clone() }));
        }
        Ok(None)
    }

    fn put_back(self, expr: &Arc<dyn PhysicalExpr>, options: &Arc<ConfigOptions>) -> Result<Arc<dyn PhysicalExpr>> {
        match self {
            Note::Call { metadata } => {
                let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() else { return internal_err!("not a call") };
                let field = call.return_field(&Schema::empty())?;
                let field = field.as_ref().clone().with_metadata(metadata);
                let (function, options) = (Arc::new(call.fun().clone()), Arc::clone(options));
                let call =
                    ScalarFunctionExpr::new(call.name(), function, call.args().to_vec(), Arc::new(field), options);
                Ok(Arc::new(call))
            }
            Note::Constant { metadata } => {
                let Some(constant) = expr.downcast_ref::<Literal>() else { return internal_err!("not a constant") };
                Ok(Arc::new(Literal::new_with_metadata(constant.value().clone(), Some(metadata.into()))))
            }
            Note::Cast { name, nullable, metadata } => {
                let Some(cast) = expr.downcast_ref::<CastExpr>() else { return internal_err!("not a cast") };
                let field = Field::new(name, cast.cast_type().clone(), nullable).with_metadata(metadata);
                Ok(Arc::new(CastExpr::new_with_target_field(Arc::clone(cast.expr()), Arc::new(field), None)))
            }
        }
    }
}

/// What a scalar subquery is written as.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Subqueries {
    /// Its value, which is known.
    Computed,
    /// NULL, when only the form matters.
    Open,
}

/// Writes plans and expressions.
pub(super) struct Writer<'a> {
    codec: &'a Codec,
    subqueries: Subqueries,
    /// The first thing that could not be written, for people: the errors of DataFusion that follow from it have whole plans in them.
    refusal: RefCell<Option<String>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(codec: &'a Codec, subqueries: Subqueries) -> Writer<'a> {
        Writer { codec, subqueries, refusal: RefCell::default() }
    }

    /// Why a plan could not be written.
    pub(super) fn into_refusal(self) -> Option<DataFusionError> {
        self.refusal.into_inner().map(DataFusionError::Plan)
    }

    fn note<T>(&self, written: Result<T>, what: impl FnOnce() -> String) -> Result<T> {
        if let Err(error) = &written {
            let reason = || match error {
                DataFusionError::Plan(reason) => reason.clone(),
                _ => format!("{} cannot be sent to another node", what()),
            };
            self.refusal.borrow_mut().get_or_insert_with(reason);
        }
        written
    }

    fn value(&self, subquery: &ScalarSubqueryExpr) -> Result<Arc<dyn PhysicalExpr>> {
        #[expect(deprecated, reason = "nothing else says which of the values is its own")]
        let index = subquery.index();
        let value = match self.subqueries {
            Subqueries::Computed => subquery.results().get(index).ok_or_else(|| {
                internal_datafusion_err!("a part of a query was sent before its subquery was computed")
            })?,
            Subqueries::Open => ScalarValue::try_from(subquery.return_field(&Schema::empty())?.data_type())?,
        };
        Ok(Arc::new(Literal::new(value)))
    }
}

impl PhysicalProtoConverterExtension for Writer<'_> {
    fn execution_plan_to_proto(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        _: &dyn PhysicalExtensionCodec,
    ) -> Result<PhysicalPlanNode> {
        let written = PhysicalPlanNode::try_from_physical_plan_with_converter(Arc::clone(plan), self.codec, self);
        self.note(written, || plan.name().to_owned())
    }

    fn physical_expr_to_proto(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        _: &dyn PhysicalExtensionCodec,
    ) -> Result<PhysicalExprNode> {
        if let Some(subquery) = expr.downcast_ref::<ScalarSubqueryExpr>() {
            return serialize_physical_expr_with_converter(&self.value(subquery)?, self.codec, self);
        }
        // Another way to compute the same, which this node alone knows.
        if !expr.is::<DynamicFilterPhysicalExpr>()
            && let Some(plain) = expr.snapshot()?
        {
            return self.physical_expr_to_proto(&plain, self.codec);
        }
        let node = serialize_physical_expr_with_converter(expr, self.codec, self);
        let node = self.note(node, || expr.to_string())?;
        let Some(note) = Note::of(expr)? else { return Ok(node) };
        let note = serde_json::to_vec(&note).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let extension = PhysicalExtensionExprNode { expr: note, inputs: vec![node] };
        Ok(PhysicalExprNode { expr_id: None, expr_type: Some(ExprType::Extension(extension)) })
    }

    fn proto_to_execution_plan(
        &self,
        _: &PhysicalPlanNode,
        _: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("this writes")
    }

    fn proto_to_physical_expr(
        &self,
        _: &PhysicalExprNode,
        _: &Schema,
        _: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        internal_err!("this writes")
    }
}

/// Reads plans and expressions. An expression that several operators share, such as the filter that a join makes for a scan, is
/// shared again.
pub(super) struct Reader<'a> {
    codec: &'a Codec,
    shared: RefCell<HashMap<u64, Arc<dyn PhysicalExpr>>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(codec: &'a Codec) -> Reader<'a> {
        Reader { codec, shared: RefCell::default() }
    }
}

impl PhysicalProtoConverterExtension for Reader<'_> {
    fn proto_to_execution_plan(
        &self,
        node: &PhysicalPlanNode,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let context = PhysicalPlanDecodeContext::new(context.task_ctx(), self.codec);
        node.try_into_physical_plan_with_context(&context, self)
    }

    fn proto_to_physical_expr(
        &self,
        node: &PhysicalExprNode,
        schema: &Schema,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let context = PhysicalPlanDecodeContext::new(context.task_ctx(), self.codec);
        if let Some(ExprType::Extension(extension)) = &node.expr_type {
            let note: Note =
                serde_json::from_slice(&extension.expr).map_err(|error| DataFusionError::External(Box::new(error)))?;
            let [inner] = extension.inputs.as_slice() else { return internal_err!("a note without its expression") };
            let expr = self.proto_to_physical_expr(inner, schema, &context)?;
            return note.put_back(&expr, context.task_ctx().session_config().options());
        }
        let expr = parse_physical_expr_with_converter(node, schema, &context, self)?;
        let Some(id) = node.expr_id else { return Ok(expr) };
        if let Some(known) = self.shared.borrow().get(&id) {
            let children = expr.children().into_iter().cloned().collect();
            return Arc::clone(known).with_new_children(children);
        }
        self.shared.borrow_mut().insert(id, Arc::clone(&expr));
        Ok(expr)
    }

    fn execution_plan_to_proto(
        &self,
        _: &Arc<dyn ExecutionPlan>,
        _: &dyn PhysicalExtensionCodec,
    ) -> Result<PhysicalPlanNode> {
        internal_err!("this reads")
    }

    fn physical_expr_to_proto(
        &self,
        _: &Arc<dyn PhysicalExpr>,
        _: &dyn PhysicalExtensionCodec,
    ) -> Result<PhysicalExprNode> {
        internal_err!("this reads")
    }
}
