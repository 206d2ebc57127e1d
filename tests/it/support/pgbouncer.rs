//! Debian's pgbouncer before the cluster of the run.

use std::{fs, net::TcpListener, os::unix::fs::MetadataExt, process::Stdio};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use super::{Folder, cluster::cluster, eventually, is_root};

/// A running one; ends with this value.
pub(crate) struct Pgbouncer {
    port: u16,
    _child: Child,
    _folder: Folder,
}

impl Pgbouncer {
    /// Starts one with this `pool_mode`, and these settings more.
    pub(crate) async fn start(mode: &str, settings: &str) -> Self {
        let folder = Folder::new();
        let socket = cluster().cluster.connect_options("postgres").get_socket().unwrap().clone();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let configuration = format!(
            "[databases]\n* = host={} port=5432 user=taskwire\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {mode}\n{settings}\n",
            socket.display()
        );
        fs::write(folder.join("pgbouncer.ini"), configuration).unwrap();
        // It refuses root, and the socket is open for the cluster's user alone.
        let mut command = if is_root() {
            let user = fs::metadata(&socket).unwrap().uid();
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={user}"), "--clear-groups", "pgbouncer"]);
            command
        } else {
            Command::new("pgbouncer")
        };
        let child = command
            .arg(folder.join("pgbouncer.ini"))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("pgbouncer is missing: run scripts/setup test");
        let open = async || TcpStream::connect(("127.0.0.1", port)).await.ok();
        eventually("pgbouncer to listen", open).await;
        Self { port, _child: child, _folder: folder }
    }

    /// The URL of one of the cluster's databases through it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://taskwire@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }
}
