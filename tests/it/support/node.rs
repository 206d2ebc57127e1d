//! Node.js and the npm packages of `tests/clients/`: what real front ends use. `scripts/setup test` says how to get Node.js.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::sync::OnceCell;

/// `tests/clients/`, with its packages as the lock file names them: fetched once, where they are not there yet.
pub(crate) async fn clients() -> &'static Path {
    static READY: OnceCell<PathBuf> = OnceCell::const_new();
    READY.get_or_init(prepare).await
}

/// A script of `tests/clients/`, to be run by Node.js.
pub(crate) async fn script(name: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(name).current_dir(clients().await).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn prepare() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let changed = |name: &str| folder.join(name).metadata().and_then(|file| file.modified()).ok();
    // npm writes this one last.
    let installed = changed("node_modules/.package-lock.json");
    if installed.is_none() || installed < changed("package-lock.json") {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&folder).stdin(Stdio::null());
        let done = npm.output().await.expect("npm is missing: run scripts/setup test");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "npm ci in tests/clients: {said}");
    }
    folder
}
