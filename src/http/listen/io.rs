//! A connection's bytes, plain or encrypted. It notes what the deadlines of `connection` go by, and as long as it lives,
//! as a socket too, it counts as one of the server's connections.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

/// What happens on a connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests whose answers are not at their end.
    pub(super) requests: AtomicUsize,
    /// Requests whose answers are.
    pub(super) served: AtomicU64,
    /// Bytes have come since the last request: the next one's header has begun.
    pub(super) has_begun: AtomicBool,
    /// The client takes nothing of what is to be written.
    pub(super) is_blocked: AtomicBool,
    /// Goes up with each write that got through.
    pub(super) written: AtomicU64,
    /// How many answers there were to be taken stream by stream.
    pub(super) answers: AtomicU64,
    /// Those of them that are not through, and when something of each was last taken.
    taken: Mutex<BTreeMap<u64, Instant>>,
}

impl Activity {
    /// Something of this answer has been taken now; or it has begun.
    pub(super) fn took(&self, answer: u64) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(answer, Instant::now());
    }

    /// This answer is through, or given up.
    pub(super) fn is_through(&self, answer: u64) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&answer);
    }

    /// Since when nothing has been taken of the answer of which nothing has been taken for the longest.
    pub(super) fn untaken_since(&self) -> Option<Instant> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).values().min().copied()
    }
}

/// A place among the server's connections.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) open: Gauge,
    pub(super) _permit: OwnedSemaphorePermit,
}

impl Place {
    pub(super) fn new(open: Gauge, permit: OwnedSemaphorePermit) -> Self {
        open.inc();
        Self { open, _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(super) struct Io {
    transport: Transport,
    activity: Arc<Activity>,
    _place: Place,
}

impl Io {
    pub(super) fn new(transport: Transport, activity: Arc<Activity>, place: Place) -> Self {
        Self { transport, activity, _place: place }
    }

    fn note<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.is_blocked.store(poll.is_pending(), Relaxed);
        if poll.is_ready() {
            self.activity.written.fetch_add(1, Relaxed);
        }
        poll
    }
}

/// Calls a method of whatever carries the bytes.
macro_rules! carried {
    ($io:expr, $method:ident ( $($argument:expr),* )) => {
        match &mut $io.transport {
            Transport::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = carried!(self, poll_read(cx, buf));
        if buf.filled().len() > before {
            self.activity.has_begun.store(true, Relaxed);
        }
        poll
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = carried!(self, poll_write(cx, buf));
        self.note(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = carried!(self, poll_write_vectored(cx, bufs));
        self.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = carried!(self, poll_flush(cx));
        // A flush that has nothing to do is no progress.
        if poll.is_pending() { self.note(poll) } else { poll }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        carried!(self, poll_shutdown(cx))
    }
}
