//! Reading records and steps.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::{task, task_record};

use super::{Page, PageArgs, Service, ServiceError};
use crate::auth::Viewer;

pub use crate::store::StepSummary as TaskStep;

/// Where a record stands: enough to find it without a search.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordKey {
    /// Whose record.
    pub user_id: String,
    /// Where in the user's feed.
    pub position: i64,
    /// When it was appended.
    pub recorded_at: DateTime<Utc>,
}

impl Service {
    /// The records of a task, oldest first; an empty page where there is none, or it is not the viewer's to see.
    pub async fn history(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        task_id: String,
        page: PageArgs,
    ) -> Result<Page<task_record::Model>, ServiceError> {
        todo!()
    }

    /// The records of a task that the viewer has been given.
    pub async fn history_of(
        &self,
        viewer: &Viewer,
        task: &task::Model,
        page: PageArgs,
    ) -> Result<Page<task_record::Model>, ServiceError> {
        todo!()
    }

    /// The steps of a task that the viewer has been given, by number.
    pub async fn steps(
        &self,
        viewer: &Viewer,
        task: &task::Model,
        page: PageArgs,
    ) -> Result<Page<TaskStep>, ServiceError> {
        todo!()
    }

    /// One step; none where there is none, or it is not the viewer's to see.
    pub async fn step(
        &self,
        viewer: &Viewer,
        user_id: String,
        task_id: String,
        step: i32,
    ) -> Result<Option<TaskStep>, ServiceError> {
        todo!()
    }

    /// One record; none where there is none, or it is not the viewer's to see.
    pub async fn record(
        &self,
        viewer: &Viewer,
        user_id: String,
        position: i64,
        recorded_at: DateTime<Utc>,
    ) -> Result<Option<task_record::Model>, ServiceError> {
        todo!()
    }

    /// Many records by their places; what is not there, or not the viewer's to see, is missing.
    pub async fn records_at(
        &self,
        viewer: &Viewer,
        keys: &[RecordKey],
    ) -> Result<HashMap<RecordKey, task_record::Model>, ServiceError> {
        todo!()
    }
}
