//! Reading tasks: one, a page, a count.

use entity::task;
use serde::{Deserialize, Serialize};

use super::page::{Asked, list_number};
use super::scope::{readable_scope, readable_user};
use super::{BoundedCount, Page, PageArgs, Service, ServiceError, TaskFilter, TaskOrder, input, limits};
use crate::auth::Viewer;
use crate::feed::{FeedCursor, recorded_at};
use crate::store::{Head, Keyset, Scope, Store, TaskKey, TaskRows};

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
#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeyText(i64, String, String, i64);

/// The same, read: there is a list in which a task could stand there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "KeyText", into = "KeyText")]
struct Key(TaskKey);

impl From<Key> for KeyText {
    fn from(Key(key): Key) -> Self {
        Self(key.at.timestamp_micros(), key.user_id, key.task_id, key.position)
    }
}

impl TryFrom<KeyText> for Key {
    type Error = &'static str;

    fn try_from(KeyText(micros, user_id, task_id, position): KeyText) -> Result<Self, Self::Error> {
        let at = recorded_at(micros).ok_or("no moment of a record")?;
        if user_id.contains('\0') || task_id.contains('\0') {
            return Err("no id of a task");
        }
        Ok(Self(TaskKey { at, user_id, task_id, position }))
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
            after: asked.keyset.after.as_ref().map(|key| key.0.clone()),
            before: asked.keyset.before.as_ref().map(|key| key.0.clone()),
            limit: asked.keyset.limit,
            backward: asked.keyset.backward,
        };
        let (list, page, least) = (&scope, &keyset, asked.shown_up_to());
        let read = |store: Store| async move { store.list_tasks(list, &query.filter, query.order, page).await };
        let reaches = |found: &TaskRows| found.head.is_none_or(|head| head.position >= least);
        let found = match &scope {
            Scope::User(user_id) => self.store.near(Some(user_id), read, reaches).await?,
            // There is no cursor by which a watcher of everybody would be told what an older moment lacks.
            Scope::Everyone => read(self.store.clone()).await?,
        };
        let feed_cursor = match (&scope, found.head) {
            (Scope::User(user_id), Some(head)) => {
                Some(asked.feed_cursor.clone().unwrap_or_else(|| FeedCursor::new(user_id, &head).to_string()))
            }
            _ => None,
        };
        let ended_at = found.ended_at.map(Key);
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
        let list = &scope;
        let read = |store: Store| async move { store.count_tasks(list, &query.filter, limit).await };
        let (count, is_exact) = self.store.near(scope.user_id(), read, |_| true).await?;
        Ok(BoundedCount { value: i64::try_from(count).unwrap_or(i64::MAX), is_exact })
    }
}

fn key_by(order: TaskOrder) -> impl Fn(&task::Model) -> Key {
    move |task| Key(TaskKey::of(task, order))
}

fn list_of(scope: Option<&Scope>, query: &TaskQuery) -> u64 {
    let user_id = match scope {
        Some(Scope::User(user_id)) => user_id.as_str(),
        _ => "",
    };
    list_number(&["tasks", user_id, &format!("{:?}", query.order), &format!("{:?}", query.filter)])
}
