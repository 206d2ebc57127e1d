//! What the program keeps of a storm, once it is over: docs/adr/0017.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::api_server::{SAVE, report};
use super::support::{TestDatabase, process::Logging};

/// Saves at once, each with a result nearly as large as one may be, of many small parts.
const SAVES: usize = 40;
const PARTS: usize = 18_000;
/// Time that it has to give memory back, and what it may keep: some of what small pieces are made of is in use here and there.
const REST: Duration = Duration::from_secs(10);
const LEFT: u64 = 48 << 20;

/// So many bytes more than before the storm: while it went on, at the most, and once it was over.
struct More {
    at_most: u64,
    afterwards: u64,
}

/// Looks until no more is left than may be, as long as a rest.
async fn of_a_storm(variables: &[(&str, &str)]) -> More {
    let database = TestDatabase::new().await;
    let program = Logging::start(&database.url, &[], variables).await;
    // A small one first: what comes with the first connections and statements is no storm's.
    storm(&program, SAVES, 1).await;
    let before = program.memory();
    storm(&program, SAVES, PARTS).await;
    let at_most = program.most_memory().saturating_sub(before);
    let is_back = async {
        while program.memory() > before + LEFT {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let _ = timeout(REST, is_back).await;
    More { at_most, afterwards: program.memory().saturating_sub(before) }
}

async fn storm(program: &Logging, saves: usize, parts: usize) {
    let part = json!({ "n": "x" }).to_string();
    let result = format!("[{}]", vec![part; parts].join(","));
    let client = reqwest::Client::new();
    let url = format!("http://{}/graphql", program.address);
    let answers = join_all((0..saves).map(|save| {
        let user = format!("user {save}");
        let input = report(&user, "t", 0, "RUNNING", json!({ "stepResult": { "result": "HERE" } }));
        let body = json!({ "query": SAVE, "variables": { "input": input } }).to_string();
        let body = body.replace("\"HERE\"", &result);
        client.post(&url).header("content-type", "application/json").body(body).send()
    }));
    for answer in answers.await {
        let answer: Value = answer.unwrap().json().await.unwrap();
        assert!(answer.get("errors").is_none(), "{answer}");
    }
}

#[tokio::test]
async fn memory_comes_back_after_a_storm() {
    // The second is told to keep what it has: a storm too small to tell the two apart would be none.
    const KEEPS: [(&str, &str); 1] = [("_RJEM_MALLOC_CONF", "background_thread:false,dirty_decay_ms:-1")];
    let (gives_back, keeps) = tokio::join!(of_a_storm(&[]), of_a_storm(&KEEPS));
    let mib = |storm: &More| format!("{} MiB of {}", storm.afterwards >> 20, storm.at_most >> 20);
    assert!(gives_back.at_most > 4 * LEFT, "{}", mib(&gives_back));
    assert!(gives_back.afterwards <= LEFT, "{}", mib(&gives_back));
    assert!(keeps.afterwards > 2 * LEFT, "{}", mib(&keeps));
}
