//! The lines of the log: one for each operation, readable by people or by programs, and never what somebody sent.

use reqwest::header::{ACCEPT, AUTHORIZATION};
use serde_json::{Value, json};
use taskwire::auth::Role;

use super::api_server::{SAVE, report, token};
use super::auth::keys::SECRET;
use super::support::TestDatabase;
use super::support::process::Logging;

/// What must never be in a log.
const WORD: &str = "nobodys-business";

async fn ask(server: &Logging, query: &str, variables: Value) -> reqwest::Response {
    let worker = format!("Bearer {}", token("import-worker", Role::Worker));
    let request = reqwest::Client::new().post(format!("http://{}/graphql", server.address));
    request.header(AUTHORIZATION, worker).json(&json!({ "query": query, "variables": variables })).send().await.unwrap()
}

fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn of<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["message"] == message).collect()
}

#[tokio::test]
async fn each_operation_has_a_line_that_programs_read() {
    let database = TestDatabase::new().await;
    let variables = [("TASKWIRE_JWT_SECRET", SECRET), ("TASKWIRE_LOG", "info")];
    // Not on a terminal: JSON by itself.
    let server = Logging::start(&database.url, &["--slow-operation", "0s"], &variables).await;
    let input = json!({ "input": report("anna", "t", 1, "RUNNING", json!({ "stepResult": { "message": WORD } })) });
    let saved = ask(&server, &SAVE.replace("mutation(", "mutation Save("), input).await;
    let id = saved.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert!(saved.text().await.unwrap().contains("\"recordId\""));
    ask(
        &server,
        &format!("query Wrong {{ tasks(userId: \"{WORD}\", first: 501) {{ nodes {{ taskId }} }} }}"),
        json!({}),
    )
    .await;
    let watch = "subscription Watch { taskEvents(userId: \"anna\", fromStart: true) { feedCursor } }";
    let url = format!("http://{}/graphql", server.address);
    let anna = format!("Bearer {}", token("anna", Role::User));
    let request = reqwest::Client::new().post(url).header(AUTHORIZATION, anna).header(ACCEPT, "text/event-stream");
    let mut events = request.json(&json!({ "query": watch })).send().await.unwrap();
    while !String::from_utf8_lossy(&events.chunk().await.unwrap().unwrap()).contains("feedCursor") {}
    drop(events);
    server.told("\"Watch\"").await;
    let log = server.end().await;

    assert!(!log.contains(WORD), "{log}");
    let lines = lines(&log);
    let told = of(&lines, "operation");
    let [save, wrong, watched] = told.as_slice() else { panic!("{log}") };
    for (line, name, wanted) in [
        (save, "name", json!("Save")),
        (save, "kind", json!("mutation")),
        (save, "field", json!("saveTaskHistory")),
        (save, "viewer", json!("import-worker")),
        (save, "role", json!("worker")),
        (save, "code", json!("OK")),
        (save, "id", json!(id)),
        (save, "peer", json!("127.0.0.1")),
        (save, "level", json!("INFO")),
        (wrong, "name", json!("Wrong")),
        (wrong, "code", json!("BAD_USER_INPUT")),
        (watched, "kind", json!("subscription")),
        (watched, "viewer", json!("anna")),
        (watched, "code", json!("OK")),
    ] {
        assert_eq!(line[name], wanted, "{name}: {line}");
    }
    assert!(told.iter().all(|line| line["ms"].as_f64().is_some_and(|ms| ms > 0.0)), "{log}");
    assert!(watched["id"].as_str().is_some_and(|id| !id.is_empty()), "{watched}");
}

#[tokio::test]
async fn what_takes_long_is_a_warning_with_its_document_and_without_anybodys_words() {
    let database = TestDatabase::new().await;
    let variables = [("TASKWIRE_JWT_SECRET", SECRET), ("TASKWIRE_LOG", "warn")];
    let server = Logging::start(&database.url, &["--slow-operation", "0.001ms"], &variables).await;
    let query = format!("query Slow($task: ID!) {{\n  task(userId: \"{WORD}\", taskId: $task) {{ status }}\n}}");
    let asked = ask(&server, &query, json!({ "task": WORD })).await;
    let id = asked.headers()["x-request-id"].to_str().unwrap().to_owned();
    let log = server.end().await;
    let lines = lines(&log);
    let [slow] = of(&lines, "slow operation")[..] else { panic!("{log}") };
    assert_eq!(slow["document"], "query Slow($task: ID!) { task(userId: \"…\", taskId: $task) { status } }");
    assert_eq!((&slow["level"], &slow["id"]), (&json!("WARN"), &json!(id)));
    assert!(!log.contains(WORD), "{log}");
}

#[tokio::test]
async fn people_get_text() {
    let database = TestDatabase::new().await;
    let variables = [("TASKWIRE_JWT_SECRET", SECRET), ("TASKWIRE_LOG", "info")];
    let server = Logging::start(&database.url, &["--log-format", "text"], &variables).await;
    ask(&server, "query Me { viewer { role } }", json!({})).await;
    let line = server.told("operation kind=").await;
    for part in [
        " INFO request{id=",
        "taskwire::operation: operation",
        "name=\"Me\"",
        "viewer=\"import-worker\"",
        "code=\"OK\"",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_filter_leaves_lines_out_and_one_that_cannot_be_read_is_refused() {
    let database = TestDatabase::new().await;
    let quiet = [("TASKWIRE_JWT_SECRET", SECRET), ("TASKWIRE_LOG", "info,taskwire::operation=warn")];
    let server = Logging::start(&database.url, &[], &quiet).await;
    ask(&server, "query Me { viewer { role } }", json!({})).await;
    let log = server.end().await;
    assert!(!log.contains("\"operation\""), "{log}");
    let (code, _, said) =
        super::support::process::run(super::support::process::taskwire(&[], ["serve", "--log", "taskwire=loud"])).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("--log") && said.contains("give error, warn"), "{said}");
}
