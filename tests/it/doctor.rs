//! `taskwire doctor`: each of its findings provoked on a real PostgreSQL, by the real program.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use taskwire::{
    clock::Clock,
    config::{Config, DatabaseConfig, DatabaseSource},
    doctor::{DoctorArgs, examine},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixStream},
};

use crate::support::{
    Folder, TestDatabase,
    cluster::cluster,
    pgbouncer::Pgbouncer,
    process::{Server, run, taskwire},
    record, set_mode, store_of,
};

/// Few enough connections for the open files that a test is allowed.
const FEW: [&str; 2] = ["--http-connections", "100"];

/// What was found: the exit code and the report.
async fn doctor(arguments: &[&str]) -> (Option<i32>, Value) {
    let mut command = taskwire(&[], ["doctor", "--json"]);
    if !arguments.contains(&FEW[0]) {
        command.args(FEW);
    }
    command.args(arguments);
    let (code, out, errors) = run(command).await;
    let report = serde_json::from_str(&out).unwrap_or_else(|_| panic!("no JSON: {out}{errors}"));
    (code, report)
}

async fn of(database: &TestDatabase, arguments: &[&str]) -> (Option<i32>, Value) {
    doctor(&[&["--database-url", &database.url], arguments].concat()).await
}

/// The finding of this name, as `severity: what → remedy`; empty where there is none.
fn told(report: &Value, check: &str) -> String {
    let findings = report["findings"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = findings.iter().filter(|finding| finding["check"] == check);
    let lines = found.map(|finding| {
        let (severity, what, remedy) = (&finding["severity"], &finding["what"], &finding["remedy"]);
        format!("{}: {} → {}", text(severity), text(what), text(remedy))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Expects such a finding, its exit code, and these words in it.
#[track_caller]
fn expect(found: &(Option<i32>, Value), check: &str, severity: &str, words: &[&str]) {
    let told = told(&found.1, check);
    assert!(told.starts_with(&format!("{severity}: ")), "{check} {told:?} in {}", found.1);
    for word in words {
        assert!(told.contains(word), "{check}: no {word:?} in {told}");
    }
    if ["warning", "error"].contains(&severity) {
        assert_eq!(found.0, Some(1), "{}", found.1);
    }
}

async fn execute(session: &mut PgConnection, sql: impl Into<String>) {
    session.execute(AssertSqlSafe(sql.into())).await.unwrap();
}

#[tokio::test]
async fn a_healthy_server_gets_no_advice() {
    let folder = Folder::new();
    let data = folder.join("data");
    let data = data.to_str().unwrap();
    let at = ["--data-dir", data, "--embedded"];
    // Before the first start there is nothing to look at, and nothing is made.
    let found = doctor(&at).await;
    expect(&found, "connection", "note", &["no embedded PostgreSQL in", data, "the first start makes it"]);
    assert_eq!(found.0, Some(0));
    assert!(!Path::new(data).exists());

    let server = Server::start(Path::new(data)).await;
    let found = doctor(&at).await;
    assert_eq!(found.0, Some(0), "{}", found.1);
    let checks =
        ["configuration", "connection", "listen", "schema", "version", "durability", "connections", "extensions"];
    for check in checks.into_iter().chain(["clock", "snapshot", "partitions", "disk", "indexes", "upkeep"]) {
        expect(&found, check, "ok", &[]);
    }
    assert_eq!(found.1["worst"], "ok");
    // No growth leaves room for that long.
    let found = doctor(&[&at[..], &["--disk-ahead", "100000000000d"]].concat()).await;
    expect(&found, "disk", "warning", &["are wanted for", "make room"]);

    assert_eq!(server.interrupt().await, Some(0));
    // It is started for the look, and stopped again.
    let (code, text, _) = run(taskwire(&[], [&["doctor"], &at[..], &FEW].concat())).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("/taskwire (by the embedded PostgreSQL)") && text.ends_with("\nAll is well.\n"), "{text}");
    assert!(!Path::new(data).join("postgres/postmaster.pid").exists());
}

#[tokio::test]
async fn settings() {
    let folder = Folder::new();
    let found = doctor(&["--max-connections", "2"]).await;
    expect(&found, "configuration", "error", &["--max-connections: must be 5 to 1000", "config check"]);
    let path = folder.join("taskwire.toml");
    fs::write(&path, "max-dept = 3\nlisten = 1\n").unwrap();
    let found = doctor(&["--config", path.to_str().unwrap()]).await;
    expect(&found, "configuration", "error", &["taskwire.toml:1:1: max-dept", "taskwire.toml:2:1: listen"]);

    let database = TestDatabase::new().await;
    let found = of(&database, &["--insecure", "--listen", "0.0.0.0:8000"]).await;
    expect(&found, "configuration.open", "warning", &["nobody has to sign in", "--jwt-secret-file"]);
    let found = of(&database, &["--http-connections", "999999"]).await;
    expect(&found, "configuration.files", "warning", &["ulimit -n 1000123"]);

    let secret = folder.join("secret");
    fs::write(&secret, "s".repeat(48)).unwrap();
    fs::write(&path, format!("jwt-secret-file = '{}'\ndatabase-url = '{}'", secret.display(), database.url)).unwrap();
    for (mode, is_told) in [(0o644, true), (0o640, false)] {
        set_mode(&secret, mode);
        let found = doctor(&["--config", path.to_str().unwrap()]).await;
        let told = told(&found.1, "configuration.secret");
        assert_eq!(told.contains(&format!("chmod o= {}", secret.display())), is_told, "{}", found.1);
        assert!(!told.contains("taskwire.toml"), "a URL without a password is no secret: {told}");
    }
    let with_password = database.url.replace("taskwire@", "taskwire:x@");
    fs::write(&path, format!("database-url = '{with_password}'")).unwrap();
    set_mode(&path, 0o644);
    let found = doctor(&["--config", path.to_str().unwrap()]).await;
    expect(&found, "configuration.secret", "warning", &["taskwire.toml"]);
}

#[tokio::test]
async fn the_way_to_the_database() {
    let found = doctor(&["--database-url", "postgres://me:hunter2@127.0.0.1:1/tasks"]).await;
    expect(&found, "connection", "error", &["127.0.0.1:1/tasks", "--database-url"]);
    assert!(!found.1.to_string().contains("hunter2"));

    let database = TestDatabase::new().await;
    let url = slowly(&database).await;
    expect(&doctor(&["--database-url", &url]).await, "connection.slow", "warning", &["near its database"]);
}

/// A way to the database that takes 10 ms for each answer.
async fn slowly(database: &TestDatabase) -> String {
    let socket = cluster().cluster.connect_options(&database.name).get_socket().unwrap().join(".s.PGSQL.5432");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(async move {
                let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let mut buffer = vec![0; 64 << 10];
                while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    to_client.write_all(&buffer[..length]).await.unwrap();
                }
            });
        }
    });
    format!("postgres://taskwire@127.0.0.1:{port}/{}?sslmode=disable", database.name)
}

#[tokio::test]
async fn listening_through_a_pooler() {
    let database = TestDatabase::new().await;
    let ignoring = "ignore_startup_parameters = extra_float_digits, options";
    let through = async |mode: &str, settings: &str| {
        let pooler = Pgbouncer::start(mode, settings).await;
        doctor(&["--database-url", &pooler.url(&database.name)]).await
    };
    expect(&through("session", ignoring).await, "listen", "ok", &["notifications arrive"]);
    let found = through("transaction", ignoring).await;
    expect(&found, "listen", "error", &["--database-url", "a pooler in transaction mode", "pool_mode = session"]);
    let found = through("session", "").await;
    expect(&found, "connection", "error", &["pgbouncer", "ignore_startup_parameters = extra_float_digits, options"]);
}

#[tokio::test]
async fn what_is_no_database_for_us() {
    let database = TestDatabase::empty().await;
    let found = of(&database, &[]).await;
    expect(&found, "schema", "note", &["steps behind this build", "taskwire migrate"]);
    let mut session = database.session().await;
    execute(&mut session, "CREATE TABLE task (id int)").await;
    expect(&of(&database, &[]).await, "schema.foreign", "error", &["TABLE named task ", "rename it"]);
    execute(&mut session, format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name)).await;
    expect(&of(&database, &[]).await, "connection.read_only", "error", &["takes no writes", "name its primary"]);
    let latin = format!("latin_doctor_{}", database.name);
    execute(&mut session, "SET default_transaction_read_only = off").await;
    execute(&mut session, format!("CREATE DATABASE {latin} ENCODING 'LATIN1' TEMPLATE template0")).await;
    let found = doctor(&["--database-url", &cluster().cluster.url(&latin)]).await;
    expect(&found, "encoding", "error", &["LATIN1", "ENCODING 'UTF8'"]);
    execute(&mut session, format!("DROP DATABASE {latin}")).await;

    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    let role = format!("visitor_of_{}", database.name);
    execute(&mut session, format!("CREATE ROLE {role} LOGIN")).await;
    let visiting = database.url.replace("taskwire@", &format!("{role}@"));
    expect(&doctor(&["--database-url", &visiting]).await, "rights", "error", &["taskwire_migration", "GRANT"]);
    // The owner's rights without a superuser's view.
    execute(&mut session, format!("GRANT taskwire TO {role}")).await;
    let found = doctor(&["--database-url", &visiting]).await;
    expect(&found, "schema", "ok", &[]);
    expect(&found, "rights.statistics", "note", &[&role, "GRANT pg_read_all_stats TO"]);
    execute(&mut session, format!("REVOKE taskwire FROM {role}")).await;
    execute(&mut session, format!("DROP ROLE {role}")).await;

    execute(&mut session, "INSERT INTO taskwire_migration VALUES ('m29990101_000001_the_future', 0)").await;
    expect(&of(&database, &[]).await, "schema.newer", "error", &["m29990101_000001", "start the newer version"]);
}

#[tokio::test]
async fn what_postgresql_is_set_to() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    let found = of(&database, &[]).await;
    // The tests' own cluster does without.
    expect(&found, "durability", "error", &["fsync is off", "ALTER SYSTEM SET fsync = on"]);
    expect(&found, "extensions", "note", &["not made in this database", "CREATE EXTENSION"]);
    execute(&mut session, "CREATE EXTENSION pg_stat_statements").await;
    let name = &database.name;
    execute(&mut session, format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    execute(&mut session, format!("ALTER DATABASE {name} SET enable_indexscan = off")).await;
    execute(&mut session, format!("UPDATE pg_database SET datcollversion = '1.0' WHERE datname = '{name}'")).await;
    let found = of(&database, &["--max-connections", "1000"]).await;
    expect(&found, "extensions", "ok", &[]);
    expect(&found, "durability", "error", &["synchronous_commit is off"]);
    expect(&found, "indexes.off", "warning", &["enable_indexscan is off"]);
    expect(&found, "version.collation", "warning", &["REFRESH COLLATION VERSION"]);
    expect(&found, "connections", "error", &["a server wants 1006", "--max-connections"]);
    expect(&found, "disk", "note", &["the history takes", "a day", "the database's"]);
}

#[tokio::test]
async fn clocks() {
    let database = TestDatabase::new().await;
    let url = DatabaseSource::Url { url: database.url.clone(), setting: "the test".into() };
    let config = Config { database: DatabaseConfig { url, ..DatabaseConfig::default() }, ..Config::default() };
    let arguments = DoctorArgs {
        json: false,
        clock_offset: Duration::from_secs(1),
        snapshot_age: Duration::from_mins(5),
        disk_ahead: Duration::from_hours(24),
    };
    for (hours, direction) in [(-1, "ahead of"), (1, "behind")] {
        let clock = Clock::standing_at(chrono::Utc::now() + chrono::TimeDelta::hours(hours));
        let report = examine(&config, &[], &clock, &arguments).await;
        let finding = report.findings.iter().find(|finding| finding.check == "clock").unwrap();
        assert!(finding.what.contains(direction) && finding.what.contains("s "), "{finding:?}");
        assert!(finding.remedy.as_ref().unwrap().contains("NTP"), "{finding:?}");
        assert_eq!(report.code(), 1);
    }
    let report = examine(&config, &[], &Clock::system(), &arguments).await;
    assert!(report.findings.iter().any(|finding| finding.check == "clock" && finding.remedy.is_none()), "{report:?}");

    store_of(&database).save_batch(vec![record("anna", "import", 1)]).await.unwrap();
    let mut session = database.session().await;
    execute(&mut session, "UPDATE task_order SET updated_at = clock_timestamp() + interval '1 hour'").await;
    expect(&of(&database, &[]).await, "clock.back", "warning", &["s ahead of the database's clock", "NTP"]);
}

#[tokio::test]
async fn partitions() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    // As it is where no server has run for long.
    execute(
        &mut session,
        "DO $$ DECLARE p text; since text; BEGIN
             SELECT (regexp_match(pg_get_expr(relpartbound, oid), $re$TO \\('([^']+)'\\)$re$))[1] INTO since
             FROM pg_class WHERE relname = 'task_record_before';
             FOR p IN SELECT relname FROM pg_class WHERE relname ~ '^task_record_[0-9]+$' LOOP
                 EXECUTE format('DROP TABLE %I', p);
             END LOOP;
             ALTER TABLE task_record DETACH PARTITION task_record_after;
             EXECUTE format('ALTER TABLE task_record ATTACH PARTITION task_record_after '
                 'FOR VALUES FROM (%L) TO (MAXVALUE)', since);
         END $$",
    )
    .await;
    expect(&of(&database, &[]).await, "partitions.behind", "warning", &["the open last partition", "start a server"]);
    execute(&mut session, "SELECT taskwire_divide_partitions(now(), 1)").await;
    expect(&of(&database, &[]).await, "partitions", "ok", &["divided ahead"]);

    let name: String = sqlx::query_scalar(
        "SELECT 'task_record_' || to_char(date_trunc('week', now(), 'UTC') AT TIME ZONE 'UTC', 'YYYYMMDD')",
    )
    .fetch_one(&mut session)
    .await
    .unwrap();
    // Somebody's open transaction is in the way until the time is over.
    let mut holder = database.session().await;
    execute(&mut holder, "BEGIN; SELECT count(*) FROM task_record").await;
    execute(&mut session, "SET statement_timeout = '500ms'").await;
    let detach = format!("ALTER TABLE task_record DETACH PARTITION {name} CONCURRENTLY");
    session.execute(AssertSqlSafe(detach)).await.unwrap_err();
    let finalize = format!("ALTER TABLE task_record DETACH PARTITION {name} FINALIZE");
    expect(&of(&database, &[]).await, "partitions.detaching", "warning", &[&name, &finalize]);
    execute(&mut holder, "ROLLBACK").await;
    execute(&mut session, "RESET statement_timeout").await;
    // The remedy is one.
    execute(&mut session, finalize).await;

    execute(&mut session, "SELECT taskwire_divide_partitions(now(), 70)").await;
    let found = of(&database, &[]).await;
    expect(&found, "partitions.many", "warning", &["60 are well"]);
    assert_eq!(told(&found.1, "partitions.detaching"), "");
}

#[tokio::test]
async fn indexes() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    expect(&of(&database, &[]).await, "indexes", "ok", &["are there and in use"]);
    execute(&mut session, "DROP INDEX task_by_created").await;
    let remedy = "CREATE INDEX task_by_created ON task (created_at, user_id, task_id)";
    expect(&of(&database, &[]).await, "indexes.missing", "error", &["task_by_created is missing", remedy]);
    execute(&mut session, remedy).await;
    execute(&mut session, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'task_by_created'::regclass")
        .await;
    let found = of(&database, &[]).await;
    expect(&found, "indexes.invalid", "error", &["REINDEX INDEX CONCURRENTLY task_by_created"]);
    assert_eq!(told(&found.1, "indexes.missing"), "");
    execute(&mut session, "REINDEX INDEX CONCURRENTLY task_by_created").await;

    execute(&mut session, "INSERT INTO feed_head (user_id) SELECT 'user ' || n FROM generate_series(1, 20000) n").await;
    for _ in 0..101 {
        execute(&mut session, "SELECT count(position) FROM feed_head").await;
    }
    execute(&mut session, "SELECT pg_stat_force_next_flush()").await;
    let found = of(&database, &[]).await;
    expect(&found, "indexes.unused", "warning", &["feed_head was read from end to end", "ANALYZE feed_head"]);
    assert_eq!(told(&found.1, "indexes.invalid"), "");
}

#[tokio::test]
async fn upkeep() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    expect(&of(&database, &[]).await, "upkeep", "ok", &[]);
    execute(&mut session, "ALTER TABLE feed_head SET (autovacuum_enabled = false)").await;
    execute(&mut session, "INSERT INTO feed_head (user_id) SELECT 'user ' || n FROM generate_series(1, 60000) n").await;
    execute(&mut session, "DELETE FROM feed_head WHERE user_id > 'user 3'").await;
    execute(&mut session, "SELECT pg_stat_force_next_flush()").await;
    let found = of(&database, &[]).await;
    expect(&found, "upkeep.off", "warning", &["RESET (autovacuum_enabled)"]);
    expect(
        &found,
        "upkeep.behind",
        "warning",
        &["feed_head has 37777 dead rows and 22223 living ones", "VACUUM (ANALYZE) feed_head"],
    );
    expect(&found, "upkeep.unknown", "warning", &["never analysed", "ANALYZE feed_head"]);
    execute(&mut session, "ALTER TABLE feed_head RESET (autovacuum_enabled)").await;
    execute(&mut session, "VACUUM (ANALYZE) feed_head").await;
    execute(&mut session, "SELECT pg_stat_force_next_flush()").await;
    expect(&of(&database, &[]).await, "upkeep", "ok", &[]);
}

#[tokio::test]
async fn who_holds_up_cleaning() {
    let database = TestDatabase::new().await;
    let (mut session, mut holder) = (database.session().await, database.session().await);
    expect(&of(&database, &["--snapshot-age", "0s"]).await, "snapshot", "ok", &["no transaction is open"]);
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut holder).await.unwrap();
    execute(&mut holder, "SET application_name = 'somebody'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await;
    expect(&of(&database, &[]).await, "snapshot", "ok", &["the oldest transaction is"]);
    let found = of(&database, &["--snapshot-age", "0s"]).await;
    let remedy = format!("SELECT pg_terminate_backend({pid})");
    expect(&found, "snapshot", "warning", &["somebody, idle in transaction", &remedy]);
    execute(&mut session, remedy).await;

    let slot = format!("standby_{}", database.name);
    execute(&mut session, format!("SELECT pg_create_physical_replication_slot('{slot}', true)")).await;
    let found = of(&database, &[]).await;
    let remedy = format!("SELECT pg_drop_replication_slot('{slot}')");
    expect(&found, "slots", "warning", &[&format!("the replication slot {slot}"), &remedy]);
    execute(&mut session, remedy).await;
}
