//! The system under measurement, over a database of the cluster, and what every row asks of it.

use std::path::Path;

use sqlx::{Executor as _, PgConnection, Row as _};

use super::cluster::Cluster;
use super::load::{self, Bodies, Measured, Request, Span};
use super::report::Round;
use crate::server::{self, Server};
use crate::{Result, float};

/// Partitions of the record table.
const PARTITIONS: i64 = 40;
/// The open one at each end, and this week's, besides those for whole weeks to come.
const WEEKS: i64 = PARTITIONS - 3;

pub(crate) struct Taskwire {
    server: Server,
    database: String,
}

impl Taskwire {
    /// Over an empty database of this name.
    pub(crate) async fn start(program: &Path, cluster: &Cluster, database: &str) -> Result<Self> {
        cluster.database(database).await?;
        let server = Server::start(program, Some(&cluster.url(database)), &[]).await?;
        let mut session = cluster.session(database).await?;
        sqlx::query("SELECT taskwire_divide_partitions(now(), $1::integer)").bind(WEEKS).execute(&mut session).await?;
        let count = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'task_record'::regclass";
        let partitions: i64 = session.fetch_one(count).await?.try_get(0)?;
        if partitions != PARTITIONS {
            return Err(format!("{partitions} partitions, not {PARTITIONS}").into());
        }
        Ok(Self { server, database: database.to_owned() })
    }

    /// One more server, over the database of another one.
    pub(crate) async fn beside(program: &Path, cluster: &Cluster, database: &str) -> Result<Self> {
        let server = Server::start(program, Some(&cluster.url(database)), &[]).await?;
        Ok(Self { server, database: database.to_owned() })
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// What stands in a good answer is what the row looks for.
    pub(crate) fn request(&self, good: impl Into<String>) -> Request {
        Request { address: self.server.address.clone(), path: "/graphql", good: good.into() }
    }

    /// One round, with its figures: what an answer counts for (one record, or those of a batch) is told.
    pub(crate) async fn drive(
        &self,
        good: impl Into<String>,
        each: usize,
        span: Span,
        sources: Vec<Bodies>,
        round: &mut Round,
    ) -> Result<Measured> {
        let (own, both, busy) = (self.server.cpu()?, self.server.cpu_with_database()?, server::busy()?);
        let begin = std::time::Instant::now();
        let measured = load::drive(self.request(good), span, sources).await?;
        let took = begin.elapsed().as_secs_f64();
        let own = self.server.cpu()? - own;
        let database = self.server.cpu_with_database()? - both - own;
        let busy = server::busy()? - busy;
        round.add("taskwire", measured.a_second * float(each), "/s");
        round.add("taskwire p50", measured.p50, "ms");
        round.add("taskwire p99", measured.p99, "ms");
        round.add("its CPU", own / took, "cores");
        round.add("PostgreSQL's CPU for it", database / took, "cores");
        round.add("the load generator's CPU", measured.own_cpu, "cores");
        round.add("the whole machine's CPU", busy / took, "cores");
        Ok(measured)
    }

    pub(crate) async fn records(&self, cluster: &Cluster) -> Result<usize> {
        count(&mut cluster.session(&self.database).await?, "task_record").await
    }

    pub(crate) async fn analyze(&self, cluster: &Cluster) -> Result<()> {
        cluster.session(&self.database).await?.execute("VACUUM ANALYZE").await?;
        Ok(())
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.server.stop().await
    }
}

/// The rows of a table.
pub(crate) async fn count(session: &mut PgConnection, table: &'static str) -> Result<usize> {
    let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    let rows: i64 = session.fetch_one(sql).await?.try_get(0)?;
    Ok(usize::try_from(rows)?)
}
