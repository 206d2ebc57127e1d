//! The steps of `optimizeStorage`: fresh statistics for a table, an index built anew. Neither locks a writer out.

use std::time::Duration;

use sea_orm::{QueryResult, Value};

use tokio::time::Instant;

use super::lease::{Blocker, Lease, Waited};
use super::{Store, StoreError};

/// What somebody else who looks after the same table may be waited for.
const SHORT: Duration = Duration::from_secs(1);

/// A table or an index of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its name.
    pub name: String,
    quoted: String,
}

/// Ours: what is in the partitions, and what has rows by the user. The parent comes last: it takes samples of all others.
const TABLES: &str = "SELECT c.relname::text AS name, c.oid::regclass::text AS quoted FROM pg_class c \
    WHERE c.oid IN ('feed_head'::regclass, 'task'::regclass, 'task_order'::regclass, 'task_record'::regclass) \
       OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'task_record'::regclass AND NOT inhdetachpending) \
    ORDER BY c.relkind = 'p', pg_stat_get_last_analyze_time(c.oid) NULLS FIRST, c.relname";
/// Of the same tables, without those that were built anew already.
const INDEXES: &str = "SELECT c.relname::text AS name, c.oid::regclass::text AS quoted \
    FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid, storage_upkeep u \
    WHERE c.relkind = 'i' AND x.indisvalid AND c.relname <> ALL (u.reindexed) \
      AND (x.indrelid IN ('feed_head'::regclass, 'task'::regclass, 'task_order'::regclass) \
        OR x.indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'task_record'::regclass AND NOT inhdetachpending)) \
    ORDER BY c.relname";
/// Of an index that was not finished.
const UNFINISHED: &str = "SELECT c.relname::text AS name, c.oid::regclass::text AS quoted \
    FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid \
    WHERE NOT x.indisvalid AND c.relkind = 'i' AND c.relname ~ '_cc(new|old)[0-9]*$' \
      AND (x.indrelid IN ('feed_head'::regclass, 'task'::regclass, 'task_order'::regclass) \
        OR x.indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'task_record'::regclass))";

impl Lease {
    /// Takes fresh statistics of a table. [`StoreError::Timeout`]: somebody else is at it.
    pub async fn analyze(&mut self, table: &Relation) -> Result<(), StoreError> {
        self.step(SHORT, Some(format!("ANALYZE {}", table.quoted)), sqlx::query("SELECT")).await.map(drop)
    }

    /// Builds an index anew beside the old one, and puts it in its place; or tells for whom it waited longer than `patience`.
    pub async fn reindex(
        &mut self,
        index: &Relation,
        patience: Duration,
        end: Instant,
    ) -> Result<Result<(), Vec<Blocker>>, StoreError> {
        let reindex = format!("REINDEX INDEX CONCURRENTLY {}", index.quoted);
        if let Waited::Held(blockers) = self.run_patiently(reindex, patience, end).await? {
            return Ok(Err(blockers));
        }
        let done = "UPDATE storage_upkeep SET reindexed = reindexed || $1";
        self.step(SHORT, None, sqlx::query(done).bind(&index.name)).await?;
        Ok(Ok(()))
    }

    /// Removes what was left of an index that was not finished; or tells for whom it waited longer than `patience`.
    pub async fn drop_unfinished_indexes(
        &mut self,
        patience: Duration,
        end: Instant,
    ) -> Result<Result<(), Vec<Blocker>>, StoreError> {
        for index in self.store.relations(UNFINISHED).await? {
            let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS {}", index.quoted);
            if let Waited::Held(blockers) = self.run_patiently(drop, patience, end).await? {
                return Ok(Err(blockers));
            }
        }
        Ok(Ok(()))
    }

    /// All indexes have been built anew: the next time begins with the first.
    pub async fn reindexed_all(&mut self) -> Result<(), StoreError> {
        self.step(SHORT, None, sqlx::query("UPDATE storage_upkeep SET reindexed = '{}'")).await.map(drop)
    }
}

impl Store {
    /// The tables whose statistics plans depend on, the longest not looked at first.
    pub async fn analyzable(&self) -> Result<Vec<Relation>, StoreError> {
        self.relations(TABLES).await
    }

    /// The indexes that are still to be built anew.
    pub async fn reindexable(&self) -> Result<Vec<Relation>, StoreError> {
        self.relations(INDEXES).await
    }

    async fn relations(&self, sql: &str) -> Result<Vec<Relation>, StoreError> {
        let relation = |row: &QueryResult| {
            Ok::<_, StoreError>(Relation { name: row.try_get("", "name")?, quoted: row.try_get("", "quoted")? })
        };
        self.query_all(sql, Vec::<Value>::new()).await?.iter().map(relation).collect()
    }
}
