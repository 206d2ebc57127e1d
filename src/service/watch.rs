//! Streams of changes.

use entity::{task, task_record};
use futures_util::Stream;

use super::{Service, ServiceError, TaskFilter};
use crate::auth::Viewer;

/// A record, as it happens.
#[derive(Clone, Debug)]
pub struct TaskEvent {
    /// Resumes just after it.
    pub feed_cursor: String,
    /// The record.
    pub record: task_record::Model,
    /// The task as this record left it, or later.
    pub task: task::Model,
    /// True while catching up.
    pub is_replay: bool,
}

/// A task's state after a change.
#[derive(Clone, Debug)]
pub struct TaskChange {
    /// None in the one event that says that the stream is live.
    pub task: Option<task::Model>,
    /// Whether the task is in the filter now.
    pub matches_filter: bool,
    /// Everything up to here has been delivered on this stream.
    pub feed_cursor: Option<String>,
    /// True before the event without a task.
    pub is_replay: bool,
}

/// A cancellation that waits for its acknowledgement.
#[derive(Clone, Debug)]
pub struct CancellationRequest {
    /// Which task.
    pub task: task::Model,
    /// It was waiting before this stream began.
    pub is_replay: bool,
}

impl Service {
    /// Every record of a user, or of one task, in order, each once.
    pub async fn task_events(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        task_id: Option<String>,
        after: Option<String>,
        from_start: bool,
    ) -> Result<impl Stream<Item = Result<TaskEvent, ServiceError>> + Send + use<>, ServiceError> {
        Ok(futures_util::stream::empty())
    }

    /// Tasks as they change, merged where they change faster than they are read.
    pub async fn task_changed(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        task_id: Option<String>,
        filter: Option<TaskFilter>,
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<TaskChange, ServiceError>> + Send + use<>, ServiceError> {
        Ok(futures_util::stream::empty())
    }

    /// Cancellations that wait for their acknowledgement.
    pub async fn cancellation_requested(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        filter: Option<TaskFilter>,
    ) -> Result<impl Stream<Item = Result<CancellationRequest, ServiceError>> + Send + use<>, ServiceError> {
        Ok(futures_util::stream::empty())
    }
}
