//! Traces, as a collector gets them: whose they are, what their spans are called, and which belongs to which.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use serde_json::{Value, json};
use taskwire::auth::Role;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::api_server::{SAVE, report, token};
use super::auth::keys::SECRET;
use super::support::process::Logging;
use super::support::{TestDatabase, eventually};

/// What must never be in a trace.
const WORD: &str = "nobodys-business";

/// A collector. It keeps each span with its service's name.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Span)>>>);

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/v1/traces", post(Self::take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (collector, url)
    }

    async fn take(State(collector): State<Self>, body: Bytes) {
        let request = ExportTraceServiceRequest::decode(body).expect("a request in protobuf");
        for spans in request.resource_spans {
            let attributes = spans.resource.unwrap().attributes;
            let name = attributes.iter().find(|attribute| attribute.key == "service.name").expect("a service's name");
            let name = text(name.value.as_ref().unwrap().value.as_ref().unwrap());
            let spans = spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
            collector.0.lock().unwrap().extend(spans.map(|span| (name.clone(), span)));
        }
    }

    /// The spans of a trace, by name, when one of this name has come (they are sent when they are over).
    async fn trace(&self, trace: &str, last: &str) -> HashMap<String, Span> {
        eventually(&format!("{last} in {trace}"), async || {
            let spans = self.0.lock().unwrap().clone();
            let ours = spans.into_iter().filter(|(_, span)| hex(&span.trace_id) == trace);
            let by_name: HashMap<_, _> = ours.map(|(_, span)| (span.name.clone(), span)).collect();
            by_name.contains_key(last).then_some(by_name)
        })
        .await
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn text(attribute: &Attribute) -> String {
    match attribute {
        Attribute::StringValue(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    found.map_or_else(String::new, |found| text(found.value.as_ref().unwrap().value.as_ref().unwrap()))
}

/// Of the trace and the span of this number, sampled or not.
fn traceparent(number: u32, is_sampled: bool) -> (String, String) {
    let trace = format!("{number:032x}");
    (format!("00-{trace}-{:016x}-0{}", number + 0xa000, u8::from(is_sampled)), trace)
}

fn parent_of(number: u32) -> String {
    format!("{:016x}", number + 0xa000)
}

async fn server(database: &TestDatabase, url: &str, more: &[&str]) -> Logging {
    let variables = [("TASKWIRE_JWT_SECRET", SECRET), ("OTEL_BSP_SCHEDULE_DELAY", "50"), ("TASKWIRE_LOG", "warn")];
    let arguments = ["--otlp-endpoint", url, "--otlp-service", "tasks-of-the-test"];
    Logging::start(&database.url, &[&arguments[..], more].concat(), &variables).await
}

async fn ask(server: &Logging, traceparent: &str, query: &str, variables: Value) -> Value {
    let worker = format!("Bearer {}", token("import-worker", Role::Worker));
    let request = reqwest::Client::new().post(format!("http://{}/graphql", server.address));
    let request = request.header("authorization", worker).header("traceparent", traceparent);
    let answer = request.json(&json!({ "query": query, "variables": variables })).send().await.unwrap();
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_request_an_operation_the_commit_and_the_database_are_one_trace() {
    let (database, (collector, url)) = (TestDatabase::new().await, Collector::start().await);
    let server = server(&database, &url, &[]).await;
    let (parent, trace) = traceparent(1, true);
    let input = json!({ "input": report("anna", WORD, 1, "RUNNING", json!({ "stepResult": { "message": WORD } })) });
    let saved = ask(&server, &parent, &SAVE.replace("mutation(", "mutation Save("), input).await;
    assert!(saved.get("errors").is_none(), "{saved}");
    let spans = collector.trace(&trace, "POST /graphql").await;
    let [request, operation, commit, statement] =
        ["POST /graphql", "mutation saveTaskHistory", "commit", "database"].map(|name| &spans[name]);
    assert_eq!(hex(&request.parent_span_id), parent_of(1));
    assert_eq!(operation.parent_span_id, request.span_id);
    assert_eq!(commit.parent_span_id, operation.span_id);
    assert_eq!(statement.parent_span_id, commit.span_id);
    assert_eq!((request.kind(), statement.kind()), (SpanKind::Server, SpanKind::Client));
    assert_eq!(attribute(request, "http.response.status_code"), "IntValue(200)");
    assert_eq!(attribute(operation, "graphql.operation.name"), "Save");
    assert_eq!(attribute(operation, "taskwire.code"), "OK");

    // A name is told as far as it can be of use.
    let named = format!("query {} {{ users {{ nodes {{ userId }} }} }}", "N".repeat(300));
    ask(&server, &traceparent(4, true).0, &named, json!({})).await;
    let spans = collector.trace(&traceparent(4, true).1, "POST /graphql").await;
    assert_eq!(attribute(&spans["query users"], "graphql.operation.name"), "N".repeat(100));

    // What the client does not want is not sent.
    ask(&server, &traceparent(2, false).0, "{ tasks { nodes { taskId } } }", json!({})).await;
    // One that is no trace is none: a new one begins.
    ask(&server, "00-made-up-01", "query Own { viewer { role } }", json!({})).await;
    ask(&server, &traceparent(3, true).0, "{ tasks(first: 501) { nodes { taskId } } }", json!({})).await;
    let spans = collector.trace(&traceparent(3, true).1, "POST /graphql").await;
    assert_eq!(attribute(&spans["query tasks"], "taskwire.code"), "BAD_USER_INPUT");
    // The caller's fault is no failure of the span.
    assert!(spans["query tasks"].status.as_ref().is_none_or(|status| status.code == 0), "{spans:?}");

    server.end().await;
    let all = collector.0.lock().unwrap().clone();
    assert!(all.iter().all(|(service, _)| service == "tasks-of-the-test"));
    assert!(all.iter().all(|(_, span)| hex(&span.trace_id) != traceparent(2, false).1), "not sampled");
    let own = all.iter().find(|(_, span)| span.name == "query viewer").unwrap();
    assert_eq!(
        all.iter().filter(|(_, span)| span.trace_id == own.1.trace_id && span.parent_span_id.is_empty()).count(),
        1
    );
    let told = format!("{all:?}");
    let signature = token("import-worker", Role::Worker).rsplit('.').next().unwrap().to_owned();
    assert!(!told.contains(WORD) && !told.contains(&signature), "{told}");
}

/// Who asks for something before the acknowledgement is closed with 4401.
async fn init(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>, payload: Value) {
    let message = json!({ "type": "connection_init", "payload": payload });
    socket.send(Message::text(message.to_string())).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains("connection_ack"));
}

#[tokio::test]
async fn a_sockets_operations_belong_to_the_trace_of_its_connection_init() {
    let (database, (collector, url)) = (TestDatabase::new().await, Collector::start().await);
    let server = server(&database, &url, &[]).await;
    let mut request = format!("ws://{}/graphql", server.address).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    let (parent, trace) = traceparent(7, true);
    let payload = json!({ "token": token("anna", Role::User), "traceparent": parent });
    let subscribe = |id: &str, query: &str| json!({ "id": id, "type": "subscribe", "payload": { "query": query } });
    init(&mut socket, payload).await;
    for message in [
        subscribe("q", "query Mine { tasks { nodes { taskId } } }"),
        subscribe("s", "subscription Watch { taskChanged { feedCursor } }"),
    ] {
        socket.send(Message::text(message.to_string())).await.unwrap();
    }
    let spans = collector.trace(&trace, "query tasks").await;
    assert_eq!(hex(&spans["query tasks"].parent_span_id), parent_of(7));
    assert_eq!(spans["database"].parent_span_id, spans["query tasks"].span_id);
    while !socket.next().await.unwrap().unwrap().to_text().unwrap().contains("taskChanged") {}
    socket.send(Message::text(json!({ "id": "s", "type": "complete" }).to_string())).await.unwrap();
    let spans = collector.trace(&trace, "subscription taskChanged").await;
    assert_eq!(hex(&spans["subscription taskChanged"].parent_span_id), parent_of(7));
    assert_eq!(attribute(&spans["subscription taskChanged"], "taskwire.code"), "OK");

    // Who cannot say it there has said it with the handshake.
    let (parent, trace) = traceparent(8, true);
    let mut request = format!("ws://{}/graphql", server.address).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    request.headers_mut().insert("traceparent", parent.parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    init(&mut socket, json!({ "token": token("anna", Role::User) })).await;
    let query = subscribe("q", "query Mine { tasks { nodes { taskId } } }");
    socket.send(Message::text(query.to_string())).await.unwrap();
    let spans = collector.trace(&trace, "query tasks").await;
    assert_eq!(hex(&spans["query tasks"].parent_span_id), parent_of(8));
    assert_eq!(attribute(&spans["GET /graphql"], "http.response.status_code"), "IntValue(101)");
    server.end().await;
}

#[tokio::test]
async fn a_commit_belongs_to_its_first_save_and_is_linked_with_the_others() {
    const SAVES: u32 = 60;
    let (database, (collector, url)) = (TestDatabase::new().await, Collector::start().await);
    let server = server(&database, &url, &["--write-lanes", "1"]).await;
    let saves = (100..100 + SAVES).map(|number| {
        let input = json!({ "input": report(&format!("user{number}"), "t", 1, "RUNNING", json!({})) });
        let (server, parent) = (&server, traceparent(number, true).0);
        async move { ask(server, &parent, SAVE, input).await }
    });
    join_all(saves).await;
    server.end().await;
    let all = collector.0.lock().unwrap().clone();
    let named = |name: &str| all.iter().filter(|(_, span)| span.name == name).map(|(_, span)| span).collect::<Vec<_>>();
    let (operations, commits) = (named("mutation saveTaskHistory"), named("commit"));
    assert_eq!(operations.len(), SAVES as usize);
    assert!(commits.len() < SAVES as usize, "none shared a commit");
    for operation in operations {
        let of_it = commits.iter().filter(|commit| {
            commit.parent_span_id == operation.span_id
                || commit.links.iter().any(|link| link.span_id == operation.span_id)
        });
        assert_eq!(of_it.count(), 1, "{operation:?}");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_is_told_once_and_waited_for_by_nobody() {
    let database = TestDatabase::new().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = server(&database, &format!("http://{gone}"), &["--slow-operation", "0.001ms"]).await;
    for number in 0..20 {
        let answer = ask(&server, &traceparent(number + 1, true).0, "{ viewer { role } }", json!({})).await;
        assert_eq!(answer["data"]["viewer"]["role"], "WORKER");
    }
    server.told("traces are lost").await;
    ask(&server, &traceparent(50, true).0, "{ viewer { role } }", json!({})).await;
    let begun = Instant::now();
    let log = server.end().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(log.matches("traces are lost").count(), 1, "{log}");
    let slow: Vec<_> = log.lines().filter(|line| line.contains("slow operation")).collect();
    assert_eq!(slow.len(), 21, "{log}");
    assert!(slow.iter().all(|line| line.contains("\"id\":\"") && line.contains("\"peer\":")), "{log}");
}
