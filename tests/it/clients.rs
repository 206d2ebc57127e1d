//! The real clients of front ends, by npm, against the real program: `tests/clients/`. Each script gets a database of its
//! own, starts its servers itself, and leaves no process behind, however it ends.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;
use tokio::time::timeout;

use super::support::{TestDatabase, node, process::PROGRAM};

/// Ends the script and everything that it started.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0).ok().and_then(Pid::from_raw) {
            // Nothing is left where the script has ended well.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn run(script: &str) {
    let database = TestDatabase::new().await;
    let mut command = Command::new("node");
    command
        .args(["--import", "tsx", "--test", "--test-reporter=spec", "--test-timeout=90000", script])
        .current_dir(node::clients().await)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TASKWIRE", PROGRAM)
        .env("TASKWIRE_DATABASE_URL", &database.url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let child = command.spawn().expect("node is missing: run scripts/setup test");
    let group = Group(child.id().unwrap());
    let output = timeout(Duration::from_mins(2), child.wait_with_output()).await.expect("it does not end").unwrap();
    drop(group);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{script}: {}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("pass 1"), "it tests nothing: {}", text(&output.stdout));
}

#[tokio::test]
async fn graphql_ws() {
    run("graphql-ws.mjs").await;
}

#[tokio::test]
async fn subscriptions_transport_ws() {
    run("subscriptions-transport-ws.mjs").await;
}

#[tokio::test]
async fn graphql_sse() {
    run("graphql-sse.mjs").await;
}

#[tokio::test]
async fn apollo_over_websocket() {
    run("apollo.mjs").await;
}

#[tokio::test]
async fn apollo_over_multipart() {
    run("apollo-multipart.mjs").await;
}

#[tokio::test]
async fn urql() {
    run("urql.mjs").await;
}

#[tokio::test]
async fn a_token_is_renewed_on_its_socket() {
    run("renew.mjs").await;
}

/// What docs/frontends.md shows, each with its test.
const SAMPLES: [(&str, &str); 3] =
    [("apollo.mjs", "apollo.test.mjs"), ("urql.mjs", "urql.test.mjs"), ("relay.js", "relay.test.mjs")];

async fn sample(number: usize) {
    let (name, test) = SAMPLES[number];
    let read = |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let shown = format!("\n```js\n{}```\n", read(&format!("tests/clients/samples/{name}")));
    assert!(read("docs/frontends.md").contains(&shown), "docs/frontends.md does not show {name} as it is");
    run(&format!("samples/{test}")).await;
}

#[tokio::test]
async fn the_sample_for_apollo() {
    sample(0).await;
}

#[tokio::test]
async fn the_sample_for_urql() {
    sample(1).await;
}

#[tokio::test]
async fn the_sample_for_relay() {
    sample(2).await;
}
