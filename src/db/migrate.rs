//! Migrations: looks before it changes anything, and changes it under an advisory lock on a connection of its own.

use std::time::{Duration, Instant};

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, DatabaseConnection, DbErr, FromQueryResult, Statement};
use sqlx::postgres::PgConnectOptions;

use super::{error::StartError, pool::reachable};

/// Any number that nobody else locks by: "taskwire" in ASCII.
const LOCK: i64 = i64::from_be_bytes(*b"taskwire");
/// How long to wait for another server that migrates.
const PATIENCE: Duration = Duration::from_mins(5);
/// What the steps make. Without our steps, a thing of such a name is somebody else's.
const OURS: [&str; 14] = [
    "task_history",
    "task_record",
    "task_record_before",
    "task_record_after",
    "task_record_id",
    "task",
    "task_order",
    "feed_head",
    "task_inbox",
    "user_control",
    "server_heartbeat",
    "report_clock",
    "maintenance_lease",
    "storage_upkeep",
];
/// The same of partitions.
const WEEK: &str = "^task_record_[0-9]{8}$";

#[derive(FromQueryResult)]
struct Facts {
    version: String,
    version_num: i32,
    encoding: String,
    read_only: bool,
    role: String,
    database: String,
    may_create: bool,
    has_steps: bool,
}

#[derive(FromQueryResult)]
struct Relation {
    relname: String,
    relkind: String,
    is_own: bool,
}

#[derive(FromQueryResult)]
struct Step {
    version: String,
}

#[derive(FromQueryResult)]
struct Locked {
    locked: bool,
}

/// Brings the schema up to this build. Refuses, with nothing changed, a database that is not fit for it.
/// `setting` is what named the database, for the message when it does not answer.
/// Safe when several servers start at once: they do it one after the other. Returns how many steps it took.
pub async fn migrate(options: &PgConnectOptions, setting: &str) -> Result<usize, StartError> {
    reachable(options, setting).await?;
    // Looking needs no lock, and a refusal has to be quick even while somebody holds it.
    let session = session(options).await?;
    let result = match check(&session).await {
        Ok(0) => Ok(0),
        Ok(_) => up_under_lock(&session).await,
        Err(error) => Err(error),
    };
    close(session).await;
    result
}

/// Whether the database is fit for this build, and how many steps a start would take; changes nothing.
pub async fn look(options: &PgConnectOptions) -> Result<usize, StartError> {
    let session = session(options).await?;
    let result = check(&session).await;
    close(session).await;
    result
}

/// Takes `steps` steps back, or all of them. For tests and for people who know what they lose.
pub async fn down(options: &PgConnectOptions, steps: Option<u32>) -> Result<(), StartError> {
    let session = session(options).await?;
    let result = async {
        lock(&session).await?;
        Migrator::down(&session, steps).await.map_err(StartError::from)
    }
    .await;
    close(session).await;
    result
}

/// Whether all steps of this build have been taken there. What a newer one has taken beside them does not count.
pub async fn is_migrated(connection: &DatabaseConnection) -> Result<bool, DbErr> {
    let sql = "SELECT version FROM public.taskwire_migration";
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let taken = Step::find_by_statement(statement).all(connection).await?;
    Ok(Migrator::migrations().iter().all(|step| taken.iter().any(|taken| taken.version == step.name())))
}

async fn up_under_lock(session: &DatabaseConnection) -> Result<usize, StartError> {
    lock(session).await?;
    // Somebody may have done it meanwhile.
    let pending = check(session).await?;
    if pending > 0 {
        Migrator::up(session, None).await?;
    }
    Ok(pending)
}

/// A pool of one, so that every statement has the session that holds the lock.
async fn session(options: &PgConnectOptions) -> Result<DatabaseConnection, StartError> {
    let options = options.clone().options([("idle_in_transaction_session_timeout", "0"), ("statement_timeout", "0")]);
    let mut settings = ConnectOptions::new("postgres://");
    settings
        .min_connections(1)
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(move |_| options.clone());
    Ok(sea_orm::Database::connect(settings).await?)
}

/// Ends the session, and with it the lock.
async fn close(session: DatabaseConnection) {
    if let Err(error) = session.close().await {
        tracing::debug!(%error, "the migration's session did not close well");
    }
}

/// Tries again and again instead of waiting inside the server: a waiting statement would hold a snapshot.
async fn lock(session: &DatabaseConnection) -> Result<(), StartError> {
    let since = Instant::now();
    let mut told = false;
    loop {
        let sql = format!("SELECT pg_try_advisory_lock({LOCK}) AS locked");
        if one::<Locked>(session, sql).await?.is_some_and(|row| row.locked) {
            return Ok(());
        }
        if since.elapsed() > PATIENCE {
            return Err(StartError::MigrationLocked { seconds: PATIENCE.as_secs() });
        }
        if !told {
            tracing::info!("another server is changing the schema; waiting for it");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether this database is fit for us; reads only. Returns the number of steps to take.
async fn check(session: &DatabaseConnection) -> Result<usize, StartError> {
    let facts = one::<Facts>(
        session,
        "SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS version_num,
                current_setting('server_encoding') AS encoding,
                pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on' AS read_only,
                current_user::text AS role, current_database()::text AS database,
                coalesce(has_schema_privilege('public', 'CREATE'), false) AS may_create,
                to_regclass('public.taskwire_migration') IS NOT NULL AS has_steps",
    )
    .await?
    .ok_or_else(|| StartError::Database("it does not tell its version".into()))?;
    if facts.version_num < 150_000 {
        return Err(StartError::TooOld { found: facts.version });
    }
    if facts.read_only {
        return Err(StartError::ReadOnly);
    }
    if facts.encoding != "UTF8" {
        return Err(StartError::Encoding { found: facts.encoding });
    }

    let known: Vec<String> = Migrator::migrations().iter().map(|step| step.name().to_owned()).collect();
    let (ours, others): (Vec<String>, Vec<String>) =
        applied(session, &facts).await?.into_iter().partition(|step| known.contains(step));
    if let Some(step) = others.into_iter().max() {
        return Err(if ours.is_empty() {
            // Another program keeps its own steps in a table of this name.
            StartError::Foreign { what: "TABLE", name: "taskwire_migration".into() }
        } else {
            StartError::NewerSchema { step }
        });
    }
    relations(session, &facts, ours.is_empty()).await?;
    let pending = known.len() - ours.len();
    if pending > 0 && !facts.may_create {
        return Err(StartError::NoRights {
            remedy: format!("GRANT CREATE ON SCHEMA public TO {}", quoted(&facts.role)),
            role: facts.role,
            lacks: format!("may not create tables in schema public of database {}", facts.database),
        });
    }
    Ok(pending)
}

/// The steps that somebody has taken here.
async fn applied(session: &DatabaseConnection, facts: &Facts) -> Result<Vec<String>, StartError> {
    if !facts.has_steps {
        return Ok(Vec::new());
    }
    let rows = all::<Step>(session, "SELECT version FROM public.taskwire_migration").await;
    match rows {
        Ok(rows) => Ok(rows.into_iter().map(|row| row.version).collect()),
        Err(_) => Err(StartError::NoRights {
            remedy: format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}", quoted(&facts.role)),
            role: facts.role.clone(),
            lacks: "may not read the table taskwire_migration".into(),
        }),
    }
}

/// Whether what bears our names is ours, and we its owner (dividing partitions takes one).
async fn relations(session: &DatabaseConnection, facts: &Facts, is_empty: bool) -> Result<(), StartError> {
    let names = OURS.map(|name| format!("'{name}'")).join(", ");
    let relations = all::<Relation>(
        session,
        format!(
            "SELECT relname::text AS relname, relkind::text AS relkind, pg_has_role(relowner, 'USAGE') AS is_own
             FROM pg_class WHERE relnamespace = 'public'::regnamespace AND (relname IN ({names}) OR relname ~ '{WEEK}')
             ORDER BY relname <> 'task_history', relname"
        ),
    )
    .await?;
    for relation in relations {
        let is_view = relation.relkind == "v";
        if is_empty || (relation.relname == "task_history" && !is_view) {
            return Err(StartError::Foreign {
                what: match relation.relkind.as_str() {
                    "v" => "VIEW",
                    "m" => "MATERIALIZED VIEW",
                    "f" => "FOREIGN TABLE",
                    "S" => "SEQUENCE",
                    "i" | "I" => "INDEX",
                    _ => "TABLE",
                },
                name: relation.relname,
            });
        }
        if !relation.is_own {
            return Err(StartError::NoRights {
                role: facts.role.clone(),
                lacks: format!("does not own Taskwire's {}, which it has to divide and prune", relation.relname),
                remedy: format!(
                    "GRANT (the owner's role) TO {}, or name the owner's role in the URL",
                    quoted(&facts.role)
                ),
            });
        }
    }
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn one<T: FromQueryResult>(
    session: &DatabaseConnection,
    sql: impl Into<String>,
) -> Result<Option<T>, StartError> {
    let statement = Statement::from_string(session.get_database_backend(), sql);
    Ok(T::find_by_statement(statement).one(session).await?)
}

async fn all<T: FromQueryResult>(session: &DatabaseConnection, sql: impl Into<String>) -> Result<Vec<T>, StartError> {
    let statement = Statement::from_string(session.get_database_backend(), sql);
    Ok(T::find_by_statement(statement).all(session).await?)
}
