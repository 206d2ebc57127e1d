//! The place of a run: one folder for the test process, a room below it for each server. A small watcher outlives the
//! test process and ends what it left behind: it hears the end of the process by its standard input.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::OnceCell;

use crate::server::Server;

/// Ends every server and postmaster of the folder `$0`, once standard input ends. A process is ours only if it works in
/// that room: its number may have gone to somebody else.
const WATCHER: &str = r#"
trap '' INT TERM HUP
cat > /dev/null
ours() { [ -n "$1" ] && [ "$(readlink "/proc/$1/cwd")" = "$2" ]; }
for round in 1 2 3; do
    for room in "$0"/*; do
        pid=$(cat "$room/server.pid" 2> /dev/null)
        ours "$pid" "$room" && kill -9 "$pid"
        pid=$(head -n 1 "$room/data/postgres/postmaster.pid" 2> /dev/null)
        ours "$pid" "$room/data/postgres" || continue
        socket=$(sed -n 5p "$room/data/postgres/postmaster.pid")
        kill -QUIT "$pid"
        for process in /proc/[0-9]*; do
            ours "${process#/proc/}" "$room/data/postgres" && kill -CONT "${process#/proc/}"
        done
        case "$socket" in /tmp/taskwire-*) rm -rf "$socket" ;; esac
    done
    sleep 0.3
done
rm -rf "$0"
"#;

/// The folder of this run, with its watcher.
fn run_folder() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        // PostgreSQL runs as another user where we are root: open to be walked through.
        let folder = tempfile::Builder::new().prefix("taskwire-chaos-").tempdir_in("/tmp").unwrap().keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let watcher = Command::new("/bin/sh")
            .args(["-c", WATCHER])
            .arg(&folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C is for the tests; the watcher comes after them.
            .process_group(0)
            .spawn()
            .unwrap();
        // Its standard input stays open until this process ends.
        std::mem::forget(watcher);
        folder
    })
}

/// A folder for one server and its cluster. Dropped, nothing of it is left.
#[derive(Debug)]
pub(crate) struct Room {
    path: PathBuf,
}

impl Room {
    /// A room with a migrated, cleanly stopped cluster in it.
    pub(crate) async fn new() -> Self {
        static TEMPLATE: OnceCell<Room> = OnceCell::const_new();
        let template = TEMPLATE
            .get_or_init(|| async {
                let mut server = Server::start_in(Self::empty(), &[]).await;
                server.signal(Signal::TERM);
                assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
                server.leave()
            })
            .await;
        let room = Self::empty();
        let copied = Command::new("cp").arg("-a").args([template.data(), room.data()]).status().unwrap();
        assert!(copied.success());
        room
    }

    /// A room for a server that needs no cluster, or makes one.
    pub(crate) fn empty() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = run_folder().join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.path.join("server.pid")
    }

    /// The postmaster's process, if one runs.
    pub(crate) fn postmaster(&self) -> Option<Pid> {
        let cluster = self.data().join("postgres");
        let pid = fs::read_to_string(cluster.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()?;
        let works_in = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        (works_in == cluster).then(|| Pid::from_raw(pid))?
    }

    /// Every process that works in this room or below it: number and command line.
    pub(crate) fn processes(&self) -> Vec<(Pid, String)> {
        working_in(&self.path)
    }

    /// Sends a signal to the postmaster and to each of its children, which have process groups of their own.
    pub(crate) fn signal_postgres(&self, signal: Signal) {
        for (pid, _) in working_in(&self.data().join("postgres")) {
            // It may just have ended.
            let _ = kill_process(pid, signal);
        }
    }

    /// What PostgreSQL said.
    pub(crate) fn postgres_log(&self) -> String {
        fs::read_to_string(self.data().join("postgres.log")).unwrap_or_default()
    }
}

fn working_in(folder: &Path) -> Vec<(Pid, String)> {
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let process = entry.ok()?.path();
        let pid = Pid::from_raw(process.file_name()?.to_str()?.parse().ok()?)?;
        let works_here = fs::read_link(process.join("cwd")).ok()?.starts_with(folder);
        works_here.then(|| (pid, fs::read_to_string(process.join("cmdline")).unwrap_or_default()))
    });
    all.collect()
}

impl Drop for Room {
    fn drop(&mut self) {
        let told = fs::read_to_string(self.data().join("postgres/postmaster.pid")).unwrap_or_default();
        if let Some(pid) = self.postmaster() {
            let _ = kill_process(pid, Signal::QUIT);
            // Who was stopped hears nothing else.
            self.signal_postgres(Signal::CONT);
            let until = Instant::now() + Duration::from_secs(5);
            while self.postmaster().is_some() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if let Some(socket) = told.lines().nth(4).filter(|socket| socket.starts_with("/tmp/taskwire-")) {
            let _ = fs::remove_dir_all(socket);
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}
