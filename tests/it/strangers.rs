//! Plain SQL beside us: what an old client, a psql or a COPY writes through the view goes down the same path.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use entity::{RecordKind, TaskStatus};
use futures_util::future::try_join_all;
use sqlx::{AssertSqlSafe, Executor, PgConnection, PgPool, Row};
use taskwire::store::{HistoryQuery, Keyset, NewRecord, Store};

use super::held::OLD_CONNECT;
use super::support::{TestDatabase, lanes_of, record, record_of, store_of};

/// The statement of the class that we replace.
const OLD_INSERT: &str =
    "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status) VALUES ($1, $2, $3, $4, $5, $6)";
const OLD_CANCEL: &str = "UPDATE task_history SET status = 'cancelled' WHERE user_id = $1 AND task_id = $2";
const OLD_STATUS: &str =
    "SELECT status FROM task_history WHERE user_id = $1 AND task_id = $2 ORDER BY step DESC LIMIT 1";

/// A session with the strangers' role.
async fn stranger(database: &TestDatabase) -> PgConnection {
    let mut session = database.session().await;
    session.execute("SET ROLE task_history_writer").await.unwrap();
    session
}

fn pool(database: &TestDatabase) -> &PgPool {
    database.database.connection.get_postgres_connection_pool()
}

async fn old_status(session: &mut PgConnection, user_id: &str, task_id: &str) -> String {
    sqlx::query_scalar(OLD_STATUS).bind(user_id).bind(task_id).fetch_one(session).await.unwrap()
}

async fn history(store: &Store, user_id: &str, task_id: &str) -> Vec<entity::task_record::Model> {
    let query = HistoryQuery { user_id: user_id.to_owned(), task_id: task_id.to_owned() };
    let page = Keyset { after: None, before: None, limit: 500, backward: false };
    store.history(&query, &page).await.unwrap().0.rows
}

/// SQLSTATE, message and hint of a refusal.
fn refusal(result: Result<sqlx::postgres::PgQueryResult, sqlx::Error>) -> (String, String, String) {
    let error = result.expect_err("it was taken");
    let error = error.as_database_error().unwrap().downcast_ref::<sqlx::postgres::PgDatabaseError>();
    (error.code().to_owned(), error.message().to_owned(), error.hint().unwrap_or_default().to_owned())
}

fn naive(text: &str) -> NaiveDateTime {
    text.parse::<DateTime<Utc>>().unwrap().naive_utc()
}

#[tokio::test]
async fn an_old_insert_is_numbered_summed_up_and_told() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let mut listener = sqlx::postgres::PgListener::connect_with(pool(&database)).await.unwrap();
    listener.listen("taskwire_feed").await.unwrap();
    let mut session = stranger(&database).await;
    let times = ["1970-01-01T00:00:00Z", "2026-01-02T03:04:05.678901Z", "2100-01-01T00:00:00Z"];
    let before = Utc::now();
    for (step, at) in (0..).zip(times) {
        let done = sqlx::query(OLD_INSERT)
            .bind("ann")
            .bind("t")
            .bind(step)
            .bind(serde_json::json!({"step": "s", "message": "hello", "error_code": "E1", "completed": false}))
            .bind(naive(at))
            .bind("running")
            .execute(&mut session)
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1);
        let told = tokio::time::timeout(Duration::from_secs(5), listener.recv()).await.unwrap().unwrap();
        assert_eq!(told.payload(), r#"["ann"]"#);
    }
    let records = history(&store, "ann", "t").await;
    assert_eq!(records.iter().map(|record| record.position).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(records[0].timestamp, DateTime::UNIX_EPOCH);
    assert_eq!(records[1].timestamp.naive_utc(), naive(times[1]));
    assert!(records[2].timestamp <= Utc::now() && records[2].timestamp >= before, "the future becomes now");
    assert!(records.iter().all(|record| record.recorded_at >= before), "our own clock is what counts");
    let task = store.task("ann", "t").await.unwrap().unwrap();
    assert_eq!((task.step, task.status, task.position), (2, TaskStatus::Running, 3));
    assert_eq!((task.message.as_str(), task.error_code.as_deref()), ("hello", Some("E1")));
    assert_eq!(store.step(&task, 2).await.unwrap().unwrap().name, "s");
    // The default of the old column.
    session
        .execute(
            "INSERT INTO task_history (user_id, task_id, step, result, timestamp) VALUES ('ann', 'd', 0, '{}', now())",
        )
        .await
        .unwrap();
    assert_eq!(store.task("ann", "d").await.unwrap().unwrap().status, TaskStatus::Pending);
}

#[tokio::test]
async fn several_rows_at_once_have_their_count_and_their_ids() {
    let database = TestDatabase::new().await;
    let mut session = stranger(&database).await;
    let rows = session.fetch_all(
        "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status) VALUES
         ('bob', 't', 0, '{}', now(), 'running'), ('ann', 't', 0, '{}', now(), 'running'),
         ('bob', 't', 1, '{\"message\": \"m\"}', now(), 'completed'), ('ann', 'u', 0, '[1]', now(), 'pending') RETURNING id, user_id, step, timestamp",
    ).await.unwrap();
    assert_eq!(rows.len(), 4);
    for row in &rows {
        let (id, user_id, step): (i64, String, i32) = (row.get("id"), row.get("user_id"), row.get("step"));
        let stored: (String, i32, NaiveDateTime) =
            sqlx::query_as("SELECT user_id, step, timestamp FROM task_history WHERE id = $1")
                .bind(id)
                .fetch_one(&mut session)
                .await
                .unwrap();
        assert_eq!(stored, (user_id, step, row.get("timestamp")));
    }
    let store = store_of(&database);
    assert_eq!(history(&store, "bob", "t").await.iter().map(|record| record.step).collect::<Vec<_>>(), [0, 1]);
    let done = session
        .execute(
            "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status)
        SELECT 'u' || (n % 7), 't', n, '{}', now(), 'running' FROM generate_series(1, 2500) n",
        )
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 2500);
    let dense: bool = sqlx::query_scalar(
        "SELECT bool_and(n = position) FROM (SELECT position, row_number() OVER (PARTITION BY user_id ORDER BY step) n
        FROM task_record WHERE user_id LIKE 'u_') x",
    )
    .fetch_one(pool(&database))
    .await
    .unwrap();
    assert!(dense, "in the order of the statement");
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM task_inbox").fetch_one(pool(&database)).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn copy_goes_into_the_view() {
    use std::fmt::Write;

    let database = TestDatabase::new().await;
    let mut session = stranger(&database).await;
    let mut lines = String::new();
    for step in 0..1500 {
        writeln!(lines, "u{}\tt\t{step}\t{{\"step\": \"s\"}}\t2026-01-01 00:00:00\trunning", step % 3).unwrap();
    }
    let mut copy = session
        .copy_in_raw("COPY task_history (user_id, task_id, step, result, timestamp, status) FROM STDIN")
        .await
        .unwrap();
    copy.send(lines.as_bytes()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 1500);
    let store = store_of(&database);
    for user in 0..3 {
        let task = store.task(&format!("u{user}"), "t").await.unwrap().unwrap();
        assert_eq!((task.position, task.step), (500, 1497 + user));
    }
}

#[tokio::test]
async fn a_savepoint_rolled_back_leaves_no_hole() {
    let database = TestDatabase::new().await;
    let mut session = stranger(&database).await;
    for sql in [
        "BEGIN",
        "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status) VALUES ('ann', 't', 0, '{}', now(), 'running')",
        "SAVEPOINT s",
        "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status) VALUES ('ann', 't', 1, '{}', now(), 'running'), ('bob', 't', 1, '{}', now(), 'running')",
        "ROLLBACK TO s",
        "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status) VALUES ('ann', 't', 2, '{}', now(), 'running')",
        "COMMIT",
    ] {
        session.execute(sql).await.unwrap();
    }
    let store = store_of(&database);
    let steps: Vec<_> = history(&store, "ann", "t").await.iter().map(|record| (record.position, record.step)).collect();
    assert_eq!(steps, [(1, 0), (2, 2)]);
    assert!(store.task("bob", "t").await.unwrap().is_none());
}

#[tokio::test]
async fn an_old_cancel_is_one_cancellation_and_late_reports_still_read_as_cancelled() {
    let database = TestDatabase::new().await;
    let (store, lanes) = (store_of(&database), lanes_of(&database));
    for step in 0..3 {
        lanes.save(record("ann", "t", step)).await.unwrap();
    }
    lanes.save(record_of("ann", "failed", 0, TaskStatus::Failed)).await.unwrap();
    let mut session = stranger(&database).await;
    let done = sqlx::query(OLD_CANCEL).bind("ann").bind("t").execute(&mut session).await.unwrap();
    assert_eq!(done.rows_affected(), 3);
    let records = history(&store, "ann", "t").await;
    assert_eq!(records.len(), 4, "one record for all rows");
    let last = records.last().unwrap();
    assert_eq!((last.kind, last.status, last.step), (RecordKind::CancellationRequested, TaskStatus::Cancelled, 3));
    assert_eq!(last.reported_by, None);
    let task = store.task("ann", "t").await.unwrap().unwrap();
    assert!(task.is_cancellation_pending() && task.status == TaskStatus::Cancelled);
    assert_eq!(old_status(&mut session, "ann", "t").await, "cancelled");

    // Late reports, ours and an old worker's, of higher steps.
    let saved = lanes.save(record("ann", "t", 7)).await.unwrap();
    assert!(saved.record.is_late && saved.task.is_cancellation_pending());
    assert_eq!(saved.task.cancel_delivered_at, Some(saved.record.recorded_at));
    sqlx::query(OLD_INSERT)
        .bind("ann")
        .bind("t")
        .bind(9)
        .bind(serde_json::json!({}))
        .bind(Utc::now().naive_utc())
        .bind("completed")
        .execute(&mut session)
        .await
        .unwrap();
    assert_eq!(old_status(&mut session, "ann", "t").await, "cancelled");
    assert_eq!(store.task("ann", "t").await.unwrap().unwrap().status, TaskStatus::Cancelled);

    // Again, and of a finished task: by the rules, nothing.
    sqlx::query(OLD_CANCEL).bind("ann").bind("t").execute(&mut session).await.unwrap();
    sqlx::query(OLD_CANCEL).bind("ann").bind("failed").execute(&mut session).await.unwrap();
    sqlx::query(OLD_CANCEL).bind("ann").bind("nothing").execute(&mut session).await.unwrap();
    assert_eq!(history(&store, "ann", "t").await.len(), 6);
    assert_eq!(store.task("ann", "failed").await.unwrap().unwrap().status, TaskStatus::Failed);
    // Many tasks at once.
    session
        .execute(
            "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status)
        SELECT 'u' || n, 't', s, '{}', now(), 'running' FROM generate_series(1, 20) n, generate_series(0, 3) s",
        )
        .await
        .unwrap();
    session.execute("UPDATE task_history SET status = 'cancelled' WHERE user_id LIKE 'u%'").await.unwrap();
    let cancelled: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM task_record WHERE kind = 'cancellation_requested' AND user_id LIKE 'u%'",
    )
    .fetch_one(pool(&database))
    .await
    .unwrap();
    assert_eq!(cancelled, 20);
}

#[tokio::test]
async fn what_is_no_report_is_refused_with_a_hint() {
    let database = TestDatabase::new().await;
    lanes_of(&database).save(record("ann", "t", 0)).await.unwrap();
    let mut session = stranger(&database).await;
    for sql in [
        "DELETE FROM task_history",
        "UPDATE task_history SET status = 'completed'",
        "UPDATE task_history SET result = '{}'",
        "UPDATE task_history SET status = 'cancelled', step = 5",
    ] {
        let (code, message, hint) = refusal(session.execute(sql).await);
        assert_eq!((code.as_str(), message.as_str()), ("0A000", "task_history is append-only"), "{sql}");
        assert!(!hint.is_empty(), "{sql}");
    }
    let long = "x".repeat(256);
    let cases: [(&str, &str, i32, &str, &str); 10] = [
        ("ann", "t", 0, "done", "status must be one of"),
        ("ann", "t", 0, "COMPLETED", "status must be one of"),
        ("ann", "t", 0, "", "status must be one of"),
        ("", "t", 0, "running", "user_id must have"),
        (&long, "t", 0, "running", "user_id must have"),
        ("ann", "", 0, "running", "task_id must have"),
        ("ann", &long, 0, "running", "task_id must have"),
        ("ann", "t", -1, "running", "step must be"),
        ("ann", "t", 1_000_001, "running", "step must be"),
        ("ann", "t", i32::MAX, "running", "step must be"),
    ];
    for (user_id, task_id, step, status, expected) in cases {
        let result = sqlx::query(OLD_INSERT)
            .bind(user_id)
            .bind(task_id)
            .bind(step)
            .bind(serde_json::json!({}))
            .bind(naive("2026-01-01T00:00:00Z"))
            .bind(status)
            .execute(&mut session)
            .await;
        let (code, message, _) = refusal(result);
        assert!(code == "23514" && message.starts_with(expected), "{code} {message}");
    }
    for at in ["-infinity", "0044-03-15 BC"] {
        let sql = format!(
            "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status) VALUES ('ann', 't', 0, '{{}}', '{at}', 'running')"
        );
        assert_eq!(refusal(session.execute(AssertSqlSafe(sql)).await).0, "22008");
    }
    session.execute("INSERT INTO task_history (user_id, task_id, step, result, timestamp, status) VALUES ('ann', 't', 1000000, '{}', 'infinity', 'running')").await.unwrap();
    let records = history(&store_of(&database), "ann", "t").await;
    assert_eq!(records.iter().map(|record| record.step).collect::<Vec<_>>(), [0, 1_000_000]);
}

fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// A result as it comes, for task 't' of 'ann'.
const INSERT: &str = "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status) VALUES ('ann', 't', 0, $1::text::jsonb, now(), 'running')";

#[tokio::test]
async fn poison_is_refused_and_the_edge_is_taken() {
    let database = TestDatabase::new().await;
    let mut session = stranger(&database).await;
    let many = format!("[{}]", vec!["1e131071"; 1000].join(","));
    let refused = [
        r#"{"result": 1e131071}"#.to_owned(),
        r#"{"result": 1e400}"#.to_owned(),
        r#"{"result": {"a": [-1.1e308]}}"#.to_owned(),
        "1e309".to_owned(),
        many,
        nested(10_000),
        format!(r#"{{"result": {}}}"#, nested(65)),
        r#"{"message": "\ud800"}"#.to_owned(),
        r#"{"message": "\u0000"}"#.to_owned(),
        r#"{"\u0000": 1}"#.to_owned(),
        "null and void".to_owned(),
        format!(r#"{{"message": "{}"}}"#, "x".repeat(16_385)),
        format!(r#"{{"result": "{}"}}"#, "x".repeat(327_680)),
        format!(r#"{{"error_code": "{}"}}"#, "x".repeat(65)),
        format!(r#"{{"step": "{}"}}"#, "x".repeat(256)),
    ];
    for poison in &refused {
        let start = std::time::Instant::now();
        let (code, message, _) = refusal(sqlx::query(INSERT).bind(poison.as_str()).execute(&mut session).await);
        assert!(matches!(&code[..2], "22" | "54"), "{code} {message}");
        assert!(start.elapsed() < Duration::from_secs(2), "{message}: {:?}", start.elapsed());
    }
    let taken = [
        format!(r#"{{"result": {}}}"#, nested(64)),
        r#"{"result": [1e308, -1e308, 0, 0.5, 123456789012345678]}"#.to_owned(),
        format!(r#"{{"message": "{}", "result": "{}"}}"#, "x".repeat(16_384), "y".repeat(262_000)),
        "17".to_owned(),
        "\"text\"".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
    ];
    for edge in &taken {
        sqlx::query(INSERT).bind(edge.as_str()).execute(&mut session).await.unwrap();
    }
    let read: i64 = sqlx::query_scalar("SELECT count(result) FROM task_history").fetch_one(&mut session).await.unwrap();
    assert_eq!(usize::try_from(read).unwrap(), taken.len(), "the view's cast");
    let store = store_of(&database);
    let records = history(&store, "ann", "t").await;
    assert_eq!(records.len(), taken.len());
    for record in &records {
        let parsed = taskwire::service::StoredStepResult::parse(&record.result);
        assert!(parsed.result.is_ok(), "{}", record.position);
    }
}

#[tokio::test]
async fn the_role_reaches_the_view_and_nothing_else() {
    let database = TestDatabase::new().await;
    lanes_of(&database).save(record("ann", "t", 0)).await.unwrap();
    let mut session = stranger(&database).await;
    for sql in [
        "SELECT * FROM task",
        "SELECT * FROM task_record",
        "SELECT * FROM task_record_before",
        "SELECT * FROM feed_head",
        "SELECT * FROM task_inbox",
        "INSERT INTO task_inbox VALUES (1, 'a', 'b', 1, '{}', now(), 'running', false)",
        "DELETE FROM task_record",
        "UPDATE feed_head SET position = 0",
        "SELECT * FROM taskwire_migration",
        "TRUNCATE task_record",
        "SELECT nextval('task_record_id')",
        "CREATE TABLE mine (x int)",
        "DROP VIEW task_history",
        "SELECT taskwire_lock_heads(ARRAY['ann'], NULL, 0)",
        "SELECT * FROM taskwire_append_v1(ARRAY['ann'], ARRAY['t'], ARRAY['step'], ARRAY[1], ARRAY['running'], ARRAY['{}'::json],
            NULL, NULL, NULL, NULL, NULL, ARRAY[gen_random_uuid()], NULL, NULL, NULL, 0, true, 'each')",
        "SELECT * FROM taskwire_cancel_v1(ARRAY['ann'], ARRAY['t'], ARRAY[gen_random_uuid()], NULL, NULL, true, '0', 10, true)",
        OLD_CONNECT,
    ] {
        let error = session.execute(sql).await.expect_err(sql);
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{sql}: {error}");
    }
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM task_history").fetch_one(&mut session).await.unwrap();
    assert_eq!(seen, 1);
    // The old class's reads.
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'task_history'::regclass ORDER BY attnum")
        .fetch_all(&mut session).await.unwrap();
    let columns: Vec<(&str, &str)> = columns.iter().map(|(name, ty)| (name.as_str(), ty.as_str())).collect();
    let expected = [
        ("id", "bigint"),
        ("user_id", "text"),
        ("task_id", "text"),
        ("step", "integer"),
        ("result", "jsonb"),
        ("timestamp", "timestamp without time zone"),
        ("status", "text"),
    ];
    assert_eq!(columns, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_of_several_users_in_any_order_beside_the_lanes_never_deadlock() {
    const USERS: usize = 12;
    let database = TestDatabase::new().await;
    let servers = [lanes_of(&database), lanes_of(&database)];
    let store = store_of(&database);
    let strangers = (0..6).map(|seed| {
        let options = database.connect_options();
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut session = sqlx::ConnectOptions::connect(&options).await.unwrap();
            let mut written = BTreeMap::<String, usize>::new();
            for round in 0..40 {
                let mut users: Vec<String> = (0..USERS).map(|user| format!("u{}", user + round / 10 * USERS)).collect();
                random.shuffle(&mut users);
                users.truncate(random.usize(2..USERS));
                for user in &users {
                    *written.entry(user.clone()).or_default() += 1;
                }
                sqlx::query(
                    "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status)
                    SELECT u, 't', 1, '{}', now(), 'running' FROM unnest($1::text[]) u",
                )
                .bind(users)
                .execute(&mut session)
                .await
                .unwrap();
            }
            written
        })
    });
    let ours = (0..8_u64).map(|seed| {
        let (lanes, store) = (servers[usize::try_from(seed % 2).unwrap()].clone(), store.clone());
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(100 + seed);
            let mut written = BTreeMap::<String, usize>::new();
            for round in 0..60 {
                let mut users: Vec<String> = (0..USERS).map(|user| format!("u{}", user + round / 15 * USERS)).collect();
                random.shuffle(&mut users);
                users.truncate(random.usize(1..5));
                let records: Vec<NewRecord> = users.iter().map(|user| record(user, "t", 2)).collect();
                for user in users {
                    *written.entry(user).or_default() += 1;
                }
                if seed < 6 {
                    try_join_all(records.into_iter().map(|record| lanes.save(record))).await.unwrap();
                } else {
                    store.save_batch(records.clone()).await.unwrap();
                }
            }
            written
        })
    });
    let mut written = BTreeMap::<String, usize>::new();
    let all: Vec<_> = strangers.chain(ours).collect();
    for one in all {
        for (user, records) in one.await.unwrap() {
            *written.entry(user).or_default() += records;
        }
    }
    for (user, records) in &written {
        let (count, last): (i64, i64) =
            sqlx::query_as("SELECT count(*), max(position) FROM task_record WHERE user_id = $1")
                .bind(user)
                .fetch_one(pool(&database))
                .await
                .unwrap();
        assert_eq!((count, last), (i64::try_from(*records).unwrap(), i64::try_from(*records).unwrap()), "{user}");
    }
    // What a deadlock hidden by our own retries would have left.
    let mut session = database.session().await;
    session.execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    let deadlocks: i64 =
        sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            .fetch_one(&mut session)
            .await
            .unwrap();
    assert_eq!(deadlocks, 0);
}
