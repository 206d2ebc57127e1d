//! `task`: the current state of each task, as its records left it.

use sea_orm::entity::prelude::*;

use crate::values::{CancellationOutcome, TaskStatus};

/// One task of one user. Written by the append path alone.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "task")]
pub struct Model {
    /// Whose task.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub user_id: String,
    /// The worker's own name of it, unique within the user.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub task_id: String,
    /// Of its last record, in the user's feed.
    pub position: i64,
    /// Of its last record.
    pub record_id: Uuid,
    /// What people call it.
    pub name: Option<String>,
    /// For filters.
    pub tags: Vec<String>,
    /// By the status rules.
    pub status: TaskStatus,
    /// The highest step reported.
    pub step: i32,
    /// The latest status of that step.
    pub step_status: TaskStatus,
    /// How far that step is, 0 to 1, where its latest record says so.
    pub step_progress: Option<f64>,
    /// How many steps there will be, where known.
    pub total_steps: Option<i32>,
    /// How many steps stand as completed.
    pub completed_count: i32,
    /// From the record that last moved the task.
    pub message: String,
    /// From the record that last moved the task.
    pub error_code: Option<String>,
    /// The record that last moved the task: its result and error are read there.
    pub moved_position: i64,
    /// When that record was appended.
    pub moved_at: DateTimeUtc,
    /// The steps count from this record on: the first, or the last restart.
    pub steps_from_position: i64,
    /// When that record was appended.
    pub steps_from_at: DateTimeUtc,
    /// The database's clock at the first record.
    pub created_at: DateTimeUtc,
    /// At the first record that is not PENDING.
    pub started_at: Option<DateTimeUtc>,
    /// At the latest record.
    pub updated_at: DateTimeUtc,
    /// At the record that finished it; none once it moves on.
    pub finished_at: Option<DateTimeUtc>,
    /// When it was cancelled.
    pub cancel_requested_at: Option<DateTimeUtc>,
    /// By whom; none for plain SQL.
    pub cancel_requested_by: Option<String>,
    /// Why.
    pub cancel_reason: Option<String>,
    /// When a worker was first told.
    pub cancel_delivered_at: Option<DateTimeUtc>,
    /// When it answered.
    pub cancel_acknowledged_at: Option<DateTimeUtc>,
    /// What it answered.
    pub cancel_outcome: Option<CancellationOutcome>,
    /// What it added.
    pub cancel_message: Option<String>,
    /// Seconds until the next report is due, after each.
    pub report_within_seconds: Option<i32>,
    /// When the next report is due.
    pub report_due_at: Option<DateTimeUtc>,
}

impl Model {
    /// Cancelled, and no worker has answered yet: who saves is told to stop.
    #[must_use]
    pub fn is_cancellation_pending(&self) -> bool {
        self.cancel_requested_at.is_some() && self.cancel_acknowledged_at.is_none()
    }

    /// Completed steps and the fraction of the running one, over `total_steps`; none while that is not known.
    #[must_use]
    pub fn progress(&self) -> Option<f64> {
        let total = f64::from(self.total_steps?);
        let running = match self.step_status {
            TaskStatus::Running => self.step_progress.unwrap_or(0.0),
            _ => 0.0,
        };
        Some(((f64::from(self.completed_count) + running) / total).clamp(0.0, 1.0))
    }
}

/// None: rows are found by key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
