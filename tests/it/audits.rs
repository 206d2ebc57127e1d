//! GraphQL over HTTP to the letter: the audits of the npm package `graphql-http`, all of which must say ok.

use std::time::Duration;

use tokio::time::timeout;

use super::api_server::ApiServer;
use super::support::node;

#[tokio::test]
async fn all_61_audits_of_graphql_http_say_ok() {
    let server = ApiServer::start().await;
    let mut audits = node::script("audits.mjs").await;
    let run = timeout(Duration::from_mins(1), audits.arg(server.url()).output()).await.expect("the audits do not end");
    let run = run.expect("node is missing: run scripts/setup test");
    let (said, wrong) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    println!("{said}");
    assert!(run.status.success(), "{said}{wrong}");
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 61, "{said}");
}
