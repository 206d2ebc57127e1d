//! What goes on in the database: whether notifications come through, who holds an old snapshot, which slots keep WAL.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::time::timeout;

use super::{DoctorArgs, finding::Finding};

/// What a notification may take; it needs a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a notification arrives that is sent over another connection. Behind a pooler in transaction mode none does: LISTEN
/// stays with the pooler's connection, which is somebody else's a moment later.
pub(super) async fn listen(options: &PgConnectOptions, setting: &str) -> Finding {
    match notified(options).await {
        Ok(true) => Finding::ok("listen", "notifications arrive"),
        Ok(false) => Finding::error(
            "listen",
            format!(
                "no notification arrives by {setting} ({PATIENCE:?} waited): there is a pooler in transaction mode"
            ),
            "name PostgreSQL itself or a pooler with pool_mode = session: the feed listens, and LISTEN does not work in \
             transaction or statement mode. (Until then only the check of --feed-check-interval finds what is new.)",
        ),
        Err(error) => Finding::unanswered("listen", &error),
    }
}

async fn notified(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let channel = format!("taskwire_doctor_{:016x}", fastrand::u64(..));
    let pool =
        PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE * 2).connect_with(options.clone()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(&channel).await?;
    let mut other = options.connect().await?;
    match sqlx::raw_sql(AssertSqlSafe(format!("NOTIFY {channel}"))).execute(&mut other).await {
        // It came, but to this one: both share the pooler's connection that listens.
        Err(sqlx::Error::Protocol(_)) => return Ok(false),
        sent => _ = sent?,
    }
    let heard = timeout(PATIENCE, listener.try_recv()).await;
    // Whether the good-bye arrives does not matter.
    let _ = other.close().await;
    match heard {
        Ok(Ok(Some(_))) => Ok(true),
        Ok(Ok(None)) | Err(_) => Ok(false),
        Ok(Err(error)) => Err(error),
    }
}

/// The oldest transaction of this database, prepared ones too: what it may still see cannot be cleaned up.
const OLDEST: &str = "
    SELECT what, remedy, extract(epoch FROM clock_timestamp() - since)::float8 AS seconds FROM (
        SELECT format('process %s (role %s, %s, %s)', pid, usename, coalesce(nullif(application_name, ''), 'no name'), state)
                   AS what, format('SELECT pg_terminate_backend(%s)', pid) AS remedy, xact_start AS since
        FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
          AND backend_type = 'client backend'
        UNION ALL
        SELECT format('the prepared transaction %L', gid), format('ROLLBACK PREPARED %L', gid), prepared
        FROM pg_prepared_xacts WHERE database = current_database()
    ) AS open ORDER BY since LIMIT 1";

const SLOTS: &str = "
    SELECT slot_name::text AS name, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) AS kept
    FROM pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL ORDER BY restart_lsn";

/// Who holds up cleaning.
pub(super) async fn look(session: &mut PgConnection, arguments: &DoctorArgs) -> Vec<Finding> {
    let mut findings =
        vec![oldest(session, arguments).await.unwrap_or_else(|error| Finding::unanswered("snapshot", &error))];
    match slots(session).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(Finding::unanswered("slots", &error)),
    }
    findings
}

async fn oldest(session: &mut PgConnection, arguments: &DoctorArgs) -> Result<Finding, sqlx::Error> {
    let Some(row) = sqlx::raw_sql(OLDEST).fetch_optional(session).await? else {
        return Ok(Finding::ok("snapshot", "no transaction is open"));
    };
    let seconds: f64 = row.try_get("seconds")?;
    Ok(if seconds < arguments.snapshot_age.as_secs_f64() {
        Finding::ok("snapshot", format!("the oldest transaction is {seconds:.1} s old"))
    } else {
        Finding::warning(
            "snapshot",
            format!(
                "{} has held a transaction open for {seconds:.0} s: meanwhile nothing is cleaned up, and busy users' saves \
                 get slower",
                row.try_get::<String, _>("what")?
            ),
            format!("end it where it runs, or here: {}", row.try_get::<String, _>("remedy")?),
        )
    })
}

async fn slots(session: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let mut findings = Vec::new();
    for row in sqlx::raw_sql(SLOTS).fetch_all(session).await? {
        let (name, kept): (String, String) = (row.try_get("name")?, row.try_get("kept")?);
        findings.push(Finding::warning(
            "slots",
            format!("nobody reads the replication slot {name}: PostgreSQL keeps {kept} of WAL for it, and ever more"),
            format!("start its standby again, or SELECT pg_drop_replication_slot('{}')", name.replace('\'', "''")),
        ));
    }
    Ok(findings)
}
