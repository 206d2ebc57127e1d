//! Reading records and steps.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::{task, task_record};

use super::page::{Asked, list_number};
use super::scope::{may_read, readable_user};
use super::{Page, PageArgs, Service, ServiceError, input};
use crate::auth::Viewer;
use crate::feed::FeedCursor;
use crate::store::{Head, HistoryQuery, Rows, Store};

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
        self.history_from(viewer, user_id, task_id, page, 0).await
    }

    /// The same, with all that there was of the user up to a position at least: whoever asks has seen that much.
    async fn history_from(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        task_id: String,
        page: PageArgs,
        seen: i64,
    ) -> Result<Page<task_record::Model>, ServiceError> {
        input::id("taskId", &task_id)?;
        let named = user_id.clone().or_else(|| viewer.user_id.clone()).unwrap_or_default();
        let user_id = readable_user(viewer, user_id)?;
        let asked: Asked<i64> = Asked::read(page, list_number(&["history", &named, &task_id]), self.limits())?;
        let Some(user_id) = user_id else {
            let feed_cursor = FeedCursor::new(&named, &Head::START).to_string();
            return Ok(asked.page(Vec::new(), false, None, Some(feed_cursor), position));
        };
        let query = HistoryQuery { user_id, task_id };
        let (of, page, least) = (&query, &asked.keyset, asked.shown_up_to().max(seen));
        let read = |store: Store| async move { store.history(of, page).await };
        let reaches = |found: &(Rows<_>, Head)| found.1.position >= least;
        let (found, head) = self.store.near(Some(&query.user_id), read, reaches).await?;
        let feed_cursor =
            asked.feed_cursor.clone().unwrap_or_else(|| FeedCursor::new(&query.user_id, &head).to_string());
        Ok(asked.page(found.rows, found.has_more, None, Some(feed_cursor), position))
    }

    /// The records of a task that the viewer has been given.
    pub async fn history_of(
        &self,
        viewer: &Viewer,
        task: &task::Model,
        page: PageArgs,
    ) -> Result<Page<task_record::Model>, ServiceError> {
        self.history_from(viewer, Some(task.user_id.clone()), task.task_id.clone(), page, task.position).await
    }

    /// The steps of a task that the viewer has been given, by number.
    pub async fn steps(
        &self,
        viewer: &Viewer,
        task: &task::Model,
        page: PageArgs,
    ) -> Result<Page<TaskStep>, ServiceError> {
        let asked: Asked<i32> =
            Asked::read(page, list_number(&["steps", &task.user_id, &task.task_id]), self.limits())?;
        let number = |step: &TaskStep| step.step;
        if !may_read(viewer, &task.user_id) {
            return Ok(asked.page(Vec::new(), false, None, None, number));
        }
        // From the primary, as the task itself: a standby might lack the step that the task shows.
        let found = self.store.steps(task, &asked.keyset).await?;
        Ok(asked.page(found.rows, found.has_more, None, None, number))
    }

    /// One step; none where there is none, or it is not the viewer's to see.
    pub async fn step(
        &self,
        viewer: &Viewer,
        user_id: String,
        task_id: String,
        step: i32,
    ) -> Result<Option<TaskStep>, ServiceError> {
        let Some(task) = self.task(viewer, Some(user_id), task_id).await? else { return Ok(None) };
        Ok(self.store.step(&task, step).await?)
    }

    /// One record; none where there is none, or it is not the viewer's to see.
    pub async fn record(
        &self,
        viewer: &Viewer,
        user_id: String,
        position: i64,
        recorded_at: DateTime<Utc>,
    ) -> Result<Option<task_record::Model>, ServiceError> {
        let key = RecordKey { user_id, position, recorded_at };
        Ok(self.records_at(viewer, std::slice::from_ref(&key)).await?.remove(&key))
    }

    /// Many records by their places; what is not there, or not the viewer's to see, is missing.
    pub async fn records_at(
        &self,
        viewer: &Viewer,
        keys: &[RecordKey],
    ) -> Result<HashMap<RecordKey, task_record::Model>, ServiceError> {
        let places: Vec<_> = keys
            .iter()
            .filter(|key| may_read(viewer, &key.user_id))
            .map(|key| (key.user_id.clone(), key.position, key.recorded_at))
            .collect();
        let found = self.store.records_at(&places).await?;
        let keyed = found.into_iter().map(|record| {
            let key = RecordKey {
                user_id: record.user_id.clone(),
                position: record.position,
                recorded_at: record.recorded_at,
            };
            (key, record)
        });
        Ok(keyed.collect())
    }
}

fn position(record: &task_record::Model) -> i64 {
    record.position
}
