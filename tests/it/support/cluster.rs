//! The cluster of the test run: started by the first test that asks for it, without fsync, in a folder of its own.
//! However the test process ends, a small watcher ends the cluster and removes the folder.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
};

use taskwire::{
    config::DataDirConfig,
    db::{self, Cluster, ClusterOptions},
};
use tokio::runtime::Runtime;

use super::{database::create, set_mode};

/// The database that tests' databases are copies of: migrated, and empty.
pub(crate) const TEMPLATE: &str = "taskwire_template";

pub(crate) struct TestCluster {
    pub(crate) cluster: Cluster,
    /// Lives as long as the process; a test's own runtime ends with the test.
    pub(crate) runtime: Runtime,
    /// Ends the cluster when its standard input closes, which the system does when we end.
    _watcher: Child,
}

/// The cluster of this run.
pub(crate) fn cluster() -> &'static TestCluster {
    static CLUSTER: OnceLock<TestCluster> = OnceLock::new();
    // On a thread of its own: a test's runtime must not be blocked on from within.
    CLUSTER.get_or_init(|| thread::spawn(start).join().unwrap())
}

fn start() -> TestCluster {
    let folder = tempfile::Builder::new().prefix("taskwire-test-").tempdir_in("/tmp").unwrap().keep();
    set_mode(&folder, 0o755);
    let watcher = watch(&folder);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let cluster = runtime.block_on(async {
        let mut options = ClusterOptions::new(DataDirConfig { path: folder, chosen: true });
        options.durable = false;
        options.max_connections = 300;
        let cluster = Cluster::start(options).await.unwrap();
        create(&cluster, TEMPLATE, None).await;
        let template = db::connect_options(&cluster.url(TEMPLATE), "the test").unwrap();
        db::migrate(&template, "the test").await.unwrap();
        cluster
    });
    TestCluster { cluster, runtime, _watcher: watcher }
}

const WATCH: &str = r#"
cat >/dev/null
file="$1/postgres/postmaster.pid"
pid=$(sed -n 1p "$file" 2>/dev/null)
socket=$(sed -n 5p "$file" 2>/dev/null)
if [ -n "$pid" ]; then
    kill -QUIT "$pid"
    tries=0
    while [ -e "$file" ] && kill -0 "$pid" 2>/dev/null && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
fi
rm -rf "$1"
case "$socket" in /tmp/taskwire-*) rm -rf "$socket" ;; esac
"#;

/// Starts the watcher, out of reach of the Ctrl-C that ends the tests.
fn watch(folder: &Path) -> Child {
    Command::new("/bin/sh")
        .args(["-c", WATCH, "watch"])
        .arg(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}
