//! Reports that are due, while servers and PostgreSQL come and go: time in which nobody could take them does not count.

use rustix::process::Signal;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use crate::{client::Client, eventually, server::Server};

const WITHIN: i32 = 4;
/// Seconds that are certainly a gap.
const GAP: f64 = 3.0;

/// A task that is to report every four seconds.
async fn save(server: &Server) {
    let query = "mutation($input: SaveTaskHistoryInput!) { saveTaskHistory(input: $input) { isDuplicate } }";
    let input = json!({
        "userId": "anna", "taskId": "t", "step": 1, "stepResult": { "stepName": "s", "status": "RUNNING" },
        "task": { "reportWithinSeconds": WITHIN },
    });
    Client::new(server.address()).ask(query, json!({ "input": input })).await.unwrap();
}

/// Whether something is true of the task and its due time, by the database.
async fn is_so(session: &mut PgConnection, condition: &str) -> bool {
    let sql = format!("SELECT coalesce((SELECT {condition} FROM task WHERE task_id = 't'), false)");
    session.fetch_one(AssertSqlSafe(sql)).await.unwrap().get(0)
}

async fn until(session: &mut PgConnection, condition: &str) {
    eventually(condition, async || is_so(session, condition).await.then_some(())).await;
}

/// The clock runs, and its first round is over: that may have moved a due time a little, since a server that has just begun
/// is not sure that it was there when the task was saved.
async fn clock_runs(session: &mut PgConnection) {
    until(session, "EXISTS (SELECT FROM report_clock)").await;
    let first: String = session.fetch_one("SELECT seen_at::text FROM report_clock").await.unwrap().get(0);
    until(session, &format!("EXISTS (SELECT FROM report_clock WHERE seen_at > '{first}')")).await;
}

/// The task times out in time, and once.
async fn times_out(session: &mut PgConnection) {
    let due_at: String = session.fetch_one("SELECT report_due_at::text FROM task").await.unwrap().get(0);
    until(session, "status = 'timed_out'").await;
    let in_time = format!("updated_at >= '{due_at}' AND updated_at < '{due_at}'::timestamptz + interval '2 seconds'");
    assert!(is_so(session, &in_time).await, "not within two seconds of {due_at}");
    let row = session.fetch_one("SELECT array_agg(kind ORDER BY position) FROM task_record").await.unwrap();
    assert_eq!(row.get::<Vec<String>, _>(0), ["step", "report_overdue"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_in_which_the_only_server_was_killed_does_not_count() {
    let mut server = Server::start(&[]).await;
    let mut session = server.psql().await;
    save(&server).await;
    clock_runs(&mut session).await;
    server.kill();
    let a_gap = format!("(SELECT seen_at FROM report_clock) < now() - make_interval(secs => {GAP})");
    until(&mut session, &format!("report_due_at < now() AND {a_gap}")).await;
    session.execute("CREATE TABLE began AS SELECT clock_timestamp() AS at").await.unwrap();
    server.restart().await;
    until(&mut session, "report_due_at > now()").await;
    let anew = "report_due_at >= (SELECT at FROM began) + interval '4 seconds' AND status = 'running'";
    assert!(is_so(&mut session, anew).await, "it does not begin anew");
    times_out(&mut session).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_in_which_postgresql_stood_still_does_not_count() {
    let server = Server::start(&[]).await;
    let mut session = server.psql().await;
    save(&server).await;
    clock_runs(&mut session).await;
    let due_at: f64 =
        session.fetch_one("SELECT extract(epoch FROM report_due_at)::float8 FROM task").await.unwrap().get(0);
    server.room().signal_postgres(Signal::STOP);
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let long_enough = due_at.max(now() + GAP);
    eventually("the due time, and a gap", async || (now() > long_enough).then_some(())).await;
    server.room().signal_postgres(Signal::CONT);
    until(&mut session, "report_due_at > now()").await;
    assert!(
        is_so(&mut session, &format!("report_due_at > to_timestamp({due_at} + {WITHIN})")).await,
        "not from its end on"
    );
    times_out(&mut session).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_another_server_lives_on_time_goes_on() {
    let host = Server::start(&[]).await;
    let mut other = Server::start_beside(&host, &[]).await;
    let mut session = host.psql().await;
    save(&other).await;
    clock_runs(&mut session).await;
    session.execute("CREATE TABLE saved AS SELECT report_due_at AS due_at FROM task").await.unwrap();
    other.kill();
    other.restart().await;
    // It has been there for some rounds: had it seen a gap, it would have said so.
    until(&mut session, "now() > report_due_at - interval '1 second'").await;
    assert!(is_so(&mut session, "report_due_at = (SELECT due_at FROM saved)").await, "a gap where there was none");
    times_out(&mut session).await;
}
