//! PostgreSQL itself: its version, what it may lose, whom it has room for, its extensions, its clock.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, Row, postgres::PgRow};

use crate::{clock::Clock, config::Config};

use super::{DoctorArgs, finding::Finding};

/// The newest major version that this is made for. A newer one will most likely do.
const TESTED: i32 = 18;

const FACTS: &str = "
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int4 / 10000 AS major,
           current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
           current_setting('synchronous_commit') AS synchronous_commit,
           (current_setting('max_connections')::int4 - current_setting('superuser_reserved_connections')::int4) AS room,
           (SELECT count(*)::int4 FROM pg_stat_activity WHERE backend_type = 'client backend'
                AND application_name <> 'taskwire') AS others,
           (SELECT datcollversion <> coalesce(pg_database_collation_actual_version(oid), '') FROM pg_database
            WHERE datname = current_database()) IS TRUE AS other_collation,
           quote_ident(current_database()) AS database,
           (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
            WHERE e.extname = 'pg_stat_statements') AS statements,
           (SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries') LIKE '%pg_stat_statements%'
               AS is_preloaded,
           pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all, quote_ident(current_user) AS role";

/// Asks once for everything.
pub(super) async fn look(session: &mut PgConnection, config: &Config) -> Vec<Finding> {
    let row = match sqlx::raw_sql(FACTS).fetch_one(session).await {
        Ok(row) => row,
        Err(error) => return vec![Finding::unanswered("version", &error)],
    };
    let told = version(&row).and_then(|mut findings| {
        findings.extend(durability(&row)?);
        findings.extend(room(&row, config)?);
        findings.extend(extensions(&row)?);
        findings.extend(rights(&row)?);
        Ok(findings)
    });
    told.unwrap_or_else(|error| vec![Finding::unanswered("version", &error)])
}

fn version(row: &PgRow) -> Result<Vec<Finding>, sqlx::Error> {
    let (version, major): (String, i32) = (row.try_get("version")?, row.try_get("major")?);
    let mut findings = vec![known(&version, major)];
    if row.try_get("other_collation")? {
        let database: String = row.try_get("database")?;
        findings.push(Finding::warning(
            "version.collation",
            "the system's sort order is another one than when this database was made (a restore, or a new libc)",
            format!(
                "Taskwire's own indexes do not depend on it; rebuild others: REINDEX DATABASE {database}; \
                 ALTER DATABASE {database} REFRESH COLLATION VERSION"
            ),
        ));
    }
    Ok(findings)
}

fn known(version: &str, major: i32) -> Finding {
    if major > TESTED {
        let what = format!("PostgreSQL {version}; this build knows up to {TESTED}");
        Finding::note("version", what, "look whether there is a newer Taskwire")
    } else {
        Finding::ok("version", format!("PostgreSQL {version}"))
    }
}

fn durability(row: &PgRow) -> Result<Vec<Finding>, sqlx::Error> {
    let mut findings = Vec::new();
    for (setting, bad) in [("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off")] {
        if row.try_get::<String, _>(setting)? == bad {
            findings.push(Finding::error(
                "durability",
                format!("{setting} is {bad}: a crash can lose records that workers were told are saved"),
                format!("ALTER SYSTEM SET {setting} = on; SELECT pg_reload_conf()"),
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("durability", "what is committed outlives a crash"));
    }
    Ok(findings)
}

fn room(row: &PgRow, config: &Config) -> Result<Vec<Finding>, sqlx::Error> {
    let (room, others): (i32, i32) = (row.try_get("room")?, row.try_get("others")?);
    // The listener, and somebody with psql besides.
    let wanted = i64::from(config.connections()) + 2;
    let left = i64::from(room) - i64::from(others);
    Ok(vec![if left < wanted {
        Finding::error(
            "connections",
            format!(
                "PostgreSQL has room for {left} connections of ours ({room}, {others} taken), a server wants {wanted}"
            ),
            format!("a lower --max-connections, or ALTER SYSTEM SET max_connections = {} and a restart", wanted + 30),
        )
    } else {
        Finding::ok("connections", format!("room for {left}, of which a server takes {wanted} at the most"))
    }])
}

fn extensions(row: &PgRow) -> Result<Vec<Finding>, sqlx::Error> {
    // Not everybody may know what is loaded.
    let (made, is_preloaded): (Option<String>, Option<bool>) =
        (row.try_get("statements")?, row.try_get("is_preloaded")?);
    let lacks = "so system.slowQueries has nothing to tell";
    Ok(vec![match (made, is_preloaded) {
        (Some(_), Some(true) | None) => Finding::ok("extensions", "pg_stat_statements is there"),
        (_, Some(false)) => Finding::note(
            "extensions",
            format!("pg_stat_statements is not loaded, {lacks}"),
            "shared_preload_libraries = 'pg_stat_statements' in postgresql.conf, a restart, CREATE EXTENSION pg_stat_statements",
        ),
        (None, _) => Finding::note(
            "extensions",
            format!("pg_stat_statements is not made in this database, {lacks}"),
            "CREATE EXTENSION pg_stat_statements",
        ),
    }])
}

fn rights(row: &PgRow) -> Result<Vec<Finding>, sqlx::Error> {
    let (sees_all, role): (bool, String) = (row.try_get("sees_all")?, row.try_get("role")?);
    Ok(if sees_all {
        Vec::new()
    } else {
        vec![Finding::note(
            "rights.statistics",
            format!("{role} does not see what other roles' sessions do: who holds an old snapshot stays unknown"),
            format!("as a superuser: GRANT pg_read_all_stats TO {role}"),
        )]
    })
}

/// This machine's clock and the database's, and the database's against itself.
pub(super) async fn clocks(session: &mut PgConnection, clock: &Clock, arguments: &DoctorArgs) -> Vec<Finding> {
    let mut findings = Vec::new();
    let before = clock.now();
    let asked = sqlx::raw_sql("SELECT clock_timestamp() AS now").fetch_one(&mut *session).await;
    let after = clock.now();
    match asked.and_then(|row| row.try_get::<DateTime<Utc>, _>("now")) {
        Ok(now) => findings.push(offset(before, now, after, arguments.clock_offset)),
        Err(error) => findings.push(Finding::unanswered("clock", &error)),
    }
    let last = "SELECT (extract(epoch FROM updated_at - clock_timestamp()))::float8 AS ahead
                FROM public.task_order ORDER BY updated_at DESC LIMIT 1";
    if let Ok(Some(row)) = sqlx::raw_sql(last).fetch_optional(session).await
        && let Ok(ahead) = row.try_get::<f64, _>("ahead")
        && ahead > arguments.clock_offset.as_secs_f64()
    {
        findings.push(Finding::warning(
            "clock.back",
            format!("the latest record lies {ahead:.0} s ahead of the database's clock, which was set back"),
            "nothing is lost: until the clock has caught up a user's records keep the time of the user's last one; let NTP \
             slew the clock instead of setting it",
        ));
    }
    findings
}

/// The database answered somewhere between `before` and `after`: only what no such moment explains is an offset.
fn offset(before: DateTime<Utc>, now: DateTime<Utc>, after: DateTime<Utc>, allowed: Duration) -> Finding {
    let (apart, direction) = if now > after { (now - after, "ahead of") } else { (before - now, "behind") };
    let apart = apart.max(TimeDelta::zero()).to_std().unwrap_or_default();
    if apart > allowed {
        Finding::warning(
            "clock",
            format!("the database's clock is {apart:.1?} {direction} this machine's"),
            "let NTP keep both (timedatectl set-ntp true): tokens expire by this machine's clock, records are dated by the \
             database's",
        )
    } else {
        Finding::ok("clock", format!("this machine's and the database's are at most {allowed:?} apart"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_not_known_yet_is_told() {
        assert_eq!(known("18.1", 18).remedy, None);
        assert!(known("19beta1", 19).what.starts_with("PostgreSQL 19beta1"));
        assert!(known("19beta1", 19).remedy.is_some());
    }

    #[test]
    fn the_time_that_the_question_took_is_no_offset() {
        let at = |ms: i64| DateTime::from_timestamp_millis(1_000_000 + ms).unwrap();
        let check =
            |before, now, after| offset(at(before), at(now), at(after), Duration::from_secs(1)).remedy.is_some();
        assert!(!check(0, 0, 5_000) && !check(0, 5_000, 5_000) && !check(0, 5_900, 5_000) && !check(0, -900, 5_000));
        assert!(check(0, 6_100, 5_000) && check(0, -1_100, 5_000));
    }
}
