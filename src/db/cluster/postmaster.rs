//! One run of PostgreSQL: started, or found running and adopted; waited for, and ended.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command as StdCommand, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::super::error::{StartError, one_line};
use super::{PORT, Place, Stop, account::Account, folder::trouble, wanted};

/// How often we look whether it answers, or whether it is gone.
const LOOK: Duration = Duration::from_millis(20);
/// The log is begun anew at a start when it is longer than this.
const LOG_BYTES: u64 = 10 << 20;

/// A running postmaster. Dropped, it is told to end, so that a start given up half-way leaves nothing behind.
#[derive(Debug)]
pub(super) struct Postmaster {
    pid: Pid,
    /// None: somebody else started it.
    child: Option<Child>,
    is_over: bool,
}

/// How a start went wrong.
enum Failure {
    /// The children of a postmaster that was killed are still there; they end by themselves.
    NotYet(String),
    /// The library is not installed.
    NoStatistics,
    /// The end was wanted meanwhile, and has been reached.
    Unwanted,
    Final(StartError),
}

impl Postmaster {
    /// Adopts the one that runs in this cluster, or starts one; it answers when this returns. None: the end was
    /// wanted meanwhile, and whatever had been started has ended.
    pub(super) async fn start(place: &Place, stop: &mut Stop) -> Result<Option<Self>, StartError> {
        match adopt(place, stop).await {
            Ok(None) => {}
            Ok(Some(found)) => return Ok(Some(found)),
            Err(Failure::Final(error)) => return Err(error),
            Err(_) => return Ok(None),
        }
        let mut statistics = true;
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match Self::spawn(place, statistics, stop).await {
                Ok(started) => return Ok(Some(started)),
                Err(Failure::Unwanted) => return Ok(None),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::NoStatistics) if statistics => {
                    tracing::warn!("pg_stat_statements is not installed (postgresql-contrib); going on without it");
                    statistics = false;
                }
                Err(Failure::NotYet(_)) if Instant::now() < until => {
                    if timeout(Duration::from_millis(200), wanted(stop)).await.is_ok() {
                        return Ok(None);
                    }
                }
                Err(Failure::NotYet(cause)) => return Err(StartError::Embedded { cause, log: place.folder.log() }),
                Err(Failure::NoStatistics) => {
                    return Err(StartError::Embedded { cause: "a library is missing".into(), log: place.folder.log() });
                }
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Returns when it has ended.
    pub(super) async fn ended(&mut self) {
        match &mut self.child {
            Some(child) => {
                let _ = child.wait().await;
            }
            None => {
                while is_alive(self.pid) {
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        self.is_over = true;
    }

    /// Ends it: sessions are broken off, what they committed is written down. Where that takes longer than `patience`
    /// it is cut short, which loses nothing but makes the next start longer.
    pub(super) async fn stop(mut self, patience: Duration) {
        let short = Duration::from_millis(500);
        for (signal, patience) in [(Signal::INT, patience), (Signal::QUIT, short), (Signal::KILL, short)] {
            if kill_process(self.pid, signal).is_err() || timeout(patience, self.ended()).await.is_ok() {
                break;
            }
            tracing::warn!(?signal, "the embedded PostgreSQL is slow to end");
        }
        self.is_over = true;
    }

    async fn spawn(place: &Place, statistics: bool, stop: &mut Stop) -> Result<Self, Failure> {
        let file =
            open_log(&place.folder.log()).map_err(|error| Failure::Final(trouble(place.folder.path(), &error)))?;
        let log_from = file.metadata().map_or(0, |metadata| metadata.len());
        let cannot = |error: std::io::Error| {
            Failure::Final(StartError::Embedded { cause: one_line(&error.to_string()), log: place.folder.log() })
        };
        let mut command = program(&place.binaries.program("postgres"), place.account.as_ref());
        command.arg("-D").arg(place.folder.cluster());
        for (name, value) in settings(place, statistics) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command
            .stdout(file.try_clone().map_err(cannot)?)
            .stderr(file)
            // A Ctrl-C must reach the server alone, which finishes its writes first.
            .process_group(0);
        let child = Command::from(command).spawn().map_err(cannot)?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let Some(pid) = pid else {
            return Err(Failure::NotYet("it ended at once".into()));
        };
        let mut started = Self { pid, child: Some(child), is_over: false };
        tokio::select! {
            () = answers(place.options("postgres")) => Ok(started),
            () = started.ended() => Err(judge(place, log_from)),
            patience = wanted(stop) => {
                started.stop(patience).await;
                Err(Failure::Unwanted)
            }
        }
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = kill_process(self.pid, Signal::INT);
        }
    }
}

/// A program of PostgreSQL's, in nobody's environment but its own: the shell's `PGOPTIONS` or `LC_ALL` are not for it.
pub(super) fn program(path: &Path, account: Option<&Account>) -> StdCommand {
    let mut command = StdCommand::new(path);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
    // The other user may not be able to enter ours.
    command.current_dir("/").stdin(Stdio::null());
    Account::lend(account, &mut command);
    command
}

fn settings(place: &Place, statistics: bool) -> Vec<(&'static str, String)> {
    let on = |yes: bool| if yes { "on" } else { "off" }.to_owned();
    vec![
        ("listen_addresses", String::new()),
        ("port", PORT.to_string()),
        ("unix_socket_directories", place.socket.display().to_string()),
        ("unix_socket_permissions", "0700".into()),
        ("max_connections", place.max_connections.to_string()),
        ("shared_preload_libraries", if statistics { "pg_stat_statements".into() } else { String::new() }),
        ("fsync", on(place.durable)),
        ("full_page_writes", on(place.durable)),
        ("timezone", "UTC".into()),
        ("log_timezone", "UTC".into()),
        // A statement's error is told to who sent it; here we keep what concerns the whole.
        ("log_min_messages", "log".into()),
        ("log_checkpoints", "off".into()),
        ("logging_collector", "off".into()),
        ("log_destination", "stderr".into()),
    ]
}

/// Takes over the postmaster that a killed server left running. One that is about to end is waited for; what a dead one
/// left behind is removed.
async fn adopt(place: &Place, stop: &mut Stop) -> Result<Option<Postmaster>, Failure> {
    let file = place.folder.cluster().join("postmaster.pid");
    let text = fs::read_to_string(&file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let pid = lines.first().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    let Some(pid) = pid.filter(|pid| is_alive(*pid) && is_postmaster(*pid, &place.folder.cluster())) else {
        tidy(place, &file).map_err(|error| Failure::Final(trouble(place.folder.path(), &error)))?;
        return Ok(None);
    };
    let mut found = Postmaster { pid, child: None, is_over: false };
    let same_socket = lines.get(4).is_some_and(|folder| Path::new(folder) == place.socket);
    let state = lines.get(7).copied().unwrap_or_default();
    // Somebody who tidied up /tmp may have taken the socket away; PostgreSQL does not make it again.
    let is_cut_off = state == "ready" && !socket(place).exists();
    if same_socket && state != "stopping" && !is_cut_off {
        let adopted = tokio::select! {
            () = answers(place.options("postgres")) => true,
            () = found.ended() => false,
            () = sleep(Duration::from_mins(1)) => false,
            patience = wanted(stop) => {
                found.stop(patience).await;
                return Err(Failure::Unwanted);
            }
        };
        if adopted {
            tracing::info!(pid = found.pid(), "took over the PostgreSQL that an earlier server left running");
            return Ok(Some(found));
        }
    }
    found.stop(super::CLEAN_END).await;
    tidy(place, &file).map_err(|error| Failure::Final(trouble(place.folder.path(), &error)))?;
    Ok(None)
}

/// Removes the lock files of a postmaster that is dead. PostgreSQL would do so as well, unless the process number has
/// gone to another program or waits to be fetched by a parent who never does: then it would refuse to start. Backends
/// that outlive their postmaster are safe from this: PostgreSQL finds them by the shared memory they hold.
fn tidy(place: &Place, pid_file: &Path) -> std::io::Result<()> {
    let socket = socket(place);
    for file in [pid_file, &socket, &socket.with_extension(format!("{PORT}.lock"))] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn socket(place: &Place) -> PathBuf {
    place.socket.join(format!(".s.PGSQL.{PORT}"))
}

/// Returns when it lets somebody in.
async fn answers(options: PgConnectOptions) {
    let since = Instant::now();
    let mut told = since;
    loop {
        if let Ok(Ok(session)) = timeout(Duration::from_secs(5), options.connect()).await {
            let _ = session.close().await;
            return;
        }
        if told.elapsed() > Duration::from_secs(10) {
            tracing::info!(seconds = since.elapsed().as_secs(), "the embedded PostgreSQL is still starting");
            told = Instant::now();
        }
        sleep(LOOK).await;
    }
}

/// Why it ended, by what it said.
fn judge(place: &Place, log_from: u64) -> Failure {
    let log = place.folder.log();
    let said = said(&log, log_from);
    if said.contains("No space left on device") || said.contains("Disk quota exceeded") {
        return Failure::Final(StartError::DiskFull { path: place.folder.path().to_owned() });
    }
    if said.contains("could not access file \"pg_stat_statements\"") {
        return Failure::NoStatistics;
    }
    let cause = complaint(&said);
    if said.contains("pre-existing shared memory block") {
        return Failure::NotYet(cause);
    }
    Failure::Final(StartError::Embedded { cause, log })
}

/// The last complaint among what PostgreSQL said, without time and process.
pub(super) fn complaint(said: &str) -> String {
    let marks = ["PANIC:", "FATAL:", "initdb: error:"];
    said.lines()
        .rev()
        .find_map(|line| marks.iter().find_map(|mark| line.find(mark).map(|at| one_line(&line[at..]))))
        .or_else(|| said.lines().rev().map(one_line).find(|line| !line.is_empty()))
        .unwrap_or_else(|| "it ended without a word".into())
}

fn open_log(path: &Path) -> std::io::Result<File> {
    let is_long = fs::metadata(path).is_ok_and(|log| log.len() > LOG_BYTES);
    if is_long {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn said(log: &PathBuf, from: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.take(1 << 20).read_to_end(&mut bytes)
    });
    if let Err(error) = read {
        return error.to_string();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the process runs. One that has ended but was not fetched by its parent (in a container often nobody does)
/// still has its number.
fn is_alive(pid: Pid) -> bool {
    if let Ok(state) = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
        let state = state.rsplit(')').next().unwrap_or_default().trim_start();
        return !state.starts_with(['Z', 'X']);
    }
    rustix::process::test_kill_process(pid).is_ok()
}

/// Whether the process is this cluster's postmaster: it works in the cluster's folder.
fn is_postmaster(pid: Pid, cluster: &Path) -> bool {
    if Path::new("/proc/self/stat").exists() {
        return fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).is_ok_and(|works_in| works_in == cluster);
    }
    let listed = StdCommand::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output();
    listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).contains(&cluster.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn the_last_complaint_counts() {
        let said = "2026-11-24 23:00:00 UTC [1] LOG:  starting\n2026-11-24 [1] FATAL:  could not map\tmemory\n\
                    2026-11-24 [1] LOG:  database system is shut down\n";
        assert_eq!(complaint(said), "FATAL: could not map memory");
        assert_eq!(complaint("postgres: unknown option\n\n"), "postgres: unknown option");
        assert_eq!(complaint(""), "it ended without a word");
    }
}
