//! What the tables take, and how they grow. Sizes are exact; counts are what PostgreSQL's statistics say, for counting a
//! history takes as long as it is.

use std::collections::BTreeMap;

use sea_orm::prelude::DateTimeUtc;
use sea_orm::{DbErr, QueryResult};

use super::feed::no_row;
use super::{Store, StoreError};

/// Days of which it is told how many records they brought.
pub const GROWTH_DAYS: i64 = 30;
/// Pages of a partition that are looked at for that, 8 MB of it; in a larger one it is these, spread over it, that count
/// for the rest.
const SAMPLED_PAGES: i64 = 1_000;

/// One partition of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    /// The table's name.
    pub name: String,
    /// Records from then on; none where it is open below.
    pub start: Option<DateTimeUtc>,
    /// Records until before then; none where it is open above.
    pub end: Option<DateTimeUtc>,
    /// With its indexes.
    pub bytes: i64,
    /// As PostgreSQL's statistics say.
    pub estimated_records: i64,
    /// It is being taken off: no statement sees it any more, and it goes with the next run of retention.
    pub is_leaving: bool,
    /// How to name it in SQL, and its pages without the indexes.
    pub(super) quoted: String,
    pages: i64,
}

/// What the tables take.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// The history's, with its indexes.
    pub history_bytes: i64,
    /// Those of the tasks and of their order, with their indexes.
    pub task_bytes: i64,
    /// Of all partitions together, as estimated.
    pub records: i64,
    /// As estimated.
    pub tasks: i64,
    /// How many records came on each of the last 30 days, in UTC and by the database's clock, oldest first, today last.
    pub records_per_day: Vec<(DateTimeUtc, i64)>,
    /// By their time.
    pub partitions: Vec<Partition>,
}

/// What is alive, by the counters, which a crash sets back; or by the last look of ANALYZE or VACUUM.
const ESTIMATE: &str = "greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::bigint";

fn partitions_sql() -> String {
    let bound = |end: &str| {
        format!("(regexp_match(pg_get_expr(c.relpartbound, c.oid), $re${end} \\('([^']+)'\\)$re$))[1]::timestamptz")
    };
    format!(
        "SELECT c.relname::text AS name, c.oid::regclass::text AS quoted, {start} AS start, {end} AS \"end\", \
                pg_total_relation_size(c.oid) AS bytes, {ESTIMATE} AS records, \
                pg_relation_size(c.oid) / current_setting('block_size')::bigint AS pages, \
                i.inhdetachpending AS is_leaving \
         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent = 'task_record'::regclass ORDER BY start NULLS FIRST",
        start = bound("FROM"),
        end = bound("TO"),
    )
}

impl Store {
    /// The partitions of the history, by their time.
    pub async fn partitions(&self) -> Result<Vec<Partition>, StoreError> {
        let rows = self.query_all(&partitions_sql(), Vec::new()).await?;
        Ok(rows.iter().map(Partition::from_row).collect::<Result<_, _>>()?)
    }

    /// What the tables take, and how they grow.
    pub async fn storage(&self) -> Result<Storage, StoreError> {
        let partitions = self.partitions().await?;
        let sql = format!(
            "SELECT (pg_total_relation_size('task') + pg_total_relation_size('task_order'))::bigint AS bytes, \
                    date_trunc('day', now(), 'UTC') AS today, {ESTIMATE} AS tasks \
             FROM pg_class c WHERE c.oid = 'task'::regclass"
        );
        let rows = self.query_all(&sql, Vec::new()).await?;
        let row = rows.first().ok_or_else(no_row)?;
        let today: DateTimeUtc = row.try_get("", "today")?;
        Ok(Storage {
            history_bytes: partitions.iter().map(|partition| partition.bytes).sum(),
            task_bytes: row.try_get("", "bytes")?,
            records: partitions.iter().map(|partition| partition.estimated_records).sum(),
            tasks: row.try_get("", "tasks")?,
            records_per_day: self.growth(&partitions, today).await?,
            partitions,
        })
    }

    async fn growth(
        &self,
        partitions: &[Partition],
        today: DateTimeUtc,
    ) -> Result<Vec<(DateTimeUtc, i64)>, StoreError> {
        let days = (0..GROWTH_DAYS).rev().map(|ago| (today - chrono::TimeDelta::days(ago), 0));
        let mut days: BTreeMap<DateTimeUtc, i64> = days.collect();
        let Some(first) = days.keys().next().copied() else { return Ok(Vec::new()) };
        let parts =
            partitions.iter().filter(|partition| !partition.is_leaving && partition.end.is_none_or(|end| end > first));
        let parts: Vec<String> = parts.filter(|partition| partition.pages > 0).map(Partition::by_day).collect();
        if !parts.is_empty() {
            for row in &self.query_all(&parts.join(" UNION ALL "), vec![first.into()]).await? {
                // One that is ahead of the clock has no day here.
                if let Some(count) = days.get_mut(&row.try_get("", "day")?) {
                    *count += row.try_get::<i64>("", "records")?;
                }
            }
        }
        Ok(days.into_iter().collect())
    }
}

impl Partition {
    fn from_row(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            name: row.try_get("", "name")?,
            start: row.try_get("", "start")?,
            end: row.try_get("", "end")?,
            bytes: row.try_get("", "bytes")?,
            estimated_records: row.try_get("", "records")?,
            is_leaving: row.try_get("", "is_leaving")?,
            quoted: row.try_get("", "quoted")?,
            pages: row.try_get("", "pages")?,
        })
    }

    /// Its records by day from $1 on: exactly, or where it is large by a sample of its pages, the same each time.
    fn by_day(&self) -> String {
        let of = |sample: &str, factor: &str| {
            format!(
                "SELECT date_trunc('day', recorded_at, 'UTC') AS day, (count(*){factor})::bigint AS records \
                 FROM {}{sample} WHERE recorded_at >= $1 GROUP BY 1",
                self.quoted
            )
        };
        if self.pages <= SAMPLED_PAGES {
            return of("", "");
        }
        let share = format!("{SAMPLED_PAGES}::float8 / {}", self.pages);
        of(&format!(" TABLESAMPLE SYSTEM (100 * {share}) REPEATABLE (1)"), &format!(" / ({share})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_partition_is_sampled() {
        let of = |pages| Partition {
            name: "p".to_owned(),
            start: None,
            end: None,
            bytes: 0,
            estimated_records: 0,
            is_leaving: false,
            quoted: "\"p q\"".to_owned(),
            pages,
        };
        assert!(of(1_000).by_day().contains("(count(*))::bigint AS records FROM \"p q\" WHERE"));
        let sampled = "(count(*) / (1000::float8 / 4000))::bigint AS records \
             FROM \"p q\" TABLESAMPLE SYSTEM (100 * 1000::float8 / 4000) REPEATABLE (1) WHERE";
        assert!(of(4_000).by_day().contains(sampled), "{}", of(4_000).by_day());
    }
}
