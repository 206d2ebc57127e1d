//! The root of subscriptions. A stream of the service gets its names here, and ends with its first error: the client is
//! told once, then `complete`.

use async_graphql::{Context, ID, SimpleObject, Subscription as GraphQLSubscription};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, future};

use super::defaults::{No, OrDefault};
use super::errors::ApiError;
use super::filter::{TaskFilterInput, user};
use super::scalars::FeedCursor;
use super::session::Session;
use super::shared::Relay;
use super::types::{Task, TaskRecord};
use crate::service::{self, ServiceError};

/// A record as it happens, with its task.
#[derive(SimpleObject)]
pub(crate) struct TaskEvent {
    /// Resumes just after this record: for `after` of the next subscription.
    feed_cursor: FeedCursor,
    /// The record that was appended.
    record: TaskRecord,
    /// The task as this record left it, or later: compare task.position.
    task: Task,
    /// True while catching up from `after`, false once live.
    is_replay: bool,
}

impl From<service::watch::TaskEvent> for TaskEvent {
    fn from(event: service::watch::TaskEvent) -> Self {
        Self {
            feed_cursor: FeedCursor(event.feed_cursor()),
            record: event.record().clone().into(),
            task: Task::moved(event.task().clone(), event.moved_by()),
            is_replay: event.is_replay(),
        }
    }
}

/// A task's state after a change.
#[derive(SimpleObject)]
pub(crate) struct TaskChange {
    /// Null in one event: the one that says that all before is told and the stream is live. It comes once after every
    /// start, also where nothing was missed.
    task: Option<Task>,
    /// Whether the task is in the filter now; false for one that may just have left it. True without a filter.
    matches_filter: bool,
    /// Everything up to here has been delivered on this stream: give it to `after` to go on. It is not the head of the
    /// feed: a merged change of another task may still be on its way. Null where the stream spans several users.
    feed_cursor: Option<FeedCursor>,
    /// True before the event without a task.
    is_replay: bool,
}

impl From<service::watch::TaskChange> for TaskChange {
    fn from(change: service::watch::TaskChange) -> Self {
        Self {
            task: change.task().map(|task| Task::moved(task.clone(), change.moved_by())),
            matches_filter: change.matches_filter(),
            feed_cursor: change.feed_cursor().map(FeedCursor),
            is_replay: change.is_replay(),
        }
    }
}

/// A task whose cancellation waits for its acknowledgement.
#[derive(SimpleObject)]
pub(crate) struct CancellationRequest {
    /// The task that is to stop; why stands in its cancellation.
    task: Task,
    /// Whether it was waiting before this stream began.
    is_replay: bool,
}

impl From<service::watch::CancellationRequest> for CancellationRequest {
    fn from(request: service::watch::CancellationRequest) -> Self {
        Self { task: request.task.into(), is_replay: request.is_replay }
    }
}

/// What can be watched.
pub(crate) struct Subscription;

/// What can be watched. A subscription ends only when the client ends it, or with an error, or with the socket.
#[GraphQLSubscription]
impl Subscription {
    /// Every record of a user, or of one task, in position order, each exactly once after `after`. Without `after` from
    /// now on, or with `fromStart` from the oldest still kept. A task that is not there yet is waited for. Fails with
    /// `CURSOR_EXPIRED` where retention has removed what `after` needs.
    async fn task_events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Whose feed: the caller's own if left out; a worker or an admin must name it.")] //
        user_id: Option<ID>,
        #[graphql(desc = "Only the records of this task.")] task_id: Option<ID>,
        #[graphql(desc = "Go on after this place in the feed.")] after: Option<FeedCursor>,
        #[graphql(desc = "Begin with the oldest record still kept.", default_with = "OrDefault::default()")] //
        from_start: OrDefault<No>,
    ) -> Result<impl Stream<Item = Result<TaskEvent, ApiError>> + use<>, ApiError> {
        let relay = context.data_opt::<Relay<service::watch::TaskEvent>>();
        if let Some(event) = relay.and_then(Relay::event) {
            return Ok(until_error(event));
        }
        let session = Session::of(context)?;
        let (user_id, task_id, after) = (user(user_id), user(task_id), cursor(after));
        let events = session
            .in_time(session.service.task_events(&session.viewer, user_id, task_id, after, from_start.get()))
            .await?;
        Ok(until_error(Relay::own(relay, events)))
    }

    /// The state of tasks after each change. With `taskId` the current state at once, then after each change; a task that
    /// is not there yet is waited for. Without, each task that changes, in or out of the filter. Changes that come faster
    /// than they are read are merged, and the last state always arrives. `after` starts from a feedCursor, of one user
    /// only: where several users are watched, read the list on the event without a task. Fails with `CURSOR_EXPIRED` where
    /// the client must read again.
    async fn task_changed(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Whose tasks: all that the caller may see if left out; with taskId it must be named.")] //
        user_id: Option<ID>,
        #[graphql(desc = "Only this task.")] task_id: Option<ID>,
        #[graphql(desc = "Which tasks are told of: those that are in it, or have just left it.")] //
        filter: Option<TaskFilterInput>,
        #[graphql(desc = "Go on after this place in the feed.")] after: Option<FeedCursor>,
    ) -> Result<impl Stream<Item = Result<TaskChange, ApiError>> + use<>, ApiError> {
        let relay = context.data_opt::<Relay<service::watch::TaskChange>>();
        if let Some(change) = relay.and_then(Relay::event) {
            return Ok(until_error(change));
        }
        let session = Session::of(context)?;
        let (user_id, task_id, filter) = (user(user_id), user(task_id), filter.map(Into::into));
        let changes = session
            .in_time(session.service.task_changed(&session.viewer, user_id, task_id, filter, cursor(after)))
            .await?;
        Ok(until_error(Relay::own(relay, changes)))
    }

    /// For workers: each task whose cancellation of the last 24 hours is not acknowledged, those already waiting first,
    /// then each new one. Every subscriber gets every one: a worker passes over what it does not run.
    async fn cancellation_requested(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Whose tasks: all that the caller may see if left out.")] user_id: Option<ID>,
        #[graphql(desc = "Which tasks: all if left out.")] filter: Option<TaskFilterInput>,
    ) -> Result<impl Stream<Item = Result<CancellationRequest, ApiError>> + use<>, ApiError> {
        let session = Session::of(context)?;
        let filter = filter.map(Into::into);
        let requests =
            session.in_time(session.service.cancellation_requested(&session.viewer, user(user_id), filter)).await?;
        Ok(until_error(requests))
    }
}

fn cursor(cursor: Option<FeedCursor>) -> Option<String> {
    cursor.map(|cursor| cursor.0)
}

/// The stream by its names; nothing comes after its first error.
fn until_error<T, U: From<T>>(
    stream: impl Stream<Item = Result<T, ServiceError>>,
) -> impl Stream<Item = Result<U, ApiError>> {
    let mut failed = false;
    stream
        .take_while(move |item| future::ready(!std::mem::replace(&mut failed, item.is_err())))
        .map_ok(U::from)
        .map_err(ApiError::from)
}
