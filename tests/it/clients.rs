//! The real clients of front ends, by npm, against the real program: `tests/clients/`. Each script gets a database of its
//! own, starts its servers itself, and leaves no process behind, however it ends.

use std::time::Duration;

use super::support::node;

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
