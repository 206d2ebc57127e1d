//! The alert rules and the dashboard of `deploy/`, tried by Debian's Prometheus: the rules by promtool, and each query of both
//! on what Prometheus has scraped from the real program under load. A program of its own, since a Prometheus takes as much of
//! the machine as all other tests together. It listens on loopback alone and is ended with the test.
//!
//! A query that nothing comes of is a finding: it names a metric or a label that there is not. To add a panel or a rule: there,
//! and here only where the load does not provoke what it asks for.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

#[expect(dead_code, unused_imports, reason = "most of it is for the tests of tests/it")]
#[path = "../it/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sqlx::Executor as _;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use support::process::{Logging, PROGRAM};
use support::{Folder, TestDatabase, eventually, left_out};

/// What Grafana puts in the place of its variables.
const VARIABLES: [(&str, &str); 2] = [("$__rate_interval", "30s"), ("$instance", ".*")];
/// For how long a query may have no answer: rates want two scrapes, half a second apart.
const PATIENCE: Duration = Duration::from_mins(1);

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// Prometheus or promtool: what `scripts/prometheus` has fetched, or one that is installed.
fn tool(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("tools/prometheus");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(fetched).chain(std::env::split_paths(&path)).map(|folder| folder.join(name));
    let found = found.into_iter().find(|path| path.is_file());
    if found.is_none() {
        left_out(&format!("no {name}: scripts/prometheus fetches it"));
    }
    found
}

async fn promtool(tool: &Path, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(tool).args(arguments).arg(file).output().await.unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[tokio::test]
async fn the_rules_are_right_and_each_has_its_test() {
    let Some(promtool_path) = tool("promtool") else { return };
    let (rules, tests) = (deploy("prometheus/taskwire.rules.yml"), deploy("prometheus/taskwire.test.yml"));
    promtool(&promtool_path, &["check", "rules", "--lint-fatal"], &rules).await;
    promtool(&promtool_path, &["test", "rules"], &tests).await;
    let (rules, tests) = (fs::read_to_string(rules).unwrap(), fs::read_to_string(tests).unwrap());
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "where are the rules?");
    // A test that expects nothing would pass as well.
    let expecting = |alert: &str| {
        let cases = tests.split("- alertname: ").filter(|case| case.lines().next() == Some(alert));
        cases.filter(|case| case.contains("exp_labels:")).count()
    };
    let untested: Vec<_> = alerts.iter().filter(|alert| expecting(alert) == 0).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

/// A Prometheus that scrapes a server twice a second. Ended with this value.
struct Prometheus {
    _child: Child,
    _folder: Folder,
    url: String,
    client: reqwest::Client,
}

impl Prometheus {
    async fn start(program: &Path, target: SocketAddr) -> Self {
        let folder = Folder::new();
        let config = format!(
            "global: {{ scrape_interval: 500ms, evaluation_interval: 1s }}\nrule_files: [{}]\n\
             scrape_configs: [{{ job_name: taskwire, static_configs: [{{ targets: [\"{target}\"] }}] }}]\n",
            deploy("prometheus/taskwire.rules.yml").display()
        );
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        // It does not say which port it has got: one that is free, and may be taken meanwhile.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let prometheus =
            Self { _child: child, _folder: folder, url: format!("http://{address}"), client: reqwest::Client::new() };
        eventually("Prometheus to be ready", async || {
            let answer = prometheus.client.get(format!("{}/-/ready", prometheus.url)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        prometheus
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/{path}", self.url), query).unwrap();
        let answer: Value = self.client.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "success", "{query:?}: {answer}");
        answer["data"].clone()
    }

    /// Whether it knows a series, with a number for its value.
    async fn knows(&self, query: &str) -> bool {
        let found = self.get("query", &[("query", query)]).await["result"].take();
        let values = found.as_array().unwrap().iter().map(|series| series["value"][1].as_str().unwrap());
        values.into_iter().any(|value| value.parse::<f64>().is_ok_and(|number| !number.is_nan()))
    }
}

/// What the dashboard asks, its variables in place.
fn dashboard() -> BTreeSet<String> {
    let text = fs::read_to_string(deploy("grafana/taskwire.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut queries: BTreeSet<String> = targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    // label_values(METRIC, LABEL)
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(values) = variable["query"].as_str().and_then(|query| query.strip_prefix("label_values(")) {
            let (metric, label) = values.trim_end_matches(')').split_once(", ").unwrap();
            queries.insert(format!("count by ({label}) ({metric}{{{label}!=\"\"}})"));
        }
    }
    assert!(queries.len() > 40, "where is the dashboard?");
    queries
        .into_iter()
        .map(|query| VARIABLES.iter().fold(query, |query, (name, value)| query.replace(name, value)))
        .inspect(|query| assert!(!query.contains('$'), "a variable that nobody knows: {query}"))
        .collect()
}

/// What the rules ask, without their thresholds: when all is well nothing is beyond them.
async fn rules(prometheus: &Prometheus) -> BTreeSet<String> {
    let told = eventually("the rules to be evaluated", async || {
        let told = prometheus.get("rules", &[]).await["groups"][0]["rules"].take();
        let is_done = told.as_array().is_some_and(|rules| rules.iter().all(|rule| rule["health"] != "unknown"));
        is_done.then_some(told)
    })
    .await;
    let rules = told.as_array().unwrap();
    assert!(rules.len() > 10 && rules.iter().all(|rule| rule["health"] == "ok"), "{told}");
    let query = |rule: &Value| {
        let whole = rule["query"].as_str().unwrap();
        let (query, threshold) = whole.rsplit_once([' ']).unwrap();
        assert!(threshold.parse::<f64>().is_ok(), "no threshold at the end: {whole}");
        query.trim_end_matches(['>', '<', '=']).trim().to_owned()
    };
    rules.iter().map(query).collect()
}

/// Somebody who saves, watches, asks what cannot be answered and opens sockets, until this is dropped.
struct Load {
    _workers: Child,
    callers: JoinHandle<()>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.callers.abort();
    }
}

impl Load {
    async fn start(address: SocketAddr, database: &TestDatabase) -> Self {
        let url = format!("http://{address}/graphql");
        let workers = Command::new(PROGRAM)
            .args(["demo", "--rate", "100", "--seed", "6", "--url", &url])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // One user is held by somebody's open transaction: who saves for that user is told of a time-out.
        let client = reqwest::Client::new();
        let save = "mutation($task: ID!) { saveTaskHistory(input: { userId: \"held\", taskId: $task, step: 1, \
                    stepResult: { stepName: \"s\", status: RUNNING } }) { isDuplicate } }";
        let ask = async move |query: &str| {
            let body = json!({ "query": query, "variables": { "task": "t" } });
            client.post(&url).json(&body).send().await.unwrap().text().await.unwrap()
        };
        assert!(ask(save).await.contains("isDuplicate"));
        let mut holder = database.session().await;
        holder.execute("BEGIN; SELECT FROM feed_head WHERE user_id = 'held' FOR UPDATE").await.unwrap();
        let callers = tokio::spawn(async move {
            let _holds = holder;
            loop {
                ask("{ tasks(first: 50) { nodes { taskId status } } }").await;
                ask("{ tasks(first: 501) { nodes { taskId } } }").await;
                assert!(ask(save).await.contains("TIMEOUT"));
                watch(address).await;
            }
        });
        Self { _workers: workers, callers }
    }
}

/// Opens a socket, watches everybody's tasks until some have come, and goes.
async fn watch(address: SocketAddr) {
    let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    let query = "subscription { taskEvents(userId: \"demo-anna\") { feedCursor } }";
    let subscribe = json!({ "id": "1", "type": "subscribe", "payload": { "query": query } });
    for message in [json!({ "type": "connection_init" }), subscribe] {
        socket.send(Message::text(message.to_string())).await.unwrap();
    }
    for _ in 0..5 {
        socket.next().await.unwrap().unwrap();
    }
    socket.close(None).await.unwrap();
}

#[tokio::test]
async fn every_query_of_the_dashboard_and_of_the_rules_has_an_answer() {
    let Some(program) = tool("prometheus") else { return };
    let database = TestDatabase::new().await;
    let arguments = ["--metrics-listen", "127.0.0.1:0", "--write-hold-timeout", "200ms", "--slow-operation", "50ms"];
    let server = Logging::start(&database.url, &arguments, &[]).await;
    let metrics =
        server.greeting.split("http://").find(|part| part.contains("/metrics")).expect("an address of its own");
    let load = Load::start(server.address, &database).await;
    let prometheus = Prometheus::start(&program, metrics.split('/').next().unwrap().parse().unwrap()).await;

    let mut open = dashboard();
    open.extend(rules(&prometheus).await);
    let until = Instant::now() + PATIENCE;
    while !open.is_empty() {
        assert!(!load.callers.is_finished(), "the load has ended");
        let asked: Vec<String> = open.iter().cloned().collect();
        for query in asked {
            if prometheus.knows(&query).await {
                open.remove(&query);
            }
        }
        assert!(Instant::now() < until, "these have no answer: {open:#?}");
        sleep(Duration::from_millis(500)).await;
    }
    drop(load);
    server.end().await;
}
