//! `taskStatistics`: what tasks are now, and what finished within a window.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _};

use super::api_server::ApiServer;
use super::support::eventually;

const STATISTICS: &str =
    "query($userId: ID, $name: String, $since: DateTime, $until: DateTime, $bucket: StatisticsBucket) {
    taskStatistics(userId: $userId, name: $name, since: $since, until: $until, bucket: $bucket) {
        since until total byStatus { status count } series { start completed failed cancelled timedOut }
        durationSeconds { p50 p90 p99 max } } }";

async fn statistics(server: &ApiServer, variables: Value) -> Value {
    server.data(STATISTICS, variables).await["taskStatistics"].take()
}

/// User, name, status, started and finished in seconds of 2026-03-01.
type Task = (&'static str, &'static str, &'static str, Option<f64>, Option<f64>);

/// Tasks as the append path leaves them, at times of our own.
async fn insert(server: &ApiServer, tasks: &[Task]) {
    let mut session = server.database.session().await;
    for (number, (user, name, status, started, finished)) in tasks.iter().enumerate() {
        let at = |seconds: &Option<f64>| {
            seconds.map_or("NULL".to_owned(), |seconds| {
                format!("timestamptz '2026-03-01 00:00:00+00' + interval '{seconds} seconds'")
            })
        };
        let (started, finished) = (at(started), at(finished));
        let sql = format!(
            "INSERT INTO task (user_id, task_id, position, record_id, status, step, highest_step, step_status, moved_position,
                moved_at, steps_from_position, steps_from_at, created_at, updated_at, started_at, finished_at, name)
            VALUES ('{user}', 't{number}', {number}, gen_random_uuid(), '{status}', 1, 1, '{status}', 1, now(), 1, now(), now(),
                now(), {started}, {finished}, nullif('{name}', ''));
            INSERT INTO task_order SELECT user_id, position, task_id, status, updated_at, pg_current_xact_id(), started_at,
                finished_at FROM task WHERE task_id = 't{number}'"
        );
        session.execute(AssertSqlSafe(sql)).await.unwrap();
    }
}

/// Two of Anna's finish in the first hour of the day, two in the third; Ben has one at its very end.
const TASKS: &[Task] = &[
    ("anna", "Import", "completed", Some(10.0), Some(12.5)),
    ("anna", "Import", "failed", Some(0.0), Some(3_599.999_999)),
    ("anna", "Export", "completed", Some(7_195.0), Some(7_200.0)),
    ("anna", "", "cancelled", None, Some(7_300.0)),
    ("anna", "Import", "running", Some(5.0), None),
    ("anna", "Import", "pending", None, None),
    ("ben", "Import", "timed_out", Some(86_300.0), Some(86_400.0)),
];

fn by_status(counts: [i64; 6]) -> Value {
    let statuses = ["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"];
    statuses.iter().zip(counts).map(|(status, count)| json!({ "status": status, "count": count })).collect()
}

fn point(start: &str, counts: [i64; 4]) -> Value {
    let [completed, failed, cancelled, timed_out] = counts;
    json!({ "start": format!("2026-03-{start}.000000Z"), "completed": completed, "failed": failed, "cancelled": cancelled,
        "timedOut": timed_out })
}

#[tokio::test]
async fn what_finished_in_a_window_is_told_by_the_hour() {
    let server = ApiServer::start().await;
    insert(&server, TASKS).await;
    let window = json!({ "since": "2026-03-01T00:30:00+00:00", "until": "2026-03-01T03:00:00Z" });
    let told = statistics(&server, window).await;
    let expected = json!({
        "since": "2026-03-01T00:30:00.000000Z", "until": "2026-03-01T03:00:00.000000Z",
        "total": 7, "byStatus": by_status([1, 1, 2, 1, 1, 1]),
        // The first bucket begins before the window, and what finished there before it does not count.
        "series": [point("01T00:00:00", [0, 1, 0, 0]), point("01T01:00:00", [0; 4]), point("01T02:00:00", [1, 0, 1, 0])],
        "durationSeconds": { "p50": 5.0, "p90": 3_599.999_999, "p99": 3_599.999_999, "max": 3_599.999_999 },
    });
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_window_holds_its_beginning_and_not_its_end() {
    let server = ApiServer::start().await;
    insert(&server, TASKS).await;
    let days = |since: &str, until: &str| json!({ "since": since, "until": until, "bucket": "DAY" });
    let told = statistics(&server, days("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")).await;
    assert_eq!(told["series"], json!([point("01T00:00:00", [2, 1, 1, 0])]));
    let told = statistics(&server, days("2026-03-01T00:00:00Z", "2026-03-02T00:00:00.000001Z")).await;
    assert_eq!(told["series"], json!([point("01T00:00:00", [2, 1, 1, 0]), point("02T00:00:00", [0, 0, 0, 1])]));
    let minutes = json!({ "since": "2026-03-01T02:00:00Z", "until": "2026-03-01T02:02:00Z", "bucket": "MINUTE" });
    let told = statistics(&server, minutes).await;
    assert_eq!(told["series"], json!([point("01T02:00:00", [1, 0, 0, 0]), point("01T02:01:00", [0, 0, 1, 0])]));
    // The cancelled one has never started.
    assert_eq!(told["durationSeconds"], json!({ "p50": 5.0, "p90": 5.0, "p99": 5.0, "max": 5.0 }));
    // Within a bucket too, and for durations as for counts.
    for (until, completed, longest) in [("12.5", 0, Value::Null), ("12.500001", 1, json!(2.5))] {
        let beginning = json!({ "since": "2026-03-01T00:00:00Z", "until": format!("2026-03-01T00:00:{until}Z") });
        let told = statistics(&server, beginning).await;
        assert_eq!(told["series"], json!([point("01T00:00:00", [completed, 0, 0, 0])]), "{until}");
        assert_eq!(told["durationSeconds"]["max"], longest, "{until}");
    }
    let none = json!({ "since": "2026-03-01T01:00:00Z", "until": "2026-03-01T01:59:59Z" });
    let told = statistics(&server, none).await;
    assert_eq!((&told["series"], &told["durationSeconds"]), (&json!([point("01T01:00:00", [0; 4])]), &Value::Null));
}

#[tokio::test]
async fn they_are_of_one_user_or_of_one_name_where_that_is_asked() {
    let server = ApiServer::start().await;
    insert(&server, TASKS).await;
    let day = |more: Value| {
        let mut all = json!({ "since": "2026-03-01T00:00:00Z", "until": "2026-03-03T00:00:00Z", "bucket": "DAY" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let second = |counts| point("02T00:00:00", counts);
    for (more, counts, first, then) in [
        (json!({ "userId": "anna" }), [1, 1, 2, 1, 1, 0], [2, 1, 1, 0], second([0; 4])),
        (json!({ "userId": "ben" }), [0, 0, 0, 0, 0, 1], [0; 4], second([0, 0, 0, 1])),
        (json!({ "userId": "carl" }), [0; 6], [0; 4], second([0; 4])),
        (json!({ "name": "Import" }), [1, 1, 1, 1, 0, 1], [1, 1, 0, 0], second([0, 0, 0, 1])),
        (json!({ "name": "import" }), [0; 6], [0; 4], second([0; 4])),
        (json!({ "name": "" }), [1, 1, 2, 1, 1, 1], [2, 1, 1, 0], second([0, 0, 0, 1])),
        (json!({ "name": "Export", "userId": "anna" }), [0, 0, 1, 0, 0, 0], [1, 0, 0, 0], second([0; 4])),
        (json!({ "name": "Export", "userId": "ben" }), [0; 6], [0; 4], second([0; 4])),
    ] {
        let told = statistics(&server, day(more.clone())).await;
        assert_eq!(told["byStatus"], by_status(counts), "{more}");
        assert_eq!(told["total"], counts.iter().sum::<i64>(), "{more}");
        assert_eq!(told["series"], json!([point("01T00:00:00", first), then]), "{more}");
    }
}

#[tokio::test]
async fn durations_are_shares_of_all_that_finished() {
    let server = ApiServer::start().await;
    // 1 to 200 s, and ten that took no time.
    let fill = "INSERT INTO task_order (user_id, position, task_id, status, updated_at, xid, started_at, finished_at)
        SELECT 'u', n, 't' || n, 'completed', now(), pg_current_xact_id(), timestamptz '2026-03-01 12:00:00+00' -
               make_interval(secs => greatest(n - 10, 0)), timestamptz '2026-03-01 12:00:00+00'
        FROM generate_series(1, 210) n";
    server.database.session().await.execute(fill).await.unwrap();
    let day = json!({ "since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z" });
    let told = statistics(&server, day).await["durationSeconds"].clone();
    assert_eq!(told["max"], 200.0);
    for (share, exact) in [("p50", 95.0), ("p90", 179.0), ("p99", 198.0)] {
        let seconds = told[share].as_f64().unwrap();
        assert!(seconds >= exact && seconds <= exact * 1.01 && seconds.fract() == 0.0, "{share}: {seconds}");
    }
    let only = json!({ "since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z", "userId": "u" });
    server.database.session().await.execute("DELETE FROM task_order WHERE position > 10").await.unwrap();
    let none = json!({ "p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0 });
    assert_eq!(statistics(&server, only).await["durationSeconds"], none);
}

#[tokio::test]
async fn without_a_window_they_are_of_the_last_24_hours() {
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    server.save("u", "t", 1, "COMPLETED", json!({})).await;
    server.save("u", "s", 1, "RUNNING", json!({})).await;
    let told = statistics(&server, json!({})).await;
    let moment = |name: &str| told[name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!(moment("until") - moment("since"), chrono::TimeDelta::days(1));
    assert!((chrono::Utc::now() - moment("until")).num_seconds().abs() < 5);
    assert_eq!(told["byStatus"], by_status([0, 1, 1, 0, 0, 0]));
    let series = told["series"].as_array().unwrap();
    assert_eq!(series.len(), 25);
    let completed: i64 = series.iter().map(|point| point["completed"].as_i64().unwrap()).sum();
    assert_eq!(completed, 1);
}

#[tokio::test]
async fn who_asks_the_same_within_five_seconds_gets_the_same_answer() {
    let server = ApiServer::start().await;
    server.save("u", "a", 1, "RUNNING", json!({})).await;
    let began = std::time::Instant::now();
    let first = statistics(&server, json!({})).await;
    server.save("u", "b", 1, "RUNNING", json!({})).await;
    assert_eq!(statistics(&server, json!({})).await, first);
    // Another question, even if its answer is about the same.
    assert_eq!(statistics(&server, json!({ "userId": "u" })).await["total"], 2);
    eventually("a new answer", async || {
        let told = statistics(&server, json!({})).await;
        (told != first).then(|| assert_eq!(told["total"], 2))
    })
    .await;
    assert!(began.elapsed().as_secs() >= 3, "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_statistics_cannot_take_is_named() {
    let server = ApiServer::start().await;
    let window = |since: &str, until: &str, bucket: &str| json!({ "since": since, "until": until, "bucket": bucket });
    for (variables, field) in [
        (json!({ "name": "x".repeat(256) }), "name"),
        (json!({ "name": "\u{0}" }), "name"),
        (json!({ "userId": "" }), "userId"),
        (json!({ "since": "2999-01-01T00:00:00Z" }), "since"),
        (window("2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", "HOUR"), "since"),
        (window("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "HOUR"), "since"),
        (window("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "DAY"), "bucket"),
        (json!({ "until": "0001-01-01T00:00:00Z" }), "until"),
        (json!({ "bucket": null }), "bucket"),
    ] {
        let error = server.error(STATISTICS, variables).await;
        assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{error}");
        assert_eq!(error["extensions"]["field"], field, "{error}");
    }
    let error = server.error(STATISTICS, window("2026-01-01T00:00:00Z", "2026-01-02T01:00:01Z", "MINUTE")).await;
    let limit = json!({ "code": "BAD_USER_INPUT", "field": "bucket", "limit": 1500, "value": 1501 });
    assert_eq!(error["extensions"], limit);
    let most = statistics(&server, window("2026-01-01T00:00:00Z", "2026-01-02T01:00:00Z", "MINUTE")).await;
    assert_eq!(most["series"].as_array().unwrap().len(), 1_500);
}
