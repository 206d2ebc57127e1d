//! The PostgreSQL of a measurement: a cluster of its own, on a Unix socket, that writes as durably as one in production.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, Row as _};
use tokio::time::sleep;

use crate::Result;

/// Those that the specification names, then what every system here can do with.
const SETTINGS: [(&str, &str); 9] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "1GB"),
    ("max_wal_size", "8GB"),
    ("listen_addresses", ""),
    ("max_connections", "200"),
    ("timezone", "UTC"),
    ("unix_socket_permissions", "0777"),
];
/// Printed and kept with the results, set by us or not.
const TOLD: [&str; 12] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "max_connections",
    "autovacuum",
    "work_mem",
    "jit",
];

pub(crate) struct Cluster {
    postmaster: Child,
    /// The folder of its socket, and of its data.
    folder: tempfile::TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Result<Self> {
        let binaries = binaries()?;
        let folder = tempfile::Builder::new().prefix("taskwire-table-").tempdir()?;
        let account = account()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        if let Some((uid, gid)) = account {
            chown(folder.path(), Some(uid), Some(gid))?;
        }
        let program = |name: &str| {
            let mut command = Command::new(binaries.join(name));
            command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
            command.current_dir("/").stdin(Stdio::null());
            if let Some((uid, gid)) = account {
                command.uid(uid).gid(gid);
            }
            command
        };
        let data = folder.path().join("data");
        let made = program("initdb")
            .args(["--username=taskwire", "--auth=trust", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut command = program("postgres");
        command.arg("-D").arg(&data).arg("-k").arg(folder.path());
        for (name, value) in SETTINGS {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // A Ctrl-C reaches this program alone, which then ends it.
        let postmaster = command.stdout(log.try_clone()?).stderr(log).process_group(0).spawn()?;
        let mut cluster = Self { postmaster, folder };
        for _ in 0..600 {
            if cluster.session("postgres").await.is_ok() {
                return Ok(cluster);
            }
            if let Some(status) = cluster.postmaster.try_wait()? {
                let log = std::fs::read_to_string(cluster.folder.path().join("log"))?;
                return Err(format!("postgres ended with {status}: {log}").into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err("PostgreSQL does not answer".into())
    }

    pub(crate) fn socket(&self) -> &Path {
        self.folder.path()
    }

    /// For programs that take a URL.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://taskwire@localhost/{database}?host={}", self.folder.path().display())
    }

    pub(crate) async fn session(&self, database: &str) -> Result<PgConnection> {
        let options = PgConnectOptions::new_without_pgpass().socket(self.folder.path()).username("taskwire");
        Ok(options.database(database).ssl_mode(PgSslMode::Disable).connect().await?)
    }

    /// An empty database; one of this name from before is dropped.
    pub(crate) async fn database(&self, name: &str) -> Result<()> {
        let mut session = self.session("postgres").await?;
        session.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).await?;
        session.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        Ok(())
    }

    /// Without the databases of a row that is over: the next one may need the room.
    pub(crate) async fn clear(&self) -> Result<()> {
        let mut session = self.session("postgres").await?;
        let rows = session
            .fetch_all("SELECT datname::text FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'");
        for row in rows.await? {
            let name: String = row.try_get(0)?;
            session.execute(AssertSqlSafe(format!("DROP DATABASE \"{name}\" WITH (FORCE)"))).await?;
        }
        Ok(())
    }

    /// So that no round pays for the pages of the one before.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        self.session("postgres").await?.execute("CHECKPOINT").await?;
        Ok(())
    }

    pub(crate) async fn settings(&self) -> Result<BTreeMap<String, String>> {
        let mut session = self.session("postgres").await?;
        let mut told = BTreeMap::new();
        for name in TOLD {
            let row = sqlx::query("SELECT current_setting($1)").bind(name).fetch_one(&mut session).await?;
            told.insert(name.to_owned(), row.try_get(0)?);
        }
        Ok(told)
    }
}

impl Drop for Cluster {
    /// At once: nothing of it is kept.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg("-QUIT").arg(self.postmaster.id().to_string()).status();
        let _ = self.postmaster.wait();
    }
}

/// The folder of PATH that has `initdb` and `postgres`, else that of the newest version installed.
fn binaries() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = Vec::new();
    for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-"), ("/opt/homebrew/opt", "postgresql@")] {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u32>().ok());
            found.extend(number.map(|number| (number, entry.path().join("bin"))));
        }
    }
    found.sort();
    let mut folders = std::env::split_paths(&path).chain(found.into_iter().rev().map(|(_, folder)| folder));
    let both = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    folders.find(both).ok_or_else(|| "PostgreSQL's server programs are not installed: run scripts/setup".into())
}

/// PostgreSQL refuses root, so root lends it to another user: number and group.
fn account() -> Result<Option<(u32, u32)>> {
    if std::fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let number = |name: &str| {
        let fields: Vec<&str> = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|f| f[0] == name)?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    Ok(Some(number("postgres").or_else(|| number("nobody")).ok_or("no user to run PostgreSQL as")?))
}
