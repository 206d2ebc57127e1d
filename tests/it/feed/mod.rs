//! The feed, at the level of the service's streams: a server without HTTP over a real PostgreSQL.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use entity::TaskStatus;
use futures_util::{Stream, StreamExt as _};
use sqlx::{AssertSqlSafe, PgConnection};
use taskwire::auth::Viewer;
use taskwire::db::{self, Database};
use taskwire::feed::{self, FeedCursor, FeedSettings, Hub};
use taskwire::service::watch::{TaskChange, TaskEvent};
use taskwire::service::{Service, ServiceError, TaskDetails, this_server};
use taskwire::store::{Head, LaneSettings, Lanes, NewRecord, Store, StoreSettings};
use taskwire::telemetry::Telemetry;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::support::{eventually, pool};

mod erased;
mod nodes;
mod partitions;
mod resume;
mod streams;
pub(crate) mod wakeups;

/// Longer than anything takes, so that a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(20);
/// A check that no test waits for.
pub(crate) const NO_CHECK: Duration = Duration::from_mins(1);

type Events = Pin<Box<dyn Stream<Item = Result<TaskEvent, ServiceError>> + Send>>;
type Changes = Pin<Box<dyn Stream<Item = Result<TaskChange, ServiceError>> + Send>>;

/// A server's inside: pool, store, hub, service, and the feed's two tasks.
pub(crate) struct Server {
    database: Database,
    store: Store,
    hub: Hub,
    pub(crate) service: Service,
    telemetry: Telemetry,
    token: CancellationToken,
}

impl Server {
    /// With the check so often; returns once it hears notifications.
    pub(crate) async fn start(url: &str, check_interval: Duration) -> Self {
        Self::start_with(url, check_interval, 5).await
    }

    /// The same with so many connections in its pool.
    async fn start_with(url: &str, check_interval: Duration, max_connections: u32) -> Self {
        Self::of(pool(url, max_connections).await, check_interval).await
    }

    async fn of(database: Database, check_interval: Duration) -> Self {
        let telemetry = Telemetry::new();
        let token = CancellationToken::new();
        let connection = database.connection.clone();
        let reads =
            Store::new(connection.clone(), StoreSettings::default(), Arc::new(|_| {})).following(&database.primary);
        let backends = Arc::clone(&database.backends);
        let settings = FeedSettings { check_interval, io_timeout: Duration::from_secs(2), ..FeedSettings::default() };
        let is_own = Arc::new(move |pid| backends.contains(pid));
        let hub = Hub::new(reads, settings, telemetry.clone(), is_own, token.clone());
        let committed = hub.clone();
        let on_commit = Arc::new(move |entries| committed.committed(entries));
        let store = Store::new(connection, StoreSettings::default(), on_commit)
            .following(&database.primary)
            .watched_by(hub.audience());
        let lanes = Lanes::start(store.clone(), LaneSettings::default(), telemetry.clone());
        let service = Service::new(Arc::new(this_server()), store.clone(), lanes, hub.clone(), Duration::from_mins(5));
        feed::start(&hub, database.direct.clone(), &TaskTracker::new(), &token);
        eventually("the listener hears", async || hub.is_connected().then_some(())).await;
        Self { database, store, hub, service, telemetry, token }
    }

    async fn save(&self, user: &str, tasks: &[&str]) {
        let records: Vec<NewRecord> = tasks.iter().map(|task| record(user, task)).collect();
        self.store.save_batch(records).await.unwrap();
    }

    async fn events(&self, user: &str, after: Option<String>) -> Events {
        self.try_events(user, None, after, false).await.unwrap()
    }

    async fn try_events(
        &self,
        user: &str,
        task: Option<&str>,
        after: Option<String>,
        from_start: bool,
    ) -> Result<Events, ServiceError> {
        let (viewer, user, task) = (Viewer::admin(), Some(user.to_owned()), task.map(str::to_owned));
        let events = self.service.task_events(&viewer, user, task, after, from_start).await?;
        Ok(events.events)
    }

    async fn changes(&self, user: Option<&str>, task: Option<&str>, after: Option<String>) -> Changes {
        self.try_changes(user, task, after).await.unwrap()
    }

    async fn try_changes(
        &self,
        user: Option<&str>,
        task: Option<&str>,
        after: Option<String>,
    ) -> Result<Changes, ServiceError> {
        let (viewer, user, task) = (Viewer::admin(), user.map(str::to_owned), task.map(str::to_owned));
        Ok(self.service.task_changed(&viewer, user, task, None, after).await?.events)
    }

    /// The cursor that stands on a position now.
    async fn cursor(&self, user: &str, position: i64) -> String {
        let page = self.store.feed_page(user, None, Head::START, 10_000).await.unwrap();
        let record = page.entries.iter().find(|entry| entry.record.position == position);
        let head = record.map_or(Head::START, |entry| Head::of(&entry.record));
        FeedCursor::new(user, &head).to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.token.cancel();
        let connection = self.database.connection.clone();
        tokio::spawn(async move { connection.close().await });
    }
}

fn record(user: &str, task: &str) -> NewRecord {
    NewRecord {
        user_id: user.to_owned(),
        task_id: task.to_owned(),
        step: 0,
        status: TaskStatus::Running,
        result: r#"{"step":"s","result":null,"completed":false,"message":"","status":"running"}"#.to_owned(),
        step_name: "s".to_owned(),
        message: String::new(),
        error_code: String::new(),
        progress: None,
        timestamp: None,
        record_id: Uuid::now_v7(),
        reported_by: None,
        details: None::<TaskDetails>,
    }
}

/// What an old client does, with psql.
pub(crate) async fn insert(session: &mut PgConnection, user: &str, task: &str) {
    let sql = "INSERT INTO task_history (user_id, task_id, step, result, \"timestamp\", status) \
               VALUES ($1, $2, 0, '{\"step\": \"s\", \"message\": \"\"}', now() AT TIME ZONE 'UTC', 'running')";
    sqlx::query(sql).bind(user).bind(task).execute(session).await.unwrap();
}

async fn run(session: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(session).await.unwrap();
}

/// The next item, in time.
async fn next<T>(stream: &mut (impl Stream<Item = Result<T, ServiceError>> + Unpin)) -> Result<T, ServiceError> {
    timeout(PATIENCE, stream.next()).await.expect("an item in time").expect("an item, not the end")
}

/// The positions of the next events.
async fn positions(events: &mut Events, count: usize) -> Vec<i64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.push(next(events).await.unwrap().record().position);
    }
    seen
}

/// That it fails with this code, and ends with it.
async fn ends_with<T: std::fmt::Debug>(
    stream: &mut (impl Stream<Item = Result<T, ServiceError>> + Unpin),
    code: &str,
) -> ServiceError {
    let error = next(stream).await.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(timeout(PATIENCE, stream.next()).await.expect("the end in time").is_none(), "nothing comes after an error");
    error
}
