//! The real clients of front ends, by npm, against the real program: `tests/clients/`. Each script gets a database of its
//! own, starts its servers itself, and leaves no process behind, however it ends.

use std::path::Path;
use std::time::Duration;

use super::support::{left_out, node};

async fn run(script: &str) {
    node::run_tests(node::clients().await, script, Duration::from_secs(90), &[]).await;
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
    typescript(&format!("samples/{test}")).await;
}

/// A script that imports the dashboard's modules, which are TypeScript.
async fn typescript(script: &str) {
    let variables = [("NODE_OPTIONS", "--import tsx")];
    node::run_tests(node::clients().await, script, Duration::from_secs(90), &variables).await;
}

/// What pages and events come to in memory, for any front end.
#[tokio::test]
async fn resume() {
    typescript("../../web/tests/units/resume.test.mjs").await;
}

/// And in the dashboard's list.
#[tokio::test]
async fn task_list() {
    typescript("../../web/tests/units/taskList.test.mjs").await;
}

/// And in a task's page, over what the build has made of its operations.
#[tokio::test]
async fn task_reading() {
    if !Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/web/src/gql/operations.ts")).exists() {
        return left_out("the pages' operations are not there: scripts/web makes them");
    }
    node::prepare("web").await;
    typescript("../../web/tests/units/taskReading.test.mjs").await;
}

/// The words for the chart's buckets.
#[tokio::test]
async fn buckets() {
    typescript("../../web/tests/units/buckets.test.mjs").await;
}

/// Nothing of the dashboard is there for nobody, and nothing twice.
#[tokio::test]
async fn tidy() {
    typescript("../../web/tests/units/tidy.test.mjs").await;
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
