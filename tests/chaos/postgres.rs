//! PostgreSQL as an operator runs it: clusters of their own, reached by a socket, with standbys by streaming replication.

use std::{
    fs::{self, OpenOptions},
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::{Signal, kill_process};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::{eventually, room::Room};

/// One cluster in a room of its own.
pub(crate) struct Node {
    room: Room,
}

/// A URL that names these, in this order.
pub(crate) fn url(nodes: &[&Node]) -> String {
    let hosts: Vec<_> = nodes.iter().map(|node| node.host()).collect();
    format!("postgres://taskwire@{}/taskwire?sslmode=disable", hosts.join(","))
}

impl Node {
    /// A primary with the schema in it.
    pub(crate) async fn primary() -> Self {
        let node = Self { room: Room::new().await };
        node.make_socket_folder();
        node.start().await;
        node
    }

    /// A standby, by the name that the primary knows it by.
    pub(crate) async fn standby_of(primary: &Self, name: &str) -> Self {
        let node = Self { room: Room::empty() };
        let (uid, gid) = primary.owner();
        fs::create_dir(node.room.data()).unwrap();
        chown(node.room.data(), Some(uid), Some(gid)).unwrap();
        let from = format!("host={} port=5432 user=taskwire application_name={name}", primary.socket().display());
        let copied = Command::new(program(&primary.cluster(), "pg_basebackup"))
            .args(["--checkpoint=fast", "--write-recovery-conf", "--no-sync", "--wal-method=stream", "--dbname", &from])
            .arg("--pgdata")
            .arg(node.cluster())
            .current_dir("/")
            .uid(uid)
            .gid(gid)
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        node.make_socket_folder();
        node.start().await;
        node
    }

    /// Starts it, and waits until it lets somebody in.
    pub(crate) async fn start(&self) {
        let cluster = self.cluster();
        let (uid, gid) = self.owner();
        let log = OpenOptions::new().create(true).append(true).open(self.room.data().join("postgres.log")).unwrap();
        let mut command = Command::new(program(&cluster, "postgres"));
        command.arg("-D").arg(&cluster);
        for setting in [
            "listen_addresses=",
            "port=5432",
            &format!("unix_socket_directories={}", self.socket().display()),
            "max_connections=100",
            "shared_buffers=32MB",
            "wal_receiver_status_interval=1",
            "wal_retrieve_retry_interval=100",
        ] {
            command.args(["-c", setting]);
        }
        let child = command
            .current_dir("/")
            .uid(uid)
            .gid(gid)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        // It ends by a signal; this collects it then.
        let mut child = child.unwrap();
        std::thread::spawn(move || child.wait());
        eventually("PostgreSQL lets somebody in", async || {
            let session = self.options().connect().await.ok()?;
            session.close().await.ok()
        })
        .await;
    }

    /// `kill -9` of every one of its processes.
    pub(crate) async fn kill(&self) {
        self.room.signal_postgres(Signal::KILL);
        self.is_gone().await;
    }

    /// Ends it well.
    pub(crate) async fn stop(&self) {
        kill_process(self.room.postmaster().expect("it does not run"), Signal::INT).unwrap();
        self.is_gone().await;
    }

    async fn is_gone(&self) {
        eventually("PostgreSQL ends", async || self.room.processes().is_empty().then_some(())).await;
    }

    /// Makes a primary of a standby.
    pub(crate) async fn promote(&self) {
        self.run("SELECT pg_promote()").await;
    }

    /// Runs a statement as its owner.
    pub(crate) async fn run(&self, sql: &str) {
        let mut session = self.psql().await;
        session.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        session.close().await.unwrap();
    }

    /// Asks it for a text, until it is the wanted one.
    pub(crate) async fn says(&self, wanted: &str, sql: &str) {
        let mut session = self.psql().await;
        eventually(&format!("{sql} is {wanted}"), async || {
            let said: Option<String> =
                sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_optional(&mut session).await.unwrap();
            (said.as_deref() == Some(wanted)).then_some(())
        })
        .await;
        session.close().await.unwrap();
    }

    /// Waits until so many servers listen to it: the last statement of a listener is LISTEN, or its ping.
    pub(crate) async fn has_listeners(&self, servers: usize) {
        let sql = "SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query = 'SELECT 1'";
        self.says(&servers.to_string(), sql).await;
    }

    pub(crate) async fn psql(&self) -> PgConnection {
        self.options().connect().await.unwrap()
    }

    /// Its data, for a copy of it while it is stopped.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.room.data().join("postgres")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.room.path().join("socket")
    }

    fn host(&self) -> String {
        format!("{}:5432", self.socket().display().to_string().replace('/', "%2F"))
    }

    fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.socket())
            .port(5432)
            .username("taskwire")
            .database("taskwire")
            .ssl_mode(PgSslMode::Disable)
    }

    fn make_socket_folder(&self) {
        let (uid, gid) = self.owner();
        fs::create_dir(self.socket()).unwrap();
        chown(self.socket(), Some(uid), Some(gid)).unwrap();
    }

    pub(crate) fn owner(&self) -> (u32, u32) {
        let folder = fs::metadata(self.cluster()).unwrap();
        (folder.uid(), folder.gid())
    }
}

/// A program of the version that made the cluster.
fn program(cluster: &Path, name: &str) -> PathBuf {
    let version = fs::read_to_string(cluster.join("PG_VERSION")).unwrap_or_default();
    let debian = PathBuf::from(format!("/usr/lib/postgresql/{}/bin", version.trim())).join(name);
    if debian.is_file() { debian } else { PathBuf::from(name) }
}
