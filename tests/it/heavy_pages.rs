//! Large results: a page ends before it is too large to hold, with nothing missing behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use taskwire::store::{HistoryQuery, Keyset};

use super::api_server::ApiServer;
use super::support::{TestDatabase, record, store_of};

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
        // No longer than the first part of a page, and longer.
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

/// More than the first part of a page has, and small: the second goes on where the first ended.
#[tokio::test]
async fn a_long_page_of_small_results_is_whole() {
    const LONG: i32 = 130;
    let server = ApiServer::start().await;
    for step in 0..LONG {
        server.save("u", "t", step, "RUNNING", json!({})).await;
    }
    let all: Vec<i64> = (0..i64::from(LONG)).collect();
    for connection in ["history", "steps"] {
        for backward in [false, true] {
            for (size, sizes) in [(500, vec![130]), (130, vec![130]), (129, vec![129, 1]), (51, vec![51, 51, 28])] {
                let walked = walk(&server, connection, size, backward).await;
                assert_eq!(walked, (sizes, all.clone()), "{connection}, {size}, backward: {backward}");
            }
        }
    }
}

/// What comes between its two parts comes by the feed from the page's head, and so not by the page, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_long_page_is_behind_its_head() {
    const READS: usize = 100;
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    store.save_batch((0..100).map(|step| record("u", "t", step)).collect::<Vec<_>>()).await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let (saving, over) = (store.clone(), Arc::clone(&is_over));
    let writer = tokio::spawn(async move {
        let mut saved = 100;
        while !over.load(Ordering::Relaxed) {
            saving.save_batch(vec![record("u", "t", saved)]).await.unwrap();
            saved += 1;
        }
        saved
    });
    let query = HistoryQuery { user_id: "u".into(), task_id: "t".into() };
    let whole = Keyset { after: None, before: None, limit: 1_000_000, backward: false };
    let mut before = 0;
    let mut moved = 0;
    for _ in 0..READS {
        let (rows, head) = store.history(&query, &whole).await.unwrap();
        assert_eq!(rows.rows.last().unwrap().position, head.position);
        moved += usize::from(head.position > before);
        before = head.position;
    }
    is_over.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 100 && moved > READS / 10, "it moved {moved} times of {READS}");
}
