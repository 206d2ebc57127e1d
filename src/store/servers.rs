//! The servers over this database: a row each, renewed as long as the server lives.

use std::str::FromStr;
use std::time::Duration;

use sea_orm::prelude::DateTimeUtc;
use sea_orm::{DbErr, QueryResult};

use super::{Store, StoreError};

/// A database that takes longer to answer is not well, or its pool is full.
pub const SLOW_ANSWER: Duration = Duration::from_millis(500);

/// A server, by a name that no other one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The machine's name and some letters of its own.
    pub server_id: String,
    /// Of the program.
    pub version: String,
    /// When it was started.
    pub started_at: DateTimeUtc,
}

/// How well something does, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthState {
    /// As it should.
    Healthy,
    /// It works, and something is not as it should be.
    Degraded,
    /// It does not work.
    Unhealthy,
}

impl HealthState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl FromStr for HealthState {
    type Err = DbErr;

    fn from_str(text: &str) -> Result<Self, DbErr> {
        match text {
            "healthy" => Ok(Self::Healthy),
            "degraded" => Ok(Self::Degraded),
            "unhealthy" => Ok(Self::Unhealthy),
            other => Err(DbErr::Type(format!("no state of health: {other}"))),
        }
    }
}

/// What a server said of itself when it last gave a sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// Which server.
    pub server: Server,
    /// When that was, by the database's clock.
    pub seen_at: DateTimeUtc,
    /// How it did then.
    pub state: HealthState,
    /// Its open connections with live updates.
    pub connections: i32,
}

/// The rows of servers that ended without a good-bye go with the next sign of life of another one.
const BEAT: &str = "
    WITH gone AS (DELETE FROM server_heartbeat WHERE seen_at < now() - interval '1 hour' AND server_id <> $1)
    INSERT INTO server_heartbeat (server_id, version, started_at, seen_at, state, connections)
    VALUES ($1, $2, $3, now(), $4, $5)
    ON CONFLICT (server_id) DO UPDATE SET seen_at = EXCLUDED.seen_at, state = EXCLUDED.state,
        connections = EXCLUDED.connections";

const ALIVE: &str = "SELECT server_id, version, started_at, seen_at, state, connections FROM server_heartbeat \
    WHERE seen_at > now() - interval '1 minute' ORDER BY started_at, server_id";

impl Store {
    /// A sign of life.
    pub async fn beat(&self, server: &Server, state: HealthState, connections: i32) -> Result<(), StoreError> {
        let values = vec![
            server.server_id.as_str().into(),
            server.version.as_str().into(),
            server.started_at.into(),
            state.as_str().into(),
            connections.into(),
        ];
        self.query_all(BEAT, values).await.map(drop)
    }

    /// The last sign of life is taken back: the server ends.
    pub async fn leave(&self, server: &Server) -> Result<(), StoreError> {
        let sql = "DELETE FROM server_heartbeat WHERE server_id = $1";
        self.query_all(sql, vec![server.server_id.as_str().into()]).await.map(drop)
    }

    /// The servers that gave a sign of life within the last minute, the oldest first.
    pub async fn servers(&self) -> Result<Vec<ServerStatus>, StoreError> {
        let status = |row: &QueryResult| {
            Ok::<_, StoreError>(ServerStatus {
                server: Server {
                    server_id: row.try_get("", "server_id")?,
                    version: row.try_get("", "version")?,
                    started_at: row.try_get("", "started_at")?,
                },
                seen_at: row.try_get("", "seen_at")?,
                state: row.try_get::<String>("", "state")?.parse()?,
                connections: row.try_get("", "connections")?,
            })
        };
        self.query_all(ALIVE, Vec::new()).await?.iter().map(status).collect()
    }
}
