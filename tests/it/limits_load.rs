//! How often, for how much, and how many at once.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::Executor as _;
use tokio::time::sleep;

use super::api_server::{ApiServer, report};
use super::support::eventually;

const ME: &str = "{ viewer { role } }";

fn of(answers: &[Value], code: &str) -> usize {
    answers.iter().filter(|answer| answer["errors"][0]["extensions"]["code"] == code).count()
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_ask_again() {
    let server = ApiServer::configured(|config| config.graphql.max_operations_per_second = NonZeroU32::new(5)).await;
    let answers = join_all((0..30).map(|_| server.ask(ME, json!({})))).await;
    let refused = of(&answers, "RATE_LIMITED");
    assert!((15..=25).contains(&refused), "{refused} of 30 were refused");
    let last = answers.iter().find(|answer| answer["errors"].is_array()).unwrap();
    let extensions = &last["errors"][0]["extensions"];
    assert_eq!(extensions["retryable"], true);
    let met = ["limit", "max", "value"].map(|name| &extensions[name]);
    assert_eq!(met, [&json!("operationsPerSecond"), &json!(5), &json!(6)]);
    let wait = extensions["retryAfterMs"].as_u64().unwrap();
    assert!((1..=250).contains(&wait), "{wait}");
    sleep(Duration::from_millis(wait)).await;
    server.data(ME, json!({})).await;
}

#[tokio::test]
async fn what_is_refused_before_it_is_executed_counts_too() {
    let server = ApiServer::configured(|config| config.graphql.max_operations_per_second = NonZeroU32::new(5)).await;
    for wrong in ["{", "{ viewr }", "{ viewer { role } } fragment F on Nothing { a }"] {
        let answers = join_all((0..30).map(|_| server.ask(wrong, json!({})))).await;
        let refused = of(&answers, "RATE_LIMITED");
        assert!(refused >= 20, "{wrong}: {refused} of 30 were refused");
        sleep(Duration::from_secs(1)).await;
    }
    let by = |request: reqwest::RequestBuilder| async {
        let accept = "application/graphql-response+json";
        request.header("accept", accept).send().await.unwrap().status().as_u16()
    };
    let url = reqwest::Url::parse_with_params(&server.url(), [("query", "{")]).unwrap();
    let mut statuses = join_all((0..30).map(|_| by(server.client.get(url.clone())))).await;
    statuses.retain(|status| *status == 429);
    assert!(statuses.len() >= 20, "{} of 30 were refused", statuses.len());
    let mut socket = server.socket().await;
    let mut limited = 0;
    for id in 0..20 {
        socket.subscribe(&id.to_string(), "{", json!({})).await;
        limited += usize::from(socket.next().await.to_string().contains("RATE_LIMITED"));
    }
    assert!(limited >= 10, "{limited} of 20 were refused");
}

#[tokio::test]
async fn cost_is_counted_by_the_second_too() {
    let server = ApiServer::configured(|config| config.graphql.max_cost_per_second = NonZeroU32::new(110)).await;
    let page = "{ tasks(userId: \"u\", first: 100) { nodes { taskId } } }";
    server.data(page, json!({})).await;
    let error = server.error(page, json!({})).await;
    assert_eq!(error["extensions"]["code"], "RATE_LIMITED");
    assert_eq!((&error["extensions"]["limit"], &error["extensions"]["max"]), (&json!("costPerSecond"), &json!(110)));
    assert_eq!(error["extensions"]["value"], 102, "{error}");
    assert!(error["extensions"]["retryAfterMs"].as_u64().unwrap() <= 1_000, "{error}");
    server.data(ME, json!({})).await;
}

#[tokio::test]
async fn beyond_the_operations_at_work_the_server_is_overloaded() {
    let server = ApiServer::configured(|config| config.graphql.max_concurrent_operations = 2).await;
    let (mut psql, mut look) = (server.database.session().await, server.database.session().await);
    psql.execute("BEGIN; LOCK TABLE task IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let held = || server.ask("{ tasks(userId: \"u\") { nodes { taskId } } }", json!({}));
    let rest = async {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut look).await.unwrap() < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        let error = server.error(ME, json!({})).await;
        assert_eq!(error["extensions"]["code"], "OVERLOADED", "{error}");
        let met = ["limit", "max", "value"].map(|name| &error["extensions"][name]);
        assert_eq!(met, [&json!("concurrentOperations"), &json!(2), &json!(3)]);
        assert!(error["extensions"]["retryAfterMs"].as_u64().unwrap() > 0);
        let again = server.client.post(server.url()).json(&json!({ "query": ME })).send().await.unwrap();
        assert_eq!((again.status().as_u16(), again.headers()["retry-after"].to_str().unwrap()), (503, "1"));
        psql.execute("ROLLBACK").await.unwrap();
    };
    let (one, other, ()) = tokio::join!(held(), held(), rest);
    assert!(one["data"].is_object() && other["data"].is_object(), "{one} {other}");
    server.data(ME, json!({})).await;
}

/// The variables of all that is at work: by what they take, however small what is made of them.
#[tokio::test]
async fn variables_beyond_their_room_are_refused_at_once() {
    let patient = std::time::Duration::from_mins(1);
    let server = ApiServer::configured(|config| {
        config.graphql.variables_memory = 1 << 20;
        (config.graphql.operation_timeout, config.write.hold_timeout) = (patient, patient);
    })
    .await;
    server.save("held", "t", 0, "RUNNING", json!({})).await;
    let query = "mutation($user: ID!, $list: [Int!]) { saveTaskHistory(input: { userId: $user, taskId: \"t\", step: 1, \
        stepResult: { stepName: \"\", status: RUNNING, result: { list: $list } } }) { record { step } } }";
    let of = |user: &str, length: usize| json!({ "user": user, "list": vec![1; length] });
    let mut psql = server.database.session().await;
    psql.execute("BEGIN; SELECT 1 FROM feed_head WHERE user_id = 'held' FOR UPDATE").await.unwrap();
    let first = server.ask(query, of("held", 8_000));
    let rest = async {
        let refused = eventually("one to be refused", async || {
            let mut answer = server.ask(query, of("free", 8_000)).await;
            answer.get("errors").is_some().then(|| answer["errors"][0]["extensions"].take())
        })
        .await;
        let told = ["code", "limit", "max", "retryable"].map(|name| &refused[name]);
        assert_eq!(told, [&json!("OVERLOADED"), &json!("variablesMemory"), &json!(1 << 20), &json!(true)], "{refused}");
        assert!(refused["value"].as_u64() > refused["max"].as_u64() && refused["retryAfterMs"].is_u64(), "{refused}");
        // What is larger than all of it never has room.
        let never = server.error(query, of("free", 16_000)).await["extensions"].take();
        assert_eq!((&never["code"], &never["limit"]), (&json!("LIMIT_EXCEEDED"), &json!("variablesMemory")), "{never}");
        // What takes little needs no room.
        server.data(query, of("free", 100)).await;
        psql.execute("ROLLBACK").await.unwrap();
    };
    let (first, ()) = tokio::join!(first, rest);
    assert_eq!(first["data"]["saveTaskHistory"]["record"]["step"], 1, "{first}");
    server.data(query, of("free", 8_000)).await;
}

/// Batches go beside the queue of saves: what they hold together, tags and names too, has a bound of its own.
#[tokio::test]
async fn batches_beyond_their_room_are_refused_at_once() {
    const BATCH: &str = "mutation($records: [SaveTaskHistoryInput!]!) { saveTaskHistoryBatch(input: { records: $records }) { \
        savedCount } }";
    let server = ApiServer::configured(|config| config.write.queue_bytes = 128 << 10).await;
    server.save("held", "t", 0, "RUNNING", json!({})).await;
    let batch = |user: &str| {
        let tags: Vec<String> = (10..42).map(|number| format!("{number}{}", "\u{1F980}".repeat(60))).collect();
        let record = |step| report(user, "t", step, "RUNNING", json!({ "task": { "tags": tags } }));
        json!({ "records": (1..=10).map(record).collect::<Vec<_>>() })
    };
    let mut psql = server.database.session().await;
    psql.execute("BEGIN; SELECT 1 FROM feed_head WHERE user_id = 'held' FOR UPDATE").await.unwrap();
    let first = server.ask(BATCH, batch("held"));
    let second = async {
        let mut look = server.database.session().await;
        eventually("the first one waits", async || {
            let sql =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let waiting: i64 = sqlx::query_scalar(sql).fetch_one(&mut look).await.unwrap();
            (waiting > 0).then_some(())
        })
        .await;
        let refused = server.error(BATCH, batch("free")).await["extensions"].take();
        assert_eq!((&refused["code"], &refused["retryable"]), (&json!("OVERLOADED"), &json!(true)), "{refused}");
        assert!(refused["retryAfterMs"].is_u64());
        psql.execute("ROLLBACK").await.unwrap();
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first["data"]["saveTaskHistoryBatch"]["savedCount"], 10, "{first}");
    let second = server.data(BATCH, batch("free")).await;
    assert_eq!(second["saveTaskHistoryBatch"]["savedCount"], 10);
}
