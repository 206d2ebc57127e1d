//! The status rules by a table of cases: what is done to a task, and what it looks like then.
//!
//! A line is a report (`1R` step 1 RUNNING; P, R, C, F, X cancelled, T timed out; `1R.5` with progress; `/3` totalSteps;
//! `!` restart), or `cancel`, `force`, `settled` (cancel after five minutes), `stopped`, `first`, `cannot`
//! (acknowledgements), `overdue`.

use std::time::Duration;

use entity::{CancellationOutcome, RecordKind, TaskStatus, task};
use sqlx::PgPool;
use taskwire::store::{
    AcknowledgeOutcome, CancelOutcome, CancelTerms, HistoryQuery, Keyset, NewAcknowledgement, NewCancellation, Store,
    TaskDetails,
};
use uuid::Uuid;

use super::support::{TestDatabase, record_of, store_of};

use TaskStatus::{Cancelled, Completed, Failed, Pending, Running, TimedOut};

/// One case: what is done, and the status, the step and the progress then.
type Case = (&'static str, TaskStatus, i32, Option<f64>);

const CASES: [Case; 41] = [
    // The highest step's latest record says it.
    ("0P", Pending, 0, None),
    ("0P 0R", Running, 0, None),
    ("1R 2R 1C", Running, 2, None),
    ("1C", Completed, 1, None),
    ("2C 1R", Completed, 2, None),
    ("2F 1C", Failed, 2, None),
    ("3R 1F", Running, 3, None),
    ("1C 2P", Pending, 2, None),
    ("5C 5R", Running, 5, None),
    // A retry.
    ("2F 2R", Running, 2, None),
    ("2F 3R", Running, 3, None),
    ("2T 2C", Completed, 2, None),
    ("1C 2F 1R!", Running, 1, None),
    ("1C/3 2C 3F 1R.5!", Running, 1, Some(0.5 / 3.0)),
    ("1C/2 2C 1C!", Running, 1, Some(0.5)),
    // totalSteps.
    ("1C/3", Running, 1, Some(1.0 / 3.0)),
    ("1C/3 2C 3C", Completed, 3, Some(1.0)),
    ("3C/3 1C", Running, 3, Some(2.0 / 3.0)),
    ("3C/3 1C 2C", Completed, 3, Some(1.0)),
    ("3C/3 1C 1C 1C", Running, 3, Some(2.0 / 3.0)),
    ("1F/3 3C", Failed, 3, Some(1.0 / 3.0)),
    ("1F/3 2T 3C", TimedOut, 3, Some(1.0 / 3.0)),
    ("1T/3 2F 3C", Failed, 3, Some(1.0 / 3.0)),
    ("1F/3 3C 1C", Running, 3, Some(2.0 / 3.0)),
    ("1F/3 2R", Running, 2, Some(0.0)),
    ("1X/3 3C", Cancelled, 1, Some(0.0)),
    ("3C/3 1X", Running, 3, Some(1.0 / 3.0)),
    ("1C/2 2C 3C", Completed, 3, Some(1.0)),
    ("1C/1 2R.5", Running, 2, Some(1.0)),
    ("1C/4 2R.25", Running, 2, Some(1.25 / 4.0)),
    ("1C/4 2R.25 2R", Running, 2, Some(0.25)),
    ("1C 2C/2", Completed, 2, Some(1.0)),
    ("1C 2C 2C/3", Running, 2, Some(2.0 / 3.0)),
    ("1C/2 2C 1R", Running, 2, Some(0.5)),
    // Cancelled stays.
    ("1R cancel", Cancelled, 1, None),
    ("1R cancel 2R 3C", Cancelled, 1, None),
    ("1R/2 cancel 1C/1 1R!", Cancelled, 1, Some(0.0)),
    ("1R 1X 2R", Cancelled, 1, None),
    ("2R 1X", Running, 2, None),
    // Overdue until the next record, of whatever step.
    ("2R overdue", TimedOut, 2, None),
    ("2R overdue 1C", Running, 2, None),
];

struct Task<'a> {
    store: &'a Store,
    pool: &'a PgPool,
    name: String,
}

impl Task<'_> {
    async fn row(&self) -> task::Model {
        self.store.task("ann", &self.name).await.unwrap().unwrap()
    }

    async fn report(&self, line: &str) -> taskwire::store::Saved {
        let restart = line.ends_with('!');
        let line = line.trim_end_matches('!');
        let (line, total) =
            line.split_once('/').map_or((line, None), |(line, total)| (line, Some(total.parse().unwrap())));
        let at = line.find(|letter: char| letter.is_ascii_uppercase()).unwrap();
        let status = match &line[at..=at] {
            "P" => Pending,
            "R" => Running,
            "C" => Completed,
            "F" => Failed,
            "X" => Cancelled,
            "T" => TimedOut,
            other => panic!("{other}"),
        };
        let mut one = record_of("ann", &self.name, line[..at].parse().unwrap(), status);
        one.progress = line[at + 1..].parse().ok();
        one.details = Some(TaskDetails { total_steps: total, restart, ..TaskDetails::default() });
        self.store.save_batch([one]).await.unwrap().remove(0)
    }

    async fn cancel(&self, force: bool, settle: Duration) -> CancelOutcome {
        let item = NewCancellation { user_id: "ann".to_owned(), task_id: self.name.clone(), record_id: Uuid::now_v7() };
        let terms =
            CancelTerms { reason: Some("why".to_owned()), requested_by: Some("boss".to_owned()), force, settle };
        let done = self.store.cancel(&[item], &terms).await.unwrap().remove(0);
        assert_eq!(done.task.unwrap(), self.row().await);
        done.outcome
    }

    async fn acknowledge(&self, outcome: CancellationOutcome) -> AcknowledgeOutcome {
        let answer = NewAcknowledgement {
            user_id: "ann".to_owned(),
            task_id: self.name.clone(),
            record_id: Uuid::now_v7(),
            outcome,
            message: Some("done".to_owned()),
            reported_by: Some("worker".to_owned()),
        };
        let (outcome, row) = self.store.acknowledge(&answer).await.unwrap();
        assert_eq!(row.unwrap(), self.row().await);
        outcome
    }

    async fn overdue(&self) {
        let sql = "SELECT count(*) FROM taskwire_append_v1(ARRAY['ann'], ARRAY[$1], ARRAY['report_overdue'], ARRAY[9],
            ARRAY['timed_out'], ARRAY['{}'::json], NULL, NULL, NULL, NULL, NULL, ARRAY[$2], NULL, NULL, NULL, NULL, true, 'each')";
        let _: i64 = sqlx::query_scalar(sql).bind(&self.name).bind(Uuid::now_v7()).fetch_one(self.pool).await.unwrap();
    }

    async fn play(&self, lines: &str) {
        for line in lines.split(' ') {
            match line {
                "cancel" => assert_eq!(self.cancel(false, Duration::from_mins(5)).await, CancelOutcome::Cancelled),
                "overdue" => self.overdue().await,
                "stopped" => {
                    assert_eq!(self.acknowledge(CancellationOutcome::Stopped).await, AcknowledgeOutcome::Acknowledged);
                }
                report => drop(self.report(report).await),
            }
        }
    }

    async fn records(&self) -> Vec<entity::task_record::Model> {
        let query = HistoryQuery { user_id: "ann".to_owned(), task_id: self.name.clone() };
        let page = Keyset { after: None, before: None, limit: 500, backward: false };
        self.store.history(&query, &page).await.unwrap().0.rows
    }
}

/// A task after some lines, each case in a task of its own.
async fn after<'a>(store: &'a Store, pool: &'a PgPool, lines: &str) -> Task<'a> {
    let task = Task { store, pool, name: Uuid::now_v7().to_string() };
    task.play(lines).await;
    task
}

#[tokio::test]
async fn the_status_is_that_of_the_highest_step_and_the_steps_to_come() {
    let database = TestDatabase::new().await;
    let (store, pool) = (store_of(&database), database.database.connection.get_postgres_connection_pool());
    for (lines, status, step, progress) in CASES {
        let row = after(&store, pool, lines).await.row().await;
        assert_eq!((row.status, row.step, row.progress()), (status, step, progress), "{lines}");
        assert_eq!(row.finished_at.is_some(), status.is_finished(), "{lines}");
    }
}

#[tokio::test]
async fn what_can_be_cancelled() {
    let database = TestDatabase::new().await;
    let (store, pool) = (store_of(&database), database.database.connection.get_postgres_connection_pool());
    let minutes = Duration::from_mins(5);
    let (done, already, finished) =
        (CancelOutcome::Cancelled, CancelOutcome::AlreadyCancelled, CancelOutcome::AlreadyFinished);
    let cases = [
        ("0P", false, minutes, done),
        ("0R", false, minutes, done),
        ("0T", false, minutes, done),
        ("0R overdue", false, minutes, done),
        ("0F", false, minutes, finished),
        ("0F", true, minutes, done),
        // Perhaps between two steps.
        ("0C", false, minutes, done),
        ("0C", false, Duration::ZERO, finished),
        ("0C", true, Duration::ZERO, done),
        ("0C/1", false, minutes, finished),
        ("0C/1", true, minutes, done),
        ("0C/2", false, Duration::ZERO, done),
        ("0R cancel", false, minutes, already),
        ("0R cancel", true, minutes, already),
        ("0R cancel stopped", true, minutes, already),
        ("0X", true, minutes, already),
    ];
    for (lines, force, settle, outcome) in cases {
        let task = after(&store, pool, lines).await;
        let before = task.row().await;
        assert_eq!(task.cancel(force, settle).await, outcome, "{lines} {force} {settle:?}");
        let row = task.row().await;
        if outcome != done {
            assert_eq!(row, before, "{lines}: something changed");
            continue;
        }
        let last = task.records().await.pop().unwrap();
        assert_eq!(
            (last.kind, last.status, last.step),
            (RecordKind::CancellationRequested, Cancelled, before.step + 1)
        );
        assert_eq!(last.reported_by.as_deref(), Some("boss"));
        assert_eq!((row.status, row.step, row.position), (Cancelled, before.step, last.position));
        assert_eq!(row.finished_at, Some(last.recorded_at));
        assert_eq!(row.cancel_requested_at, Some(last.recorded_at));
        assert_eq!((row.cancel_reason.as_deref(), row.cancel_requested_by.as_deref()), (Some("why"), Some("boss")));
        assert!(row.is_cancellation_pending() && row.cancel_delivered_at.is_none());
    }
    let missing = Task { store: &store, pool, name: "missing".to_owned() };
    let item =
        NewCancellation { user_id: "nobody".to_owned(), task_id: "missing".to_owned(), record_id: Uuid::now_v7() };
    let terms = CancelTerms { reason: None, requested_by: None, force: true, settle: minutes };
    let answer = store.cancel(&[item], &terms).await.unwrap().remove(0);
    assert!(answer.outcome == CancelOutcome::NotFound && answer.task.is_none());
    assert!(missing.records().await.is_empty());
    let heads: i64 = sqlx::query_scalar("SELECT count(*) FROM feed_head").fetch_one(pool).await.unwrap();
    assert_eq!(heads, 1, "asking leaves no row behind");
}

#[tokio::test]
async fn a_cancellation_repeated_by_its_record_adds_nothing() {
    let database = TestDatabase::new().await;
    let (store, pool) = (store_of(&database), database.database.connection.get_postgres_connection_pool());
    let task = after(&store, pool, "0R").await;
    let item = NewCancellation { user_id: "ann".to_owned(), task_id: task.name.clone(), record_id: Uuid::now_v7() };
    let terms = CancelTerms { reason: None, requested_by: None, force: false, settle: Duration::ZERO };
    for _ in 0..2 {
        assert_eq!(
            store.cancel(std::slice::from_ref(&item), &terms).await.unwrap()[0].outcome,
            CancelOutcome::Cancelled
        );
    }
    let answer = NewAcknowledgement {
        user_id: "ann".to_owned(),
        task_id: task.name.clone(),
        record_id: Uuid::now_v7(),
        outcome: CancellationOutcome::CannotStop,
        message: None,
        reported_by: None,
    };
    for _ in 0..2 {
        assert_eq!(store.acknowledge(&answer).await.unwrap().0, AcknowledgeOutcome::Acknowledged);
    }
    assert_eq!(task.records().await.len(), 3);
}

#[tokio::test]
async fn late_reports_are_told_and_may_be_the_answer() {
    let database = TestDatabase::new().await;
    let (store, pool) = (store_of(&database), database.database.connection.get_postgres_connection_pool());
    let (stopped, first) = (Some(CancellationOutcome::Stopped), Some(CancellationOutcome::FinishedFirst));
    let cases = [
        ("1R cancel", "1R", None),
        ("1R cancel", "2P", None),
        ("1R cancel", "1C", None),
        ("1R/2 cancel", "1C", None),
        ("1C/2 2R cancel", "2C", first),
        ("1C/2 2R cancel 1R", "2C", None),
        ("1R/2 cancel 2C", "1C", first),
        ("1R cancel", "1X", stopped),
        ("1R cancel", "1F", first),
        ("1R cancel", "1T", first),
        ("1R cancel", "0F", first),
    ];
    for (lines, late, outcome) in cases {
        let task = after(&store, pool, lines).await;
        let before = task.row().await;
        let saved = task.report(late).await;
        let row = task.row().await;
        assert!(saved.record.is_late, "{lines} {late}");
        assert_eq!(*saved.task, row);
        assert_eq!(row.cancel_outcome, outcome, "{lines} {late}");
        assert_eq!(row.is_cancellation_pending(), outcome.is_none());
        assert_eq!(row.cancel_acknowledged_at, outcome.map(|_| saved.record.recorded_at));
        assert_eq!(row.cancel_delivered_at, before.cancel_delivered_at.or(Some(saved.record.recorded_at)));
        // It moves nothing but the position.
        let moved = task::Model {
            position: before.position,
            record_id: before.record_id,
            updated_at: before.updated_at,
            cancel_delivered_at: before.cancel_delivered_at,
            cancel_acknowledged_at: before.cancel_acknowledged_at,
            cancel_outcome: before.cancel_outcome,
            cancel_message: before.cancel_message.clone(),
            ..row.clone()
        };
        assert_eq!(moved, before, "{lines} {late}");
        assert_eq!((row.position, row.updated_at), (saved.record.position, saved.record.recorded_at));
        if outcome.is_some() {
            assert_eq!(
                task.acknowledge(CancellationOutcome::CannotStop).await,
                AcknowledgeOutcome::AlreadyAcknowledged
            );
            assert_eq!(task.row().await, row);
        }
    }
}

#[tokio::test]
async fn acknowledgements() {
    let database = TestDatabase::new().await;
    let (store, pool) = (store_of(&database), database.database.connection.get_postgres_connection_pool());
    let task = after(&store, pool, "1R").await;
    assert_eq!(task.acknowledge(CancellationOutcome::Stopped).await, AcknowledgeOutcome::NotRequested);
    task.play("cancel 2R").await;
    assert_eq!(task.acknowledge(CancellationOutcome::CannotStop).await, AcknowledgeOutcome::Acknowledged);
    let row = task.row().await;
    let last = task.records().await.pop().unwrap();
    assert_eq!(
        (last.kind, last.is_late, last.reported_by.as_deref()),
        (RecordKind::CancellationAcknowledged, false, Some("worker"))
    );
    assert_eq!(
        (row.cancel_outcome, row.cancel_acknowledged_at),
        (Some(CancellationOutcome::CannotStop), Some(last.recorded_at))
    );
    assert_eq!((row.cancel_message.as_deref(), row.status, row.position), (Some("done"), Cancelled, last.position));
    assert_eq!(task.acknowledge(CancellationOutcome::Stopped).await, AcknowledgeOutcome::AlreadyAcknowledged);
    assert_eq!(task.row().await, row);
    // A worker's own CANCELLED is acknowledged at once, and nobody is told to stop.
    let row = after(&store, pool, "1R 2X").await.row().await;
    assert_eq!((row.status, row.cancel_outcome), (Cancelled, Some(CancellationOutcome::Stopped)));
    assert!(!row.is_cancellation_pending() && row.cancel_requested_at == row.cancel_acknowledged_at);
}

#[tokio::test]
async fn moments_and_details() {
    let database = TestDatabase::new().await;
    let (store, pool) = (store_of(&database), database.database.connection.get_postgres_connection_pool());
    let task = after(&store, pool, "0P 0R 0F 0R 0C").await;
    let at: Vec<_> = task.records().await.iter().map(|record| record.recorded_at).collect();
    let row = task.row().await;
    assert_eq!(
        (row.created_at, row.started_at, row.updated_at, row.finished_at),
        (at[0], Some(at[1]), at[4], Some(at[4]))
    );
    assert!(at[0] < at[1] && at[1] < at[4]);
    task.play("1P").await;
    assert_eq!(task.row().await.finished_at, None, "it moved on");

    // What is left out stays, the empty value clears.
    let detailed = async |details: Option<TaskDetails>| {
        let mut one = record_of("ann", "details", 0, Running);
        one.details = details;
        let row = store.save_batch([one]).await.unwrap().remove(0).task;
        (row.name.clone(), row.tags.clone(), row.total_steps)
    };
    let all = TaskDetails {
        name: Some("n".to_owned()),
        tags: Some(vec!["b".to_owned(), "a".to_owned()]),
        total_steps: Some(3),
        ..TaskDetails::default()
    };
    let expected = (Some("n".to_owned()), vec!["b".to_owned(), "a".to_owned()], Some(3));
    assert_eq!(detailed(Some(all)).await, expected);
    assert_eq!(detailed(None).await, expected);
    assert_eq!(detailed(Some(TaskDetails { restart: true, ..TaskDetails::default() })).await, expected);
    let cleared = TaskDetails { name: Some(String::new()), tags: Some(Vec::new()), ..TaskDetails::default() };
    assert_eq!(detailed(Some(cleared)).await, (None, Vec::new(), Some(3)));
}
