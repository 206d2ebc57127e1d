//! `TaskRecord`: one entry of a history.

use std::sync::OnceLock;

use async_graphql::{ID, Object};
use entity::task_record;

use super::{TaskRecordKind, TaskStatus};
use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::node::Key;
use crate::graphql::scalars::{DateTime, FeedCursor, Json, SafeInt, Uuid};
use crate::service::{self, StoredStepResult};

/// A record, and its step result taken apart once it is asked for.
pub(crate) struct TaskRecord {
    record: task_record::Model,
    stored: OnceLock<StoredStepResult>,
}

impl From<task_record::Model> for TaskRecord {
    fn from(record: task_record::Model) -> Self {
        Self { record, stored: OnceLock::new() }
    }
}

impl TaskRecord {
    /// The record as it is stored.
    pub(super) fn model(&self) -> &task_record::Model {
        &self.record
    }

    fn stored(&self) -> &StoredStepResult {
        self.stored.get_or_init(|| StoredStepResult::parse(&self.record.result))
    }
}

/// One entry of a user's history. Records are only ever added.
#[Object]
impl TaskRecord {
    /// Global and opaque: for `node` and for caches.
    pub(crate) async fn id(&self) -> ID {
        Key::from(&self.record).encode()
    }

    /// Numbers the records of one user 1, 2, 3 and so on in commit order, without holes and without repeats.
    async fn position(&self) -> SafeInt {
        self.record.position.into()
    }

    /// Resumes the feed just after this record: for a subscription's `after`.
    async fn feed_cursor(&self) -> FeedCursor {
        FeedCursor(service::feed_cursor_of(&self.record))
    }

    /// Why it was written: by a worker's report, or by the server.
    async fn kind(&self) -> TaskRecordKind {
        self.record.kind.into()
    }

    /// Whose record it is.
    async fn user_id(&self) -> ID {
        ID(self.record.user_id.clone())
    }

    /// The task it belongs to.
    async fn task_id(&self) -> ID {
        ID(self.record.task_id.clone())
    }

    /// The step it reports; of what the server adds, one above the highest.
    async fn step(&self) -> i32 {
        self.record.step
    }

    /// What the worker calls the step; empty where it gave no name.
    async fn step_name(&self) -> &str {
        &self.stored().step_name
    }

    /// The status that was reported.
    async fn status(&self) -> TaskStatus {
        self.record.status.into()
    }

    /// Whether the step is done, as it was sent; left out, whether the status is COMPLETED.
    async fn completed(&self) -> bool {
        self.stored().completed
    }

    /// How far the step was, 0 to 1, where the worker said so.
    async fn progress(&self) -> Option<f64> {
        self.record.progress
    }

    /// What the worker said, in words; empty where it said nothing.
    async fn message(&self) -> &str {
        &self.stored().message
    }

    /// The worker's own value.
    async fn result(&self) -> Answer<Json> {
        let result = self.stored().result.clone();
        result.map(|value| value.map(Json::Stored)).map_err(ApiError::unreadable).transpose()
    }

    /// The worker's code for what went wrong.
    async fn error_code(&self) -> Option<&str> {
        self.stored().error_code.as_deref()
    }

    /// What went wrong, in words.
    async fn error_message(&self) -> Option<&str> {
        self.stored().error_message.as_deref()
    }

    /// Who caused it, as the token says: the worker, or the one who cancelled. Null for the server itself and for plain
    /// SQL.
    async fn reported_by(&self) -> Option<ID> {
        self.record.reported_by.clone().map(ID)
    }

    /// Reported after the task was cancelled: it is kept, but it does not move the task.
    async fn is_late(&self) -> bool {
        self.record.is_late
    }

    /// What makes its save idempotent, unique within the user.
    async fn record_id(&self) -> Uuid {
        Uuid(self.record.record_id)
    }

    /// When it happened, by the reporter's clock. It is shown and kept, but nothing is found, ordered or removed by it.
    async fn timestamp(&self) -> DateTime {
        self.record.timestamp.into()
    }

    /// When it was appended, by the database's clock. It never falls from one position of a user to the next.
    async fn recorded_at(&self) -> DateTime {
        self.record.recorded_at.into()
    }
}
