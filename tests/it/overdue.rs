//! Tasks that went silent: due times, `REPORT_OVERDUE`, signs of life, and times in which no server was there.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{RecordKind, TaskStatus};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use taskwire::app::App;
use taskwire::config::{Config, DatabaseSource};
use taskwire::store::{DUE_REPORTS, DueReport, Head, Store, TaskDetails};
use taskwire::telemetry::Telemetry;

use super::api_server::{ApiServer, report};
use super::support::write::store_with;
use super::support::{TestDatabase, eventually, record, record_of, store_of};

const TASK: &str = r#"query($id: ID!) { task(userId: "anna", taskId: $id) {
     status message position updatedAt finishedAt reportDueAt history { nodes { kind status message step stepName
     reportedBy isLate completed recordedAt } } } }"#;
const ALIVE: &str = "mutation($input: ReportAliveInput!) { reportAlive(input: $input) { \
     cancellationRequested reportDueAt } }";
const EVENTS: &str = r#"subscription { taskEvents(userId: "anna", fromStart: true) { record { kind position taskId }
     task { status reportDueAt } } }"#;

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("no time: {value}")).parse().unwrap()
}

fn within(seconds: i32) -> Value {
    json!({ "task": { "reportWithinSeconds": seconds } })
}

async fn task(server: &ApiServer, id: &str) -> Value {
    server.data(TASK, json!({ "id": id })).await["task"].take()
}

/// Another server over the same database.
async fn beside(server: &ApiServer) -> App {
    over(&server.database, |_| {}).await
}

async fn over(database: &TestDatabase, change: impl FnOnce(&mut Config)) -> App {
    let mut config = Config::default();
    config.database.url = DatabaseSource::Url { url: database.url.clone(), setting: "the test".into() };
    config.database.min_connections = 1;
    config.http.listen.set_port(0);
    change(&mut config);
    App::start(config, Telemetry::new()).await.unwrap()
}

/// A store over a database of its own, without a server; tasks of Anna's that awaited a report an hour ago.
async fn silent(tasks: &[&str]) -> (TestDatabase, Store) {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    for task in tasks {
        store.save_batch(vec![due_in(task, 60)]).await.unwrap();
    }
    // Somebody has always been there.
    database
        .session()
        .await
        .execute("INSERT INTO report_clock VALUES (1, clock_timestamp(), '-infinity')")
        .await
        .unwrap();
    an_hour_later(&database).await;
    (database, store)
}

fn due_in(task: &str, seconds: i32) -> taskwire::store::NewRecord {
    let details = TaskDetails { report_within_seconds: Some(seconds), ..TaskDetails::default() };
    taskwire::store::NewRecord { details: Some(details), ..record("anna", task, 3) }
}

/// As if all that stands in the database had been an hour earlier.
async fn an_hour_later(database: &TestDatabase) {
    let sql = "UPDATE task SET report_due_at = report_due_at - interval '1 hour'";
    database.session().await.execute(sql).await.unwrap();
}

async fn due(store: &Store) -> Vec<DueReport> {
    store.due_reports(Utc::now(), None, 100).await.unwrap()
}

async fn stored(store: &Store, task: &str) -> entity::task::Model {
    store.tasks_by_key(vec![("anna".to_owned(), task.to_owned())]).await.unwrap().remove(0)
}

/// The kinds of Anna's records, as they stand in her feed.
async fn kinds(store: &Store) -> Vec<RecordKind> {
    let page = store.feed_page("anna", None, Head::START, 100).await.unwrap();
    page.entries.iter().map(|entry| entry.record.kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_task_times_out_in_time_and_a_later_report_moves_it_on() {
    let server = ApiServer::start().await;
    let mut socket = server.socket().await;
    socket.subscribe("e", EVENTS, json!({})).await;
    server.save("anna", "t", 4, "RUNNING", within(1)).await;
    let first = socket.event("e").await["taskEvents"].take();
    let due_at = time(&first["task"]["reportDueAt"]);

    let event = socket.event("e").await["taskEvents"].take();
    assert_eq!(event["record"], json!({ "kind": "REPORT_OVERDUE", "position": 2, "taskId": "t" }));
    assert_eq!(event["task"], json!({ "status": "TIMED_OUT", "reportDueAt": null }));
    let t = task(&server, "t").await;
    let history = &t["history"]["nodes"];
    assert_eq!(time(&history[0]["recordedAt"]) + TimeDelta::seconds(1), due_at);
    let late = time(&history[1]["recordedAt"]) - due_at;
    assert!(late >= TimeDelta::zero() && late < TimeDelta::seconds(2), "{late}");
    let message = format!("No report came by {}", due_at.format("%Y-%m-%dT%H:%M:%SZ"));
    let recorded_at = &history[1]["recordedAt"];
    assert_eq!(
        history[1],
        json!({ "kind": "REPORT_OVERDUE", "status": "TIMED_OUT", "message": message, "step": 4, "stepName": "",
            "reportedBy": null, "isLate": false, "completed": false, "recordedAt": recorded_at })
    );
    assert_eq!((&t["status"], &t["message"], &t["position"]), (&json!("TIMED_OUT"), &json!(message), &json!(2)));
    assert_eq!((&t["updatedAt"], &t["finishedAt"]), (recorded_at, recorded_at));

    // Of whatever step: the task has the status of its highest one again, and awaits the next report.
    server.save("anna", "t", 2, "COMPLETED", json!({})).await;
    let moved_on = socket.event("e").await["taskEvents"].take();
    assert_eq!((&moved_on["record"]["kind"], &moved_on["task"]["status"]), (&json!("STEP"), &json!("RUNNING")));
    assert!(!moved_on["task"]["reportDueAt"].is_null());
    let again = socket.event("e").await["taskEvents"].take();
    assert_eq!(again["record"], json!({ "kind": "REPORT_OVERDUE", "position": 4, "taskId": "t" }));
    // A finished one awaits nothing, and what awaits nothing is left alone.
    server.save("anna", "t", 4, "COMPLETED", json!({})).await;
    server.save("anna", "u", 1, "RUNNING", within(1)).await;
    for (kind, task) in [("STEP", "t"), ("STEP", "u"), ("REPORT_OVERDUE", "u")] {
        let event = socket.event("e").await["taskEvents"].take();
        assert_eq!((&event["record"]["kind"], &event["record"]["taskId"]), (&json!(kind), &json!(task)));
    }
    assert_eq!(task(&server, "t").await["status"], "COMPLETED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_servers_record_it_once() {
    let server = ApiServer::start().await;
    let others = [beside(&server).await, beside(&server).await];
    let tasks: Vec<String> = (0..300).map(|number| format!("t{number}")).collect();
    let records: Vec<Value> = tasks.iter().map(|task| report("anna", task, 1, "RUNNING", within(1))).collect();
    let save = "mutation($input: SaveTaskHistoryBatchInput!) { saveTaskHistoryBatch(input: $input) { savedCount } }";
    server.data(save, json!({ "input": { "records": records } })).await;
    let store = store_of(&server.database);
    let all_are_out = async || {
        let page = store.feed_page("anna", None, Head::START, 10_000).await.unwrap();
        (page.entries.len() >= 600).then_some(page.entries)
    };
    let entries = eventually("all of them time out", all_are_out).await;
    // A round of each server later nothing has been added: what a second one would add had been decided by then.
    server.save("anna", "u", 1, "RUNNING", within(1)).await;
    let mut session = server.database.session().await;
    let overdue = "SELECT count(*), count(DISTINCT task_id) FROM task_record WHERE kind = 'report_overdue'";
    let u_is_out = async || {
        let row = session.fetch_one(overdue).await.unwrap();
        let counted: (i64, i64) = (row.get(0), row.get(1));
        (counted.1 == 301).then_some(counted)
    };
    assert_eq!(eventually("the last one times out", u_is_out).await, (301, 301));
    let late = |entry: &&taskwire::store::Committed| entry.record.kind == RecordKind::ReportOverdue;
    let due_at = entries[0].record.recorded_at + TimeDelta::seconds(1);
    let latest = entries.iter().filter(late).map(|entry| entry.record.recorded_at).max().unwrap();
    assert!(latest - due_at < TimeDelta::seconds(2), "{}", latest - due_at);
    for other in others {
        other.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_of_life_moves_the_due_time_and_nothing_else() {
    let server = ApiServer::start().await;
    server.save("anna", "t", 1, "RUNNING", within(60)).await;
    let before = task(&server, "t").await;
    let input = json!({ "input": { "userId": "anna", "taskId": "t" } });
    let told = server.data(ALIVE, input.clone()).await["reportAlive"].take();
    let mut after = task(&server, "t").await;
    assert_eq!(told["cancellationRequested"], false);
    assert_eq!(after["reportDueAt"], told["reportDueAt"]);
    assert!(time(&told["reportDueAt"]) > time(&before["reportDueAt"]));
    after["reportDueAt"] = before["reportDueAt"].clone();
    assert_eq!(after, before, "a sign of life changed more than the due time");

    // Of what awaits no report, it tells of a cancellation all the same.
    server.save("anna", "u", 1, "RUNNING", json!({})).await;
    let alive = async |task: &str| {
        server.data(ALIVE, json!({ "input": { "userId": "anna", "taskId": task } })).await["reportAlive"].take()
    };
    assert_eq!(alive("u").await, json!({ "cancellationRequested": false, "reportDueAt": null }));
    assert_eq!(alive("no").await, Value::Null);
    let cancel = r#"mutation { cancelTask(input: { userId: "anna", taskId: "t" }) { task { reportDueAt position } } }"#;
    let cancelled = server.data(cancel, json!({})).await["cancelTask"]["task"].take();
    assert_eq!(cancelled, json!({ "reportDueAt": null, "position": 3 }));
    assert_eq!(alive("t").await, json!({ "cancellationRequested": true, "reportDueAt": null }));
    assert_eq!(task(&server, "t").await["position"], 3, "told, but only a report counts as its delivery");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signs_of_life_keep_a_task_alive_until_they_end() {
    let server = ApiServer::start().await;
    let mut socket = server.socket().await;
    server.save("anna", "t", 1, "RUNNING", within(2)).await;
    socket.subscribe("e", EVENTS, json!({})).await;
    socket.event("e").await;
    let input = json!({ "input": { "userId": "anna", "taskId": "t" } });
    let begun = Utc::now();
    let mut due_at = begun;
    while Utc::now() < begun + TimeDelta::milliseconds(3500) {
        due_at = time(&server.data(ALIVE, input.clone()).await["reportAlive"]["reportDueAt"]);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let event = socket.event("e").await["taskEvents"].take();
    assert_eq!(event["record"], json!({ "kind": "REPORT_OVERDUE", "position": 2, "taskId": "t" }));
    let recorded_at = time(&task(&server, "t").await["history"]["nodes"][1]["recordedAt"]);
    assert!(recorded_at >= due_at && recorded_at < due_at + TimeDelta::seconds(2), "{recorded_at} {due_at}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_goes_by_the_servers_setting() {
    let server = ApiServer::configured(|config| config.task.report_within = Some(Duration::from_mins(1))).await;
    let due_in = async |task_id: &str, more: Value| {
        server.save("anna", task_id, 1, "RUNNING", more).await;
        let task = task(&server, task_id).await;
        (!task["reportDueAt"].is_null()).then(|| time(&task["reportDueAt"]) - time(&task["updatedAt"]))
    };
    let minute = Some(TimeDelta::minutes(1));
    assert_eq!(due_in("t", json!({})).await, minute);
    assert_eq!(due_in("t", json!({ "task": { "name": "n" } })).await, minute);
    // What a worker has said stays, until it says otherwise; 0 turns it off.
    assert_eq!(due_in("t", within(7)).await, Some(TimeDelta::seconds(7)));
    assert_eq!(due_in("t", json!({ "task": { "name": "m" } })).await, Some(TimeDelta::seconds(7)));
    assert_eq!(due_in("t", within(0)).await, None);
    assert_eq!(due_in("t", json!({})).await, None);
    assert_eq!(due_in("t", within(31_536_000)).await, Some(TimeDelta::days(365)));
    let alive = server.data(ALIVE, json!({ "input": { "userId": "anna", "taskId": "t" } })).await;
    assert!(time(&alive["reportAlive"]["reportDueAt"]) > Utc::now() + TimeDelta::days(364));
    // Plain SQL says nothing, and knows no setting.
    let insert = r#"INSERT INTO task_history (user_id, task_id, step, result, status)
        VALUES ('anna', 'sql', 1, '{"step": "s"}', 'running')"#;
    server.database.session().await.execute(insert).await.unwrap();
    assert_eq!(task(&server, "sql").await["reportDueAt"], Value::Null);
    // A sign of life of a task that goes by the setting does, too.
    due_in("u", json!({})).await;
    let alive = server.data(ALIVE, json!({ "input": { "userId": "anna", "taskId": "u" } })).await;
    let until_due = time(&alive["reportAlive"]["reportDueAt"]) - Utc::now();
    assert!(until_due > TimeDelta::seconds(55) && until_due <= TimeDelta::seconds(61), "{until_due}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_values_are_refused() {
    let server = ApiServer::start().await;
    let save = super::api_server::SAVE;
    for (value, limit) in [(-1, 0), (31_536_001, 31_536_000), (i32::MIN, 0)] {
        let error = server.error(save, json!({ "input": report("anna", "t", 1, "RUNNING", within(value)) })).await;
        assert_eq!(
            error["extensions"],
            json!({ "code": "BAD_USER_INPUT", "field": "input.task.reportWithinSeconds", "limit": limit, "value": value })
        );
    }
    assert_eq!(task(&server, "t").await, Value::Null);
    let long = "x".repeat(256);
    for (input, field) in [
        (json!({ "taskId": "t" }), "input.userId"),
        (json!({ "userId": "", "taskId": "t" }), "input.userId"),
        (json!({ "userId": long, "taskId": "t" }), "input.userId"),
        (json!({ "userId": "a\0b", "taskId": "t" }), "input.userId"),
        (json!({ "userId": "anna", "taskId": "" }), "input.taskId"),
        (json!({ "userId": "anna", "taskId": long }), "input.taskId"),
        (json!({ "userId": "anna", "taskId": "a\0b" }), "input.taskId"),
    ] {
        let error = server.error(ALIVE, json!({ "input": input })).await;
        assert_eq!(
            (&error["extensions"]["code"], &error["extensions"]["field"]),
            (&json!("BAD_USER_INPUT"), &json!(field))
        );
        assert_eq!(error["path"], json!(["reportAlive"]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_gap_every_due_time_begins_anew() {
    let server = ApiServer::start().await;
    server.save("anna", "short", 1, "RUNNING", within(3)).await;
    server.save("anna", "long", 1, "RUNNING", within(5000)).await;
    let clock = "SELECT seen_at FROM report_clock";
    let mut session = server.database.session().await;
    let seen = async || session.fetch_optional(clock).await.unwrap().map(drop);
    eventually("the server has seen that reports are awaited", seen).await;
    let before = time(&task(&server, "long").await["reportDueAt"]);
    let (app, database) = server.into_parts();
    app.stop().await;
    // As if it had been away for an hour: one is overdue by far, the other one is not.
    an_hour_later(&database).await;
    database.session().await.execute("UPDATE report_clock SET seen_at = seen_at - interval '1 hour'").await.unwrap();
    let begun = Utc::now();
    let app = over(&database, |_| {}).await;
    let store = store_of(&database);
    let anew = async || {
        let tasks = [stored(&store, "short").await, stored(&store, "long").await];
        let are_anew = tasks.iter().all(|task| task.report_due_at.is_some_and(|due| due > begun));
        assert!(tasks.iter().all(|task| task.status == TaskStatus::Running), "{tasks:?}");
        (are_anew && tasks[1].report_due_at > Some(before)).then(|| tasks.map(|task| task.report_due_at.unwrap()))
    };
    let [short, long] = eventually("they begin anew", anew).await;
    assert_eq!(long - short, TimeDelta::seconds(4997), "both from the same moment");
    assert_eq!(kinds(&store).await, [RecordKind::Step; 2]);
    // And then it counts.
    let out = async || (stored(&store, "short").await.status == TaskStatus::TimedOut).then_some(());
    eventually("the short one times out", out).await;
    let late = stored(&store, "short").await.updated_at - short;
    assert!(late >= TimeDelta::zero() && late < TimeDelta::seconds(2), "{late}");
    assert_eq!(stored(&store, "long").await.report_due_at, Some(long));
    app.stop().await;
}

#[tokio::test]
async fn it_is_a_gap_only_where_no_server_was_there() {
    let (database, store) = silent(&["t"]).await;
    let mut session = database.session().await;
    let mut clock_at = async |ago: &str| {
        let sql = format!("UPDATE report_clock SET seen_at = clock_timestamp() - interval '{ago}'");
        session.execute(AssertSqlSafe(sql)).await.unwrap();
    };
    let recently = || Some(Utc::now() - TimeDelta::seconds(1));
    let asked = async |seen_at| store.report_clock(seen_at, Duration::ZERO).await.unwrap();
    // Another one was there just now, whatever this one has missed.
    clock_at("1 second").await;
    assert!(!asked(None).await.is_gap);
    clock_at("1 second").await;
    assert!(!asked(Some(Utc::now() - TimeDelta::hours(1))).await.is_gap);
    // This one was there, and nobody has awaited a report.
    clock_at("1 hour").await;
    assert!(!asked(recently()).await.is_gap);
    // Nobody was; and only one server notices.
    clock_at("3 seconds").await;
    assert!(asked(Some(Utc::now() - TimeDelta::hours(1))).await.is_gap);
    assert!(!asked(None).await.is_gap);
    // Nobody knows: a crash has emptied it.
    session.execute("DELETE FROM report_clock").await.unwrap();
    assert!(asked(None).await.is_gap);
    session.execute("DELETE FROM report_clock").await.unwrap();
    assert!(!asked(recently()).await.is_gap);
    // The clock has gone back.
    session.execute("UPDATE report_clock SET seen_at = clock_timestamp() + interval '1 hour'").await.unwrap();
    assert!(asked(recently()).await.is_gap);
}

#[tokio::test]
async fn a_due_time_that_was_left_behind_begins_anew_when_its_turn_comes() {
    let (database, store) = silent(&["t", "u"]).await;
    let mut session = database.session().await;
    // The gap ended half a minute ago; the server that noticed it was killed before it had moved anything.
    session.execute("UPDATE report_clock SET counts_from = clock_timestamp() - interval '30 seconds'").await.unwrap();
    let overdue = store.record_overdue(&due(&store).await, None, None).await.unwrap();
    assert_eq!(overdue.recorded, 0);
    let left = stored(&store, "t").await.report_due_at.unwrap() - Utc::now();
    assert!(left > TimeDelta::seconds(25) && left <= TimeDelta::seconds(30), "{left}");
    assert!(due(&store).await.is_empty());
    // Two minutes ago: it counts as if it had been moved, and is over since.
    an_hour_later(&database).await;
    session.execute("UPDATE report_clock SET counts_from = clock_timestamp() - interval '2 minutes'").await.unwrap();
    assert_eq!(store.record_overdue(&due(&store).await, None, None).await.unwrap().recorded, 2);
}

#[tokio::test]
async fn it_is_decided_under_the_lock() {
    let (database, store) = silent(&["reported", "alive", "finished", "silent", "off"]).await;
    let due = due(&store).await;
    assert_eq!(due.len(), 5);
    store
        .save_batch(vec![due_in("reported", 60), record_of("anna", "finished", 3, TaskStatus::Completed)])
        .await
        .unwrap();
    store.report_alive("anna", "alive", None).await.unwrap();
    // The operator has taken the setting back by which this one awaited a report.
    database
        .session()
        .await
        .execute("UPDATE task SET report_within_seconds = NULL WHERE task_id = 'off'")
        .await
        .unwrap();
    for recorded in [1, 0] {
        let overdue = store.record_overdue(&due, None, None).await.unwrap();
        assert_eq!((overdue.recorded, overdue.held), (recorded, Vec::new()));
    }
    let expected = [RecordKind::Step; 7].into_iter().chain([RecordKind::ReportOverdue]);
    assert_eq!(kinds(&store).await, expected.collect::<Vec<_>>());
    assert_eq!(stored(&store, "silent").await.status, TaskStatus::TimedOut);
    let off = stored(&store, "off").await;
    assert_eq!((off.status, off.report_due_at), (TaskStatus::Running, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_held_delays_only_himself_and_is_not_forgotten() {
    let server = ApiServer::start().await;
    server.save("ben", "t", 1, "RUNNING", within(1)).await;
    server.save("anna", "t", 1, "RUNNING", within(1)).await;
    let mut holder = server.database.session().await;
    holder.execute("BEGIN; SELECT FROM feed_head WHERE user_id = 'ben' FOR UPDATE").await.unwrap();
    let store = store_with(&server.database, taskwire::store::StoreSettings::default());
    let status =
        async |user: &str| store.tasks_by_key(vec![(user.to_owned(), "t".to_owned())]).await.unwrap().remove(0).status;
    eventually("Anna's times out", async || (status("anna").await == TaskStatus::TimedOut).then_some(())).await;
    let overdue = store.record_overdue(&due(&store).await, None, None).await.unwrap();
    assert_eq!((overdue.recorded, overdue.held.len()), (0, 1));
    let waited = store.record_overdue(&overdue.held, None, Some(Duration::from_millis(20))).await;
    assert!(matches!(waited, Err(taskwire::store::StoreError::Timeout)), "{waited:?}");
    assert_eq!(status("ben").await, TaskStatus::Running);
    holder.execute("COMMIT").await.unwrap();
    eventually("Ben's times out", async || (status("ben").await == TaskStatus::TimedOut).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_due_report_nothing_is_written() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    store.save_batch(vec![record("anna", "t", 1)]).await.unwrap();
    let clock = store.report_clock(None, Duration::ZERO).await.unwrap();
    assert_eq!((clock.has_due, clock.is_gap), (false, false));
    let mut session = database.session().await;
    let rows: i64 = session.fetch_one("SELECT count(*) FROM report_clock").await.unwrap().get(0);
    assert_eq!(rows, 0);
    store.save_batch(vec![due_in("t", 60)]).await.unwrap();
    // However many servers ask, it is written once in a while.
    let (begun, mut written) = (std::time::Instant::now(), std::collections::BTreeSet::new());
    for _ in 0..20 {
        assert!(store.report_clock(Some(Utc::now()), Duration::ZERO).await.unwrap().has_due);
        written.insert(session.fetch_one("SELECT seen_at::text FROM report_clock").await.unwrap().get::<String, _>(0));
    }
    let most = 1 + begun.elapsed().as_millis() / 700;
    assert!(u128::try_from(written.len()).unwrap() <= most, "{written:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn due_reports_are_found_by_their_index_however_many_tasks_there_are() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    let fill = "INSERT INTO task (user_id, task_id, position, record_id, status, step, highest_step, step_status, \
         moved_position, moved_at, steps_from_position, steps_from_at, created_at, updated_at, report_due_at) \
         SELECT 'u' || r % 100, 't' || r, r, gen_random_uuid(), 'running', 0, 0, 'running', r, at, r, at, at, at, \
         CASE WHEN r % 10 = 0 THEN now() + r * interval '1 second' WHEN r % 5001 = 0 THEN now() - interval '1 second' END \
         FROM generate_series(1, 30000) r, LATERAL (SELECT now() AS at) x";
    session.execute(fill).await.unwrap();
    let store = store_of(&database);
    assert_eq!(due(&store).await.len(), 5);
    let arguments = "(now(), 'epoch', '', '', 200)";
    session
        .execute(AssertSqlSafe(format!("PREPARE due (timestamptz, timestamptz, text, text, bigint) AS {DUE_REPORTS}")))
        .await
        .unwrap();
    for (analyze, mode) in [(false, "custom"), (false, "generic"), (true, "custom"), (true, "generic")] {
        if analyze {
            session.execute("ANALYZE task").await.unwrap();
        }
        session.execute(AssertSqlSafe(format!("SET plan_cache_mode = force_{mode}_plan"))).await.unwrap();
        let rows = session.fetch_all(AssertSqlSafe(format!("EXPLAIN EXECUTE due {arguments}"))).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Scan using task_report_due"), "{mode}, analyzed: {analyze}\n{plan}");
        assert!(!plan.contains("Seq Scan") && !plan.contains("Sort"), "{mode}, analyzed: {analyze}\n{plan}");
    }
}
