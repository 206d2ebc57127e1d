//! The real program as a process: started, waited for, killed; and whatever it leaves behind is ended with the test.

use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

/// What a start or an end may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_taskwire");

/// The start of a command that runs the program as user nobody, who may not be able to read our target folder.
pub(crate) fn as_nobody(folder: &Path) -> Vec<String> {
    let copy = folder.join("taskwire");
    fs::copy(PROGRAM, &copy).unwrap();
    super::set_mode(&copy, 0o755);
    let copy = copy.display().to_string();
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", &copy].map(str::to_owned).to_vec()
}

/// `taskwire` with a bare environment, by a longer command where `by` says so.
pub(crate) fn taskwire<I: AsRef<OsStr>>(by: &[String], arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = match by {
        [] => Command::new(PROGRAM),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest);
            command
        }
    };
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("TASKWIRE_LOG", "error")
        // Somebody's own taskwire.toml in this folder is not for the tests.
        .env("TASKWIRE_CONFIG", "/dev/null")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs it to its end: exit code, standard output, standard error.
pub(crate) async fn run(mut command: Command) -> (Option<i32>, String, String) {
    let output = timeout(PATIENCE, command.output()).await.expect("it goes on and on").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A server over a database that is there already; everything that it logs is kept.
pub(crate) struct Logging {
    child: Child,
    log: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
    /// What it said when it was ready.
    pub(crate) greeting: String,
    pub(crate) address: SocketAddr,
}

impl Logging {
    /// Starts `serve` on a free port, with these arguments and variables more.
    pub(crate) async fn start(database: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = taskwire(&[], ["serve", "--database-url", database, "--min-connections", "1"]);
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command.args(arguments).envs(variables.iter().copied()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (mut lines, kept) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        let reading = tokio::spawn(async move {
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        while !greeting.contains("try first") {
            let read = timeout(PATIENCE, stdout.read_line(&mut greeting)).await.expect("not ready in time").unwrap();
            assert_ne!(read, 0, "the server does not start: {}", log.lock().unwrap());
        }
        let address = greeting.split("://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        Self { child, log, reading, greeting, address }
    }

    pub(crate) fn memory(&self) -> u64 {
        memory_of(self.child.id().expect("it has ended"))
    }

    /// The most that it ever had, and its code.
    pub(crate) fn most_memory(&self) -> u64 {
        status_of(self.child.id().expect("it has ended"), "VmHWM") << 10
    }

    /// Waits until the log says this, and gives the line.
    pub(crate) async fn told(&self, what: &str) -> String {
        let line = async || self.log.lock().unwrap().lines().find(|line| line.contains(what)).map(str::to_owned);
        super::eventually(&format!("the log to say {what}"), line).await
    }

    /// Ends it, and gives its whole log.
    pub(crate) async fn end(mut self) -> String {
        kill(self.child.id().expect("it has ended"), Signal::TERM);
        timeout(PATIENCE, self.child.wait()).await.expect("it does not end").unwrap();
        timeout(PATIENCE, self.reading).await.expect("its log does not end").unwrap();
        self.log.lock().unwrap().clone()
    }
}

/// A server with an embedded cluster.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    data_dir: PathBuf,
    /// What it said when it was ready.
    pub(crate) greeting: String,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts one in this data directory and waits until it is ready.
    pub(crate) async fn start(data_dir: &Path) -> Self {
        Self::start_by(&[], data_dir).await
    }

    /// The same as another user, or otherwise confined.
    pub(crate) async fn start_by(by: &[String], data_dir: &Path) -> Self {
        let mut command = taskwire(by, ["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        let mut child = command.arg(data_dir).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        while !greeting.contains("try first") {
            let read = timeout(PATIENCE, stdout.read_line(&mut greeting)).await.expect("not ready in time").unwrap();
            if read == 0 {
                let mut error = String::new();
                child.stderr.take().unwrap().read_to_string(&mut error).await.unwrap();
                panic!("the server does not start: {error}");
            }
        }
        let address = greeting.split("http://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        Self { child, stdout, data_dir: data_dir.to_owned(), greeting, address }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it has ended")
    }

    /// The socket's folder, from the start-up lines.
    pub(crate) fn socket(&self) -> PathBuf {
        PathBuf::from(self.greeting.split("psql -h ").nth(1).unwrap().split(' ').next().unwrap())
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.socket())
            .port(5432)
            .username("taskwire")
            .database("taskwire")
            .ssl_mode(PgSslMode::Disable)
    }

    pub(crate) fn postmaster(&self) -> Option<u32> {
        postmaster(&self.data_dir)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it does not end").unwrap()
    }

    /// Ends it as Ctrl-C does, and returns its exit code.
    pub(crate) async fn interrupt(self) -> Option<i32> {
        self.signal(Signal::INT);
        self.ended().await.code()
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) {
        self.signal(Signal::KILL);
        let status = self.child.wait().await.unwrap();
        assert_eq!(status.signal(), Some(9));
        // Its cluster lives on: the value that ends it is given up here.
        self.data_dir = PathBuf::new();
    }

    /// The next line of its standard output.
    pub(crate) async fn next_line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.stdout.read_line(&mut line)).await.expect("it says nothing").unwrap();
        line
    }

    /// Whether it answers a query, out of the database.
    pub(crate) async fn answers(&self) -> bool {
        self.ask(r#"{"query": "{ tasks(first: 1) { nodes { taskId } } }"}"#)
            .await
            .is_some_and(|answer| answer.contains(r#""nodes":["#) && !answer.contains(r#""errors""#))
    }

    /// The raw answer to a GraphQL request.
    pub(crate) async fn ask(&self, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        let (address, length) = (self.address, body.len());
        let request = format!(
            "POST /graphql HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.ok()?.ok()?;
        Some(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = self.child.id() {
            kill(pid, Signal::KILL);
        }
        end_postmaster(&self.data_dir);
    }
}

/// Ends what a server left behind in this data directory, and the folder of its socket.
pub(crate) fn end_postmaster(data_dir: &Path) {
    let text = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).unwrap_or_default();
    if let Some(pid) = postmaster(data_dir).filter(|pid| is_alive(*pid)) {
        kill(pid, Signal::QUIT);
    }
    if let Some(socket) = text.lines().nth(4).filter(|socket| socket.starts_with("/tmp/taskwire-")) {
        let _ = fs::remove_dir_all(socket);
    }
}

pub(crate) fn postmaster(data_dir: &Path) -> Option<u32> {
    let text = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

pub(crate) fn kill(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal);
}

/// Whether a process runs; one that waits to be fetched by its parent does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit(')').next().unwrap().trim_start().starts_with(['Z', 'X']),
        Err(_) => false,
    }
}

/// The user as whom a process runs.
pub(crate) fn user_of(pid: u32) -> u32 {
    u32::try_from(status_of(pid, "Uid")).unwrap()
}

/// Bytes of memory that a process has allocated. Its code, which is read when it is first run, is not among them.
pub(crate) fn memory_of(pid: u32) -> u64 {
    status_of(pid, "RssAnon") << 10
}

/// What the kernel says of a process: the first number behind this name.
pub(crate) fn status_of(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
