//! What a writer hands in, and what it gets back.

use std::sync::Arc;

use entity::{TaskStatus, task, task_record};
use sea_orm::prelude::DateTimeUtc;
use serde::Serialize;
use uuid::Uuid;

/// A worker's report, checked by the service, not yet numbered.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// Whose task; 1 to 255 characters.
    pub user_id: String,
    /// Which task; 1 to 255 characters.
    pub task_id: String,
    /// 0 to 1,000,000.
    pub step: i32,
    /// Of the step.
    pub status: TaskStatus,
    /// The whole step result as JSON text: step, result, completed, message, status, `error_code`, `error_message`.
    pub result: String,
    /// The step's name in it; empty for none.
    pub step_name: String,
    /// The message in it, which becomes the task's.
    pub message: String,
    /// The error's code in it, which becomes the task's; empty for none.
    pub error_code: String,
    /// How far the step is, 0 to 1.
    pub progress: Option<f64>,
    /// When it happened, by the reporter's clock; none: when it is appended.
    pub timestamp: Option<DateTimeUtc>,
    /// Makes the save idempotent within the user.
    pub record_id: Uuid,
    /// Who reports.
    pub reported_by: Option<String>,
    /// Facts about the task itself.
    pub details: Option<TaskDetails>,
}

impl NewRecord {
    /// A report of a running step that says nothing.
    #[cfg(test)]
    pub(super) fn of(user_id: &str, task_id: &str, record_id: Uuid) -> Self {
        Self {
            user_id: user_id.to_owned(),
            task_id: task_id.to_owned(),
            step: 0,
            status: TaskStatus::Running,
            result: "{}".to_owned(),
            step_name: String::new(),
            message: String::new(),
            error_code: String::new(),
            progress: None,
            timestamp: None,
            record_id,
            reported_by: None,
            details: None,
        }
    }

    /// About how many bytes it takes while it waits.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let details = self.details.as_ref().map_or(0, |details| {
            let tags = details.tags.iter().flatten().map(|tag| tag.len() + size_of::<String>()).sum::<usize>();
            details.name.as_ref().map_or(0, String::len) + tags
        });
        let texts = [&self.user_id, &self.task_id, &self.result, &self.step_name, &self.message, &self.error_code];
        256 + texts.map(String::len).iter().sum::<usize>() + details
    }
}

/// Facts about the task itself: what is none stays as it was, an empty value clears it. Serialised as the append path's
/// `p_details`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TaskDetails {
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// How many steps there will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<i32>,
    /// The task starts again: its steps count from this record on.
    pub restart: bool,
    /// Seconds until the next report is due; 0 turns it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_within_seconds: Option<i32>,
    /// The same where no worker has said anything: the server's own setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_within_default: Option<i32>,
}

/// A record as it stands, and its task.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The record; of a duplicate, the first one.
    pub record: Arc<task_record::Model>,
    /// The task as this very record left it (of a batch: or a later one in it); of a duplicate, as it is now.
    pub task: Arc<task::Model>,
    /// The `record_id` was there before: nothing was changed.
    pub is_duplicate: bool,
}

/// What became of records that nobody wants to see.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// How many are new.
    pub saved: usize,
    /// How many were there before.
    pub known: usize,
    /// Tasks that they are of, in some state since: every one whose cancellation waits for its acknowledgement is among them.
    pub tasks: Vec<Arc<task::Model>>,
}

/// A record that this server has committed, as the feed passes it on.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The record, numbered.
    pub record: Arc<task_record::Model>,
    /// The task as this record left it, or later.
    pub task: Arc<task::Model>,
}
