//! The server and its database, for operators: admins only, all of it.

use std::sync::Arc;

use chrono::Utc;

use super::health::Health;
use super::scope::admins_only;
use super::{Service, ServiceError, input};
use crate::auth::Viewer;
use crate::store::{PlannedQuery, Scope, Server, ServerStatus, SlowQuery, Storage};
use crate::telemetry::LatencySummary;

/// This server, as a program that was started.
#[must_use]
pub fn this_server() -> Server {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let own: String = std::iter::repeat_with(fastrand::alphanumeric).take(8).collect();
    Server {
        server_id: format!("{machine}-{}", own.to_lowercase()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: Utc::now(),
    }
}

/// The connections to PostgreSQL, those of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStatus {
    /// Open.
    pub size: u32,
    /// Of these, waiting for work.
    pub idle: u32,
    /// Calls that wait for one.
    pub waiting: u32,
    /// So many are kept open.
    pub min: u32,
    /// So many there may be.
    pub max: u32,
}

impl PoolStatus {
    /// Those that are at work.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.size.saturating_sub(self.idle)
    }

    /// How much of what there may be is at work, 0 to 1.
    #[must_use]
    pub fn usage(&self) -> f64 {
        f64::from(self.active()) / f64::from(self.max.max(1))
    }
}

/// How this server tells of changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeedStatus {
    /// Whether it hears notifications now.
    pub is_listening: bool,
    /// Open subscriptions.
    pub subscriptions: i64,
    /// Open connections with live updates.
    pub connections: i64,
    /// Changes that only the periodic check found.
    pub recovered_by_check: u64,
    /// Connections of the listener after the first.
    pub reconnects: u64,
    /// From a record's commit until its event was taken.
    pub delivery: Option<LatencySummary>,
}

/// What this server has asked of its database since it was started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DatabaseStatus {
    /// Statements.
    pub queries: u64,
    /// Those of them that failed.
    pub failed_queries: u64,
    /// What they took.
    pub took: Option<LatencySummary>,
}

/// A read of the server's own whose plan can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedQuery {
    /// A task by its key.
    Task,
    /// A user's list.
    Tasks,
    /// Everybody's list.
    TasksOfAll,
    /// A task's records.
    History,
    /// A task's steps.
    Steps,
    /// The counts of statistics.
    Statistics,
    /// A page of a user's feed.
    FeedPage,
}

/// The parts of this answer that cost nothing, for who may see them; the others are asked for one by one.
#[derive(Clone, Debug)]
pub struct System {
    /// This server.
    pub server: Arc<Server>,
    /// Its connections to PostgreSQL.
    pub pool: PoolStatus,
    /// How it tells of changes.
    pub feed: FeedStatus,
    /// What it has asked.
    pub database: DatabaseStatus,
}

impl Service {
    /// The server that answers.
    pub fn system(&self, viewer: &Viewer) -> Result<System, ServiceError> {
        admins_only(viewer)?;
        let telemetry = self.telemetry();
        let feed = FeedStatus {
            is_listening: self.hub.is_connected(),
            subscriptions: telemetry.subscriptions.get(),
            connections: telemetry.connections.get(),
            recovered_by_check: telemetry.recovered_by_check.get(),
            reconnects: telemetry.listener_reconnects.get(),
            delivery: telemetry.delivery_seconds.summary(),
        };
        let database = DatabaseStatus {
            queries: telemetry.queries.get(),
            failed_queries: telemetry.failed_queries.get(),
            took: telemetry.query_seconds.summary(),
        };
        Ok(System { server: Arc::clone(&self.server), pool: self.pool_status(), feed, database })
    }

    pub(super) fn pool_status(&self) -> PoolStatus {
        let pool = self.store.connection().get_postgres_connection_pool();
        let whole = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (size, max) = (pool.size(), pool.options().get_max_connections());
        let idle = whole(pool.num_idle()).min(size);
        // The pool does not tell who waits; nobody does as long as there is a connection for them.
        let is_full = idle == 0 && size >= max;
        let calls = u32::try_from(self.telemetry().database_calls.get()).unwrap_or(0);
        let elsewhere = self.store.busy_beside_the_pool();
        let waiting = if is_full { calls.saturating_sub(size).saturating_sub(elsewhere) } else { 0 };
        PoolStatus { size, idle, waiting, min: pool.options().get_min_connections(), max }
    }

    /// How the server does that answers. It never fails: what is wrong is the answer.
    pub async fn system_health(&self, viewer: &Viewer) -> Result<Health, ServiceError> {
        admins_only(viewer)?;
        Ok(self.health().await)
    }

    /// The servers that gave a sign of life within the last minute.
    pub async fn servers(&self, viewer: &Viewer) -> Result<Vec<ServerStatus>, ServiceError> {
        admins_only(viewer)?;
        Ok(self.store.servers().await?)
    }

    /// What the tables take, and how they grow.
    pub async fn storage(&self, viewer: &Viewer) -> Result<Storage, ServiceError> {
        admins_only(viewer)?;
        Ok(self.store.storage().await?)
    }

    /// The slowest statements of the database, the slowest on average first.
    pub async fn slow_queries(&self, viewer: &Viewer, first: i32) -> Result<Vec<SlowQuery>, ServiceError> {
        admins_only(viewer)?;
        input::between("first", first.into(), 0, self.limits().page_size.into())?;
        let found = self.store.slow_queries(u64::try_from(first).unwrap_or(0)).await?;
        found.ok_or_else(ServiceError::slow_queries_unavailable)
    }

    /// How PostgreSQL goes about a read of ours. None where there is no such task.
    pub async fn query_plan(
        &self,
        viewer: &Viewer,
        query: NamedQuery,
        user_id: Option<String>,
        task_id: Option<String>,
    ) -> Result<Option<serde_json::Value>, ServiceError> {
        admins_only(viewer)?;
        Ok(self.store.query_plan(&planned(query, user_id, task_id)?).await?)
    }
}

fn planned(query: NamedQuery, user_id: Option<String>, task_id: Option<String>) -> Result<PlannedQuery, ServiceError> {
    for (field, id) in [("userId", &user_id), ("taskId", &task_id)] {
        if let Some(id) = id {
            input::id(field, id)?;
        }
    }
    let user = || named("userId", user_id.clone());
    let task = || named("taskId", task_id.clone());
    Ok(match query {
        NamedQuery::Task => PlannedQuery::Task { user_id: user()?, task_id: task()? },
        NamedQuery::Tasks => PlannedQuery::Tasks(Scope::User(user()?)),
        NamedQuery::TasksOfAll => PlannedQuery::Tasks(Scope::Everyone),
        NamedQuery::History => PlannedQuery::History { user_id: user()?, task_id: task()? },
        NamedQuery::Steps => PlannedQuery::Steps { user_id: user()?, task_id: task()? },
        NamedQuery::Statistics => PlannedQuery::Statistics(user_id.map_or(Scope::Everyone, Scope::User)),
        NamedQuery::FeedPage => PlannedQuery::FeedPage(user()?),
    })
}

fn named(field: &str, id: Option<String>) -> Result<String, ServiceError> {
    id.ok_or_else(|| ServiceError::bad_input(field, format!("{field} says of what this query is: name it.")))
}
