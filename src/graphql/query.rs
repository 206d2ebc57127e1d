//! The root of queries. A resolver takes the arguments' shapes apart, calls one verb and names the answer; what is allowed
//! and what is within limits, the service says.

use async_graphql::{Context, ID, Object};
use futures_util::future::join_all;

use super::defaults::{ByTheHour, FacetCount, LastChangedFirst, OrDefault};
use super::errors::{Answer, ApiError};
use super::filter::{TaskFilterInput, or_all, user};
use super::node;
use super::scalars::DateTime;
use super::session::Session;
use super::types::{
    Feed, Node, System, Task, TaskConnection, TaskFacets, TaskRecordConnection, TaskStatistics, TaskStatus,
    UserConnection, Viewer,
};
use crate::service::{PageArgs, ServiceError, StatisticsQuery, TaskQuery, limits};

/// What can be asked.
pub(crate) struct Query;

/// What can be asked. Where `userId` is left out it is the caller's own id, or in a list everything that the caller may
/// see.
#[Object]
impl Query {
    /// Who the server takes the caller for.
    async fn viewer(&self, context: &Context<'_>) -> Result<Viewer, ApiError> {
        Session::of(context).map(Viewer::from)
    }

    /// One task; null where there is no such task, or it is not yours to see.
    async fn task(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Whose task: the caller's own if left out; a worker or an admin must name it.")] //
        user_id: Option<ID>,
        #[graphql(desc = "The worker's own name of the task.")] task_id: ID,
    ) -> Answer<Task> {
        find_task(context, user_id, task_id).await.transpose()
    }

    /// As Task.status; null where there is no such task, or it is not yours to see.
    async fn task_status(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Whose task: the caller's own if left out; a worker or an admin must name it.")] //
        user_id: Option<ID>,
        #[graphql(desc = "The worker's own name of the task.")] task_id: ID,
    ) -> Answer<TaskStatus> {
        let task = find_task(context, user_id, task_id).await;
        task.map(|task| task.map(|task| task.current_status())).transpose()
    }

    /// As Task.history, without the task; empty where there is no such task, or it is not yours to see.
    #[expect(clippy::too_many_arguments, reason = "the contract's four arguments of a page, and the task's two")]
    async fn task_history(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Whose task: the caller's own if left out; a worker or an admin must name it.")] //
        user_id: Option<ID>,
        #[graphql(desc = "The worker's own name of the task.")] task_id: ID,
        #[graphql(desc = "At most so many, from the beginning: 0 to 500, 50 if left out.")] first: Option<i32>,
        #[graphql(desc = "Only what stands behind this cursor.")] after: Option<String>,
        #[graphql(desc = "At most so many, from the end: 0 to 500.")] last: Option<i32>,
        #[graphql(desc = "Only what stands before this cursor.")] before: Option<String>,
    ) -> Answer<TaskRecordConnection> {
        let page = PageArgs { first, after, last, before };
        Some(Box::pin(TaskRecordConnection::of(context, user(user_id), task_id.0, page)).await)
    }

    /// A list of tasks. A cursor belongs to its order and filter: with others it is `BAD_USER_INPUT`. Tasks move while one
    /// pages by UPDATED. A page under a filter looks at no more than 20,000 tasks: it may hold fewer than asked, even
    /// none, while hasNextPage is true; go on from endCursor.
    #[expect(clippy::too_many_arguments, reason = "the contract's four arguments of a page, and the list's three")]
    async fn tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Whose tasks: all that the caller may see if left out.")] user_id: Option<ID>,
        #[graphql(desc = "Which tasks: all if left out.")] filter: Option<TaskFilterInput>,
        #[graphql(desc = "In which order they come.", default_with = "OrDefault::default()")] //
        order_by: OrDefault<LastChangedFirst>,
        #[graphql(desc = "At most so many, from the beginning: 0 to 500, 50 if left out.")] first: Option<i32>,
        #[graphql(desc = "Only what stands behind this cursor.")] after: Option<String>,
        #[graphql(desc = "At most so many, from the end: 0 to 500.")] last: Option<i32>,
        #[graphql(desc = "Only what stands before this cursor.")] before: Option<String>,
    ) -> Answer<TaskConnection> {
        let query = TaskQuery { user_id: user(user_id), filter: or_all(filter), order: order_by.get().into() };
        Some(Box::pin(TaskConnection::of(context, query, PageArgs { first, after, last, before })).await)
    }

    /// What tasks are now, and what finished within a window: the last 24 hours if it is left out. A window of more than
    /// 1,500 buckets is `BAD_USER_INPUT`. Who asks the same within five seconds gets the same answer.
    async fn task_statistics(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Whose tasks: all that the caller may see if left out.")] user_id: Option<ID>,
        #[graphql(desc = "Only tasks with this name, exactly; all if left out or empty.")] name: Option<String>,
        #[graphql(desc = "Where the window begins: 24 hours before its end if left out.")] since: Option<DateTime>,
        #[graphql(desc = "Where the window ends, which is not in it: now if left out.")] until: Option<DateTime>,
        #[graphql(desc = "Into what the window is cut.", default_with = "OrDefault::default()")] //
        bucket: OrDefault<ByTheHour>,
    ) -> Answer<TaskStatistics> {
        let [since, until] = [since, until].map(|moment| moment.map(|moment| moment.0));
        let query = StatisticsQuery { user_id: user(user_id), name, since, until, bucket: bucket.get().into() };
        Some(Box::pin(statistics_of(context, query)).await)
    }

    /// Which names, tags and error codes there are among the latest 10,000 tasks that the caller may see, most frequent
    /// first: values for a filter's menus.
    async fn task_facets(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Whose tasks: all that the caller may see if left out.")] user_id: Option<ID>,
        #[graphql(desc = "Only values that begin with this, letter by letter.")] prefix: Option<String>,
        #[graphql(
            desc = "At most so many of each kind, the most frequent: 0 to 500.",
            default_with = "OrDefault::default()"
        )]
        first: OrDefault<FacetCount>,
    ) -> Answer<TaskFacets> {
        Some(Box::pin(facets_of(context, user_id, prefix, first.get())).await)
    }

    /// Where the feed of a user stands now: what a subscription can start from.
    async fn feed(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Whose feed: the caller's own if left out; a worker or an admin must name it.")] //
        user_id: Option<ID>,
    ) -> Answer<Feed> {
        Some(Box::pin(feed_of(context, user_id)).await)
    }

    /// Those who have tasks, by their id. For workers and admins.
    async fn users(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Only whose id begins with this, letter by letter.")] user_id_prefix: Option<String>,
        #[graphql(desc = "At most so many, from the beginning: 0 to 500, 50 if left out.")] first: Option<i32>,
        #[graphql(desc = "Only what stands behind this cursor.")] after: Option<String>,
        #[graphql(desc = "At most so many, from the end: 0 to 500.")] last: Option<i32>,
        #[graphql(desc = "Only what stands before this cursor.")] before: Option<String>,
    ) -> Answer<UserConnection> {
        let page = PageArgs { first, after, last, before };
        Some(Box::pin(UserConnection::of(context, user_id_prefix, page)).await)
    }

    /// What stands behind a global id; null for what is malformed, not there, or not yours.
    async fn node(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "A global id, as `id` of a Task, TaskStep, TaskRecord or User gave it.")] id: ID,
    ) -> Answer<Node> {
        Box::pin(find_node(context, &id)).await.transpose()
    }

    /// As `node`, in the order asked; at most 100.
    async fn nodes(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Global ids, at most 100. One that is asked for twice is answered twice.")] ids: Vec<ID>,
    ) -> Result<Vec<Answer<Node>>, ApiError> {
        if ids.len() > limits::NODES {
            return Err(too_many_nodes(ids.len()));
        }
        let found = Box::pin(join_all(ids.iter().map(|id| find_node(context, id)))).await;
        Ok(found.into_iter().map(Result::transpose).collect())
    }

    /// The server that answers and its database. For admins.
    async fn system(&self, context: &Context<'_>) -> Answer<System> {
        Some(System::of(context))
    }
}

async fn find_task(context: &Context<'_>, user_id: Option<ID>, task_id: ID) -> Result<Option<Task>, ApiError> {
    let session = Session::of(context)?;
    Ok(session.service.task(&session.viewer, user(user_id), task_id.0).await?.map(Task::from))
}

async fn statistics_of(context: &Context<'_>, query: StatisticsQuery) -> Result<TaskStatistics, ApiError> {
    let session = Session::of(context)?;
    Ok(session.service.task_statistics(&session.viewer, query).await?.into())
}

async fn facets_of(
    context: &Context<'_>,
    user_id: Option<ID>,
    prefix: Option<String>,
    first: i32,
) -> Result<TaskFacets, ApiError> {
    let session = Session::of(context)?;
    Ok(session.service.task_facets(&session.viewer, user(user_id), prefix, first).await?.into())
}

async fn feed_of(context: &Context<'_>, user_id: Option<ID>) -> Result<Feed, ApiError> {
    let session = Session::of(context)?;
    Ok(session.service.feed(&session.viewer, user(user_id)).await?.into())
}

async fn find_node(context: &Context<'_>, id: &ID) -> Result<Option<Node>, ApiError> {
    node::resolve(Session::of(context)?, id).await
}

fn too_many_nodes(count: usize) -> ApiError {
    let (limit, value) = (limits::NODES.try_into().unwrap_or(i64::MAX), count.try_into().unwrap_or(i64::MAX));
    let message = format!("`ids` has {value} entries, at most {limit} are answered at once. Ask in several requests.");
    ServiceError::beyond_limit("ids", message, limit, value).into()
}
