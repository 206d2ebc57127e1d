//! What metrics tell of the database: cheap enough to be asked every half minute, on every server.

use super::error::sqlstate;
use super::feed::no_row;
use super::{Store, StoreError};
use crate::db;
use crate::telemetry::Table;

/// Of sessions whose role we are not a member of, PostgreSQL tells nothing but to `pg_read_all_stats` (`pg_monitor`).
const SNAPSHOT: &str = "
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - since)), 0)::float8 AS oldest_snapshot FROM (
        SELECT xact_start AS since FROM pg_stat_activity
        WHERE datname = current_database() AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
        UNION ALL SELECT prepared FROM pg_prepared_xacts WHERE database = current_database()
    ) held";
/// Looking at a table's size waits for whoever has locked it: while anybody has one, or wants it, none is measured.
const SIZES: &str = "
    SELECT parts.bytes, parts.rows, parts.partitions,
        (pg_total_relation_size('task') + pg_total_relation_size('task_order'))::bigint AS task_bytes,
        (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'task'::regclass) AS task_rows
    FROM (
        SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint AS bytes,
            coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint AS rows, count(*) AS partitions
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'task_record'::regclass
    ) parts
    WHERE NOT EXISTS (
        SELECT FROM pg_locks WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )";

impl Store {
    /// Looks how large the tables are and for how long somebody has held a snapshot, and puts it into the metrics.
    pub async fn measure(&self) -> Result<(), StoreError> {
        let telemetry = &self.telemetry;
        let rows = self.query_all(SNAPSHOT, Vec::new()).await?;
        telemetry.oldest_snapshot_seconds.set(rows.first().ok_or_else(no_row)?.try_get("", "oldest_snapshot")?);
        let rows = self.query_all(SIZES, Vec::new()).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        for (table, bytes, rows) in [(Table::TaskRecord, "bytes", "rows"), (Table::Task, "task_bytes", "task_rows")] {
            let labels = [("table", table)];
            telemetry.table_bytes.get_or_create(&labels).set(row.try_get("", bytes)?);
            telemetry.table_rows.get_or_create(&labels).set(row.try_get("", rows)?);
        }
        telemetry.partitions.set(row.try_get("", "partitions")?);
        Ok(())
    }

    /// Whether the database answers, and has all that this build's migrations make.
    pub async fn is_migrated(&self) -> Result<bool, StoreError> {
        match self.within_time(db::is_migrated(&self.db)).await? {
            // There is no such table.
            Err(error) if sqlstate(&error).is_some_and(|(code, _)| code == "42P01") => Ok(false),
            told => Ok(told?),
        }
    }
}
