//! Starts that fail: one line with the remedy, exit code 2, nothing changed.

use std::{collections::BTreeSet, fs, net::TcpListener, path::Path, process::Command};

use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Executor, Row};
use tokio::process::Command as TokioCommand;

use crate::support::{
    Folder, TestDatabase,
    cluster::cluster,
    is_root, left_out,
    process::{PROGRAM, Server, as_nobody, run, taskwire},
    set_mode,
};

/// Runs it and expects a refusal; returns its one line.
async fn refused(command: TokioCommand) -> String {
    let (code, stdout, stderr) = run(command).await;
    assert_eq!(code, Some(2), "{stdout}{stderr}");
    assert_eq!(stdout, "");
    let line = stderr.strip_prefix("taskwire: ").and_then(|line| line.strip_suffix('\n'));
    let line = line.unwrap_or_else(|| panic!("not one line: {stderr:?}"));
    assert!(!line.contains('\n'), "more than one line: {stderr:?}");
    line.to_owned()
}

fn serve(data: &Path) -> TokioCommand {
    serve_by(&[], data)
}

fn serve_by(by: &[String], data: &Path) -> TokioCommand {
    let mut command = taskwire(by, ["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(data);
    command
}

fn serve_on(url: &str) -> TokioCommand {
    taskwire(&[], ["serve", "--listen", "127.0.0.1:0", "--database-url", url])
}

/// Every relation, function, role and migration of a database.
async fn contents(database: &TestDatabase) -> BTreeSet<String> {
    let mut session = database.session().await;
    let rows = session
        .fetch_all(
            "SELECT 'relation ' || oid::regclass || relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
             UNION ALL SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn listing(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(listing(&path));
        }
        found.insert(path.display().to_string());
    }
    found
}

#[tokio::test]
async fn a_taken_port() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = taskwire(&[], ["serve", "--listen", &address, "--data-dir"]);
    command.arg(folder.join("data"));
    let line = refused(command).await;
    assert!(line.contains(&address) && line.contains("--listen"), "{line}");
    assert!(listing(folder.path()).is_empty(), "something was made");

    let mut command = taskwire(&[], ["--insecure", "--listen", "203.0.113.1:80", "--data-dir"]);
    command.arg(folder.join("data"));
    let line = refused(command).await;
    assert!(line.contains("203.0.113.1:80") && line.contains("--listen"), "{line}");
    assert!(listing(folder.path()).is_empty(), "something was made");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written() {
    let folder = Folder::new();
    fs::write(folder.join("file"), "").unwrap();
    let before = listing(folder.path());
    for path in ["file", "file/data"] {
        let line = refused(serve(&folder.join(path))).await;
        assert!(line.contains("cannot be written") && line.contains("--data-dir"), "{line}");
    }
    assert_eq!(listing(folder.path()), before);

    let by = if is_root() { as_nobody(folder.path()) } else { Vec::new() };
    set_mode(folder.path(), 0o555);
    let before = listing(folder.path());
    let line = refused(serve_by(&by, &folder.join("data"))).await;
    assert!(line.contains("Permission denied") && line.contains("--data-dir"), "{line}");
    assert_eq!(listing(folder.path()), before);
    set_mode(folder.path(), 0o755);
}

#[tokio::test]
async fn a_folder_of_another_user() {
    if !is_root() {
        return left_out("only root has folders of several users");
    }
    let folder = Folder::new();
    let data = folder.join("data");
    assert_eq!(Server::start(&data).await.interrupt().await, Some(0));
    fs::remove_file(data.join("lock")).unwrap();
    set_mode(&data, 0o777);
    let line = refused(serve_by(&as_nobody(folder.path()), &data)).await;
    assert!(line.contains("another user") && line.contains("--data-dir"), "{line}");
}

#[tokio::test]
async fn a_closed_folder_above() {
    if !is_root() {
        return left_out("only root lends PostgreSQL to another user, who may meet a closed folder");
    }
    let folder = Folder::new();
    let closed = folder.join("closed");
    fs::create_dir(&closed).unwrap();
    set_mode(&closed, 0o700);
    let before = listing(folder.path());
    let line = refused(serve(&closed.join("below/data"))).await;
    assert!(line.contains(&format!("{} is closed", closed.display())), "{line}");
    assert!(line.contains("/var/lib/taskwire"), "{line}");
    assert_eq!(listing(folder.path()), before);
}

#[tokio::test]
async fn a_folder_in_use() {
    let folder = Folder::new();
    let data = folder.join("data");
    let server = Server::start(&data).await;
    let line = refused(serve(&data)).await;
    assert!(line.contains(&format!("in use by another Taskwire server (process {})", server.pid())), "{line}");
    assert!(server.answers().await);
    assert_eq!(server.interrupt().await, Some(0));
    // The lock goes with its holder, not with the file.
    let server = Server::start(&data).await;
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_full_disk() {
    let folder = Folder::new();
    let disk = folder.join("disk");
    fs::create_dir(&disk).unwrap();
    let Some(small) = Mount::new(&disk, "8m") else {
        return left_out("no right to mount a small disk");
    };
    let line = refused(serve(&disk.join("data"))).await;
    assert!(line.contains("is full") && line.contains("--data-dir"), "{line}");
    assert!(listing(&disk).is_empty(), "something was made");
    drop(small);
    // Too small for what initdb makes: refused before it has begun.
    let medium = Mount::new(&disk, "80m").unwrap();
    let line = refused(serve(&disk.join("data"))).await;
    assert!(line.contains("is full") && line.contains("100 MiB"), "{line}");
    assert!(listing(&disk).is_empty(), "something was made");
    drop(medium);

    let _large = Mount::new(&disk, "120m").unwrap();
    let data = disk.join("data");
    assert_eq!(Server::start(&data).await.interrupt().await, Some(0));
    let filler = disk.join("filler");
    fs::write(&filler, vec![1; 200 << 20]).unwrap_err();
    let line = refused(serve(&data)).await;
    assert!(line.contains("is full") && line.contains("--data-dir"), "{line}");
    fs::remove_file(&filler).unwrap();
    assert_eq!(Server::start(&data).await.interrupt().await, Some(0));
}

/// A disk in memory.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(at: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size},mode=755");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        status.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn a_cluster_of_another_major_version() {
    let folder = Folder::new();
    let data = folder.join("data");
    fs::create_dir_all(data.join("postgres")).unwrap();
    fs::write(data.join("postgres/PG_VERSION"), "9\n").unwrap();
    let before = listing(folder.path());
    let line = refused(serve(&data)).await;
    assert!(line.contains("made by PostgreSQL 9") && line.contains("pg_upgrade"), "{line}");
    assert_eq!(listing(folder.path()), before);
}

#[tokio::test]
async fn something_else_in_the_clusters_place() {
    let folder = Folder::new();
    let data = folder.join("data");
    fs::create_dir_all(data.join("postgres")).unwrap();
    fs::write(data.join("postgres/letter"), "dear mother").unwrap();
    let before = listing(folder.path());
    let line = refused(serve(&data)).await;
    assert!(line.contains("cannot be written") && line.contains("--data-dir"), "{line}");
    assert_eq!(listing(folder.path()), before);
}

#[tokio::test]
async fn no_postgresql_installed() {
    let hide = "for folder in /usr/lib/postgresql /opt/homebrew /usr/local; do \
                    [ ! -d $folder ] || mount -t tmpfs tmpfs $folder || exit 99; done; exec \"$@\"";
    let allowed = Command::new("unshare").args(["-m", "sh", "-c", hide, "sh", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        return left_out("no right to hide PostgreSQL's programs from a process");
    }
    let folder = Folder::new();
    let by = ["unshare", "-m", "sh", "-c", hide, "sh", PROGRAM].map(str::to_owned);
    let line = refused(serve_by(&by, &folder.join("data"))).await;
    for remedy in ["apt install", "dnf install", "brew install", "--database-url"] {
        assert!(line.contains(remedy), "{line}");
    }
    assert!(listing(folder.path()).is_empty(), "something was made");
}

#[tokio::test]
async fn a_database_that_cannot_be_reached() {
    let line = refused(serve_on("postgres://me:secret@127.0.0.1:1/tasks")).await;
    assert!(line.contains("127.0.0.1:1/tasks") && line.contains("--database-url"), "{line}");
    assert!(!line.contains("secret"), "{line}");
    let line = refused(serve_on("postgres://me:secret@127.0.0.1:port/tasks")).await;
    assert!(line.contains("--database-url") && line.contains("postgres://"), "{line}");
    assert!(!line.contains("secret"), "{line}");
    let mut command = taskwire(&[], ["migrate"]);
    command.env("DATABASE_URL", "mysql://me:secret@localhost/tasks");
    let line = refused(command).await;
    assert!(line.contains("DATABASE_URL") && !line.contains("secret"), "{line}");
}

#[tokio::test]
async fn a_history_that_is_not_ours() {
    for (statement, what) in [
        ("CREATE TABLE task_history (id serial PRIMARY KEY, task_id text)", "TABLE named task_history"),
        ("CREATE VIEW task_history AS SELECT 1 AS id", "VIEW named task_history"),
        ("CREATE TABLE task (id serial PRIMARY KEY)", "TABLE named task "),
        (
            "CREATE TABLE taskwire_migration (version text PRIMARY KEY, applied_at bigint);
             INSERT INTO taskwire_migration VALUES ('m20200101_000001_shop', 0)",
            "TABLE named taskwire_migration",
        ),
    ] {
        let database = TestDatabase::empty().await;
        database.session().await.execute(statement).await.unwrap();
        let before = contents(&database).await;
        let line = refused(serve_on(&database.url)).await;
        assert!(line.contains(what) && line.contains("RENAME TO"), "{line}");
        assert_eq!(contents(&database).await, before);
    }
}

/// A name that is not looked for would end the start half-way, with PostgreSQL's words and no remedy.
#[tokio::test]
async fn every_name_that_we_take_is_looked_for() {
    let ours = "SELECT relname::text, relkind = 'S' FROM pg_class WHERE relnamespace = 'public'::regnamespace \
         AND relkind IN ('r', 'p', 'v', 'S') AND relname <> 'taskwire_migration' ORDER BY 1";
    let migrated = TestDatabase::new().await;
    let ours: Vec<(String, bool)> = sqlx::query_as(ours).fetch_all(&mut migrated.session().await).await.unwrap();
    assert!(ours.len() > 6, "{ours:?}");
    let database = TestDatabase::empty().await;
    let mut session = database.session().await;
    for (name, is_sequence) in ours {
        let (what, columns) = if is_sequence { ("SEQUENCE", "") } else { ("TABLE", "()") };
        session.execute(AssertSqlSafe(format!("CREATE {what} {name} {columns}"))).await.unwrap();
        let line = refused(serve_on(&database.url)).await;
        assert!(line.contains(&format!("{what} named {name} that")) && line.contains("RENAME TO"), "{line}");
        session.execute(AssertSqlSafe(format!("DROP {what} {name}"))).await.unwrap();
    }
}

#[tokio::test]
async fn a_schema_of_a_newer_build() {
    let database = TestDatabase::new().await;
    let step = "m29990101_000001_the_future";
    let sql = format!("INSERT INTO taskwire_migration VALUES ('{step}', 0)");
    database.session().await.execute(AssertSqlSafe(sql)).await.unwrap();
    let before = contents(&database).await;
    let line = refused(serve_on(&database.url)).await;
    assert!(line.contains("newer than this build") && line.contains(step), "{line}");
    assert_eq!(contents(&database).await, before);
}

#[tokio::test]
async fn a_role_without_rights() {
    let [empty, full] = [TestDatabase::empty().await, TestDatabase::new().await];
    let role = format!("visitor_{}", empty.name);
    empty.session().await.execute(AssertSqlSafe(format!("CREATE ROLE {role} LOGIN"))).await.unwrap();
    let url = |database: &TestDatabase| database.url.replace("taskwire@", &format!("{role}@"));

    let line = refused(serve_on(&url(&empty))).await;
    assert!(line.contains(&format!("GRANT CREATE ON SCHEMA public TO \"{role}\"")), "{line}");
    assert!(contents(&empty).await.is_empty());

    let line = refused(serve_on(&url(&full))).await;
    assert!(line.contains("taskwire_migration") && line.contains("GRANT"), "{line}");
    let sql = format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}");
    full.session().await.execute(AssertSqlSafe(sql)).await.unwrap();
    let line = refused(serve_on(&url(&full))).await;
    assert!(line.contains("does not own") && line.contains("GRANT"), "{line}");
    drop(full);
}

#[tokio::test]
async fn a_database_that_takes_no_writes_or_no_letters() {
    let database = TestDatabase::empty().await;
    let sql = format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name);
    database.session().await.execute(AssertSqlSafe(sql)).await.unwrap();
    let line = refused(serve_on(&database.url)).await;
    assert!(line.contains("takes no writes") && line.contains("primary"), "{line}");
    assert!(contents(&database).await.is_empty());

    let name = format!("latin_{}", database.name);
    let sql = format!("CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0");
    let other = TestDatabase::empty().await;
    other.session().await.execute(AssertSqlSafe(sql)).await.unwrap();
    let line = refused(serve_on(&cluster().cluster.url(&name))).await;
    assert!(line.contains("LATIN1") && line.contains("UTF8"), "{line}");
}

#[tokio::test]
async fn a_setting_that_cannot_be() {
    let line = refused(taskwire(&[], ["serve", "--max-connections", "2"])).await;
    assert_eq!(line, "--max-connections: must be 5 to 1000");
    let mut command = taskwire(&[], ["serve"]);
    command.env("DB_HOST", "localhost").env("DB_PORT", "five");
    let line = refused(command).await;
    assert!(line.starts_with("DB_PORT: "), "{line}");
}
