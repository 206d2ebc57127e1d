//! The status rules by random sequences of saves, cancellations and acknowledgements, against [`status_model`]: as one
//! batch, one by one through the lanes, and split at random, the outcome is the same, and every answer carries the task
//! as that very record left it.
//!
//! A case is several users at once, so that each step of all of them is one append.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::{CancellationOutcome, TaskStatus};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use taskwire::store::{
    AcknowledgeOutcome, CancelOutcome, CancelTerms, HistoryQuery, Keyset, LaneSettings, Lanes, NewAcknowledgement,
    NewCancellation, NewRecord, Saved, Store, TaskDetails,
};
use uuid::Uuid;

use super::status_model::{Answer, Model, Report};
use super::support::{TestDatabase, store_of};

const TASKS: [&str; 2] = ["one", "two"];

#[derive(Clone, Debug)]
enum Op {
    Save {
        task: usize,
        report: Report,
        repeats: Option<prop::sample::Index>,
    },
    Cancel {
        task: usize,
        force: bool,
        has_settled: bool,
    },
    Acknowledge {
        task: usize,
        outcome: CancellationOutcome,
    },
    /// Nobody reported in time, where the task is not finished.
    Overdue {
        task: usize,
    },
}

/// How the saves of a sequence are put together.
#[derive(Clone, Copy, Debug)]
enum Cut {
    OneBatch,
    Single,
    AtRandom,
}

#[test]
fn any_sequence_in_any_batches_leaves_what_the_contract_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (database, store) = runtime.block_on(async {
        let database = TestDatabase::new().await;
        let store = store_of(&database);
        (database, store)
    });
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let user = prop::collection::vec((op(), any::<bool>()), 1..14);
    let case = prop::collection::vec(user, 1..10);
    let outcome = runner.run(&case, |users| {
        runtime.block_on(async {
            let lanes = Lanes::start(store.clone(), LaneSettings::default(), taskwire::telemetry::Telemetry::new());
            for cut in [Cut::OneBatch, Cut::Single, Cut::AtRandom] {
                check(&store, &lanes, &users, cut).await;
            }
            lanes.close().await;
        });
        Ok(())
    });
    drop((store, database));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

fn op() -> impl Strategy<Value = Op> {
    let task = 0..TASKS.len();
    let outcome = prop::sample::select(vec![
        CancellationOutcome::Stopped,
        CancellationOutcome::FinishedFirst,
        CancellationOutcome::CannotStop,
    ]);
    prop_oneof![
        12 => (task.clone(), report(), prop::option::weighted(0.1, any::<prop::sample::Index>()))
            .prop_map(|(task, report, repeats)| Op::Save { task, report, repeats }),
        2 => (task.clone(), prop::bool::weighted(0.3), any::<bool>())
            .prop_map(|(task, force, has_settled)| Op::Cancel { task, force, has_settled }),
        1 => (task.clone(), outcome).prop_map(|(task, outcome)| Op::Acknowledge { task, outcome }),
        1 => task.prop_map(|task| Op::Overdue { task }),
    ]
}

fn report() -> impl Strategy<Value = Report> {
    let status = prop_oneof![
        1 => Just(TaskStatus::Pending),
        4 => Just(TaskStatus::Running),
        7 => Just(TaskStatus::Completed),
        2 => Just(TaskStatus::Failed),
        1 => Just(TaskStatus::TimedOut),
        1 => Just(TaskStatus::Cancelled),
    ];
    let text = prop::option::weighted(0.2, prop::sample::select(vec![String::new(), "a".to_owned(), "b c".to_owned()]));
    let tags = prop::option::weighted(0.2, prop::sample::select(vec![vec![], vec!["x".to_owned(), "y".to_owned()]]));
    let progress = prop::option::of(prop::sample::select(vec![0.0, 0.25, 0.5, 1.0]));
    let total = prop::option::weighted(0.2, 1..5);
    (0..5, status, progress, text.clone(), text.clone(), total, text, tags, prop::bool::weighted(0.1)).prop_map(
        |(step, status, progress, message, error_code, total_steps, name, tags, restart)| Report {
            step,
            status,
            progress,
            message: message.unwrap_or_default(),
            error_code: error_code.filter(|code| !code.is_empty()),
            total_steps,
            name,
            tags,
            restart,
        },
    )
}

/// One user's way through a sequence: what is expected, and what has been answered.
struct Walk<'a> {
    user_id: String,
    ops: &'a [(Op, bool)],
    next: usize,
    tasks: [Model; TASKS.len()],
    head: i64,
    ids: HashMap<usize, Uuid>,
    /// Answers to be compared once the moments of all positions are known: the task, or none where there is none.
    answers: Vec<(String, Option<Model>, Option<entity::task::Model>)>,
}

async fn check(store: &Store, lanes: &Lanes, users: &[Vec<(Op, bool)>], cut: Cut) {
    let case = Uuid::now_v7();
    let mut walks: Vec<Walk<'_>> =
        users.iter().enumerate().map(|(index, ops)| Walk::new(format!("{case}-{index}"), ops)).collect();
    while walks.iter().any(|walk| walk.next < walk.ops.len()) {
        save_piece(store, lanes, &mut walks, cut).await;
        for walk in &mut walks {
            walk.ask(store).await;
        }
    }
    for walk in &walks {
        walk.compare(store, &format!("{cut:?}")).await;
    }
}

/// The next saves of each user, up to the next cut, all in one append.
async fn save_piece(store: &Store, lanes: &Lanes, walks: &mut [Walk<'_>], cut: Cut) {
    let mut records = Vec::new();
    let mut owners = Vec::new();
    for (index, walk) in walks.iter_mut().enumerate() {
        while let Some((Op::Save { task, report, repeats }, cuts)) = walk.ops.get(walk.next) {
            let at = walk.next;
            records.push(walk.record(*task, report, repeats.as_ref()));
            owners.push((index, at));
            walk.next += 1;
            if matches!(cut, Cut::Single) || matches!(cut, Cut::AtRandom) && *cuts {
                break;
            }
        }
    }
    if records.is_empty() {
        return;
    }
    let saved: Vec<Saved> = if matches!(cut, Cut::Single) {
        let all = records.into_iter().map(|record| lanes.save(record));
        futures_util::future::try_join_all(all).await.unwrap()
    } else {
        store.save_batch(records).await.unwrap()
    };
    let mut afterwards = Vec::new();
    for ((index, at), saved) in owners.into_iter().zip(saved) {
        let walk = &mut walks[index];
        if walk.saved(at, &saved) && matches!(cut, Cut::Single) {
            walk.answer(at, &saved);
        } else {
            afterwards.push((index, at, saved));
        }
    }
    // A duplicate is answered with the task as it is now, and a batch with the last state of each task: after all of the
    // append.
    for (index, at, saved) in afterwards {
        walks[index].answer(at, &saved);
    }
}

impl<'a> Walk<'a> {
    fn new(user_id: String, ops: &'a [(Op, bool)]) -> Self {
        Self { user_id, ops, next: 0, tasks: Default::default(), head: 0, ids: HashMap::new(), answers: Vec::new() }
    }

    fn record(&mut self, task: usize, report: &Report, repeats: Option<&prop::sample::Index>) -> NewRecord {
        // A repetition has the id of an earlier save of the same task and step, if there is one.
        let earlier: Vec<usize> = (0..self.next)
            .filter(|at| {
                matches!(&self.ops[*at].0, Op::Save { task: other, report: first, .. }
                    if *other == task && first.step == report.step)
            })
            .collect();
        let record_id = match repeats {
            Some(index) if !earlier.is_empty() => self.ids[index.get(&earlier)],
            _ => Uuid::now_v7(),
        };
        self.ids.insert(self.next, record_id);
        let result = serde_json::json!({
            "step": "s", "result": null, "completed": report.status == TaskStatus::Completed, "message": report.message,
            "status": report.status.as_str(), "error_code": report.error_code, "error_message": null,
        });
        NewRecord {
            user_id: self.user_id.clone(),
            task_id: TASKS[task].to_owned(),
            step: report.step,
            status: report.status,
            result: result.to_string(),
            step_name: "s".to_owned(),
            message: report.message.clone(),
            error_code: report.error_code.clone().unwrap_or_default(),
            progress: report.progress,
            timestamp: None,
            record_id,
            reported_by: None,
            details: Some(TaskDetails {
                name: report.name.clone(),
                tags: report.tags.clone(),
                total_steps: report.total_steps,
                restart: report.restart,
                report_within_seconds: None,
                report_within_default: None,
            }),
        }
    }

    /// Follows a save in the model; false where it was a duplicate.
    fn saved(&mut self, at: usize, saved: &Saved) -> bool {
        let Op::Save { task, report, .. } = &self.ops[at].0 else { unreachable!() };
        let is_repetition = (0..at).any(|before| self.ids.get(&before) == Some(&self.ids[&at]));
        assert_eq!(saved.is_duplicate, is_repetition, "duplicate {at}");
        if is_repetition {
            return false;
        }
        self.head += 1;
        let is_late = self.tasks[*task].save(report, self.head);
        assert_eq!(saved.record.position, self.head, "position of {at}");
        assert_eq!(saved.record.is_late, is_late, "late {at}");
        true
    }

    /// What a save was answered, beside what the model says now.
    fn answer(&mut self, at: usize, saved: &Saved) {
        let Op::Save { task, .. } = &self.ops[at].0 else { unreachable!() };
        self.answers.push((format!("save {at}"), Some(self.tasks[*task].clone()), Some((*saved.task).clone())));
    }

    /// The cancellations and acknowledgements that come next.
    async fn ask(&mut self, store: &Store) {
        while let Some((op, _)) = self.ops.get(self.next) {
            let what = format!("{op:?} {}", self.next);
            let (task, row) = match op {
                Op::Save { .. } => return,
                Op::Cancel { task, force, has_settled } => {
                    let model = &mut self.tasks[*task];
                    let expected = if model.is_there() {
                        match model.cancel(*force, *has_settled, "why", self.head + 1) {
                            Answer::Done => CancelOutcome::Cancelled,
                            Answer::Already => CancelOutcome::AlreadyCancelled,
                            Answer::Refused => CancelOutcome::AlreadyFinished,
                        }
                    } else {
                        CancelOutcome::NotFound
                    };
                    self.head += i64::from(expected == CancelOutcome::Cancelled);
                    let item = NewCancellation {
                        user_id: self.user_id.clone(),
                        task_id: TASKS[*task].to_owned(),
                        record_id: Uuid::now_v7(),
                    };
                    let terms = CancelTerms {
                        reason: Some("why".to_owned()),
                        requested_by: None,
                        force: *force,
                        settle: if *has_settled { Duration::ZERO } else { Duration::from_mins(5) },
                    };
                    let done = store.cancel(&[item], &terms).await.unwrap().pop().unwrap();
                    assert_eq!(done.outcome, expected, "{what}");
                    (*task, done.task)
                }
                Op::Acknowledge { task, outcome } => {
                    let model = &mut self.tasks[*task];
                    let expected = if model.is_there() {
                        match model.acknowledge(*outcome, self.head + 1) {
                            Answer::Done => AcknowledgeOutcome::Acknowledged,
                            Answer::Already => AcknowledgeOutcome::AlreadyAcknowledged,
                            Answer::Refused => AcknowledgeOutcome::NotRequested,
                        }
                    } else {
                        AcknowledgeOutcome::NotFound
                    };
                    self.head += i64::from(expected == AcknowledgeOutcome::Acknowledged);
                    let answer = NewAcknowledgement {
                        user_id: self.user_id.clone(),
                        task_id: TASKS[*task].to_owned(),
                        record_id: Uuid::now_v7(),
                        outcome: *outcome,
                        message: None,
                        reported_by: None,
                    };
                    let (outcome, row) = store.acknowledge(&answer).await.unwrap();
                    assert_eq!(outcome, expected, "{what}");
                    (*task, row)
                }
                Op::Overdue { task } => {
                    let model = &mut self.tasks[*task];
                    if matches!(model.status, Some(TaskStatus::Pending | TaskStatus::Running)) {
                        self.head += 1;
                        model.overdue(self.head);
                        overdue(store, &self.user_id, TASKS[*task]).await;
                    }
                    (*task, store.task(&self.user_id, TASKS[*task]).await.unwrap())
                }
            };
            let expected = Some(self.tasks[task].clone()).filter(Model::is_there);
            self.answers.push((what, expected, row));
            self.next += 1;
        }
    }

    /// Compares every answer, and the rows as they are at the end.
    async fn compare(&self, store: &Store, what: &str) {
        let mut moments: HashMap<i64, DateTime<Utc>> = HashMap::new();
        let mut before = DateTime::UNIX_EPOCH;
        for task_id in TASKS {
            let query = HistoryQuery { user_id: self.user_id.clone(), task_id: task_id.to_owned() };
            let all = Keyset { after: None, before: None, limit: 500, backward: false };
            let (page, head) = store.history(&query, &all).await.unwrap();
            assert_eq!(head.position, self.head, "head {what}");
            moments.extend(page.rows.into_iter().map(|record| (record.position, record.recorded_at)));
        }
        for position in 1..=self.head {
            assert!(before <= moments[&position], "recorded_at falls at {position}");
            before = moments[&position];
        }
        assert_eq!(moments.len(), usize::try_from(self.head).unwrap(), "dense {what}");
        for (op, expected, row) in &self.answers {
            let what = format!("{what} after {op}");
            match (expected, row) {
                (Some(expected), Some(row)) => expected.assert_is(row, |position| moments[&position], &what),
                (None, None) => {}
                other => panic!("{what}: {other:?}"),
            }
        }
        for (task_id, expected) in TASKS.iter().zip(&self.tasks) {
            let row = store.task(&self.user_id, task_id).await.unwrap();
            assert_eq!(row.is_some(), expected.is_there());
            if let Some(row) = row {
                expected.assert_is(&row, |position| moments[&position], &format!("{what} at the end"));
            }
        }
    }
}

/// As the maintenance will do it.
async fn overdue(store: &Store, user_id: &str, task_id: &str) {
    let sql = "SELECT count(*) FROM taskwire_append_v1(ARRAY[$1], ARRAY[$2], ARRAY['report_overdue'], ARRAY[9],
        ARRAY['timed_out'], ARRAY['{}'::json], NULL, NULL, NULL, NULL, NULL, ARRAY[$3], NULL, NULL, NULL, NULL, true, 'each')";
    let pool = store.connection().get_postgres_connection_pool();
    let _: i64 =
        sqlx::query_scalar(sql).bind(user_id).bind(task_id).bind(Uuid::now_v7()).fetch_one(pool).await.unwrap();
}
