//! The real program as a process: started, killed, told to end, and started again on the same port.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{
    ConnectOptions as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::{sync::mpsc, time::timeout};

use crate::{PATIENCE, eventually, room::Room};

/// Writes down its own number, which the program then keeps.
const BEGIN: &str = r#"echo $$ > server.pid; exec "$0" "$@""#;

/// A server, and its cluster where it has an embedded one.
pub(crate) struct Server {
    room: Option<Room>,
    arguments: Vec<String>,
    child: Option<Child>,
    /// Lines of its standard output.
    lines: mpsc::UnboundedReceiver<String>,
    address: SocketAddr,
    socket: Option<String>,
}

impl Server {
    /// Starts one with an embedded cluster.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::start_in(Room::new().await, arguments).await
    }

    /// Starts one over the embedded cluster of another.
    pub(crate) async fn start_beside(other: &Self, arguments: &[&str]) -> Self {
        let url = other.url();
        Self::start_in(Room::empty(), &[&["--database-url", &url], arguments].concat()).await
    }

    pub(crate) async fn start_in(room: Room, arguments: &[&str]) -> Self {
        let mut server = Self::spawn_in(room, arguments);
        server.ready().await;
        server
    }

    /// Starts one and does not wait for it.
    pub(crate) fn spawn_in(room: Room, arguments: &[&str]) -> Self {
        let mut server = Self {
            room: Some(room),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            child: None,
            lines: mpsc::unbounded_channel().1,
            address: "127.0.0.1:0".parse().unwrap(),
            socket: None,
        };
        server.spawn();
        server
    }

    /// Starts it again, on the port that it had, and waits until it is ready.
    pub(crate) async fn restart(&mut self) {
        self.spawn();
        self.ready().await;
    }

    fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let room = self.room();
        let log = OpenOptions::new().create(true).append(true).open(room.path().join("server.log")).unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", BEGIN, env!("CARGO_BIN_EXE_taskwire"), "serve", "--data-dir"])
            .arg(room.data())
            .args(["--listen", &self.address.to_string()])
            .args(&self.arguments)
            .current_dir(room.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TASKWIRE_LOG", "info,taskwire=debug,taskwire::operation=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (line, lines) = mpsc::unbounded_channel();
        // Reads to the end, so that the server never waits for a reader.
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|text| line.send(text)));
        self.child = Some(child);
        self.lines = lines;
    }

    async fn ready(&mut self) {
        loop {
            let text = self.line().await;
            if let Some((_, rest)) = text.split_once("GraphQL    http://") {
                self.address = rest.split('/').next().unwrap().parse().unwrap();
            }
            if let Some((_, rest)) = text.split_once("psql -h ") {
                self.socket = rest.split(' ').next().map(str::to_owned);
            }
            if text.contains("try first") {
                return;
            }
        }
    }

    /// The next line of its standard output.
    pub(crate) async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.lines.recv()).await;
        line.unwrap_or_else(|_| panic!("it says nothing:\n{}", self.log()))
            .unwrap_or_else(|| panic!("it has ended:\n{}", self.log()))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn room(&self) -> &Room {
        self.room.as_ref().expect("it was left")
    }

    /// Its embedded cluster's database.
    pub(crate) fn url(&self) -> String {
        let socket = self.socket.as_ref().expect("no embedded cluster").replace('/', "%2F");
        format!("postgres://taskwire@{socket}:5432/taskwire?sslmode=disable")
    }

    /// What it has counted by now, by a metric's name without `taskwire_`, with its labels.
    pub(crate) async fn counted(&self, metric: &str) -> u64 {
        let metrics = reqwest::get(format!("http://{}/metrics", self.address)).await.unwrap().text().await.unwrap();
        let name = format!("taskwire_{metric} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |value| value.parse().unwrap())
    }

    /// A session of its embedded cluster, as by psql.
    pub(crate) async fn psql(&self) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(self.socket.as_ref().expect("no embedded cluster"))
            .port(5432)
            .username("taskwire")
            .database("taskwire")
            .ssl_mode(PgSslMode::Disable);
        options.connect().await.unwrap()
    }

    /// What it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.room().path().join("server.log")).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it does not run");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it does not run");
        let status = eventually("the server's end", async || child.try_wait().unwrap()).await;
        self.gone();
        status
    }

    /// `kill -9`; its PostgreSQL lives on.
    pub(crate) fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
            self.gone();
        }
    }

    /// `kill -9` of its PostgreSQL's postmaster; returns which it was.
    pub(crate) fn kill_postmaster(&self) -> Pid {
        let pid = self.room().postmaster().expect("no postmaster");
        kill_process(pid, Signal::KILL).unwrap();
        pid
    }

    /// Waits until another postmaster than this one runs and lets somebody in.
    pub(crate) async fn postmaster_after(&self, gone: Pid) {
        eventually("the next postmaster", async || self.room().postmaster().filter(|pid| *pid != gone)).await;
        let line = "database system is ready to accept connections";
        let file = self.room().data().join("postgres/postmaster.pid");
        eventually(line, async || fs::read_to_string(&file).ok()?.lines().nth(7)?.starts_with("ready").then_some(()))
            .await;
    }

    /// Its room, with all that is in it; for a server that has ended.
    pub(crate) fn leave(mut self) -> Room {
        assert!(self.child.is_none(), "it runs");
        self.room.take().expect("it was left")
    }

    fn gone(&mut self) {
        self.child = None;
        let _ = fs::remove_file(self.room().pid_file());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking()
            && let Some(room) = &self.room
        {
            let end = |text: String| {
                text.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
            };
            eprintln!("---- {} said last\n{}", self.address, end(self.log()));
            eprintln!("---- its PostgreSQL\n{}", end(room.postgres_log()));
        }
    }
}
