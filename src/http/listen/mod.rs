//! The accept loop: connections in, bounded in number and in how long they may keep us waiting, and an end that finishes
//! what was begun. (axum's own has no time-outs, and forgets sockets at the end.)
//!
//! - [`Listening`]: accepts, and ends · `connection`: one of them, with TLS, HTTP/1.1 or HTTP/2
//! - `exchange`: one request, counted · `io`: what a connection's bytes tell
//!
//! To add a time-out on something that a client does: a variant of `connection::Waiting`, or a race in `exchange`.

mod connection;
mod exchange;
mod io;

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::io::Place;
use super::peer::Proxies;
use super::tls::Tls;
use crate::config::ListenConfig;
use crate::telemetry::Telemetry;

/// How long to wait where nothing can be accepted (no descriptor is free) before the next try.
const RECOVER: Duration = Duration::from_millis(100);
/// How often the log tells of what happens with every connection.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What all connections share.
struct Common {
    tls: Option<Tls>,
    proxies: Proxies,
    handshake_timeout: Duration,
    header_timeout: Duration,
    header_bytes: usize,
    body_timeout: Duration,
    handler_timeout: Duration,
    stall_timeout: Duration,
    idle_timeout: Duration,
    telemetry: Telemetry,
    /// No new requests.
    stop: CancellationToken,
    /// The end of all patience.
    abort: CancellationToken,
    /// Requests, connections that may have some, and the loop that accepts them; not what streams.
    busy: TaskTracker,
    /// Every connection that is not a socket yet.
    open: TaskTracker,
}

/// A server's connections. Dropping it ends none of them.
pub struct Listening {
    common: Arc<Common>,
}

impl Listening {
    /// Accepts from now on, until `stop` is cancelled: then requests in flight are finished, idle connections closed.
    #[must_use]
    pub fn start(
        listener: TcpListener,
        router: Router,
        config: &ListenConfig,
        tls: Option<Tls>,
        telemetry: &Telemetry,
        stop: CancellationToken,
    ) -> Self {
        if let Some(tls) = tls.clone() {
            match signal(SignalKind::hangup()) {
                Ok(hangup) => drop(tokio::spawn(tls.reload_on(hangup, stop.clone()))),
                Err(error) => tracing::warn!(%error, "SIGHUP will not read the certificate again"),
            }
        }
        let common = Arc::new(Common {
            tls,
            proxies: Proxies::new(config),
            handshake_timeout: config.tls_handshake_timeout,
            header_timeout: config.header_timeout,
            header_bytes: config.header_bytes,
            body_timeout: config.body_timeout,
            handler_timeout: config.handler_timeout,
            stall_timeout: config.answer_stall_timeout,
            idle_timeout: config.idle_timeout,
            telemetry: telemetry.clone(),
            stop,
            abort: CancellationToken::new(),
            busy: TaskTracker::new(),
            open: TaskTracker::new(),
        });
        let door = Door {
            common: Arc::clone(&common),
            router,
            places: Arc::new(Semaphore::new(config.connections)),
            telemetry: telemetry.clone(),
            told: None,
        };
        // What it takes in its last round is waited for too, and afterwards nobody can connect.
        common.busy.spawn(door.accept(listener));
        Self { common }
    }

    /// After the stop: returns when nobody can connect any more and all requests are answered but those whose answers are
    /// streams.
    pub async fn finished(&self) {
        self.common.busy.close();
        self.common.busy.wait().await;
    }

    /// After the end of the subscriptions: returns when all connections are closed but those that became sockets.
    pub async fn closed(&self) {
        self.common.open.close();
        self.common.open.wait().await;
    }

    /// Closes what is still open.
    pub fn abort(&self) {
        self.common.abort.cancel();
    }
}

/// Where connections come in.
struct Door {
    common: Arc<Common>,
    router: Router,
    places: Arc<Semaphore>,
    telemetry: Telemetry,
    /// When the log last told of a connection that could not be taken.
    told: Option<Instant>,
}

impl Door {
    async fn accept(mut self, listener: TcpListener) {
        let stop = self.common.stop.clone();
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, address)) => self.take(stream, address),
                // That client has gone again.
                Err(error) if is_the_client_s(&error) => {}
                Err(error) => {
                    self.tell(&format!("cannot accept connections: {error}"));
                    sleep(RECOVER).await;
                }
            }
        }
    }

    fn take(&mut self, stream: TcpStream, address: SocketAddr) {
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else {
            self.telemetry.refused_connections.inc();
            self.tell("refused a connection: there are --http-connections of them");
            return;
        };
        let place = Place::new(self.telemetry.tcp_connections.clone(), permit);
        let served = connection::serve(Arc::clone(&self.common), self.router.clone(), stream, address, place);
        self.common.open.spawn(served);
    }

    /// A flood of connections must not become one of lines.
    fn tell(&mut self, what: &str) {
        if self.told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
            tracing::warn!("{what}");
            self.told = Some(Instant::now());
        }
    }
}

fn is_the_client_s(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused)
}
