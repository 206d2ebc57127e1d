//! The status rules once more, in Rust, written from the contract's sentences and not from the SQL: what a task looks
//! like after each record. Moments are positions here: a test turns them into the `recorded_at` of those records.

use std::collections::BTreeMap;

use entity::TaskStatus::{self, Cancelled, Completed, Failed, Running, TimedOut};
use entity::{CancellationOutcome, task};

/// What a worker reports.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) step: i32,
    pub(crate) status: TaskStatus,
    pub(crate) progress: Option<f64>,
    pub(crate) message: String,
    pub(crate) error_code: Option<String>,
    pub(crate) total_steps: Option<i32>,
    pub(crate) name: Option<String>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) restart: bool,
}

/// A request to cancel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cancellation {
    pub(crate) requested: i64,
    pub(crate) delivered: Option<i64>,
    pub(crate) acknowledged: Option<i64>,
    pub(crate) outcome: Option<CancellationOutcome>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It wrote a record.
    Done,
    /// Cancelled, or acknowledged, before.
    Already,
    /// Finished, or not cancelled at all.
    Refused,
}

/// A task, as its records left it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// Each step's latest status and progress; what is late does not count.
    steps: BTreeMap<i32, (TaskStatus, Option<f64>)>,
    /// Each step's latest status, the late ones too.
    with_late: BTreeMap<i32, TaskStatus>,
    is_overdue: bool,
    pub(crate) status: Option<TaskStatus>,
    pub(crate) name: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) total_steps: Option<i32>,
    pub(crate) message: String,
    pub(crate) error_code: Option<String>,
    pub(crate) position: i64,
    /// The record that last moved it.
    pub(crate) moved: i64,
    pub(crate) created: i64,
    pub(crate) started: Option<i64>,
    pub(crate) finished: Option<i64>,
    pub(crate) steps_from: i64,
    pub(crate) cancellation: Option<Cancellation>,
}

fn is_finished(status: Option<TaskStatus>) -> bool {
    matches!(status, Some(Completed | Failed | Cancelled | TimedOut))
}

impl Model {
    pub(crate) fn is_there(&self) -> bool {
        self.status.is_some()
    }

    pub(crate) fn is_cancellation_pending(&self) -> bool {
        self.cancellation.as_ref().is_some_and(|cancellation| cancellation.acknowledged.is_none())
    }

    /// A worker's report comes to stand at `position`; true where it is late.
    pub(crate) fn save(&mut self, report: &Report, position: i64) -> bool {
        self.position = position;
        if self.cancellation.is_some() {
            self.late(report, position);
            return true;
        }
        if !self.is_there() {
            self.created = position;
            self.steps_from = position;
        }
        // "What is left out stays as it was, and the empty value clears it."
        if let Some(name) = &report.name {
            self.name = Some(name.clone()).filter(|name| !name.is_empty());
        }
        if let Some(tags) = &report.tags {
            self.tags.clone_from(tags);
        }
        if let Some(total) = report.total_steps {
            self.total_steps = Some(total);
        }
        // "The task starts again: its steps count from this record on."
        if report.restart {
            self.steps.clear();
            self.with_late.clear();
            self.steps_from = position;
        }
        // "TIMED_OUT until its next STEP record, of whatever step."
        self.is_overdue = false;
        self.steps.insert(report.step, (report.status, report.progress));
        self.with_late.insert(report.step, report.status);
        self.message.clone_from(&report.message);
        self.error_code.clone_from(&report.error_code);
        self.moved = position;
        if report.status != TaskStatus::Pending {
            self.started.get_or_insert(position);
        }
        // "A straggler of a lower step that leaves the status as it is has not finished the task."
        let (before, finished) = (self.status, self.finished);
        self.settle(position);
        let is_highest = self.steps.last_key_value().is_some_and(|(highest, _)| *highest == report.step);
        if self.status == before && !is_highest && finished.is_some() {
            self.finished = finished;
        }
        if self.status == Some(Cancelled) {
            // "From a worker's STEP record that gives the task this status (acknowledged as STOPPED at once)."
            self.cancellation = Some(Cancellation {
                requested: position,
                delivered: Some(position),
                acknowledged: Some(position),
                outcome: Some(CancellationOutcome::Stopped),
            });
        }
        false
    }

    fn late(&mut self, report: &Report, position: i64) {
        self.with_late.insert(report.step, report.status);
        let all_done = self.total_steps.is_some_and(|total| {
            let done = self.with_late.values().filter(|status| **status == Completed).count();
            i32::try_from(done).unwrap() >= total
        });
        let outcome = match report.status {
            Cancelled => Some(CancellationOutcome::Stopped),
            Failed | TimedOut => Some(CancellationOutcome::FinishedFirst),
            Completed if all_done => Some(CancellationOutcome::FinishedFirst),
            _ => None,
        };
        let cancellation = self.cancellation.as_mut().unwrap();
        cancellation.delivered.get_or_insert(position);
        if cancellation.acknowledged.is_none() && outcome.is_some() {
            cancellation.acknowledged = Some(position);
            cancellation.outcome = outcome;
        }
    }

    /// The status that the steps give, and when the task finished.
    fn settle(&mut self, position: i64) {
        let (_, (highest, _)) = self.steps.last_key_value().unwrap();
        let ended = |steps: &BTreeMap<i32, (TaskStatus, Option<f64>)>| {
            steps.values().rev().map(|(status, _)| *status).find(|status| matches!(status, Failed | TimedOut))
        };
        let is_short = self.total_steps.is_some_and(|total| self.completed() < total);
        let status = if self.cancellation.is_some() {
            Cancelled
        } else if self.is_overdue {
            TimedOut
        } else if *highest == Completed && is_short {
            ended(&self.steps).unwrap_or(Running)
        } else {
            *highest
        };
        self.turn(status, position);
    }

    fn turn(&mut self, status: TaskStatus, position: i64) {
        // "`finished_at` is cleared when the task moves on."
        self.finished = Some(position).filter(|_| is_finished(Some(status)));
        self.status = Some(status);
    }

    /// Somebody cancels it; `position` is where the record would stand.
    pub(crate) fn cancel(&mut self, force: bool, has_settled: bool, reason: &str, position: i64) -> Answer {
        if self.cancellation.is_some() {
            return Answer::Already;
        }
        let may_go_on = self.status == Some(Completed) && self.total_steps.is_none() && !has_settled;
        let is_finished = is_finished(self.status) && self.status != Some(TimedOut) && !may_go_on;
        if is_finished && !force {
            return Answer::Refused;
        }
        self.cancellation =
            Some(Cancellation { requested: position, delivered: None, acknowledged: None, outcome: None });
        self.position = position;
        self.moved = position;
        self.started.get_or_insert(position);
        reason.clone_into(&mut self.message);
        self.error_code = None;
        self.settle(position);
        Answer::Done
    }

    /// A worker answers the cancellation.
    pub(crate) fn acknowledge(&mut self, outcome: CancellationOutcome, position: i64) -> Answer {
        let Some(cancellation) = &mut self.cancellation else { return Answer::Refused };
        if cancellation.acknowledged.is_some() {
            return Answer::Already;
        }
        // Who answers has been told.
        cancellation.delivered.get_or_insert(position);
        cancellation.acknowledged = Some(position);
        cancellation.outcome = Some(outcome);
        self.position = position;
        Answer::Done
    }

    /// A due report did not come.
    pub(crate) fn overdue(&mut self, position: i64) {
        self.position = position;
        self.moved = position;
        self.started.get_or_insert(position);
        self.message.clear();
        self.error_code = None;
        self.is_overdue = true;
        self.settle(position);
    }

    /// "Completed distinct steps": those whose latest record says so.
    pub(crate) fn completed(&self) -> i32 {
        let done = self.steps.values().filter(|(status, _)| *status == Completed).count();
        i32::try_from(done).unwrap()
    }

    /// "Completed distinct steps, and the fraction of the running one, over totalSteps, 0 to 1."
    pub(crate) fn progress(&self) -> Option<f64> {
        let total = f64::from(self.total_steps?);
        let running = match self.steps.last_key_value() {
            Some((_, (Running, Some(fraction)))) => *fraction,
            _ => 0.0,
        };
        Some(((f64::from(self.completed()) + running) / total).min(1.0))
    }

    /// Compares with a row; `at` gives the moment of a position as the row's columns have it.
    pub(crate) fn assert_is(&self, row: &task::Model, at: impl Fn(i64) -> chrono::DateTime<chrono::Utc>, what: &str) {
        let some_at = |position: Option<i64>| position.map(&at);
        let (highest, (highest_status, _)) = self.steps.last_key_value().unwrap();
        assert_eq!(Some(row.status), self.status, "status {what}");
        assert_eq!(row.step, *highest, "step {what}");
        assert_eq!(row.step_status, *highest_status, "step status {what}");
        assert_eq!(row.completed_count, self.completed(), "completed {what}");
        assert_eq!(row.progress(), self.progress(), "progress {what}");
        assert_eq!(row.name, self.name, "name {what}");
        assert_eq!(row.tags, self.tags, "tags {what}");
        assert_eq!(row.total_steps, self.total_steps, "total_steps {what}");
        assert_eq!(row.message, self.message, "message {what}");
        assert_eq!(row.error_code, self.error_code, "error_code {what}");
        assert_eq!(row.position, self.position, "position {what}");
        assert_eq!(row.updated_at, at(self.position), "updated_at {what}");
        assert_eq!(row.moved_position, self.moved, "moved {what}");
        assert_eq!(row.moved_at, at(self.moved), "moved_at {what}");
        assert_eq!(row.steps_from_position, self.steps_from, "steps_from {what}");
        assert_eq!(row.steps_from_at, at(self.steps_from), "steps_from_at {what}");
        assert_eq!(row.created_at, at(self.created), "created_at {what}");
        assert_eq!(row.started_at, some_at(self.started), "started_at {what}");
        assert_eq!(row.finished_at, some_at(self.finished), "finished_at {what}");
        let cancellation = self.cancellation.as_ref();
        assert_eq!(row.cancel_requested_at, cancellation.map(|known| at(known.requested)), "requested {what}");
        let delivered = cancellation.and_then(|known| known.delivered);
        assert_eq!(row.cancel_delivered_at, some_at(delivered), "delivered {what}");
        let acknowledged = cancellation.and_then(|known| known.acknowledged);
        assert_eq!(row.cancel_acknowledged_at, some_at(acknowledged), "acknowledged {what}");
        assert_eq!(row.cancel_outcome, cancellation.and_then(|known| known.outcome), "outcome {what}");
        assert_eq!(row.is_cancellation_pending(), self.is_cancellation_pending(), "pending {what}");
    }
}
