//! The table that Taskwire replaces, with its four indexes, and COPY into it: the least that PostgreSQL can do.

use std::time::Instant;

use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::data::{COLUMNS, Tasks, USERS};
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
        let mut copy = self.session.copy_in_raw(&format!("COPY {COLUMNS} FROM STDIN")).await?;
        copy.send(lines).await?;
        copy.finish().await?;
        Ok(())
    }

    /// Batches of `each` rows by COPY, one after the other on one connection. Returns how many rows.
    pub(crate) async fn copy_batches(
        &mut self,
        span: Span,
        mut tasks: Tasks,
        each: usize,
        round: &mut Round,
    ) -> Result<usize> {
        let batches = batches(&mut tasks, each);
        let mut counter = Counter::new(span);
        for lines in batches.iter().cycle() {
            if counter.is_over() {
                break;
            }
            self.copy(lines).await?;
            counter.count(each);
        }
        round.add("COPY", counter.a_second(), "/s");
        Ok(counter.all)
    }

    /// The same by `INSERT … VALUES (…), (…), …`.
    pub(crate) async fn insert_batches(
        &mut self,
        span: Span,
        mut tasks: Tasks,
        each: usize,
        round: &mut Round,
    ) -> Result<usize> {
        let statements = batches(&mut tasks, each).iter().map(|lines| statement(lines)).collect::<Result<Vec<_>>>()?;
        let mut counter = Counter::new(span);
        for sql in statements.iter().cycle() {
            if counter.is_over() {
                break;
            }
            self.session.execute(AssertSqlSafe(sql.as_str())).await?;
            counter.count(each);
        }
        round.add("multi-row INSERT", counter.a_second(), "/s");
        Ok(counter.all)
    }
}

/// The bare SELECT of a status by its key, as aiecs asks it, on so many connections at the same time.
pub(crate) async fn select(
    cluster: &Cluster,
    database: &str,
    connections: usize,
    span: Span,
    tasks: usize,
    round: &mut Round,
) -> Result<()> {
    let mut asking = JoinSet::new();
    for _ in 0..connections {
        let mut session = cluster.session(database).await?;
        asking.spawn(async move {
            let (mut counter, mut random) = (Counter::new(span), fastrand::Rng::new());
            while !counter.is_over() {
                let task = random.usize(..tasks);
                let (user, task) = (format!("user_{}", task % USERS), format!("seed_{task}"));
                let row = sqlx::query(STATUS).bind(user).bind(task).fetch_one(&mut session).await?;
                if row.try_get::<&str, _>(0)? != "completed" {
                    return Err("a task of the old table is not completed".into());
                }
                counter.count(1);
            }
            Ok::<_, crate::Error>(counter.a_second())
        });
    }
    let rates = asking.join_all().await.into_iter().collect::<Result<Vec<f64>>>()?;
    round.add("SELECT by key", rates.iter().sum(), "/s");
    Ok(())
}

/// As aiecs asks for a status.
const STATUS: &str = "SELECT status FROM task_history WHERE user_id = $1 AND task_id = $2 ORDER BY step DESC LIMIT 1";

/// Lines of COPY, made before, and to be sent again and again: what writing them costs is not PostgreSQL's.
fn batches(tasks: &mut Tasks, each: usize) -> Vec<Vec<u8>> {
    let mut batch = || {
        let mut lines = Vec::new();
        for _ in 0..each {
            let step = tasks.next();
            tasks.write_row(step, &mut lines);
        }
        lines
    };
    (0..BATCHES).map(|_| batch()).collect()
}

/// The INSERT of such lines: nothing in them has to be escaped.
fn statement(lines: &[u8]) -> Result<String> {
    let rows = std::str::from_utf8(lines)?.lines().map(|line| format!("('{}')", line.replace('\t', "', '")));
    Ok(format!("INSERT INTO {COLUMNS} VALUES {}", rows.collect::<Vec<_>>().join(", ")))
}

/// Counts what is done before a window and within it.
struct Counter {
    begin: Instant,
    span: Span,
    all: usize,
    measured: usize,
}

impl Counter {
    fn new(span: Span) -> Self {
        Self { begin: Instant::now() + span.warm_up, span, all: 0, measured: 0 }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.begin + self.span.measured
    }

    fn count(&mut self, done: usize) {
        self.all += done;
        if Instant::now() >= self.begin && !self.is_over() {
            self.measured += done;
        }
    }

    fn a_second(&self) -> f64 {
        float(self.measured) / self.span.measured.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insert_has_the_rows_of_the_lines() {
        let mut tasks = Tasks::new("t".into(), 3);
        let lines = batches(&mut tasks, 2).swap_remove(0);
        let sql = statement(&lines).unwrap();
        assert_eq!(sql.matches("('user_").count(), 2);
        assert_eq!(sql.matches("', '").count(), 2 * 5);
        assert!(sql.ends_with("', 'completed')"));
    }
}
