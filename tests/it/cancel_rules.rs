//! Cancelling at its edges: after a restart, twice in one call, and beside an INSERT in one statement of plain SQL.

use std::time::Duration;

use entity::TaskStatus;
use sqlx::Executor;
use taskwire::store::{CancelOutcome, CancelTerms, NewCancellation, NewRecord, TaskDetails};
use uuid::Uuid;

use super::support::{TestDatabase, eventually, record, store_of};

fn terms() -> CancelTerms {
    CancelTerms { reason: None, requested_by: None, force: false, settle: Duration::ZERO }
}

fn cancellation() -> NewCancellation {
    NewCancellation { user_id: "ann".to_owned(), task_id: "t".to_owned(), record_id: Uuid::now_v7() }
}

async fn count(database: &TestDatabase, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&mut database.session().await).await.unwrap()
}

#[tokio::test]
async fn after_a_restart_old_readers_still_see_it_last() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let failed = |step| NewRecord { status: TaskStatus::Failed, ..record("ann", "t", step) };
    let again = NewRecord {
        status: TaskStatus::Running,
        details: Some(TaskDetails { restart: true, ..TaskDetails::default() }),
        ..record("ann", "t", 1)
    };
    store.save_batch([record("ann", "t", 1), failed(5), again]).await.unwrap();
    let cancelled = store.cancel(&[cancellation()], &terms()).await.unwrap();
    assert_eq!(cancelled[0].outcome, CancelOutcome::Cancelled);
    let last: (i32, String) = sqlx::query_as("SELECT step, status FROM task_history ORDER BY step DESC LIMIT 1")
        .fetch_one(&mut database.session().await)
        .await
        .unwrap();
    assert_eq!(last, (6, "cancelled".to_owned()));
}

#[tokio::test]
async fn asked_for_twice_in_one_call_a_task_is_cancelled_once() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let running = NewRecord { status: TaskStatus::Running, ..record("ann", "t", 1) };
    store.save_batch([running]).await.unwrap();
    let cancelled = store.cancel(&[cancellation(), cancellation()], &terms()).await.unwrap();
    let outcomes: Vec<_> = cancelled.iter().map(|one| one.outcome).collect();
    assert_eq!(outcomes, [CancelOutcome::Cancelled, CancelOutcome::AlreadyCancelled]);
    assert_eq!(count(&database, "SELECT count(*) FROM task_record WHERE kind = 'cancellation_requested'").await, 1);
}

#[tokio::test]
async fn an_insert_and_a_cancellation_of_plain_sql_share_one_statement() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let running = NewRecord { status: TaskStatus::Running, ..record("ann", "t", 1) };
    store.save_batch([running]).await.unwrap();
    let both = "WITH reported AS (
            INSERT INTO task_history (user_id, task_id, step, result, status)
            SELECT 'ann', 'other', step, '{}', 'running' FROM generate_series(1, 3) step RETURNING id
        ) UPDATE task_history SET status = 'cancelled' WHERE user_id = 'ann' AND task_id = 't'";
    database.session().await.execute(both).await.unwrap();
    assert_eq!(count(&database, "SELECT count(*) FROM task_record WHERE task_id = 'other' AND kind = 'step'").await, 3);
    assert_eq!(count(&database, "SELECT count(*) FROM task WHERE task_id = 't' AND status = 'cancelled'").await, 1);
    assert_eq!(count(&database, "SELECT count(*) FROM task_inbox").await, 0);
}

/// Ann's first task comes while Ben is waited for: what is not under the lock is not decided about.
#[tokio::test]
async fn who_comes_while_another_is_waited_for_was_not_there() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let running = |user: &str| NewRecord { status: TaskStatus::Running, ..record(user, "t", 1) };
    store.save_batch([running("ben")]).await.unwrap();
    let (mut bens, mut anns) = (database.session().await, database.session().await);
    bens.execute("BEGIN; SELECT FROM feed_head WHERE user_id = 'ben' FOR UPDATE").await.unwrap();
    let mut canceller = database.session().await;
    let cancelling = tokio::spawn(async move {
        let sql = "SELECT outcome FROM taskwire_cancel_v1('{ann,ben}', '{t,t}', \
             ARRAY[gen_random_uuid(), gen_random_uuid()], NULL, NULL, false, '0', 5000, true) ORDER BY ord";
        sqlx::query_scalar::<_, String>(sql).fetch_all(&mut canceller).await.unwrap()
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("it waits for ben", async || (count(&database, waits).await == 1).then_some(())).await;
    store.save_batch([running("ann")]).await.unwrap();
    let ends = "BEGIN; INSERT INTO task_history (user_id, task_id, step, result, status) \
         VALUES ('ann', 't', 2, '{}', 'failed')";
    anns.execute(ends).await.unwrap();
    bens.execute("COMMIT").await.unwrap();
    assert_eq!(cancelling.await.unwrap(), ["NOT_FOUND", "CANCELLED"]);
    anns.execute("COMMIT").await.unwrap();
    assert_eq!(count(&database, "SELECT count(*) FROM task WHERE user_id = 'ann' AND status = 'failed'").await, 1);
}

/// What the lists walk says the same as the tasks.
#[tokio::test]
async fn the_order_of_the_lists_follows_every_writer() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let batch: Vec<_> = (0..40).map(|number| record("ann", &format!("t{}", number % 7), number)).collect();
    store.save_batch(batch.clone()).await.unwrap();
    for (step, tags) in [(41, vec!["a"]), (42, vec![]), (43, vec!["a", "b"])] {
        let tags = Some(tags.into_iter().map(str::to_owned).collect());
        let details = Some(TaskDetails { tags, ..TaskDetails::default() });
        store.save_batch([NewRecord { details, ..record("ann", "t5", step) }]).await.unwrap();
    }
    let cancelled = NewCancellation { task_id: "t3".to_owned(), ..cancellation() };
    store.cancel(&[cancelled], &CancelTerms { force: true, ..terms() }).await.unwrap();
    let insert =
        "INSERT INTO task_history (user_id, task_id, step, result, status) VALUES ('ann', 't1', 50, '{}', 'failed')";
    database.session().await.execute(insert).await.unwrap();
    let differ = "SELECT count(*) FROM task t FULL JOIN task_order o USING (user_id, task_id)
        WHERE (t.position, t.status, t.updated_at, t.started_at, t.finished_at, nullif(t.tags, '{}'))
            IS DISTINCT FROM (o.position, o.status, o.updated_at, o.started_at, o.finished_at, o.tags)";
    assert_eq!(count(&database, differ).await, 0);
    assert_eq!(count(&database, "SELECT count(*) FROM task_order").await, 7);
}
