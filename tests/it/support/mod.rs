//! What tests share: the cluster of the run, a database a test, the real program as a process, and waiting for things.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

pub(crate) mod cluster;
pub(crate) mod database;
pub(crate) mod node;
pub(crate) mod pgbouncer;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod write;

pub(crate) use database::{POOL, TestDatabase, pool};
pub(crate) use write::{lanes_of, record, record_of, service_of, store_of, store_over};

/// Says that a test cannot run here. Written past the test harness, which keeps what a passing test prints.
pub(crate) fn left_out(why: &str) {
    let _ = writeln!(std::io::stderr(), "left out: {why}");
}

/// Whether we are root, who can do more (and whom PostgreSQL refuses).
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Waits until `look` sees something, 20 s at the most.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < until, "waited in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Where `scripts/test-tools` and `scripts/prometheus` install.
pub(crate) fn tools() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::env::var_os("CARGO_TARGET_DIR").map_or(target, PathBuf::from).join("tools")
}

/// A folder that everybody can walk through, removed at the end. Data directories in it are called `data`.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("taskwire-test-").tempdir_in("/tmp").unwrap().keep();
        set_mode(&folder, 0o755);
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that failed half-way may have left one running.
        process::end_postmaster(&self.join("data"));
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
