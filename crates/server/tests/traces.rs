//! Traces as a collector gets them. The collector here is the service of OpenTelemetry's own definition, and keeps what it is sent.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server as Port;
use tonic::{Request, Response, Status};

use crate::cluster::until;
use crate::divided::{Trio, column};
use crate::start_up::{Server, folder};

/// A span, and which node it came from.
type Kept = (String, Span);

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Kept>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock().await;
        for of_node in request.into_inner().resource_spans {
            let node =
                text(&of_node.resource.unwrap_or_default().attributes, "service.instance.id").unwrap_or_default();
            let spans = of_node.scope_spans.into_iter().flat_map(|scope| scope.spans);
            kept.extend(spans.map(|span| (node.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// One that listens, and its URL.
    async fn start() -> (Collector, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let collector = Collector::default();
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(Port::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, url)
    }

    /// The first span of the statement with this text, once it has come.
    async fn statement(&self, text_of_it: &str) -> Kept {
        let is_it = |(_, span): &&Kept| text(&span.attributes, "db.query.text").as_deref() == Some(text_of_it);
        until("the span of the statement", async || self.0.lock().await.iter().find(is_it).cloned()).await
    }

    /// All spans of a name in a trace.
    async fn below(&self, first: &Span, name: &str) -> Vec<Kept> {
        let of_it = |(_, span): &&Kept| span.trace_id == first.trace_id && span.name == name;
        self.0.lock().await.iter().filter(of_it).cloned().collect()
    }
}

fn value<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    match value(attributes, name)? {
        Value::StringValue(text) => Some(text.clone()),
        other => panic!("{name}: {other:?}"),
    }
}

fn number(attributes: &[KeyValue], name: &str) -> Option<i64> {
    match value(attributes, name)? {
        Value::IntValue(number) => Some(*number),
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_a_trace_over_all_nodes() {
    let (collector, url) = Collector::start().await;
    let variables = [
        ("WHARF_TRACES__ENDPOINT", url.as_str()),
        ("WHARF_TRACES__QUERY_TEXT", "true"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let trio = Trio::start_with(&variables).await;
    let client = trio.client().await;
    let sql = "SELECT b, count(*) FROM t GROUP BY b";
    assert_eq!(column(&client, sql).await.len(), 100);

    let (node, first) = collector.statement(sql).await;
    assert_eq!((node.as_str(), first.name.as_str()), (trio.members[0].peers.as_str(), "SELECT"));
    assert_eq!(number(&first.attributes, "db.response.returned_rows"), Some(100));
    assert!(first.parent_span_id.is_empty() && first.start_time_unix_nano <= first.end_time_unix_nano);
    let stages = until("the stages of three nodes", async || {
        let stages = collector.below(&first, "stage").await;
        let has = |peers: &String| stages.iter().any(|(node, _)| node == peers);
        trio.members.iter().all(|member| has(&member.peers)).then_some(stages)
    })
    .await;
    let rows = |number_of_stage| {
        let of_it = stages.iter().filter(|(_, span)| number(&span.attributes, "wharf.stage") == Some(number_of_stage));
        of_it.filter_map(|(_, span)| number(&span.attributes, "wharf.rows")).sum::<i64>()
    };
    // Each node groups what it reads, and then the groups are brought together.
    assert!(rows(1) >= 100, "{stages:#?}");
    assert!(stages.iter().all(|(_, span)| span.parent_span_id == first.span_id), "{stages:#?}");
    for name in ["bind", "plan", "divide"] {
        assert_eq!(collector.below(&first, name).await.len(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_have_no_values_and_statements_do_not_wait_for_them() {
    let (collector, url) = Collector::start().await;
    let folder = folder();
    let variables = [("WHARF_TRACES__ENDPOINT", url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "100")];
    let mut server = Server::serve_with(folder.path(), &variables);
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE t (a text)").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES ('hidden')").await.unwrap();
    assert!(client.batch_execute("SELECT a::int FROM t").await.is_err());
    drop(client);
    // What waits is sent before it ends.
    server.signal("-TERM");
    tokio::task::block_in_place(|| server.wait());
    let spans = collector.0.lock().await;
    let failed = spans.iter().find(|(_, span)| text(&span.attributes, "db.response.status_code").is_some());
    let (_, failed) = failed.unwrap_or_else(|| panic!("{spans:#?}"));
    assert_eq!(text(&failed.attributes, "db.response.status_code").as_deref(), Some("22P02"));
    assert!(spans.iter().any(|(_, span)| span.name == "commit"), "{spans:#?}");
    assert!(!format!("{spans:?}").contains("hidden"), "{spans:#?}");

    // Nobody listens there.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nowhere}");
    let mut server = Server::serve_with(folder.path(), &[("WHARF_TRACES__ENDPOINT", url.as_str())]);
    let client = server.connect("").await.unwrap();
    assert_eq!(column(&client, "SELECT count(*) FROM t").await, ["1"]);
    server.signal("-TERM");
    tokio::task::block_in_place(|| server.wait());
}
