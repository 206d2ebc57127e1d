//! Relay's connections: tasks, steps, records. A page comes whole from the service; here it only gets its names.

use async_graphql::{Context, Object, SimpleObject};
use entity::{task, task_record};

use super::{Task, TaskRecord, TaskStep, int};
use crate::graphql::defaults::{CountLimit, OrDefault};
use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::scalars::FeedCursor;
use crate::graphql::session::Session;
use crate::service::{self, CursorOf, Edge, Page, PageArgs, ServiceError, TaskQuery};

/// Where a page stands within its list.
#[derive(SimpleObject)]
pub(crate) struct PageInfo {
    /// Whether the list goes on behind this page.
    has_next_page: bool,
    /// Whether the list has something before this page.
    has_previous_page: bool,
    /// Where the page begins: for `before` of the page before it. Null where it has no place.
    start_cursor: Option<String>,
    /// Where the page ends, also an empty one that ended early: for `after` of the next page. Null where it has no place.
    end_cursor: Option<String>,
}

impl PageInfo {
    pub(super) fn of<T>(page: &Page<T>) -> Self {
        Self {
            has_next_page: page.has_next,
            has_previous_page: page.has_previous,
            start_cursor: page.start_cursor.clone(),
            end_cursor: page.end_cursor.clone(),
        }
    }
}

/// A count that stops at a limit.
#[derive(SimpleObject)]
pub(crate) struct BoundedCount {
    /// So many were found.
    value: i32,
    /// Whether there are no more than that.
    is_exact: bool,
}

impl From<service::BoundedCount> for BoundedCount {
    fn from(count: service::BoundedCount) -> Self {
        Self { value: int(count.value), is_exact: count.is_exact }
    }
}

pub(crate) struct TaskEdge {
    node: Task,
    place: CursorOf<task::Model>,
}

impl From<Edge<task::Model>> for TaskEdge {
    fn from(edge: Edge<task::Model>) -> Self {
        Self { node: edge.node.into(), place: edge.place }
    }
}

/// One task in a list, and where it stands there.
#[Object]
impl TaskEdge {
    /// For `after` and `before` of the same list, with the same order and filter.
    async fn cursor(&self) -> String {
        self.place.cursor(self.node.model())
    }

    /// The task itself.
    async fn node(&self) -> &Task {
        &self.node
    }
}

/// A page of a list of tasks, with what the whole list can be asked.
pub(crate) struct TaskConnection {
    query: TaskQuery,
    info: PageInfo,
    feed_cursor: Option<String>,
    edges: Vec<TaskEdge>,
}

impl TaskConnection {
    /// Reads a page.
    pub(crate) async fn of(context: &Context<'_>, query: TaskQuery, page: PageArgs) -> Result<Self, ApiError> {
        let session = Session::of(context)?;
        let page = session.service.tasks(&session.viewer, &query, page).await?;
        let info = PageInfo::of(&page);
        let edges = page.edges.into_iter().map(TaskEdge::from).collect();
        Ok(Self { query, info, feed_cursor: page.feed_cursor, edges })
    }

    async fn counted(&self, context: &Context<'_>, limit: i32) -> Result<BoundedCount, ApiError> {
        let session = Session::of(context)?;
        Ok(session.service.count_tasks(&session.viewer, &self.query, limit).await?.into())
    }
}

/// A page of a list of tasks.
#[Object]
impl TaskConnection {
    /// The entries of the page, in the list's order.
    async fn edges(&self) -> &[TaskEdge] {
        &self.edges
    }

    /// The tasks of the page, for who needs no cursors.
    async fn nodes(&self) -> Vec<&Task> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    /// Where the page stands within the list.
    async fn page_info(&self) -> &PageInfo {
        &self.info
    }

    /// How many tasks the whole list has. Counts at most `limit` and looks at no more than 20,000 tasks; where it
    /// stopped, isExact is false. With `first: 0` it counts without a page.
    async fn count(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Where to stop counting: at most 10,000.", default_with = "OrDefault::default()")]
        limit: OrDefault<CountLimit>,
    ) -> Answer<BoundedCount> {
        Some(self.counted(context, limit.get()).await)
    }

    /// Where the user's feed stood before the first of these pages was read: a page reached with `after` or `before`
    /// repeats the cursor of the page it continues, so that one subscription covers all of them. Null where the list
    /// spans several users: see `taskChanged`.
    async fn feed_cursor(&self) -> Option<FeedCursor> {
        self.feed_cursor.clone().map(FeedCursor)
    }
}

pub(crate) struct TaskStepEdge {
    node: TaskStep,
    place: CursorOf<service::TaskStep>,
}

impl From<Edge<service::TaskStep>> for TaskStepEdge {
    fn from(edge: Edge<service::TaskStep>) -> Self {
        Self { node: edge.node.into(), place: edge.place }
    }
}

/// One step in a list, and where it stands there.
#[Object]
impl TaskStepEdge {
    /// For `after` and `before` of the same list.
    async fn cursor(&self) -> String {
        self.place.cursor(self.node.model())
    }

    /// The step itself.
    async fn node(&self) -> &TaskStep {
        &self.node
    }
}

/// A page of the steps of a task.
pub(crate) struct TaskStepConnection {
    info: PageInfo,
    edges: Vec<TaskStepEdge>,
}

impl TaskStepConnection {
    /// Reads a page of the steps of this task.
    pub(crate) async fn of(context: &Context<'_>, task: &task::Model, page: PageArgs) -> Result<Self, ApiError> {
        let session = Session::of(context)?;
        let page = session.service.steps(&session.viewer, task, page).await?;
        let info = PageInfo::of(&page);
        Ok(Self { info, edges: page.edges.into_iter().map(TaskStepEdge::from).collect() })
    }
}

/// A page of the steps of a task, by number.
#[Object]
impl TaskStepConnection {
    /// The entries of the page, in the list's order.
    async fn edges(&self) -> &[TaskStepEdge] {
        &self.edges
    }

    /// The steps of the page, for who needs no cursors.
    async fn nodes(&self) -> Vec<&TaskStep> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    /// Where the page stands within the list.
    async fn page_info(&self) -> &PageInfo {
        &self.info
    }
}

pub(crate) struct TaskRecordEdge {
    node: TaskRecord,
    place: CursorOf<task_record::Model>,
}

impl From<Edge<task_record::Model>> for TaskRecordEdge {
    fn from(edge: Edge<task_record::Model>) -> Self {
        Self { node: edge.node.into(), place: edge.place }
    }
}

/// One record in a list, and where it stands there.
#[Object]
impl TaskRecordEdge {
    /// For `after` and `before` of the same list. It is not a `FeedCursor`.
    async fn cursor(&self) -> String {
        self.place.cursor(self.node.model())
    }

    /// The record itself.
    async fn node(&self) -> &TaskRecord {
        &self.node
    }
}

/// A page of a task's history.
pub(crate) struct TaskRecordConnection {
    info: PageInfo,
    feed_cursor: String,
    edges: Vec<TaskRecordEdge>,
}

impl TaskRecordConnection {
    /// Reads a page of the history of the task that goes by this name.
    pub(crate) async fn of(
        context: &Context<'_>,
        user_id: Option<String>,
        task_id: String,
        page: PageArgs,
    ) -> Result<Self, ApiError> {
        let session = Session::of(context)?;
        session.service.history(&session.viewer, user_id, task_id, page).await?.try_into()
    }

    /// Reads a page of the history of this task.
    pub(crate) async fn of_task(context: &Context<'_>, task: &task::Model, page: PageArgs) -> Result<Self, ApiError> {
        let session = Session::of(context)?;
        session.service.history_of(&session.viewer, task, page).await?.try_into()
    }
}

/// A history is one user's, so its page always says where that user's feed stood.
impl TryFrom<Page<task_record::Model>> for TaskRecordConnection {
    type Error = ApiError;

    fn try_from(page: Page<task_record::Model>) -> Result<Self, ApiError> {
        let info = PageInfo::of(&page);
        let feed_cursor = page
            .feed_cursor
            .ok_or_else(|| ServiceError::internal(&"a page of a history came without a feed cursor"))?;
        Ok(Self { info, feed_cursor, edges: page.edges.into_iter().map(TaskRecordEdge::from).collect() })
    }
}

/// A page of a task's history, oldest record first.
#[Object]
impl TaskRecordConnection {
    /// The entries of the page, in the list's order.
    async fn edges(&self) -> &[TaskRecordEdge] {
        &self.edges
    }

    /// The records of the page, for who needs no cursors.
    async fn nodes(&self) -> Vec<&TaskRecord> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    /// Where the page stands within the list.
    async fn page_info(&self) -> &PageInfo {
        &self.info
    }

    /// Where the user's feed stood before the first of these pages was read, also of an empty page.
    async fn feed_cursor(&self) -> FeedCursor {
        FeedCursor(self.feed_cursor.clone())
    }
}
