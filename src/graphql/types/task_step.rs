//! `TaskStep`: one numbered step, put together from its records.

use async_graphql::{ID, Object};

use super::{TaskRecord, TaskStatus, int};
use crate::graphql::node::Key;
use crate::graphql::scalars::DateTime;
use crate::service;

/// A step as the service sums it up.
pub(crate) struct TaskStep(service::TaskStep);

impl From<service::TaskStep> for TaskStep {
    fn from(step: service::TaskStep) -> Self {
        Self(step)
    }
}

impl TaskStep {
    /// The step as the service sums it up.
    pub(super) fn model(&self) -> &service::TaskStep {
        &self.0
    }
}

/// One numbered step of a task, put together from its records. What the server itself adds to a history is not a step.
#[Object]
impl TaskStep {
    /// Global and opaque: for `node` and for caches.
    pub(crate) async fn id(&self) -> ID {
        Key::from(&self.0).encode()
    }

    /// Its number within the task.
    async fn step(&self) -> i32 {
        self.0.step
    }

    /// What the worker calls it; empty where its records give no name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The status of its latest record.
    async fn status(&self) -> TaskStatus {
        self.0.status.into()
    }

    /// When it was first reported, in whatever status: it waits from here.
    async fn reported_at(&self) -> DateTime {
        self.0.reported_at.into()
    }

    /// Its first RUNNING record: it runs from here. Null where none came.
    async fn started_at(&self) -> Option<DateTime> {
        self.0.started_at.map(DateTime)
    }

    /// Its latest record, where that one ends the step.
    async fn finished_at(&self) -> Option<DateTime> {
        self.0.finished_at.map(DateTime)
    }

    /// How many records it has: more than its status changes where it was tried again.
    async fn record_count(&self) -> i32 {
        int(self.0.record_count)
    }

    /// Its latest record: message, result and error stand there.
    async fn record(&self) -> TaskRecord {
        self.0.record.clone().into()
    }
}
