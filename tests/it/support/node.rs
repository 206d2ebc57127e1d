//! Node.js and the npm packages of `tests/clients/`, which are what real front ends use, and of `web/`. `scripts/setup test`
//! says how to get Node.js.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::{TestDatabase, process::PROGRAM};

/// `tests/clients/`, with its packages as the lock file names them: fetched once, where they are not there yet.
pub(crate) async fn clients() -> &'static Path {
    static READY: OnceCell<PathBuf> = OnceCell::const_new();
    READY.get_or_init(|| prepare("tests/clients")).await
}

/// Ends a script and everything that it started.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0).ok().and_then(Pid::from_raw) {
            // Nothing is left where the script has ended well.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs a script of node's test runner in a folder, with a database of its own, the program, and these variables. It leaves
/// no process behind, however it ends.
pub(crate) async fn run_tests(folder: &Path, script: &str, patience: Duration, variables: &[(&str, &str)]) {
    let database = TestDatabase::new().await;
    let mut command = Command::new("node");
    command
        .args(["--test", "--test-reporter=spec", &format!("--test-timeout={}", patience.as_millis()), script])
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TASKWIRE", PROGRAM)
        .env("TASKWIRE_DATABASE_URL", &database.url)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let child = command.spawn().expect("node is missing: run scripts/setup test");
    let group = Group(child.id().unwrap());
    let end = timeout(patience + Duration::from_secs(30), child.wait_with_output()).await;
    let output = end.expect("it does not end").unwrap();
    drop(group);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{script}: {}\n{}", text(&output.stdout), text(&output.stderr));
    let passed =
        text(&output.stdout).lines().find_map(|line| line.trim_start_matches("ℹ ").strip_prefix("pass ")?.parse().ok());
    assert!(passed > Some(0), "it tests nothing: {}", text(&output.stdout));
}

/// A script of `tests/clients/`, to be run by Node.js.
pub(crate) async fn script(name: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(name).current_dir(clients().await).stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) async fn prepare(folder: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let changed = |name: &str| folder.join(name).metadata().and_then(|file| file.modified()).ok();
    // npm writes this one last.
    let installed = changed("node_modules/.package-lock.json");
    if installed.is_none() || installed < changed("package-lock.json") {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&folder).stdin(Stdio::null());
        let done = npm.output().await.expect("npm is missing: run scripts/setup test");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "npm ci in {}: {said}", folder.display());
    }
    folder
}
