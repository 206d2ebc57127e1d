//! The embedded PostgreSQL: a private cluster in the data directory, reached by a Unix socket only. It is started with
//! the server, watched and started again when it ends, and stopped with it; one that a killed server left running is
//! taken over.
//!
//! `binaries.rs` finds the programs, `account.rs` says who runs them, `folder.rs` keeps the data directory,
//! `postmaster.rs` is one run of PostgreSQL. To give every embedded cluster a setting, add it there in `settings`.

mod account;
mod binaries;
mod folder;
mod postmaster;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::config::DataDirConfig;

use self::{account::Account, binaries::Binaries, folder::Folder, postmaster::Postmaster};
use super::error::{StartError, one_line};

/// Superuser and database of the embedded cluster.
const NAME: &str = "taskwire";
/// The socket is alone in its folder, so the port is a mere name.
const PORT: u16 = 5432;
/// What a clean end may take before it is cut short, unless somebody has less time.
const CLEAN_END: Duration = Duration::from_secs(8);

/// Hears that the end is wanted, and how long it may take.
type Stop = watch::Receiver<Option<Duration>>;

/// How to run an embedded cluster.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The data directory; the cluster lies in a folder below it.
    pub data_dir: DataDirConfig,
    /// Whether what is committed outlives a power cut. Only tests do without.
    pub durable: bool,
    /// PostgreSQL's `max_connections`.
    pub max_connections: u32,
}

impl ClusterOptions {
    /// A durable cluster in this data directory.
    #[must_use]
    pub fn new(data_dir: DataDirConfig) -> Self {
        Self { data_dir, durable: true, max_connections: 100 }
    }
}

/// Everything that a run of PostgreSQL needs to know.
#[derive(Debug)]
struct Place {
    folder: Folder,
    socket: PathBuf,
    binaries: Binaries,
    account: Option<Account>,
    durable: bool,
    max_connections: u32,
}

impl Place {
    fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket)
            .port(PORT)
            .username(NAME)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
            .disable_statement_logging()
    }
}

/// The socket's folder goes with its user. Where a postmaster is still there, its socket keeps the folder.
impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.socket);
    }
}

/// A running embedded cluster. Dropped instead of stopped it ends as well, but nobody waits for it.
#[derive(Debug)]
pub struct Cluster {
    place: Arc<Place>,
    pid: watch::Receiver<Option<u32>>,
    /// How long the end may take, once it is wanted. Dropped, it is wanted as well.
    stop: watch::Sender<Option<Duration>>,
    watcher: JoinHandle<()>,
}

impl Cluster {
    /// Starts the cluster of a data directory, and makes it first where there is none.
    pub async fn start(options: ClusterOptions) -> Result<Self, StartError> {
        let wanted = &options.data_dir;
        let account = Account::for_cluster(&wanted.path.join("postgres"))?;
        let path = folder::resolve(&wanted.path, wanted.chosen, account.as_ref())?;
        // The default may have given way to another folder, which may have an owner.
        let account = Account::for_cluster(&path.join("postgres"))?;
        // Before the folder is touched: without programs nothing is to be changed.
        let made_by = fs::read_to_string(path.join("postgres/PG_VERSION")).ok();
        let binaries = Binaries::find(made_by.as_deref().map(str::trim), &path.join("postgres"))?;
        let folder = Folder::open(&path, account.as_ref())?;
        if let Err(error) = folder.check(account.as_ref()) {
            folder.undo();
            return Err(error);
        }
        if folder.made_by().is_none()
            && let Err(error) = make(&folder, &binaries, account.as_ref(), options.durable).await
        {
            folder.undo();
            return Err(error);
        }
        let place = Arc::new(Place {
            socket: folder.socket_folder(account.as_ref())?,
            folder,
            binaries,
            account,
            durable: options.durable,
            max_connections: options.max_connections,
        });
        let (stop, mut stop_seen) = watch::channel(None);
        let Some(postmaster) = Postmaster::start(&place, &mut stop_seen).await? else {
            return Err(StartError::Embedded { cause: "it was stopped".into(), log: place.folder.log() });
        };
        if let Err(error) = prepare(&place).await {
            postmaster.stop(CLEAN_END).await;
            return Err(error);
        }
        let (pid, pid_seen) = watch::channel(Some(postmaster.pid()));
        let watcher = tokio::spawn(watch_over(postmaster, Arc::clone(&place), pid, stop_seen));
        Ok(Self { place, pid: pid_seen, stop, watcher })
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        url_of(&self.place.socket, database)
    }

    /// How to connect to one of its databases.
    #[must_use]
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        self.place.options(database)
    }

    /// The name of Taskwire's own database in it.
    #[must_use]
    pub fn database(&self) -> &'static str {
        NAME
    }

    /// What to type to get in.
    #[must_use]
    pub fn psql_command(&self) -> String {
        format!("psql -h {} -p {PORT} -U {NAME} {NAME}", self.place.socket.display())
    }

    /// The data directory that it is in.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.place.folder.path()
    }

    /// The process of the postmaster; none while it is being started again.
    #[must_use]
    pub fn postmaster_pid(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    /// The process of the postmaster, to wait for its changes.
    #[must_use]
    pub fn postmaster(&self) -> watch::Receiver<Option<u32>> {
        self.pid.clone()
    }

    /// Stops it cleanly and waits for it.
    pub async fn stop(self) {
        self.stop_within(CLEAN_END).await;
    }

    /// The same for somebody who has less time: after `patience` it is cut short, which loses nothing, but makes the
    /// next start longer.
    pub async fn stop_within(self, patience: Duration) {
        self.stop.send_replace(Some(patience));
        if let Err(error) = self.watcher.await {
            tracing::error!(%error, "the watch over the embedded PostgreSQL failed");
        }
    }
}

/// An embedded cluster as somebody finds it who does not want to start it.
#[derive(Debug)]
pub struct Found {
    /// The data directory.
    pub path: PathBuf,
    /// Whether there is a cluster in it.
    pub is_made: bool,
    /// Where it answers, if it runs.
    pub url: Option<String>,
}

/// Looks for the cluster of a data directory; makes and starts nothing.
pub fn find(data_dir: &DataDirConfig) -> Result<Found, StartError> {
    let account = Account::for_cluster(&data_dir.path.join("postgres"))?;
    let path = folder::resolve(&data_dir.path, data_dir.chosen, account.as_ref())?;
    let is_made = path.join("postgres/PG_VERSION").exists();
    // Its first line is the process, the fifth the socket's folder.
    let told = fs::read_to_string(path.join("postgres/postmaster.pid")).unwrap_or_default();
    let lines: Vec<&str> = told.lines().map(str::trim).collect();
    let url = match lines[..] {
        [pid, _, _, _, socket, ..] if is_alive(pid) && !socket.is_empty() => Some(url_of(Path::new(socket), NAME)),
        _ => None,
    };
    Ok(Found { path, is_made, url })
}

fn is_alive(pid: &str) -> bool {
    let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

fn url_of(socket: &Path, database: &str) -> String {
    let socket = socket.display().to_string().replace('/', "%2F");
    format!("postgres://{NAME}@{socket}:{PORT}/{database}?sslmode=disable")
}

/// Tells a postmaster to end, for somebody who cannot wait for it.
pub fn tell_to_end(pid: u32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    }
}

/// Waits for the postmaster's end and starts the next one, until it is told to stop.
async fn watch_over(mut postmaster: Postmaster, place: Arc<Place>, pid: watch::Sender<Option<u32>>, mut stop: Stop) {
    loop {
        tokio::select! {
            patience = wanted(&mut stop) => {
                postmaster.stop(patience).await;
                pid.send_replace(None);
                return;
            }
            () = postmaster.ended() => {}
        }
        pid.send_replace(None);
        tracing::error!("the embedded PostgreSQL has ended; starting it again");
        let mut pause = Duration::from_millis(100);
        postmaster = loop {
            match again(&place, &mut stop).await {
                Ok(Some(next)) => break next,
                Ok(None) => return,
                Err(error) => tracing::error!(%error, "the embedded PostgreSQL does not start; trying again"),
            }
            tokio::select! {
                _ = wanted(&mut stop) => return,
                () = sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
            }
        };
        tracing::info!(pid = postmaster.pid(), "the embedded PostgreSQL runs again");
        pid.send_replace(Some(postmaster.pid()));
    }
}

/// Returns when the end is wanted, with the time that it may take.
async fn wanted(stop: &mut Stop) -> Duration {
    match stop.wait_for(Option::is_some).await {
        Ok(patience) => patience.unwrap_or(CLEAN_END),
        Err(_) => CLEAN_END,
    }
}

/// Starts it again. Somebody may have tidied up `/tmp` meanwhile.
async fn again(place: &Place, stop: &mut Stop) -> Result<Option<Postmaster>, StartError> {
    if !place.socket.exists() {
        place.folder.make_for(&place.socket, place.account.as_ref())?;
    }
    Postmaster::start(place, stop).await
}

/// Makes a cluster beside its place, and moves it there when it is whole.
async fn make(
    folder: &Folder,
    binaries: &Binaries,
    account: Option<&Account>,
    durable: bool,
) -> Result<(), StartError> {
    let unfinished = folder.unfinished();
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(|error| folder::trouble(folder.path(), &error))?;
    }
    tracing::info!(folder = %folder.path().display(), version = binaries.major, "making the embedded PostgreSQL");
    folder.make_for(&unfinished, account)?;
    let mut command = postmaster::program(&binaries.program("initdb"), account);
    command.arg("--pgdata").arg(&unfinished).args([
        "--username",
        NAME,
        "--auth=trust",
        "--encoding=UTF8",
        "--no-locale",
        "--data-checksums",
        "--no-instructions",
    ]);
    if !durable {
        command.arg("--no-sync");
    }
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await;
    let output = output.map_err(|error| folder::trouble(folder.path(), &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(if said.contains("No space left on device") {
            StartError::DiskFull { path: folder.path().to_owned() }
        } else {
            StartError::Embedded { cause: postmaster::complaint(&said), log: folder.log() }
        });
    }
    // There is no TCP port, and nobody but us gets at the socket.
    fs::write(unfinished.join("pg_hba.conf"), "local all all trust\nlocal replication all trust\n")
        .and_then(|()| fs::rename(&unfinished, folder.cluster()))
        .map_err(|error| folder::trouble(folder.path(), &error))
}

/// Makes our database, where it is missing.
async fn prepare(place: &Place) -> Result<(), StartError> {
    let trouble =
        |error: sqlx::Error| StartError::Embedded { cause: one_line(&error.to_string()), log: place.folder.log() };
    let mut session = place.options("postgres").connect().await.map_err(trouble)?;
    let found: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
        .bind(NAME)
        .fetch_optional(&mut session)
        .await
        .map_err(trouble)?;
    if found.is_none() {
        session.execute(AssertSqlSafe(format!("CREATE DATABASE {NAME}"))).await.map_err(trouble)?;
    }
    let _ = session.close().await;
    let mut session = place.options(NAME).connect().await.map_err(trouble)?;
    let extension = session.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await;
    if let Err(error) = extension {
        tracing::debug!(%error, "no pg_stat_statements");
    }
    let _ = session.close().await;
    Ok(())
}
