//! The looking itself, in its order: what needs no database, the way to it, whether it is fit for this build, and then
//! everything in it. What cannot be reached ends the looking, and says so.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection, PgConnection, Row, postgres::PgConnectOptions};
use tokio::time::timeout;

use crate::{
    clock::Clock,
    config::{Config, DatabaseSource},
    db::{self, Cluster, ClusterOptions, StartError, cluster},
};

use super::{
    DoctorArgs,
    finding::{Finding, Report},
    server, sessions, settings, tables,
};

/// What a connection may take.
const CONNECT: Duration = Duration::from_secs(15);
/// A server talks to its database many times for one request.
const SLOW: Duration = Duration::from_millis(5);

/// The way to the database.
struct Way {
    options: PgConnectOptions,
    setting: String,
    /// The embedded one, started for the looking.
    cluster: Option<Cluster>,
    /// Where the embedded one lies: on a disk of this machine.
    folder: Option<PathBuf>,
}

/// Looks at everything. `secrets` are the files of the settings that hold some.
pub async fn examine(config: &Config, secrets: &[PathBuf], clock: &Clock, arguments: &DoctorArgs) -> Report {
    let mut findings = settings::look(config, secrets);
    let way = match reach(config).await {
        Ok(way) => way,
        Err(finding) => {
            findings.push(finding);
            return Report::new(None, findings);
        }
    };
    let free = way.folder.as_ref().and_then(|folder| rustix::fs::statvfs(folder).ok());
    let free = free.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let place = db::place(&way.options);
    match connect(&way).await {
        Ok((mut session, took)) => {
            findings.push(latency(took));
            findings.extend(within(&mut session, &way, config, clock, arguments, free).await);
            // Whether the good-bye arrives does not matter.
            let _ = session.close().await;
        }
        Err(finding) => findings.push(finding),
    }
    if let Some(cluster) = way.cluster {
        cluster.stop().await;
    }
    Report::new(Some(format!("{place} (by {})", way.setting)), findings)
}

async fn within(
    session: &mut PgConnection,
    way: &Way,
    config: &Config,
    clock: &Clock,
    arguments: &DoctorArgs,
    free: Option<u64>,
) -> Vec<Finding> {
    let mut findings = listening(way, config).await;
    let fit = timeout(CONNECT, db::look(&way.options)).await;
    findings.push(match &fit {
        Ok(Ok(0)) => Finding::ok("schema", "up to date, and ours"),
        Ok(Ok(steps)) => Finding::note(
            "schema",
            format!("{steps} steps behind this build"),
            "nothing: the next start takes them, or `taskwire migrate`",
        ),
        Ok(Err(error)) => unfit(error),
        Err(_) => Finding::error("schema", "no answer within 15 s", "look who holds a lock: SELECT * FROM pg_locks"),
    });
    if matches!(fit, Ok(Err(StartError::TooOld { .. }))) {
        return findings;
    }
    findings.extend(server::look(session, config).await);
    findings.extend(server::clocks(session, clock, arguments).await);
    findings.extend(sessions::look(session, arguments).await);
    if is_made(session).await {
        findings.extend(tables::look(session, arguments, free).await);
    }
    findings
}

/// Whether notifications arrive, by each way that a server would listen.
async fn listening(way: &Way, config: &Config) -> Vec<Finding> {
    if config.nodes.listen_urls.is_empty() {
        return vec![sessions::listen(&way.options, &way.setting).await];
    }
    let mut findings = Vec::new();
    for url in &config.nodes.listen_urls {
        let primary = async { Ok(db::Hosts::parse(url, "--listen-url")?.primary().await?.clone()) };
        findings.push(match primary.await {
            Ok(options) => sessions::listen(&options, "--listen-url").await,
            Err(error) => unfit(&error),
        });
    }
    findings
}

/// Whether there are tables to look at.
async fn is_made(session: &mut PgConnection) -> bool {
    let sql = "SELECT count(*) = 3 FROM pg_class WHERE relnamespace = 'public'::regnamespace \
               AND relname IN ('task_record', 'task_order', 'feed_head') AND relkind IN ('r', 'p')";
    let row = sqlx::raw_sql(sql).fetch_one(session).await;
    row.and_then(|row| row.try_get(0)).unwrap_or(false)
}

/// Finds the database. An embedded one that does not run is started for the looking; one that was never made is not made.
async fn reach(config: &Config) -> Result<Way, Finding> {
    let (url, setting, cluster, folder) = match &config.database.url {
        DatabaseSource::Url { url, setting } => (url.clone(), setting.clone(), None, None),
        DatabaseSource::Embedded => {
            let found = cluster::find(&config.data_dir).map_err(|error| unfit(&error))?;
            let (url, cluster) = match found.url {
                Some(url) => (url, None),
                None if !found.is_made => {
                    return Err(Finding::note(
                        "connection",
                        format!("there is no embedded PostgreSQL in {} yet", found.path.display()),
                        "nothing: the first start makes it; or name a database by --database-url",
                    ));
                }
                None => {
                    let cluster = Cluster::start(ClusterOptions::new(config.data_dir.clone())).await;
                    let cluster = cluster.map_err(|error| unfit(&error))?;
                    (cluster.url(cluster.database()), Some(cluster))
                }
            };
            (url, "the embedded PostgreSQL".to_owned(), cluster, Some(found.path))
        }
    };
    let primary = async { Ok(db::Hosts::parse(&url, &setting)?.primary().await?.clone()) };
    match primary.await {
        Ok(options) => Ok(Way { options, setting, cluster, folder }),
        Err(error) => Err(unfit(&error)),
    }
}

/// A session, and what the quickest of some questions took.
async fn connect(way: &Way) -> Result<(PgConnection, Duration), Finding> {
    let attempt = async {
        let mut session = way.options.connect().await?;
        let mut quickest = Duration::MAX;
        for _ in 0..5 {
            let since = Instant::now();
            sqlx::raw_sql("SELECT 1").execute(&mut session).await?;
            quickest = quickest.min(since.elapsed());
        }
        Ok::<_, sqlx::Error>((session, quickest))
    };
    let cause = match timeout(CONNECT, attempt).await {
        Ok(Ok(connected)) => return Ok(connected),
        Ok(Err(error)) => error.to_string().replace('\n', " "),
        Err(_) => "no answer within 15 s".to_owned(),
    };
    let remedy = if cause.contains("startup parameter") {
        "there is a pgbouncer: set ignore_startup_parameters = extra_float_digits, options in its pgbouncer.ini"
            .to_owned()
    } else {
        format!("check that it runs, and the host, the user and the password in {}", way.setting)
    };
    Err(Finding::error("connection", format!("cannot connect to {}: {cause}", db::place(&way.options)), remedy))
}

fn latency(took: Duration) -> Finding {
    let what = format!("answers within {took:.1?}");
    if took < SLOW {
        Finding::ok("connection", what)
    } else {
        Finding::warning("connection.slow", what, "run the server near its database: each save asks it several times")
    }
}

/// Why a start would fail. Its text is the cause and, behind the last semicolon, the remedy.
fn unfit(error: &StartError) -> Finding {
    let check = match error {
        StartError::TooOld { .. } => "version",
        StartError::ReadOnly => "connection.read_only",
        StartError::Encoding { .. } => "encoding",
        StartError::Foreign { .. } => "schema.foreign",
        StartError::NewerSchema { .. } => "schema.newer",
        StartError::NoRights { .. } => "rights",
        StartError::NotWritable { .. }
        | StartError::Closed { .. }
        | StartError::DiskFull { .. }
        | StartError::OtherMajor { .. }
        | StartError::NoBinaries { .. }
        | StartError::Embedded { .. } => "embedded",
        _ => "connection",
    };
    let text = error.to_string();
    let (what, remedy) = text.rsplit_once("; ").unwrap_or((&text, "see docs/operations.md"));
    Finding::error(check, what, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one refusal that no PostgreSQL at hand provokes.
    #[test]
    fn a_version_that_is_too_old_is_refused() {
        let finding = unfit(&StartError::TooOld { found: "14.3".into() });
        assert_eq!(finding.check, "version");
        assert_eq!(finding.what, "the database is PostgreSQL 14.3, but Taskwire needs 15 or newer");
        assert_eq!(finding.remedy.as_deref(), Some("upgrade it, or name another one"));
    }
}
