//! Large results: a page ends before it is too large to hold, with nothing missing behind it.

use serde_json::{Value, json};

use super::api_server::ApiServer;

/// Characters of each result.
const LARGE: usize = 200_000;
const RECORDS: i32 = 45;
/// So many come to no more than the 4 MiB of a page.
const FITTING: usize = 20;

/// Walks from one end to the other: how many entries each page has, and their steps in the list's order.
async fn walk(server: &ApiServer, connection: &str, size: i32, backward: bool) -> (Vec<usize>, Vec<i64>) {
    let (count, from, more, next) = if backward {
        ("last", "before", "hasPreviousPage", "startCursor")
    } else {
        ("first", "after", "hasNextPage", "endCursor")
    };
    let page = format!("({count}: $n, {from}: $c) {{ nodes {{ step }} pageInfo {{ {more} {next} }} }}");
    let query = format!("query($n: Int, $c: String) {{ task(userId: \"u\", taskId: \"t\") {{ {connection}{page} }} }}");
    let (mut sizes, mut steps, mut cursor) = (Vec::new(), Vec::new(), Value::Null);
    loop {
        let data = server.data(&query, json!({ "n": size, "c": cursor })).await;
        let page = &data["task"][connection];
        let found: Vec<i64> =
            page["nodes"].as_array().unwrap().iter().map(|node| node["step"].as_i64().unwrap()).collect();
        sizes.push(found.len());
        let at = if backward { 0 } else { steps.len() };
        steps.splice(at..at, found);
        if page["pageInfo"][more] == false {
            return (sizes, steps);
        }
        cursor = page["pageInfo"][next].clone();
        assert!(sizes.len() < 10, "{sizes:?}");
    }
}

#[tokio::test]
async fn a_page_of_large_results_ends_early_and_goes_on() {
    let server = ApiServer::start().await;
    for step in 0..RECORDS {
        server.save("u", "t", step, "RUNNING", json!({ "stepResult": { "result": "x".repeat(LARGE) } })).await;
    }
    let all: Vec<i64> = (0..i64::from(RECORDS)).collect();
    for connection in ["history", "steps"] {
        // Read together with others, and alone.
        for size in [50, 500] {
            for backward in [false, true] {
                let (sizes, steps) = walk(&server, connection, size, backward).await;
                assert_eq!(sizes, [FITTING, FITTING, 5], "{connection}, {size}, backward: {backward}");
                assert_eq!(steps, all, "{connection}, {size}, backward: {backward}");
            }
        }
        let (sizes, _) = walk(&server, connection, 15, false).await;
        assert_eq!(sizes, [15, 15, 15]);
    }
}
