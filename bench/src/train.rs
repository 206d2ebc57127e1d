//! What a release is trained with (`scripts/release`, docs/adr/0016): what workers and front ends do all day, for a few seconds
//! each, so that the compiler learns which of the program's ways are walked. The queries and mutations are others than those of
//! `bench table`: its figures are not to come from having practised them. (The subscription is the same.)
//!
//! To add to it: a further document in [`READS`], or a further sort of work in [`run`], which says how often it was done.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Saver, report, save};
use crate::latency::{Language, OURS, Watchers};
use crate::server::Server;
use crate::table::{Bodies, Request, Span, drive, input};
use crate::{Result, idle};

const SAVE: &str = "mutation Save($input: SaveTaskHistoryInput!) { saveTaskHistory(input: $input) { isDuplicate \
    cancellationRequested record { id position feedCursor recordedAt } \
    task { id name status step totalSteps progress message updatedAt } } }";
const SAVE_BATCH: &str = "mutation SaveBatch($input: SaveTaskHistoryBatchInput!) { saveTaskHistoryBatch(input: $input) { \
    savedCount duplicateCount records { position taskId } cancelledTasks { taskId } } }";
/// Of one task; each is asked for as often as the others.
const READS: [&str; 4] = [
    "query Task($user: ID!, $task: ID!) { task(userId: $user, taskId: $task) { id taskId name tags isFinished position \
        totalSteps progress message errorCode createdAt startedAt finishedAt cancellation { requestedAt reason } } }",
    "query History($user: ID!, $task: ID!) { task(userId: $user, taskId: $task) { name status history(first: 20) { \
        edges { cursor node { id position stepName message progress result recordedAt isLate } } \
        pageInfo { hasNextPage endCursor } } } }",
    "query Steps($user: ID!, $task: ID!) { task(userId: $user, taskId: $task) { name steps { nodes { step name status \
        reportedAt } } } }",
    "query Tasks($user: ID!, $filter: TaskFilter) { tasks(userId: $user, filter: $filter, first: 20) { \
        edges { cursor node { id name status tags progress createdAt } } pageInfo { hasNextPage endCursor } } }",
];
const STEPS: usize = 5;
const BATCH: usize = 50;
/// Who save one by one, and how many tasks each has to begin with, which are read afterwards.
const SAVERS: usize = 48;
const TASKS: usize = 40;
const BATCHERS: usize = 4;
const READERS: usize = 48;
/// Each of a user; so few that no limit on open files is met.
const SUBSCRIBERS: usize = 200;
/// Changes a second.
const RATE: f64 = 1_000.0;
const CHANGES: Language =
    Language { mutation: |number| save(report(&format!("u{}", number % SUBSCRIBERS), number, &Value::Null)), ..OURS };

/// How the program is trained.
#[derive(clap::Args)]
pub(crate) struct Train {
    /// The program; it brings its own PostgreSQL
    #[arg(long)]
    server: PathBuf,
    /// Seconds for each sort of work; subscribers are told of a thousand changes in each
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
}

pub(crate) async fn run(arguments: &Train) -> Result<()> {
    let server = Server::start(&arguments.server, None, &[]).await?;
    let span = Span { warm_up: Duration::ZERO, measured: Duration::try_from_secs_f64(arguments.seconds)? };
    let request = |good: &str| Request { address: server.address.clone(), path: "/graphql", good: good.to_owned() };
    // What is read is there before anything else.
    let mut first = Saver::connect(&server.address).await?;
    for saver in 0..SAVERS {
        first.save_all((0..TASKS * STEPS).map(|number| record(saver, number)).collect::<Result<_>>()?).await?;
    }
    let savers = (0..SAVERS).map(|saver| saves(saver, TASKS * STEPS)).collect();
    println!("saves: {}", drive(request("\"isDuplicate\":false"), span, savers).await?.answers);
    let batchers = (SAVERS..SAVERS + BATCHERS).map(batches).collect();
    let good = format!("\"savedCount\":{BATCH}");
    println!("batches: {}", drive(request(&good), span, batchers).await?.answers);
    let readers = (0..READERS).map(|_| reads()).collect();
    println!("reads: {}", drive(request("\"name\":\"import "), span, readers).await?.answers);

    first.begin((0..SUBSCRIBERS).map(|user| format!("u{user}"))).await?;
    let sockets = idle::connect_all(&server.address, SUBSCRIBERS).await?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
    let count = (RATE * arguments.seconds) as usize;
    let (told, missing) = Watchers::new(&server.address, CHANGES, sockets).run(RATE, count).await?;
    println!("changes told to subscribers: {}", told.len());
    // It writes what it has counted as it ends.
    server.stop().await?;
    if missing > 0 { Err(format!("{missing} changes have not arrived").into()) } else { Ok(()) }
}

/// The input of a worker's save of this number: tasks one after the other, each of a user among a hundred.
fn write_record(saver: usize, number: usize, into: &mut Vec<u8>) {
    let (task, step) = (number / STEPS, number % STEPS);
    let details = format!(r#","task":{{"name":"import {task}","tags":["nightly","of {saver}"],"totalSteps":{STEPS}}}"#);
    let details = if step == 0 { details.as_str() } else { "" };
    let step = u32::try_from(step).unwrap_or_default();
    input(into, user_of(saver, task), &format_args!("{saver}_{task}"), step, "COMPLETED", details);
}

fn record(saver: usize, number: usize) -> Result<Value> {
    let mut text = Vec::new();
    write_record(saver, number, &mut text);
    Ok(serde_json::from_slice(&text)?)
}

fn user_of(saver: usize, task: usize) -> usize {
    (saver * 7 + task) % 100
}

fn saves(saver: usize, first: usize) -> Bodies {
    let (before, mut number) = (format!(r#"{{"query":"{SAVE}","variables":{{"input":"#), first);
    Box::new(move |body| {
        body.extend_from_slice(before.as_bytes());
        write_record(saver, number, body);
        body.extend_from_slice(b"}}");
        number += 1;
    })
}

fn batches(saver: usize) -> Bodies {
    let (before, mut number) = (format!(r#"{{"query":"{SAVE_BATCH}","variables":{{"input":{{"records":["#), 0);
    Box::new(move |body| {
        body.extend_from_slice(before.as_bytes());
        for place in 0..BATCH {
            if place > 0 {
                body.push(b',');
            }
            write_record(saver, number, body);
            number += 1;
        }
        body.extend_from_slice(b"]}}}");
    })
}

fn reads() -> Bodies {
    let mut random = fastrand::Rng::new();
    Box::new(move |body| {
        let (saver, task) = (random.usize(..SAVERS), random.usize(..TASKS));
        let variables = json!({
            "user": format!("user_{}", user_of(saver, task)),
            "task": format!("{saver}_{task}"),
            "filter": { "isFinished": true },
        });
        let query = READS.get(random.usize(..READS.len())).copied().unwrap_or_default();
        body.extend_from_slice(json!({ "query": query, "variables": variables }).to_string().as_bytes());
    })
}
