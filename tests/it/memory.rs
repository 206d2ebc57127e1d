//! What the program takes for saves that wait, and what it keeps of a storm, once it is over: docs/adr/0017.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use sqlx::Executor as _;
use tokio::time::{sleep, timeout};

use super::api_server::{SAVE, report};
use super::support::{TestDatabase, eventually, process::Logging};

/// Saves at once, each with a result nearly as large as one may be: a text, or of many small parts.
const SAVES: usize = 40;
const LARGE: usize = 250_000;
const PART: &str = r#"{"n":"x"}"#;
const PARTS: usize = 18_000;
/// So many of them wait for a held user, and what one may take meanwhile: the request's text and the record's, and what is
/// made of them when it is tried.
const HELD: usize = 16;
const EACH: u64 = 3 << 20;
/// Readers at once of a page of what they have saved, which so many of the large ones fill.
const READERS: usize = 80;
const PAGE: usize = 16;
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
    storm(&program, "small", 1).await;
    let before = program.memory();
    storm(&program, "large", LARGE).await;
    let at_most = program.most_memory().saturating_sub(before);
    let is_back = async {
        while program.memory() > before + LEFT {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let _ = timeout(REST, is_back).await;
    More { at_most, afterwards: program.memory().saturating_sub(before) }
}

async fn storm(program: &Logging, task: &str, bytes: usize) {
    const READ: &str =
        "query($task: ID!) { taskHistory(userId: \"anna\", taskId: $task, first: 100) { nodes { result } } }";
    save(program, task, &format!("\"{}\"", "x".repeat(bytes))).await;
    let read = json!({ "query": READ, "variables": { "task": task } }).to_string();
    for answer in all_at_once(program, vec![read; READERS]).await {
        assert!(answer.len() > PAGE * bytes && !answer.contains("errors"), "{} bytes", answer.len());
    }
}

async fn save(program: &Logging, task: &str, result: &str) {
    for answer in all_at_once(program, saves(task, result, SAVES)).await {
        assert!(!answer.contains("errors"), "{answer}");
    }
}

fn saves(task: &str, result: &str, saves: usize) -> Vec<String> {
    let save = |step| {
        let input = report("anna", task, step, "RUNNING", json!({ "stepResult": { "result": "HERE" } }));
        json!({ "query": SAVE, "variables": { "input": input } }).to_string().replace("\"HERE\"", result)
    };
    (0..).map(save).take(saves).collect()
}

async fn all_at_once(program: &Logging, bodies: Vec<String>) -> Vec<String> {
    let client = reqwest::Client::new();
    join_all(bodies.into_iter().map(|body| ask(&client, program, body))).await
}

async fn ask(client: &reqwest::Client, program: &Logging, body: String) -> String {
    let url = format!("http://{}/graphql", program.address);
    let answer = client.post(url).header("content-type", "application/json").body(body).send().await.unwrap();
    answer.text().await.unwrap()
}

#[tokio::test]
async fn memory_comes_back_after_a_storm() {
    // The second is told to keep what it has: a storm too small to tell the two apart would be none.
    const KEEPS: [(&str, &str); 1] = [("_RJEM_MALLOC_CONF", "background_thread:false,dirty_decay_ms:-1")];
    let (gives_back, keeps) = tokio::join!(of_a_storm(&[]), of_a_storm(&KEEPS));
    let mib = |storm: &More| format!("{} MiB of {}", storm.afterwards >> 20, storm.at_most >> 20);
    assert!(gives_back.at_most > 3 * LEFT, "{}", mib(&gives_back));
    assert!(gives_back.afterwards <= LEFT, "{}", mib(&gives_back));
    assert!(keeps.afterwards > 2 * LEFT, "{}", mib(&keeps));
}

/// What becomes of saves for one user, all sent at once, who is held until all have been answered but so many that wait, and
/// these take no more than this.
async fn held(arguments: &[&str], bodies: Vec<String>, waiting: usize, most: u64) -> Vec<String> {
    let database = TestDatabase::new().await;
    let arguments = [&["--write-hold-timeout", "60s", "--operation-timeout", "60s"], arguments].concat();
    let program = Logging::start(&database.url, &arguments, &[]).await;
    save(&program, "few", "[]").await;
    let before = program.memory();
    let mut holder = database.session().await;
    holder.execute("BEGIN; SELECT 1 FROM feed_head FOR UPDATE").await.unwrap();
    let metrics = format!("http://{}/metrics", program.address);
    let all = format!("\ntaskwire_queued_saves {waiting}\n");
    let (client, answered, refused) = (reqwest::Client::new(), Cell::new(0), bodies.len() - waiting);
    let answers = bodies.into_iter().map(async |body| {
        let answer = ask(&client, &program, body).await;
        answered.set(answered.get() + 1);
        answer
    });
    let look = async {
        eventually("them to wait", async || {
            let told = reqwest::get(&metrics).await.unwrap().text().await.unwrap();
            (answered.get() == refused && told.contains(&all)).then_some(())
        })
        .await;
        eventually("them to take little", async || (program.memory() <= before + most).then_some(())).await;
        holder.execute("ROLLBACK").await.unwrap();
    };
    tokio::join!(join_all(answers), look).0
}

/// The library holds on to a request's variables until it is answered. Taken apart, those of one such save are some ten MiB.
#[tokio::test]
async fn saves_that_wait_take_little_more_than_their_text() {
    let answers =
        held(&[], saves("many", &format!("[{}]", vec![PART; PARTS].join(",")), HELD), HELD, EACH * HELD as u64).await;
    assert!(answers.iter().all(|answer| !answer.contains("errors")));
}

/// What is not known to be kept as text is taken apart, fifty times its text, and then there may be less of it.
#[tokio::test]
async fn variables_take_no_more_than_their_room() {
    const QUERY: &str = "mutation($list: [String!]) { saveTaskHistory(input: { userId: \"anna\", taskId: \"t\", step: 1, \
        stepResult: { stepName: \"\", status: RUNNING, result: { list: $list } } }) { record { step } } }";
    const FIT: usize = 3;
    let body = json!({ "query": QUERY, "variables": { "list": vec![""; 60_000] } }).to_string();
    let room = 16 << 20;
    let answers = held(&["--variables-memory", "16MiB"], vec![body; HELD], FIT, room + EACH * FIT as u64).await;
    let refused = answers.iter().filter(|answer| answer.contains("OVERLOADED")).count();
    assert_eq!((refused, answers.iter().filter(|answer| answer.contains("step")).count()), (HELD - FIT, FIT));
}
