//! The server under measurement: started, asked what it costs, ended.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions as _, Row as _};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::Result;

/// Limits that a measurement must not meet; those that a build does not know are left out.
const FLAGS: [(&str, &str); 6] = [
    ("--live-connections", "19000"),
    ("--live-connections-per-user", "19000"),
    ("--live-connections-per-address", "19000"),
    ("--http-connections", "19000"),
    ("--socket-ping-interval", "0s"),
    ("--close-spread", "100ms"),
];
/// Clock ticks of `/proc`, a second.
const TICKS: f64 = 100.0;

pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    pub(crate) pid: u32,
    pub(crate) database: PgConnectOptions,
    postmaster: Option<u32>,
    _data_dir: tempfile::TempDir,
}

impl Server {
    /// Over this database, or with its own PostgreSQL; with further flags.
    pub(crate) async fn start(program: &Path, database_url: Option<&str>, flags: &[&str]) -> Result<Self> {
        let data_dir = tempfile::Builder::new().prefix("taskwire-bench-").tempdir_in("/tmp")?;
        open_to_all(data_dir.path())?;
        let help = Command::new(program).arg("--help").output().await?.stdout;
        let help = String::from_utf8_lossy(&help);
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", "warn"]);
        match database_url {
            Some(url) => command.arg("--database-url").arg(url),
            None => command.arg("--embedded").arg("--data-dir").arg(data_dir.path().join("data")),
        };
        for (flag, value) in FLAGS {
            // As a word of its own: some flags begin with another one.
            if help.split_whitespace().any(|word| word == flag) {
                command.args([flag, value]);
            }
        }
        command.args(flags);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let (mut address, mut socket) = (None, None);
        while address.is_none() || (socket.is_none() && database_url.is_none()) {
            let line = timeout(Duration::from_mins(1), lines.next_line()).await??.ok_or("the server does not start")?;
            let word = |mark: &str| Some(line.split(mark).nth(1)?.split([' ', '/']).next()?.to_owned());
            address = address.or_else(|| word("http://"));
            socket = socket.or_else(|| Some(line.split("psql -h ").nth(1)?.split(' ').next()?.to_owned()));
        }
        let database = match (database_url, socket) {
            (Some(url), _) => url.parse::<PgConnectOptions>()?,
            (None, Some(socket)) => PgConnectOptions::new_without_pgpass()
                .socket(socket)
                .username("taskwire")
                .database("taskwire")
                .ssl_mode(PgSslMode::Disable),
            (None, None) => return Err("the server does not say where its database is".into()),
        };
        let pid = child.id().ok_or("the server has ended")?;
        let mut server =
            Self { child, address: address.unwrap_or_default(), pid, database, postmaster: None, _data_dir: data_dir };
        let mut session = server.session().await?;
        let backend: i32 = sqlx::query("SELECT pg_backend_pid()").fetch_one(&mut session).await?.try_get(0)?;
        // Only a PostgreSQL on this machine has processes to look at.
        server.postmaster = status(backend.cast_unsigned(), "PPid:").ok();
        Ok(server)
    }

    pub(crate) async fn session(&self) -> Result<PgConnection> {
        Ok(self.database.connect().await?)
    }

    /// Seconds of CPU so far.
    pub(crate) fn cpu(&self) -> Result<f64> {
        cpu_of(self.pid)
    }

    /// The same with PostgreSQL's: of those of its processes that live, and of those that have ended, so that one that ends
    /// between two looks takes nothing with it.
    pub(crate) fn cpu_with_database(&self) -> Result<f64> {
        let Some(postmaster) = self.postmaster else { return self.cpu() };
        let mut sum = self.cpu()? + ticks_of(postmaster, 4)?;
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // It may end while we look.
            if status(pid, "PPid:").is_ok_and(|parent| parent == postmaster) {
                sum += cpu_of(pid).unwrap_or_default();
            }
        }
        Ok(sum)
    }

    /// `VmRSS` in KiB.
    pub(crate) fn memory(&self) -> Result<f64> {
        memory_of(self.pid)
    }

    /// Ends it as an operator would.
    pub(crate) async fn stop(mut self) -> Result<()> {
        // By the shell's own, for not every image has the program.
        Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.pid)).status().await?;
        let ended = timeout(Duration::from_secs(20), self.child.wait()).await??;
        if ended.success() { Ok(()) } else { Err(format!("the server ended with {ended}").into()) }
    }
}

/// Seconds of CPU that the machine has spent on anything, of all its cores.
pub(crate) fn busy() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let ticks = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // The fourth is idle, the fifth waits for the disk.
    let spent = ticks.take(8).enumerate().filter(|(index, _)| !(3..=4).contains(index));
    Ok(spent.filter_map(|(_, ticks)| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS)
}

/// `VmRSS` of a process, in KiB.
pub(crate) fn memory_of(pid: u32) -> Result<f64> {
    Ok(f64::from(status(pid, "VmRSS:")?))
}

/// User and system time of a process, in seconds.
pub(crate) fn cpu_of(pid: u32) -> Result<f64> {
    ticks_of(pid, 2)
}

/// The first so many of: its user and system time, and those of its children that have ended.
fn ticks_of(pid: u32, count: usize) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    Ok(fields.skip(11).take(count).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS)
}

fn status(pid: u32, name: &str) -> Result<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find(|line| line.starts_with(name)).ok_or("no such line")?;
    Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse()?)
}

/// As root, PostgreSQL runs as another user, who has to walk through it.
fn open_to_all(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}
