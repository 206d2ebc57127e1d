//! One connection, from TLS' handshake to its end, and how long it may keep us waiting. (hyper's own header time-out would
//! also end connections between two requests; theirs is a longer time.)

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::io::{Activity, Io, Place, Transport};
use super::{Common, exchange};
use crate::http::tls::Tls;

/// What one connection may buffer of what comes in beside its header.
const READ_BUFFER: usize = 64 << 10;
/// What one HTTP/2 stream may buffer of what goes out.
const SEND_BUFFER: usize = 64 << 10;
/// Requests at the same time on one HTTP/2 connection.
const STREAMS: u32 = 100;
/// How often a silent HTTP/2 client is asked whether it is there, and what it may take to say so.
const PING: Duration = Duration::from_secs(30);
/// The first byte of TLS' handshake.
const HANDSHAKE: u8 = 22;
/// To who speaks HTTP to a port of HTTPS.
const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\
    Content-Length: 45\r\n\r\nThis server speaks HTTPS: ask with https://.\n";

/// The end of the server waits for a connection that holds this, for as long as it holds it.
#[derive(Clone)]
pub(super) struct Waited(Arc<Mutex<Option<TaskTrackerToken>>>);

impl Waited {
    fn new(token: TaskTrackerToken) -> Self {
        Self(Arc::new(Mutex::new(Some(token))))
    }

    /// Waits no more.
    pub(super) fn release(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Serves a connection until it ends, becomes a socket, or has kept us waiting for too long.
pub(super) async fn serve(common: Arc<Common>, router: Router, stream: TcpStream, socket: SocketAddr, place: Place) {
    let waited = Waited::new(common.busy.token());
    // Small answers must not wait for each other.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let transport = match &common.tls {
        None => Transport::Plain(stream),
        Some(tls) => {
            let shaken = timeout(common.handshake_timeout, handshake(tls, stream));
            match common.stop.run_until_cancelled(shaken).await {
                Some(Ok(Some(stream))) => Transport::Tls(Box::new(stream)),
                _ => return,
            }
        }
    };
    let is_h2 = matches!(&transport, Transport::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2"));
    let activity = Arc::new(Activity::default());
    // Until it has said anything, it is about to.
    activity.has_begun.store(true, Relaxed);
    let io = TokioIo::new(Io::new(transport, Arc::clone(&activity), place));
    let address = socket.ip();
    if is_h2 {
        http2(common, router, io, address, activity, waited).await;
    } else {
        http1(common, router, io, address, activity, waited).await;
    }
}

async fn http1(
    common: Arc<Common>,
    router: Router,
    io: TokioIo<Io>,
    address: IpAddr,
    activity: Arc<Activity>,
    waited: Waited,
) {
    let (shared, noted) = (Arc::clone(&common), Arc::clone(&activity));
    let service = service_fn(move |request| {
        exchange::answer(Arc::clone(&shared), router.clone(), address, Arc::clone(&noted), waited.clone(), request)
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .timer(TokioTimer::new())
        .max_header_size(common.header_bytes)
        .max_buf_size(READ_BUFFER.max(common.header_bytes))
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let patience = Patience { common: &common, activity: &activity, is_h2: false };
    if let Err(error) = patience.watch(connection.as_mut(), http1::UpgradeableConnection::graceful_shutdown).await {
        tracing::debug!(%error, %address, "a connection ended");
    }
}

async fn http2(
    common: Arc<Common>,
    router: Router,
    io: TokioIo<Io>,
    address: IpAddr,
    activity: Arc<Activity>,
    waited: Waited,
) {
    let (shared, noted) = (Arc::clone(&common), Arc::clone(&activity));
    let service = service_fn(move |request| {
        exchange::answer(Arc::clone(&shared), router.clone(), address, Arc::clone(&noted), waited.clone(), request)
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(common.header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let patience = Patience { common: &common, activity: &activity, is_h2: true };
    if let Err(error) = patience.watch(connection.as_mut(), http2::Connection::graceful_shutdown).await {
        tracing::debug!(%error, %address, "a connection ended");
    }
}

/// What a connection waits for, and since when.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The client is to send the rest of a header, after so many requests.
    Header(u64),
    /// The client is to send a request, or to go, after so many.
    Request(u64),
    /// We are to answer.
    Answer,
    /// The client is to take the answer; nothing has been taken since this many writes.
    Reader(u64),
}

/// How long a connection may keep us waiting.
struct Patience<'a> {
    common: &'a Common,
    activity: &'a Activity,
    is_h2: bool,
}

impl Patience<'_> {
    /// Runs a connection to its end. All that moves it happens while it is polled, or wakes it (HTTP/2's streams), so its
    /// state is looked at then.
    async fn watch<C: Future<Output = hyper::Result<()>>>(
        &self,
        mut connection: Pin<&mut C>,
        shut_down: impl Fn(Pin<&mut C>),
    ) -> hyper::Result<()> {
        let mut stop = pin!(self.common.stop.cancelled());
        let mut abort = pin!(self.common.abort.cancelled());
        let mut is_stopping = false;
        let mut waiting = self.waiting();
        let mut alarm = pin!(sleep_until(Instant::now() + self.time(waiting)));
        let mut untaken_since = None;
        let mut untaken = pin!(sleep_until(Instant::now()));
        poll_fn(|cx| {
            if !is_stopping && stop.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                shut_down(connection.as_mut());
            }
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            let now = self.waiting();
            if now != waiting {
                waiting = now;
                alarm.as_mut().reset(Instant::now() + self.time(now));
            }
            if abort.as_mut().poll(cx).is_ready() || alarm.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            // One HTTP/2 stream can be left untaken while TCP, and others on it, go on.
            let since = self.activity.untaken_since();
            if since != untaken_since {
                untaken_since = since;
                untaken.as_mut().reset(since.unwrap_or_else(Instant::now) + self.common.stall_timeout);
            }
            if since.is_some() && untaken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            Poll::Pending
        })
        .await
    }

    fn waiting(&self) -> Waiting {
        let activity = self.activity;
        // A request that is answered within one poll is seen by this alone.
        let served = activity.served.load(Relaxed);
        if activity.is_blocked.load(Relaxed) {
            Waiting::Reader(activity.written.load(Relaxed))
        } else if activity.requests.load(Relaxed) > 0 {
            Waiting::Answer
        } else if activity.has_begun.load(Relaxed) && !self.is_h2 {
            Waiting::Header(served)
        } else {
            // What HTTP/2 clients send between requests need not be a request.
            Waiting::Request(served)
        }
    }

    fn time(&self, waiting: Waiting) -> Duration {
        match waiting {
            Waiting::Header(_) => self.common.header_timeout,
            Waiting::Request(_) => self.common.idle_timeout,
            // `exchange` sees to that.
            Waiting::Answer => Duration::from_hours(24 * 365),
            Waiting::Reader(_) => self.common.stall_timeout,
        }
    }
}

/// The encrypted stream, unless the client cannot do it.
async fn handshake(tls: &Tls, mut stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 1 && first != [HANDSHAKE] {
        let _ = stream.write_all(NO_TLS).await;
        let _ = stream.shutdown().await;
        // What it has sent is read, or the answer would be lost in a reset.
        let mut rest = [0; 4096];
        let _ = timeout(Duration::from_millis(500), stream.read(&mut rest)).await;
        return None;
    }
    match tls.acceptor().accept(stream).await {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::debug!(%error, "TLS handshake");
            None
        }
    }
}
