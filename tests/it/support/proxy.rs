//! A proxy before PostgreSQL that loses an answer: it cuts the connection after a statement has been executed and
//! before the client hears of it. Or before it is executed: the statement is delivered later.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The text of the statement whose answer may be lost.
const MARK: &[u8] = b"taskwire_append_v1";

pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// How many answers will still be lost.
    to_lose: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    /// What the next append waits for, and who is told that it has been executed.
    to_hold: Arc<Mutex<Option<Held>>>,
    task: JoinHandle<()>,
}

type Held = (oneshot::Receiver<()>, oneshot::Sender<()>);

/// An append that is held back.
pub(crate) struct Late {
    go: oneshot::Sender<()>,
    executed: oneshot::Receiver<()>,
}

impl Late {
    /// Lets it go on to PostgreSQL, and returns when that has executed it.
    pub(crate) async fn deliver(self) {
        self.go.send(()).expect("nothing was held back");
        self.executed.await.expect("the connection was closed");
    }
}

impl Proxy {
    pub(crate) async fn start(options: &PgConnectOptions) -> Self {
        let socket = options.get_socket().expect("a folder").join(format!(".s.PGSQL.{}", options.get_port()));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (to_lose, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counts, losses) = (Arc::clone(&to_lose), Arc::clone(&lost));
        let to_hold = Arc::<Mutex<Option<Held>>>::default();
        let holds = Arc::clone(&to_hold);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&counts), Arc::clone(&losses), Arc::clone(&holds)));
            }
        });
        Self { port, to_lose, lost, to_hold, task }
    }

    /// Loses the answers of the next so many appends.
    pub(crate) fn lose(&self, answers: usize) {
        self.to_lose.store(answers, Ordering::SeqCst);
    }

    /// Cuts the connection of the next append before it comes to PostgreSQL.
    pub(crate) fn hold_back(&self) -> Late {
        let ((go, wait), (done, executed)) = (oneshot::channel(), oneshot::channel());
        *self.to_hold.lock().unwrap() = Some((wait, done));
        Late { go, executed }
    }

    pub(crate) fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes bytes both ways. An append is known by the tag of its answer's first row: the statement is prepared once and
/// its text does not come again, so every execution on a connection that has prepared it counts.
async fn pass(
    client: impl AsyncRead + AsyncWrite + Unpin,
    server: impl AsyncRead + AsyncWrite + Unpin,
    to_lose: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    to_hold: Arc<Mutex<Option<Held>>>,
) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut has_prepared = false;
    let mut is_executing = false;
    loop {
        tokio::select! {
            read = from_client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                let sent = &up[..length];
                has_prepared |= sent.windows(MARK.len()).any(|window| window == MARK);
                // Bind begins a message of an execution: `B`.
                is_executing = has_prepared && sent.contains(&b'B');
                let held = if is_executing { to_hold.lock().unwrap().take() } else { None };
                if let Some((wait, done)) = held {
                    drop((from_client, to_client));
                    if wait.await.is_err() { return }
                    to_server.write_all(sent).await.unwrap();
                    // It says that it is ready, or goes away because nobody is there.
                    while let Ok(length @ 1..) = from_server.read(&mut down).await {
                        if down[..length].ends_with(b"I") { break }
                    }
                    let _ = done.send(());
                    return;
                }
                if to_server.write_all(sent).await.is_err() { return }
            }
            read = from_server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                // CommandComplete of a SELECT, followed by ReadyForQuery: the implicit transaction has committed.
                let is_done = down[..length].windows(7).any(|window| window == b"SELECT ") && down[..length].ends_with(b"I");
                let takes = |left: usize| left.checked_sub(1);
                if is_executing && is_done && to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, takes).is_ok() {
                    lost.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                if to_client.write_all(&down[..length]).await.is_err() { return }
            }
        }
    }
}
