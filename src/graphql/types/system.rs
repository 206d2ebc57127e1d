//! `System`: the server that answers and its database, for operators. What is cheap comes with the parent; what asks the
//! database is a field that can fail by itself. What its tables take is in `storage`.

use async_graphql::{Context, Enum, ID, Object, SimpleObject};

use super::int;
use super::storage::{RetentionStatus, StorageStatus};
use crate::graphql::defaults::{OrDefault, SlowQueryCount};
use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::filter::user;
use crate::graphql::scalars::{DateTime, Json, SafeInt};
use crate::graphql::session::Session;
use crate::service;

/// How well something does. New values may come.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "service::HealthState")]
pub(crate) enum HealthState {
    /// As it should.
    Healthy,
    /// It works, but something is not as it should be.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// One of the server's own reads. New values may come.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "service::NamedQuery")]
pub(crate) enum NamedQuery {
    /// `task`: needs userId and taskId.
    Task,
    /// The first page of a user's `tasks`, last changed first: needs userId.
    Tasks,
    /// The same of everybody's.
    TasksOfAll,
    /// The first page of a task's `history`: needs userId and taskId.
    History,
    /// The first page of a task's `steps`: needs userId and taskId.
    Steps,
    /// The counts of `taskStatistics` of the last 24 hours: everybody's where userId is left out.
    Statistics,
    /// The last page of a user's feed, as a subscription reads it that comes back: needs userId.
    FeedPage,
}

/// What the service knows of the server without asking anybody.
pub(crate) struct System(service::System);

impl System {
    /// The server that answers, for who may see it.
    pub(crate) fn of(context: &Context<'_>) -> Result<Self, ApiError> {
        let session = Session::of(context)?;
        Ok(Self(session.service.system(&session.viewer)?))
    }
}

/// The server that answers and its database, for operators. Server, health, pool and feed are those of the server that
/// answers.
#[Object]
impl System {
    /// Its machine's name and some letters, new with every start.
    async fn server_id(&self) -> ID {
        ID(self.0.server.server_id.clone())
    }

    /// Which version of Taskwire it is.
    async fn version(&self) -> &str {
        &self.0.server.version
    }

    /// When it was started, by its own clock.
    async fn started_at(&self) -> DateTime {
        DateTime(self.0.server.started_at)
    }

    /// How it does now: asks the database for a sign of life, two seconds at the most.
    async fn health(&self, context: &Context<'_>) -> Result<Health, ApiError> {
        let session = Session::of(context)?;
        Ok(session.service.system_health(&session.viewer).await?.into())
    }

    /// Its connections to PostgreSQL.
    async fn connection_pool(&self) -> ConnectionPool {
        self.0.pool.into()
    }

    /// How it tells of changes.
    async fn feed(&self) -> FeedStatus {
        self.0.feed.into()
    }

    /// All servers over this database that gave a sign of life within the last minute, the oldest first. One that has just
    /// been started comes a moment later.
    async fn servers(&self, context: &Context<'_>) -> Answer<Vec<ServerStatus>> {
        Some(servers(context).await)
    }

    /// What it has asked of its database since it was started.
    async fn database(&self) -> DatabaseStatus {
        self.0.database.into()
    }

    /// What the tables take, and how they grow.
    async fn storage(&self, context: &Context<'_>) -> Answer<StorageStatus> {
        Some(StorageStatus::of(context).await)
    }

    /// What is removed by its age, and when.
    async fn retention(&self, context: &Context<'_>) -> Answer<RetentionStatus> {
        Some(RetentionStatus::of(context).await)
    }

    /// The slowest statements of this database by `pg_stat_statements`, the slowest on average first.
    /// `SLOW_QUERIES_UNAVAILABLE` where the extension is missing.
    async fn slow_queries(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "At most so many: 0 to 500.", default_with = "OrDefault::default()")] //
        first: OrDefault<SlowQueryCount>,
    ) -> Answer<Vec<SlowQuery>> {
        Some(slow_queries(context, first.get()).await)
    }

    /// EXPLAIN (ANALYZE, BUFFERS) of one of the server's own reads, as PostgreSQL's JSON: it is executed for that. Of
    /// STEPS null where there is no such task.
    async fn query_plan(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which of the reads.")] query: NamedQuery,
        #[graphql(desc = "Whose tasks it reads.")] user_id: Option<ID>,
        #[graphql(desc = "Which task it reads.")] task_id: Option<ID>,
    ) -> Answer<Json> {
        query_plan(context, query, user_id, task_id).await.transpose()
    }
}

async fn servers(context: &Context<'_>) -> Result<Vec<ServerStatus>, ApiError> {
    let session = Session::of(context)?;
    let servers = session.service.servers(&session.viewer).await?;
    Ok(servers.into_iter().map(ServerStatus::from).collect())
}

async fn slow_queries(context: &Context<'_>, first: i32) -> Result<Vec<SlowQuery>, ApiError> {
    let session = Session::of(context)?;
    let found = session.service.slow_queries(&session.viewer, first).await?;
    Ok(found.into_iter().map(SlowQuery::from).collect())
}

async fn query_plan(
    context: &Context<'_>,
    query: NamedQuery,
    user_id: Option<ID>,
    task_id: Option<ID>,
) -> Result<Option<Json>, ApiError> {
    let session = Session::of(context)?;
    let plan = session.service.query_plan(&session.viewer, query.into(), user(user_id), user(task_id)).await?;
    Ok(plan.map(Json::Value))
}

/// How a server does.
#[derive(SimpleObject)]
pub(crate) struct Health {
    /// All of it together: as well as the worst of it.
    state: HealthState,
    /// Whether the database answers, within half a second.
    database: HealthState,
    /// Whether changes are heard of at once.
    feed: HealthState,
    /// What is the matter, for people; null where nothing is.
    detail: Option<String>,
    /// Milliseconds until the database answered, those for a connection included; null where it did not.
    round_trip_ms: Option<f64>,
}

impl From<service::Health> for Health {
    fn from(health: service::Health) -> Self {
        Self {
            state: health.state().into(),
            database: health.database.into(),
            feed: health.feed.into(),
            round_trip_ms: health.round_trip.map(|time| time.as_secs_f64() * 1e3),
            detail: health.detail,
        }
    }
}

/// A server's connections to PostgreSQL; that of its listener is beside them.
#[derive(SimpleObject)]
pub(crate) struct ConnectionPool {
    /// Open connections.
    size: i32,
    /// Those of them that wait for work.
    idle: i32,
    /// Those of them that are at work, or kept for the next save for a second.
    active: i32,
    /// Calls that wait for a connection, about.
    waiting: i32,
    /// So many are kept open (`--min-connections`).
    min_size: i32,
    /// So many there may be (`--max-connections`).
    max_size: i32,
    /// Those at work over those that there may be, 0 to 1.
    usage: f64,
}

impl From<service::PoolStatus> for ConnectionPool {
    fn from(pool: service::PoolStatus) -> Self {
        Self {
            size: int(pool.size.into()),
            idle: int(pool.idle.into()),
            active: int(pool.active().into()),
            waiting: int(pool.waiting.into()),
            min_size: int(pool.min.into()),
            max_size: int(pool.max.into()),
            usage: pool.usage(),
        }
    }
}

/// How a server tells of changes. Counts are since it was started.
#[derive(SimpleObject)]
pub(crate) struct FeedStatus {
    /// Whether it hears notifications now.
    listener_connected: bool,
    /// Open subscriptions.
    subscriptions: i32,
    /// Open connections with live updates: sockets, server-sent events, multipart.
    connections: i32,
    /// Changes that only the periodic check found: a wake-up was lost.
    recovered_by_check: SafeInt,
    /// Connections of the listener after its first.
    reconnects: SafeInt,
    /// From a record's commit until a connection took its live event; null before the first. A sample of the events.
    delivery_latency_ms: Option<LatencySummary>,
}

impl From<service::FeedStatus> for FeedStatus {
    fn from(feed: service::FeedStatus) -> Self {
        Self {
            listener_connected: feed.is_listening,
            subscriptions: int(feed.subscriptions),
            connections: int(feed.connections),
            recovered_by_check: count(feed.recovered_by_check),
            reconnects: count(feed.reconnects),
            delivery_latency_ms: feed.delivery.map(LatencySummary::from),
        }
    }
}

/// What a server has asked of its database since it was started.
#[derive(SimpleObject)]
pub(crate) struct DatabaseStatus {
    /// Statements that it gave PostgreSQL, those of its own upkeep aside.
    queries: SafeInt,
    /// Those of them that failed, or were given up because no answer came.
    failed_queries: SafeInt,
    /// Milliseconds from statement to answer, without the wait for a connection; null before the first.
    query_ms: Option<LatencySummary>,
}

impl From<service::DatabaseStatus> for DatabaseStatus {
    fn from(database: service::DatabaseStatus) -> Self {
        Self {
            queries: count(database.queries),
            failed_queries: count(database.failed_queries),
            query_ms: database.took.map(LatencySummary::from),
        }
    }
}

/// How long something took, in milliseconds, since the server was started. The shares are right to a twentieth.
#[derive(SimpleObject)]
pub(crate) struct LatencySummary {
    /// Half of them took no longer.
    p50: f64,
    /// 99 of a hundred took no longer.
    p99: f64,
    /// What the longest took.
    max: f64,
}

impl From<service::LatencySummary> for LatencySummary {
    fn from(seconds: service::LatencySummary) -> Self {
        Self { p50: seconds.p50 * 1e3, p99: seconds.p99 * 1e3, max: seconds.max * 1e3 }
    }
}

/// A server, as it last said of itself.
#[derive(SimpleObject)]
pub(crate) struct ServerStatus {
    /// Its machine's name and some letters, new with every start.
    server_id: ID,
    /// Which version of Taskwire it is.
    version: String,
    /// When it was started, by its own clock.
    started_at: DateTime,
    /// Its last sign of life, one in ten seconds, by the database's clock.
    seen_at: DateTime,
    /// How it did then: whether it heard of changes, and how soon the database had answered its sign of life before.
    state: HealthState,
    /// Its open connections with live updates.
    connections: i32,
}

impl From<service::ServerStatus> for ServerStatus {
    fn from(status: service::ServerStatus) -> Self {
        Self {
            server_id: ID(status.server.server_id),
            version: status.server.version,
            started_at: DateTime(status.server.started_at),
            seen_at: DateTime(status.seen_at),
            state: status.state.into(),
            connections: status.connections,
        }
    }
}

/// A statement of the database, and what it took since its counters were set back.
#[derive(SimpleObject)]
pub(crate) struct SlowQuery {
    /// Its text, 4,000 characters at the most: with places instead of values, but for commands that PostgreSQL keeps as they
    /// were written. One that names a password is left out.
    query: String,
    /// How often it was executed.
    calls: SafeInt,
    /// Milliseconds that it took on average.
    mean_ms: f64,
    /// Milliseconds that it took in all.
    total_ms: f64,
    /// Rows that it gave or changed in all.
    rows: SafeInt,
}

impl From<service::SlowQuery> for SlowQuery {
    fn from(slow: service::SlowQuery) -> Self {
        Self {
            query: slow.query,
            calls: slow.calls.into(),
            mean_ms: slow.mean_ms,
            total_ms: slow.total_ms,
            rows: slow.rows.into(),
        }
    }
}

fn count(count: u64) -> SafeInt {
    i64::try_from(count).unwrap_or(i64::MAX).into()
}
