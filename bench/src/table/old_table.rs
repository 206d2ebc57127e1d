//! The table that Taskwire replaces, with its four indexes, and COPY into it: the least that PostgreSQL can do.

use std::time::Instant;

use sqlx::{Executor as _, PgConnection};

use super::cluster::Cluster;
use super::data::{COPY, Tasks};
use super::load::Span;
use super::report::Round;
use super::taskwire::count;
use crate::{Result, float};

/// As aiecs' `DatabaseManager` makes it. The comment lets `PostGraphile` order by the step, as aiecs does.
const TABLE: &str = "
    CREATE TABLE task_history (
        id SERIAL PRIMARY KEY,
        user_id TEXT NOT NULL,
        task_id TEXT NOT NULL,
        step INTEGER NOT NULL,
        result JSONB NOT NULL,
        timestamp TIMESTAMP NOT NULL,
        status TEXT NOT NULL DEFAULT 'pending'
    );
    CREATE INDEX idx_task_history_user_id ON task_history (user_id);
    CREATE INDEX idx_task_history_task_id ON task_history (task_id);
    CREATE INDEX idx_task_history_status ON task_history (status);
    CREATE INDEX idx_task_history_timestamp ON task_history (timestamp);
    COMMENT ON COLUMN task_history.step IS '@behavior +orderBy'";

/// Different batches of a round of COPY.
const BATCHES: usize = 100;

pub(crate) struct OldTable {
    session: PgConnection,
}

impl OldTable {
    /// In an empty database of this name.
    pub(crate) async fn make(cluster: &Cluster, database: &str) -> Result<Self> {
        cluster.database(database).await?;
        let mut session = cluster.session(database).await?;
        session.execute(TABLE).await?;
        Ok(Self { session })
    }

    /// The one that aiecs has made.
    pub(crate) async fn of(cluster: &Cluster, database: &str) -> Result<Self> {
        Ok(Self { session: cluster.session(database).await? })
    }

    pub(crate) async fn analyze(&mut self) -> Result<()> {
        self.session.execute("VACUUM ANALYZE task_history").await?;
        Ok(())
    }

    pub(crate) async fn records(&mut self) -> Result<usize> {
        count(&mut self.session, "task_history").await
    }

    /// These lines, in a transaction of their own.
    pub(crate) async fn copy(&mut self, lines: &[u8]) -> Result<()> {
        let mut copy = self.session.copy_in_raw(COPY).await?;
        copy.send(lines).await?;
        copy.finish().await?;
        Ok(())
    }

    /// Batches of `each` rows one after the other on one connection. Returns how many rows.
    pub(crate) async fn copy_batches(
        &mut self,
        span: Span,
        mut tasks: Tasks,
        each: usize,
        round: &mut Round,
    ) -> Result<usize> {
        // Made before, and again and again: what writing them costs is not PostgreSQL's.
        let mut batch = || {
            let mut lines = Vec::new();
            for _ in 0..each {
                let step = tasks.next();
                tasks.write_row(step, &mut lines);
            }
            lines
        };
        let batches: Vec<Vec<u8>> = (0..BATCHES).map(|_| batch()).collect();
        let begin = Instant::now() + span.warm_up;
        let end = begin + span.measured;
        let (mut all, mut measured) = (0, 0);
        for lines in batches.iter().cycle() {
            if Instant::now() >= end {
                break;
            }
            self.copy(lines).await?;
            all += each;
            let now = Instant::now();
            if now >= begin && now < end {
                measured += each;
            }
        }
        round.add("COPY", float(measured) / span.measured.as_secs_f64(), "/s");
        Ok(all)
    }
}
