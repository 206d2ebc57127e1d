//! Our tables: their partitions, their indexes, whether they are kept clean, and how they grow.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::{DoctorArgs, finding::Finding};

/// Each partition costs every plan that cannot leave it out.
const MANY: usize = 60;
/// Below it PostgreSQL may well read a table from end to end.
const ROWS: i64 = 10_000;
/// Less is soon full.
const FREE: u64 = 1 << 30;
/// The statements that made the tables' indexes.
const TABLES: &str = include_str!("../../migration/sql/tables.sql");

const OURS: &str =
    "n.nspname = 'public' AND (c.relname IN ('feed_head', 'task', 'task_order') OR c.relname ~ '^task_record')";

const PARTITIONS: &str = "
    SELECT c.relname::text AS name, i.inhdetachpending AS is_pending, pg_total_relation_size(c.oid) AS bytes,
           (regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$FROM \\('([^']+)'\\)$re$))[1]::timestamptz AS start,
           (regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$TO \\('([^']+)'\\)$re$))[1]::timestamptz AS until,
           clock_timestamp() AS now
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass('public.task_record') ORDER BY start NULLS FIRST";

struct Partition {
    name: String,
    is_pending: bool,
    bytes: i64,
    start: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

/// Everything about the tables. `free` is the room on the database's disk, where it is this machine's.
pub(super) async fn look(session: &mut PgConnection, arguments: &DoctorArgs, free: Option<u64>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match partitions(session).await {
        Ok((partitions, now)) => {
            findings.extend(divided(&partitions, now));
            findings.push(growth(&partitions, now, arguments.disk_ahead, free));
        }
        Err(error) => findings.push(Finding::unanswered("partitions", &error)),
    }
    match indexes(session).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(Finding::unanswered("indexes", &error)),
    }
    match upkeep(session).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(Finding::unanswered("upkeep", &error)),
    }
    findings
}

async fn partitions(session: &mut PgConnection) -> Result<(Vec<Partition>, DateTime<Utc>), sqlx::Error> {
    let rows = sqlx::raw_sql(PARTITIONS).fetch_all(session).await?;
    let now = rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get("now")?;
    let partition = |row: &sqlx::postgres::PgRow| {
        Ok(Partition {
            name: row.try_get("name")?,
            is_pending: row.try_get("is_pending")?,
            bytes: row.try_get("bytes")?,
            start: row.try_get("start")?,
            until: row.try_get("until")?,
        })
    };
    Ok((rows.iter().map(partition).collect::<Result<_, sqlx::Error>>()?, now))
}

fn divided(partitions: &[Partition], now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for partition in partitions.iter().filter(|partition| partition.is_pending) {
        findings.push(Finding::warning(
            "partitions.detaching",
            format!("{} was to be detached and is half so: somebody's open transaction was in the way", partition.name),
            format!("ALTER TABLE task_record DETACH PARTITION {} FINALIZE", partition.name),
        ));
    }
    let open_above = partitions.iter().find(|partition| partition.until.is_none());
    if let Some(start) = open_above.and_then(|partition| partition.start).filter(|start| *start <= now) {
        findings.push(Finding::warning(
            "partitions.behind",
            format!("records have gone into the open last partition since {start}: nobody has divided it"),
            "start a server (it divides within the hour); where one runs, its log names what holds it up",
        ));
    }
    if partitions.len() > MANY {
        findings.push(Finding::warning(
            "partitions.many",
            format!("{} partitions: each makes every plan dearer, {MANY} are well", partitions.len()),
            "keep the history for a shorter time (--keep-days), or let wider partitions come after these (--partition-by)",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("partitions", format!("{}, divided ahead", partitions.len())));
    }
    findings
}

/// What the history takes, what it grows by in a day, and whether there is room for that.
fn growth(partitions: &[Partition], now: DateTime<Utc>, ahead: Duration, free: Option<u64>) -> Finding {
    let bytes: u64 = partitions.iter().map(|partition| partition.bytes.unsigned_abs()).sum();
    // By the young ones that have an end: how much they took over the time that they cover until now.
    let month = now - chrono::TimeDelta::days(35);
    let young =
        partitions.iter().filter(|partition| partition.start.is_some_and(|start| start >= month && start <= now));
    let (young_bytes, since) = young.fold((0, now), |(bytes, since), partition| {
        (bytes + partition.bytes.unsigned_abs(), partition.start.map_or(since, |start| since.min(start)))
    });
    let days = u64::try_from((now - since).num_days()).unwrap_or_default().max(1);
    let a_day = young_bytes / days;
    let told = format!("the history takes {} and grows by about {} a day", size(bytes), size(a_day));
    let Some(free) = free else {
        return Finding::note("disk", told, "the disk is the database's: see there that it has room");
    };
    let told = format!("{told}; {} are free", size(free));
    let wanted = a_day.saturating_mul(ahead.as_secs()) / 86_400;
    let remedy = "make room on the disk, or keep the history for a shorter time (--keep-days)";
    if free < FREE {
        Finding::error("disk", told, remedy)
    } else if free < wanted {
        Finding::warning("disk", format!("{told}, but {} are wanted for {ahead:?}", size(wanted)), remedy)
    } else {
        Finding::ok("disk", told)
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..10_737_418_240 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

/// Name and statement of each index that the migration makes by a statement of its own.
fn wanted_indexes() -> Vec<(String, String)> {
    let code: Vec<&str> = TABLES.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let statements = code.join("\n");
    let index = |statement: &str| {
        let words: Vec<&str> = statement.split_whitespace().collect();
        match words[..] {
            ["CREATE", "INDEX", name, ..] | ["CREATE", "UNIQUE", "INDEX", name, ..] => {
                Some((name.to_owned(), words.join(" ")))
            }
            _ => None,
        }
    };
    statements.split(';').filter_map(index).collect()
}

const INDEXES: &str = "
    SELECT x.relname::text AS name, i.indisvalid AND i.indisready AS is_valid, x.oid::regclass::text AS quoted
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ";

async fn indexes(session: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let rows = sqlx::raw_sql(AssertSqlSafe(format!("{INDEXES}{OURS} OR c.relname IN ('user_control', 'task_inbox')")))
        .fetch_all(&mut *session)
        .await?;
    let mut findings = Vec::new();
    let mut found = Vec::new();
    for row in &rows {
        found.push(row.try_get::<String, _>("name")?);
        if !row.try_get::<bool, _>("is_valid")? {
            let index: String = row.try_get("quoted")?;
            findings.push(Finding::error(
                "indexes.invalid",
                format!("the index {index} is not valid, so nobody uses it"),
                format!("REINDEX INDEX CONCURRENTLY {index}"),
            ));
        }
    }
    for (name, statement) in wanted_indexes().into_iter().filter(|(name, _)| !found.contains(name)) {
        let what = format!("the index {name} is missing: what it is for reads whole tables");
        findings.push(Finding::error("indexes.missing", what, statement));
    }
    findings.extend(switched_off(&mut *session).await?);
    findings.extend(unused(session).await?);
    if findings.is_empty() {
        findings.push(Finding::ok("indexes", format!("{} are there and in use", found.len())));
    }
    Ok(findings)
}

/// Without these our reads go through whole tables, or every partition.
async fn switched_off(session: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let off = "SELECT name FROM pg_settings WHERE setting = 'off' AND name IN ('enable_indexscan', 'enable_indexonlyscan', \
               'enable_partition_pruning', 'enable_nestloop')";
    let rows = sqlx::raw_sql(off).fetch_all(session).await?;
    let finding = |name: String| {
        Finding::warning(
            "indexes.off",
            format!("{name} is off: reads go through whole tables"),
            format!(
                "SELECT source, sourcefile FROM pg_settings WHERE name = '{name}' says where; ALTER … RESET {name}"
            ),
        )
    };
    rows.iter().map(|row| row.try_get("name").map(finding)).collect()
}

async fn unused(session: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let sql = format!(
        "SELECT s.relname::text AS name, s.seq_scan, coalesce(s.idx_scan, 0) AS idx_scan FROM pg_stat_user_tables s \
         JOIN pg_class c ON c.oid = s.relid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE {OURS} AND s.n_live_tup > {ROWS} AND s.seq_scan > 100 AND s.seq_scan > coalesce(s.idx_scan, 0)"
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(session).await?;
    let finding = |row: &sqlx::postgres::PgRow| {
        let (name, whole, by_index): (String, i64, i64) =
            (row.try_get("name")?, row.try_get("seq_scan")?, row.try_get("idx_scan")?);
        Ok(Finding::warning(
            "indexes.unused",
            format!("{name} was read from end to end {whole} times, and by an index {by_index} times"),
            format!(
                "ANALYZE {name}; then system.queryPlan tells how each read goes, and system.slowQueries which one it is"
            ),
        ))
    };
    rows.iter().map(finding).collect()
}

/// Whether dead rows are cleaned up and the planner knows the tables.
async fn upkeep(session: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let sql = format!(
        "SELECT s.relname::text AS name, s.n_live_tup AS live, s.n_dead_tup AS dead, \
                coalesce(s.last_analyze, s.last_autoanalyze) IS NULL AND s.n_live_tup > {ROWS} AS is_unknown, \
                current_setting('autovacuum') = 'off' OR c.reloptions::text LIKE '%autovacuum_enabled=false%' \
                    OR c.reloptions::text LIKE '%autovacuum_enabled=off%' AS is_off \
         FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE {OURS}"
    );
    let mut findings = Vec::new();
    for row in sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(session).await? {
        let name: String = row.try_get("name")?;
        if row.try_get::<Option<bool>, _>("is_off")? == Some(true) {
            findings.push(Finding::warning(
                "upkeep.off",
                format!("autovacuum is off for {name}: it only ever grows, and its plans go by old figures"),
                format!("ALTER TABLE {name} RESET (autovacuum_enabled); ALTER SYSTEM RESET autovacuum"),
            ));
        }
        let (live, dead): (i64, i64) = (row.try_get("live")?, row.try_get("dead")?);
        if dead > ROWS && dead > live {
            findings.push(Finding::warning(
                "upkeep.behind",
                format!("{name} has {dead} dead rows and {live} living ones: cleaning does not keep up"),
                format!("look for an old snapshot (above); then VACUUM (ANALYZE) {name}"),
            ));
        }
        if row.try_get::<Option<bool>, _>("is_unknown")? == Some(true) {
            findings.push(Finding::warning(
                "upkeep.unknown",
                format!("{name} has {live} rows and was never analysed: plans are guesses (as after a restore)"),
                format!("ANALYZE {name}"),
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("upkeep", "cleaned up and analysed by autovacuum"));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn the_indexes_are_those_of_the_migration() {
        let indexes = wanted_indexes();
        assert!(indexes.len() >= 9, "{indexes:?}");
        for (name, statement) in &indexes {
            assert!(statement.contains(&format!("INDEX {name} ON ")), "{statement}");
        }
    }

    #[test]
    fn a_disk_is_too_small_by_itself_or_for_what_comes() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let week = Partition {
            name: "p".into(),
            is_pending: false,
            bytes: 7 << 30,
            start: Some(now - chrono::TimeDelta::days(7)),
            until: Some(now),
        };
        let month = Duration::from_hours(30 * 24);
        let partitions = [week];
        let found = |free| growth(&partitions, now, month, free);
        assert_eq!(found(Some((1 << 30) - 1)).severity, Severity::Error);
        assert_eq!(found(Some(29 << 30)).severity, Severity::Warning);
        assert_eq!(found(Some(31 << 30)).severity, Severity::Ok);
        assert_eq!(found(None).severity, Severity::Note);
        assert!(found(None).what.contains("takes 7168 MiB and grows by about 1024 MiB a day"), "{:?}", found(None));
    }
}
