//! Reads of a task's records and steps, and of single records. Each carries a bound on `recorded_at`.

use entity::{TaskStatus, task_record};
use sea_orm::prelude::DateTimeUtc;

/// One numbered step, put together from its records.
#[derive(Clone, Debug)]
pub struct StepSummary {
    /// Its number.
    pub step: i32,
    /// The latest name that a record gave; empty where none did.
    pub name: String,
    /// Of its latest record.
    pub status: TaskStatus,
    /// Its first record: it waits from here.
    pub reported_at: DateTimeUtc,
    /// Its first RUNNING record: it runs from here.
    pub started_at: Option<DateTimeUtc>,
    /// Its latest record, where that ends the step.
    pub finished_at: Option<DateTimeUtc>,
    /// How many records it has.
    pub record_count: i64,
    /// The latest.
    pub record: task_record::Model,
}
