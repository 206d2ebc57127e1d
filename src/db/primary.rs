//! Where the pool leads, and which run of `PostgreSQL` it meets there.
//!
//! Of several hosts one is the primary. Whoever meets trouble doubts; [`Primary::follow`] then asks every host until one
//! takes writes, and points the pool at it: callers that wait for a connection get one of the new primary.
//!
//! Every run of `PostgreSQL` that the pool meets begins a new tenure, on another host or on the same: it may have come up
//! without the last of what the one before has acknowledged (an asynchronous standby, a restored copy). What is known of
//! a feed from an earlier tenure has to be looked up again before anything is added to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::hosts::{Hosts, Met};
use super::pool::{Backends, place};

/// How soon all hosts are asked again while none takes writes.
const AGAIN: Duration = Duration::from_millis(250);

/// Where the primary is. Cheap to clone; the default one is never in doubt and has one tenure.
#[derive(Debug, Clone, Default)]
pub struct Primary(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hosts: Option<Hosts>,
    seen: Mutex<Seen>,
    tenure: AtomicU64,
    doubt: Notify,
    moves: watch::Sender<u64>,
    /// Further pools which lead where the pool leads.
    followers: Mutex<Vec<PgPool>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// When the postmaster started that was met last.
    postmaster_start: Option<DateTime<Utc>>,
    /// The host that the pool is pointed at, and since when, if it began with another one.
    pointed_at: usize,
    moved: Option<Instant>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            hosts: None,
            seen: Mutex::default(),
            tenure: AtomicU64::new(0),
            doubt: Notify::new(),
            moves: watch::Sender::new(0),
            followers: Mutex::default(),
        }
    }
}

impl Primary {
    /// Among these, at the one that was found.
    pub(super) fn among(hosts: Hosts) -> Self {
        let seen = Mutex::new(Seen { pointed_at: hosts.index(), ..Seen::default() });
        Self(Arc::new(Inner { hosts: Some(hosts), seen, ..Inner::default() }))
    }

    /// Rises whenever the pool meets another run of `PostgreSQL`, before a connection to it is lent.
    #[must_use]
    pub fn tenure(&self) -> u64 {
        self.0.tenure.load(Ordering::Acquire)
    }

    /// It may not be where it was: look for it.
    pub fn doubt(&self) {
        self.0.doubt.notify_one();
    }

    /// Changes whenever the pool is pointed elsewhere.
    #[must_use]
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.0.moves.subscribe()
    }

    /// A pool of its own with the options of that one, which goes wherever that one is pointed.
    pub(crate) fn follower(&self, of: &PgPool, settings: PgPoolOptions) -> PgPool {
        let mut followers = self.0.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|follower| !follower.is_closed());
        // Under the lock: who points the pools elsewhere comes before or afterwards.
        let follower = settings.connect_lazy_with((*of.connect_options()).clone());
        followers.push(follower.clone());
        follower
    }

    /// The pools that follow.
    pub(crate) fn followers(&self) -> Vec<PgPool> {
        self.0.followers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn point(&self, pool: &PgPool, options: &PgConnectOptions) {
        let followers = self.0.followers.lock().unwrap_or_else(PoisonError::into_inner);
        for pool in followers.iter().chain([pool]) {
            pool.set_connect_options(options.clone());
            for mut connection in std::iter::from_fn(|| pool.try_acquire()) {
                connection.close_on_drop();
            }
        }
    }

    /// Of a new connection, before it is lent. Among several hosts only the primary will do; the pool tries again, and
    /// where it is to lead by then.
    pub(super) fn meet(&self, met: &Met) -> Result<(), sqlx::Error> {
        let mut seen = self.seen();
        let hosts = self.0.hosts.as_ref().filter(|hosts| hosts.are_several());
        if hosts.is_some_and(|hosts| !(met.takes_writes && hosts.is_latest(met.timeline))) {
            drop(seen);
            self.doubt();
            return Err(sqlx::Error::Protocol("this host is not the primary any more".to_owned()));
        }
        if seen.postmaster_start != Some(met.postmaster_start) {
            seen.postmaster_start = Some(met.postmaster_start);
            self.0.tenure.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Whether a connection of that age was made before the pool was pointed elsewhere.
    pub(super) fn has_left(&self, age: Duration) -> bool {
        self.seen().moved.is_some_and(|moved| moved.elapsed() < age)
    }

    /// Looks for the primary whenever somebody doubts, until the token ends it. A single host is not looked for.
    pub(super) async fn follow(
        &self,
        pool: &PgPool,
        point_at: impl Fn(PgConnectOptions) -> PgConnectOptions,
        backends: &Backends,
        token: CancellationToken,
    ) {
        let Some(hosts) = self.0.hosts.as_ref().filter(|hosts| hosts.are_several()) else { return };
        let mut last = None;
        while token.run_until_cancelled(self.0.doubt.notified()).await.is_some() {
            match token.run_until_cancelled(hosts.find()).await {
                None => return,
                Some(Ok(found)) => {
                    last = None;
                    if self.settle(hosts, found) {
                        let options = hosts.at(found);
                        tracing::warn!(primary = place(options), "another host is the primary now");
                        backends.forget();
                        self.point(pool, &point_at(options.clone()));
                        self.0.moves.send_modify(|moves| *moves += 1);
                    }
                }
                Some(Err(missed)) => {
                    let missed = missed.to_string();
                    if last.as_ref() != Some(&missed) {
                        tracing::warn!(hosts = missed, "no host takes writes; they are asked again and again");
                        last = Some(missed);
                    }
                    if token.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
                        return;
                    }
                    self.doubt();
                }
            }
        }
    }

    /// The tenure ends first: what an old connection still brings is not added to anything.
    fn settle(&self, hosts: &Hosts, found: usize) -> bool {
        let mut seen = self.seen();
        hosts.settle(found);
        let is_moved = std::mem::replace(&mut seen.pointed_at, found) != found;
        if is_moved {
            (seen.moved, seen.postmaster_start) = (Some(Instant::now()), None);
            self.0.tenure.fetch_add(1, Ordering::AcqRel);
        }
        is_moved
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
