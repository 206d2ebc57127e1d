//! Reading tasks: one, a page, a count.

use chrono::{DateTime, Utc};
use entity::task;
use serde::{Deserialize, Serialize};

use super::page::{Asked, list_number};
use super::scope::{readable_scope, readable_user};
use super::{BoundedCount, Page, PageArgs, Service, ServiceError, TaskFilter, TaskOrder, input, limits};
use crate::auth::Viewer;
use crate::feed::FeedCursor;
use crate::store::{Head, Keyset, Scope, TaskKey};

/// A list of tasks.
#[derive(Clone, Debug, Default)]
pub struct TaskQuery {
    /// Whose; left out: all that the viewer may see.
    pub user_id: Option<String>,
    /// Which.
    pub filter: TaskFilter,
    /// In which order.
    pub order: TaskOrder,
}

/// A task's key inside a cursor.
#[derive(Debug, Serialize, Deserialize)]
struct Key(i64, String, String, i64);

impl From<TaskKey> for Key {
    fn from(key: TaskKey) -> Self {
        Self(key.at.timestamp_micros(), key.user_id, key.task_id, key.position)
    }
}

impl Key {
    fn read(self) -> TaskKey {
        let at = DateTime::<Utc>::from_timestamp_micros(self.0).unwrap_or_default();
        TaskKey { at, user_id: self.1, task_id: self.2, position: self.3 }
    }
}

impl Service {
    /// One task; none where there is none, or it is not the viewer's to see.
    pub async fn task(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        task_id: String,
    ) -> Result<Option<task::Model>, ServiceError> {
        input::id("taskId", &task_id)?;
        let Some(user_id) = readable_user(viewer, user_id)? else { return Ok(None) };
        Ok(self.store.task(&user_id, &task_id).await?)
    }

    /// A page of tasks; empty where they are not the viewer's to see.
    pub async fn tasks(
        &self,
        viewer: &Viewer,
        query: &TaskQuery,
        page: PageArgs,
    ) -> Result<Page<task::Model>, ServiceError> {
        input::filter("filter", &query.filter)?;
        let scope = readable_scope(viewer, query.user_id.clone())?;
        let asked: Asked<Key> = Asked::read(page, list_of(scope.as_ref(), query), self.limits())?;
        let Some(scope) = scope else {
            let feed_cursor =
                query.user_id.as_deref().map(|user_id| FeedCursor::new(user_id, &Head::START).to_string());
            return Ok(asked.page(Vec::new(), false, None, feed_cursor, key_by(query.order)));
        };
        let keyset = Keyset {
            after: asked.keyset.after.as_ref().map(|key| key.copy().read()),
            before: asked.keyset.before.as_ref().map(|key| key.copy().read()),
            limit: asked.keyset.limit,
            backward: asked.keyset.backward,
        };
        let found = self.store.list_tasks(&scope, &query.filter, query.order, &keyset).await?;
        let feed_cursor = match (&scope, found.head) {
            (Scope::User(user_id), Some(head)) => {
                Some(asked.feed_cursor.clone().unwrap_or_else(|| FeedCursor::new(user_id, &head).to_string()))
            }
            _ => None,
        };
        let ended_at = found.ended_at.map(Key::from);
        Ok(asked.page(found.page.rows, found.page.has_more, ended_at, feed_cursor, key_by(query.order)))
    }

    /// How many tasks a list has, up to `limit`.
    pub async fn count_tasks(
        &self,
        viewer: &Viewer,
        query: &TaskQuery,
        limit: i32,
    ) -> Result<BoundedCount, ServiceError> {
        input::between("limit", limit.into(), 0, limits::COUNT.into())?;
        input::filter("filter", &query.filter)?;
        let Some(scope) = readable_scope(viewer, query.user_id.clone())? else {
            return Ok(BoundedCount { value: 0, is_exact: true });
        };
        let limit = u64::try_from(limit).unwrap_or(0);
        let (count, is_exact) = self.store.count_tasks(&scope, &query.filter, limit).await?;
        Ok(BoundedCount { value: i64::try_from(count).unwrap_or(i64::MAX), is_exact })
    }
}

impl Key {
    fn copy(&self) -> Self {
        Self(self.0, self.1.clone(), self.2.clone(), self.3)
    }
}

fn key_by(order: TaskOrder) -> impl Fn(&task::Model) -> Key {
    move |task| TaskKey::of(task, order).into()
}

fn list_of(scope: Option<&Scope>, query: &TaskQuery) -> u64 {
    let user_id = match scope {
        Some(Scope::User(user_id)) => user_id.as_str(),
        _ => "",
    };
    list_number(&["tasks", user_id, &format!("{:?}", query.order), &format!("{:?}", query.filter)])
}
