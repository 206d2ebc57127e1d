//! Streams of changes: a cursor of the feed and a loop each, with the viewer's right and the input's limits before it.
//!
//! A stream ends with an error or with the server, never by itself. An outage of the database only delays it.

use std::collections::HashSet;
use std::sync::Arc;

use async_stream::try_stream;
use chrono::{DateTime, Utc};
use entity::{RecordKind, task, task_record};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, future};

use super::feed::feed_cursor_of;
use super::scope::{readable_user, watchable_scope};
use super::{Service, ServiceError, TaskFilter, input};
use crate::auth::Viewer;
use crate::feed::{Changed, EveryoneWatch, FeedCursor, FeedError, Hub, Watch};
use crate::store::{Committed, Head, Scope, Store, StoreError};
use crate::telemetry::Telemetry;

/// Of each subscription's live events one of so many is looked at for how long it was on its way, the first among them.
const OBSERVED: u64 = 16;
/// How many open cancellations are read at once.
const CANCELLATIONS: u64 = 500;

/// A record, as it happens. Cheap to clone: all subscribers have the same one.
#[derive(Clone, Debug)]
pub struct TaskEvent {
    entry: Arc<Committed>,
    /// With the record that last moved the task, where that is another one.
    mover: Option<Arc<Committed>>,
    is_replay: bool,
}

impl TaskEvent {
    /// The record.
    #[must_use]
    pub fn record(&self) -> &task_record::Model {
        &self.entry.record
    }

    /// The task as this record left it, or later.
    #[must_use]
    pub fn task(&self) -> &task::Model {
        &self.entry.task
    }

    /// The record that last moved the task, if it is at hand.
    #[must_use]
    pub fn moved_by(&self) -> Option<MovingRecord> {
        MovingRecord::of(self.task(), self.mover.as_ref().unwrap_or(&self.entry))
    }

    /// True while catching up.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.is_replay
    }

    /// Resumes just after it.
    #[must_use]
    pub fn feed_cursor(&self) -> String {
        feed_cursor_of(self.record())
    }
}

/// The record that last moved a task, where it came with the change: nobody has to read it.
#[derive(Clone, Debug)]
pub struct MovingRecord(Arc<Committed>);

impl MovingRecord {
    fn of(task: &task::Model, entry: &Arc<Committed>) -> Option<Self> {
        let Committed { record, .. } = &**entry;
        let is_it = (record.position, record.recorded_at) == (task.moved_position, task.moved_at);
        is_it.then(|| Self(Arc::clone(entry)))
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &task_record::Model {
        &self.0.record
    }
}

/// What happens, as it happens.
pub struct Events<T> {
    /// Whose; none where it is everybody's.
    pub user_id: Option<String>,
    /// One after the other; it ends with an error or with the server.
    pub events: BoxStream<'static, Result<T, ServiceError>>,
}

/// A task's state after a change. Cheap to clone: all subscribers have the same one.
#[derive(Clone, Debug)]
pub struct TaskChange {
    changed: Option<Changed>,
    matches_filter: bool,
    end: Option<(Arc<str>, Head)>,
    is_replay: bool,
}

impl TaskChange {
    /// None in the one event that says that the stream is live.
    #[must_use]
    pub fn task(&self) -> Option<&task::Model> {
        self.changed.as_ref().map(Changed::task)
    }

    /// The record that last moved it, where it is at hand.
    #[must_use]
    pub fn moved_by(&self) -> Option<MovingRecord> {
        match self.changed.as_ref()? {
            Changed::Read(_) => None,
            Changed::Entry { entry, mover } => MovingRecord::of(&entry.task, mover.as_ref().unwrap_or(entry)),
        }
    }

    /// Whether the task is in the filter now.
    #[must_use]
    pub fn matches_filter(&self) -> bool {
        self.matches_filter
    }

    /// Everything up to here has been delivered on this stream.
    #[must_use]
    pub fn end(&self) -> Option<&Head> {
        self.end.as_ref().map(|(_, end)| end)
    }

    /// Resumes there.
    #[must_use]
    pub fn feed_cursor(&self) -> Option<String> {
        self.end.as_ref().map(|(user, end)| FeedCursor::new(user, end).to_string())
    }

    /// True before the event without a task.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.is_replay
    }
}

/// A cancellation that waits for its acknowledgement.
#[derive(Clone, Debug)]
pub struct CancellationRequest {
    /// Which task.
    pub task: task::Model,
    /// It was waiting before this stream began.
    pub is_replay: bool,
}

impl From<FeedError> for ServiceError {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Expired { oldest_position } => Self::cursor_expired(oldest_position),
            FeedError::Store(error) => error.into(),
            FeedError::Closed => StoreError::Unavailable(error.to_string()).into(),
        }
    }
}

impl Service {
    /// Every record of a user, or of one task, in order, each once: after `after`, or from the oldest still kept, or from
    /// now on.
    pub async fn task_events(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        task_id: Option<String>,
        after: Option<String>,
        from_start: bool,
    ) -> Result<Events<TaskEvent>, ServiceError> {
        let user = readable_user(viewer, user_id)?.ok_or_else(ServiceError::forbidden)?;
        if let Some(task_id) = &task_id {
            input::id("taskId", task_id)?;
        }
        let after = parse(after)?;
        if from_start && after.is_some() {
            return Err(ServiceError::bad_input("fromStart", "Give `after` or `fromStart`, not both."));
        }
        let mut watch = self.hub.watch(&user).await?;
        let mut place = match &after {
            Some(after) => watch.resume(after).await?,
            None if from_start => watch.oldest().await?,
            None => watch.start(),
        };
        let live_from = watch.start().position;
        let events = until_closed(try_stream! {
            let mut told: u64 = 0;
            loop {
                if place.position >= live_from {
                    watch.moved(place).await?;
                }
                let page = match &task_id {
                    Some(task_id) => watch.task_page(task_id, place).await?,
                    None => watch.page(place).await?,
                };
                place = page.end;
                for entry in page.entries {
                    watch.telemetry().feed_events.inc();
                    let is_replay = entry.record.position <= live_from;
                    yield TaskEvent { entry: Arc::clone(&entry), mover: watch.other_mover(&entry), is_replay };
                    if !is_replay && told.is_multiple_of(OBSERVED) {
                        taken(watch.telemetry(), entry.record.recorded_at);
                    }
                    told += u64::from(!is_replay);
                }
            }
        });
        Ok(Events { user_id: Some(user), events: events.boxed() })
    }

    /// Tasks as they change, merged where they change faster than they are read. One event without a task says that the
    /// stream is live.
    pub async fn task_changed(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        task_id: Option<String>,
        filter: Option<TaskFilter>,
        after: Option<String>,
    ) -> Result<Events<TaskChange>, ServiceError> {
        let scope = match &task_id {
            Some(task_id) => {
                input::id("taskId", task_id)?;
                Scope::User(readable_user(viewer, user_id)?.ok_or_else(ServiceError::forbidden)?)
            }
            None => watchable_scope(viewer, user_id)?,
        };
        if let Some(filter) = &filter {
            input::filter("filter", filter)?;
        }
        let filter = filter.unwrap_or_default();
        let after = parse(after)?;
        let user_id = if let Scope::User(user) = &scope { Some(user.clone()) } else { None };
        let stream = match scope {
            Scope::Everyone if after.is_some() => {
                return Err(ServiceError::bad_input(
                    "after",
                    "A feedCursor is of one user: name the user, or leave `after` out.",
                ));
            }
            Scope::Everyone => changes_of_everyone(self.hub.watch_everyone().await?, filter).left_stream(),
            Scope::User(user) => {
                let watch = self.hub.watch(&user).await?;
                let place = match &after {
                    Some(after) => watch.resume(after).await?,
                    None => watch.start(),
                };
                match task_id {
                    Some(task_id) => changes_of_task(watch, task_id, filter).left_stream(),
                    None => changes_of_user(watch, place, filter).right_stream(),
                }
                .right_stream()
            }
        };
        Ok(Events { user_id, events: until_closed(stream).boxed() })
    }

    /// Cancellations of the last 24 hours that wait for their acknowledgement: those that wait already, then each new one.
    pub async fn cancellation_requested(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        filter: Option<TaskFilter>,
    ) -> Result<impl Stream<Item = Result<CancellationRequest, ServiceError>> + Send + use<>, ServiceError> {
        let scope = watchable_scope(viewer, user_id)?;
        if let Some(filter) = &filter {
            input::filter("filter", filter)?;
        }
        let filter = filter.unwrap_or_default();
        let mut source = match &scope {
            Scope::User(user) => Source::User(Box::new(self.hub.watch(user).await?)),
            Scope::Everyone => Source::Everyone(self.hub.watch_everyone().await?),
        };
        let mut open =
            OpenCancellations { store: self.store.clone(), hub: self.hub.clone(), scope, told: HashSet::new() };
        let telemetry = source.telemetry();
        Ok(until_closed(try_stream! {
            let mut is_replay = true;
            let mut place = source.start();
            loop {
                for task in open.news().await? {
                    if filter.matches(&task) {
                        telemetry.feed_events.inc();
                        let requested_at = task.cancel_requested_at.filter(|_| !is_replay);
                        yield CancellationRequest { task, is_replay };
                        if let Some(requested_at) = requested_at {
                            taken(&telemetry, requested_at);
                        }
                    }
                }
                is_replay = false;
                place = source.cancelled(place).await?;
            }
        }))
    }
}

/// What the server's stop ends, ends without an error.
fn until_closed<T: Send + Sync>(
    stream: impl Stream<Item = Result<T, FeedError>> + Send,
) -> impl Stream<Item = Result<T, ServiceError>> + Send {
    stream
        .take_while(|item| future::ready(!matches!(item, Err(FeedError::Closed))))
        .map(|item| item.map_err(ServiceError::from))
}

fn parse(after: Option<String>) -> Result<Option<FeedCursor>, ServiceError> {
    let parse = |text: String| text.parse().map_err(|error| ServiceError::bad_input("after", format!("{error}.")));
    after.map(parse).transpose()
}

/// A live event of that time: asked for the next one, the connection has taken it.
fn taken(telemetry: &Telemetry, at: DateTime<Utc>) {
    let since = (Utc::now() - at).to_std().unwrap_or_default();
    telemetry.delivery_seconds.observe(since.as_secs_f64());
}

fn change(changed: Changed, filter: &TaskFilter, end: Option<(Arc<str>, Head)>, is_replay: bool) -> TaskChange {
    TaskChange { matches_filter: filter.matches(changed.task()), changed: Some(changed), end, is_replay }
}

/// The one event without a task: all before is told.
fn live(end: Option<(Arc<str>, Head)>) -> TaskChange {
    TaskChange { changed: None, matches_filter: true, end, is_replay: false }
}

fn end(watch: &Watch, place: Head) -> (Arc<str>, Head) {
    (Arc::clone(watch.user()), place)
}

fn changes_of_user(
    mut watch: Watch,
    mut place: Head,
    filter: TaskFilter,
) -> impl Stream<Item = Result<TaskChange, FeedError>> + Send {
    try_stream! {
        let live_from = watch.start().position;
        let mut is_replay = true;
        loop {
            if is_replay && place.position >= live_from {
                is_replay = false;
                yield live(Some(end(&watch, place)));
            }
            if !is_replay {
                watch.moved(place).await?;
            }
            let page = watch.changes(place).await?;
            place = page.end;
            let last = page.tasks.len();
            for (index, task) in page.tasks.into_iter().enumerate() {
                // Before the last of a page, another task of it may still be untold: no cursor covers that.
                let covered = (index + 1 == last).then(|| end(&watch, place));
                watch.telemetry().feed_events.inc();
                let updated_at = task.task().updated_at;
                yield change(task, &filter, covered, is_replay);
                if !is_replay {
                    taken(watch.telemetry(), updated_at);
                }
            }
        }
    }
}

/// The current state covers whatever a cursor stands on: there is nothing to catch up with.
fn changes_of_task(
    mut watch: Watch,
    task_id: String,
    filter: TaskFilter,
) -> impl Stream<Item = Result<TaskChange, FeedError>> + Send {
    try_stream! {
        let (task, mut place) = watch.task_now(&task_id).await?;
        if let Some(task) = task {
            watch.telemetry().feed_events.inc();
            yield change(Changed::Read(Arc::new(task)), &filter, Some(end(&watch, place)), true);
        }
        yield live(Some(end(&watch, place)));
        loop {
            watch.moved(place).await?;
            let (task, reached) = watch.task_change(&task_id, place).await?;
            place = reached;
            if let Some(task) = task {
                watch.telemetry().feed_events.inc();
                let updated_at = task.task().updated_at;
                yield change(task, &filter, Some(end(&watch, place)), false);
                taken(watch.telemetry(), updated_at);
            }
        }
    }
}

fn changes_of_everyone(
    mut watch: EveryoneWatch,
    filter: TaskFilter,
) -> impl Stream<Item = Result<TaskChange, FeedError>> + Send {
    try_stream! {
        yield live(None);
        loop {
            for task in watch.next().await? {
                watch.telemetry().feed_events.inc();
                let updated_at = task.updated_at;
                yield change(Changed::Read(task), &filter, None, false);
                taken(watch.telemetry(), updated_at);
            }
        }
    }
}

/// What wakes a stream of cancellations.
enum Source {
    User(Box<Watch>),
    Everyone(EveryoneWatch),
}

impl Source {
    fn telemetry(&self) -> Telemetry {
        match self {
            Self::User(watch) => watch.telemetry().clone(),
            Self::Everyone(watch) => watch.telemetry().clone(),
        }
    }

    fn start(&self) -> Head {
        match self {
            Self::User(watch) => watch.start(),
            Self::Everyone(_) => Head::START,
        }
    }

    /// Waits until a task may have been cancelled. Where the feed has a hole the answer is yes: the open ones are read in
    /// full each time, so nothing is missed by going on.
    async fn cancelled(&mut self, mut place: Head) -> Result<Head, FeedError> {
        match self {
            Self::User(watch) => loop {
                let page = match watch.moved(place).await {
                    Ok(()) => watch.page(place).await,
                    Err(error) => Err(error),
                };
                match page {
                    Ok(page) => {
                        place = page.end;
                        if page.entries.iter().any(|entry| entry.record.kind == RecordKind::CancellationRequested) {
                            return Ok(place);
                        }
                    }
                    Err(FeedError::Expired { .. }) => return watch.restart().await,
                    Err(error) => return Err(error),
                }
            },
            Self::Everyone(watch) => loop {
                match watch.next().await {
                    Ok(tasks) if tasks.iter().any(|task| task.is_cancellation_pending()) => return Ok(place),
                    Err(FeedError::Expired { .. }) => return Ok(place),
                    Ok(_) => {}
                    Err(error) => return Err(error),
                }
            },
        }
    }
}

/// The open cancellations of a stream, and which of them it has told.
struct OpenCancellations {
    store: Store,
    hub: Hub,
    scope: Scope,
    told: HashSet<(String, String)>,
}

impl OpenCancellations {
    /// Those that were not told yet, oldest first.
    async fn news(&mut self) -> Result<Vec<task::Model>, FeedError> {
        let mut news = Vec::new();
        let mut open = HashSet::new();
        let mut mark = None;
        loop {
            let read = || self.store.open_cancellations(&self.scope, mark.as_ref(), CANCELLATIONS);
            let page = self.hub.patiently(read).await?;
            let is_last = (page.len() as u64) < CANCELLATIONS;
            mark = page
                .last()
                .and_then(|last| Some((last.cancel_requested_at?, last.user_id.clone(), last.task_id.clone())));
            for task in page {
                let key = (task.user_id.clone(), task.task_id.clone());
                if !self.told.contains(&key) {
                    news.push(task);
                }
                open.insert(key);
            }
            if is_last {
                // Who has been acknowledged, or waits for over a day, never comes back: forgotten.
                self.told = open;
                return Ok(news);
            }
        }
    }
}
