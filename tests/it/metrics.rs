//! `/metrics`: what is counted, by whom it can be seen, and that nobody can make it grow.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use serde_json::json;
use sqlx::Executor as _;
use taskwire::auth::Role;
use taskwire::config::{Config, TelemetryConfig};
use taskwire::store::{HistoryQuery, Keyset, StoreError, StoreSettings};
use taskwire::telemetry::Telemetry;

use super::api_server::{ApiServer, report, token};
use super::support::write::store_with;
use super::support::{TestDatabase, eventually, store_of};

/// The metrics of a server at which nobody signs in.
async fn told(server: &ApiServer) -> String {
    let url = format!("http://{}/metrics", server.address);
    server.client.get(url).send().await.unwrap().text().await.unwrap()
}

/// A series' value; none where there is no such one.
fn value(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

/// What series there are.
fn series(metrics: &str) -> HashSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

#[tokio::test]
async fn what_was_done_is_counted() {
    let server = ApiServer::start().await;
    for step in 1..=3 {
        server.save("anna", "t", step, "RUNNING", json!({})).await;
    }
    server.data("query Mine { tasks(userId: \"anna\") { nodes { taskId } } }", json!({})).await;
    server.error("{ tasks(userId: \"anna\", first: 501) { nodes { taskId } } }", json!({})).await;
    let mut socket = server.socket().await;
    socket
        .subscribe("s", "subscription { taskEvents(userId: \"anna\", fromStart: true) { feedCursor } }", json!({}))
        .await;
    socket.event("s").await;
    drop(socket);
    let over = r#"taskwire_operations_total{kind="subscription",field="taskEvents",code="OK"}"#;
    let metrics = eventually("the subscription to be over", async || {
        let metrics = told(&server).await;
        value(&metrics, over).map(|_| metrics)
    })
    .await;
    for (series, wanted) in [
        (r#"taskwire_operations_total{kind="mutation",field="saveTaskHistory",code="OK"}"#, 3.0),
        (r#"taskwire_operations_total{kind="query",field="tasks",code="OK"}"#, 1.0),
        (r#"taskwire_operations_total{kind="query",field="tasks",code="BAD_USER_INPUT"}"#, 1.0),
        (r#"taskwire_operation_seconds_count{kind="mutation",field="saveTaskHistory"}"#, 3.0),
        (over, 1.0),
        (r#"taskwire_http_requests_total{route="graphql",method="POST",status="200"}"#, 5.0),
        (r#"taskwire_http_requests_total{route="graphql",method="GET",status="101"}"#, 1.0),
        (r#"taskwire_http_request_seconds_count{route="graphql"}"#, 6.0),
        ("taskwire_saved_records_total", 3.0),
        ("taskwire_commit_records_sum", 3.0),
        ("taskwire_commit_wait_seconds_count", 3.0),
        ("taskwire_queued_saves", 0.0),
        ("taskwire_pool_max_connections", 8.0),
        ("taskwire_feed_listening", 1.0),
        ("taskwire_retention_failures_total", 0.0),
        ("taskwire_retention_runs_total", 0.0),
    ] {
        assert_eq!(value(&metrics, series), Some(wanted), "{series}: {metrics}");
    }
    assert!(!metrics.contains(r#"operation_seconds_count{kind="subscription""#), "a subscription's time says nothing");
    assert!(value(&metrics, "process_resident_memory_bytes").unwrap() > 1e6);
    assert!(value(&metrics, "process_open_fds").unwrap() > 5.0 && metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn nobody_makes_labels_of_their_own() {
    let server = ApiServer::start().await;
    let url = |path: &str| format!("http://{}/{path}", server.address);
    let ask = async |number: usize| {
        let made_up = format!("secret{number}");
        server.ask(&format!("query {made_up} {{ {made_up} }}"), json!({})).await;
        server.ask(&format!("query {made_up} {{ {made_up}: viewer {{ role }} }}"), json!({})).await;
        server.ask(&format!("{{ {made_up}"), json!({})).await;
        server
            .ask(&format!("query A {{ viewer {{ role }} }} query {made_up} {{ viewer {{ role }} }}"), json!({}))
            .await;
        let method = reqwest::Method::from_bytes(made_up.to_uppercase().as_bytes()).unwrap();
        server.client.request(method, url(&made_up)).send().await.unwrap();
        let mut socket = server.socket().await;
        socket.subscribe(&made_up, &format!("subscription {made_up} {{ {made_up} }}"), json!({})).await;
        socket.next().await;
    };
    for number in 0..10 {
        ask(number).await;
        told(&server).await;
    }
    let before = series(&told(&server).await);
    for number in 10..30 {
        ask(number).await;
    }
    let after = told(&server).await;
    let more: Vec<_> = series(&after).difference(&before).cloned().collect();
    assert!(more.is_empty(), "{more:?}");
    assert!(!after.to_lowercase().contains("secret"), "{after}");
    assert!(
        value(&after, r#"taskwire_operations_total{kind="query",field="unknown",code="GRAPHQL_VALIDATION_FAILED"}"#)
            .is_some()
    );
}

#[tokio::test]
async fn at_the_main_address_metrics_are_for_admins() {
    let server = ApiServer::with_key().await;
    let url = format!("http://{}/metrics", server.address);
    let status = async |role: Option<Role>| {
        let mut request = server.client.get(&url).header(HOST, "prometheus.example");
        if let Some(role) = role {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token("me", role)));
        }
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(None).await, 401);
    assert_eq!(status(Some(Role::User)).await, 403);
    assert_eq!(status(Some(Role::Worker)).await, 403);
    assert_eq!(status(Some(Role::Admin)).await, 200);

    // Where nobody signs in: nobody's page.
    let open = ApiServer::start().await;
    let url = format!("http://{}/metrics", open.address);
    let told = open.client.get(&url).send().await.unwrap();
    assert_eq!(told.headers()[CONTENT_TYPE], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(open.client.get(&url).header(HOST, "evil.example").send().await.unwrap().status(), 403);
    let foreign = open.client.get(&url).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
}

#[tokio::test]
async fn an_address_of_their_own_tells_them_to_whoever_reaches_it() {
    // Where no other test listens: one of them might get the port as soon as it is free again.
    let metrics_listen = Some(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 9), 0)));
    let telemetry = TelemetryConfig { metrics_listen, ..TelemetryConfig::default() };
    let server = ApiServer::with_config(Config { telemetry, ..ApiServer::key_config() }).await;
    let own = server.app.metrics_address().unwrap();
    let get = async |address: SocketAddr, path: &str| {
        let admin = format!("Bearer {}", token("root", Role::Admin));
        let answer =
            server.client.get(format!("http://{address}{path}")).header(AUTHORIZATION, admin).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get(server.address, "/metrics").await.0, 404);
    let told = server.client.get(format!("http://{own}/metrics")).header(HOST, "10.0.0.7:9464").send().await.unwrap();
    assert!(told.headers().contains_key("x-request-id"));
    assert!(told.status().is_success() && told.text().await.unwrap().contains("taskwire_build_info{version="));
    let request = server.client.get(format!("http://{own}/metrics")).header(ACCEPT_ENCODING, "gzip");
    let short = request.send().await.unwrap();
    assert_eq!(short.headers()[CONTENT_ENCODING], "gzip", "as a scraper asks for it");
    assert_eq!(get(own, "/health/live").await, (200, "ok".into()));
    eventually("it is ready", async || (get(own, "/health/ready").await.0 == 200).then_some(())).await;
    assert_eq!(get(own, "/graphql").await.0, 404);
    let (app, _database) = server.into_parts();
    app.stop().await;
    // Without a turn for anything that would close it only now.
    assert!(std::net::TcpStream::connect(own).is_err(), "it is closed with the server");
}

/// At the level of the store: a server's own duties may come to their time as well.
#[tokio::test]
async fn a_call_that_was_given_up_has_failed_and_counts_once() {
    let (database, telemetry) = (TestDatabase::new().await, Telemetry::new());
    let settings = StoreSettings { command_timeout: Duration::from_millis(300), ..StoreSettings::default() };
    let store = store_with(&database, settings).counting(&telemetry);
    let mut session = database.session().await;
    session.execute("BEGIN; LOCK TABLE task_record IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let query = HistoryQuery { user_id: "u".to_owned(), task_id: "t".to_owned() };
    let page = Keyset { after: None, before: None, limit: 10, backward: false };
    assert!(matches!(store.history(&query, &page).await, Err(StoreError::Timeout)));
    let metrics = telemetry.text();
    for (name, wanted) in [("queries_total", 1.0), ("failed_queries_total", 1.0), ("database_calls", 0.0)] {
        assert_eq!(value(&metrics, &format!("taskwire_{name}")), Some(wanted), "{name}");
    }
    assert!(value(&metrics, "taskwire_query_seconds_sum").unwrap() >= 0.3, "{metrics}");
}

#[tokio::test]
async fn the_tables_and_the_oldest_snapshot_are_measured() {
    let (database, telemetry) = (TestDatabase::new().await, Telemetry::new());
    let store = store_of(&database).counting(&telemetry);
    store.measure().await.unwrap();
    let metrics = telemetry.text();
    assert_eq!(value(&metrics, "taskwire_oldest_snapshot_seconds"), Some(0.0));
    assert!(value(&metrics, "taskwire_partitions").unwrap() >= 2.0, "{metrics}");
    for table in ["task", "task_record"] {
        assert!(value(&metrics, &format!("taskwire_table_bytes{{table=\"{table}\"}}")).unwrap() > 0.0, "{metrics}");
    }
    let mut session = database.session().await;
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT pg_sleep(0.2)").await.unwrap();
    store.measure().await.unwrap();
    assert!(telemetry.oldest_snapshot_seconds.get() >= 0.2, "{}", telemetry.text());
    // Who has locked a table is not waited for, and what was measured before stands; that a snapshot is held, shows.
    let locked =
        "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_sleep(1); LOCK TABLE task IN ACCESS EXCLUSIVE MODE";
    session.execute(locked).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(5), store.measure()).await;
    assert!(waited.is_ok_and(|measured| measured.is_ok()));
    assert!(telemetry.oldest_snapshot_seconds.get() >= 1.0, "{}", telemetry.text());
    assert!(value(&telemetry.text(), "taskwire_table_bytes{table=\"task\"}").unwrap() > 0.0);
    session.execute("ROLLBACK").await.unwrap();
    store.measure().await.unwrap();
    assert!(telemetry.oldest_snapshot_seconds.get() < 0.2, "{}", telemetry.text());
}

#[tokio::test]
async fn a_client_that_hangs_up_is_counted_as_gone() {
    let server = ApiServer::start().await;
    server.save("anna", "t", 1, "RUNNING", json!({})).await;
    let mut holder = server.database.session().await;
    holder.execute("BEGIN; SELECT FROM feed_head WHERE user_id = 'anna' FOR UPDATE").await.unwrap();
    let input = json!({ "input": report("anna", "t", 2, "RUNNING", json!({})) });
    let body = json!({ "query": super::api_server::SAVE, "variables": input });
    let hung_up = server.client.post(server.url()).json(&body).timeout(Duration::from_millis(300)).send().await;
    assert!(hung_up.is_err_and(|error| error.is_timeout()));
    let gone = r#"taskwire_operations_total{kind="mutation",field="saveTaskHistory",code="GONE"}"#;
    eventually("it to be noticed", async || value(&told(&server).await, gone)).await;
    holder.execute("ROLLBACK").await.unwrap();
}
