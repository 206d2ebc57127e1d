//! Whether the database is away, so that callers hear of it soon.
//!
//! The pool waits for a database that refuses connections as long as for a busy one, and its pauses grow with the outage.
//! So a call that gets nowhere asks by a connection of its own, and gives up where there is none to be had; and a pool
//! that comes out of an outage is rid of its dead connections at once, which would fail one call each.

use std::sync::PoisonError;
use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _, PgPool};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

/// How long a call may take before anybody wonders whether the database is there.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long an answer to that question is believed.
const BELIEVED: Duration = Duration::from_millis(500);
/// A connection that takes longer is none.
const CONNECT: Duration = Duration::from_secs(3);

/// How long writes wait for the end of an outage: an embedded `PostgreSQL` that was killed is back within two seconds.
/// One that lasts longer is told at once.
const WAITED_FOR: Duration = Duration::from_secs(4);

/// What is known of the database's absence.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// What was found last: when, and why the database could not be reached, if it could not.
    found: Mutex<Option<(Instant, Option<String>)>>,
    /// Since when writes fail.
    since: std::sync::Mutex<Option<Instant>>,
}

impl Outage {
    /// A write has succeeded.
    pub(super) fn is_over(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A write that was begun then has failed: whether they have been failing for longer than is waited for.
    pub(super) fn lasts(&self, begun: Instant) -> bool {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get_or_insert(begun).elapsed() > WAITED_FOR
    }

    /// Returns, with the reason, when the database turns out to be away; never while it is there.
    pub(super) async fn found(&self, pool: &PgPool) -> String {
        loop {
            sleep(PATIENCE).await;
            if let Some(reason) = self.reason(pool).await {
                return reason;
            }
        }
    }

    /// Why the database cannot be reached now, if it cannot. Many who ask together share one connection.
    async fn reason(&self, pool: &PgPool) -> Option<String> {
        let mut last = self.found.lock().await;
        if let Some((at, reason)) = &*last
            && at.elapsed() < BELIEVED
        {
            return reason.clone();
        }
        let reason = match timeout(CONNECT, pool.connect_options().connect()).await {
            Ok(Ok(session)) => {
                drop(timeout(CONNECT, session.close()).await);
                None
            }
            // Too many connections, a wrong password: somebody is there and says so. Let the call hear it itself.
            Ok(Err(sqlx::Error::Database(error))) if !is_away(error.code().as_deref()) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no connection in time".to_owned()),
        };
        *last = Some((Instant::now(), reason.clone()));
        reason
    }
}

/// Starting, stopping, or recovering.
fn is_away(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with("57P"))
}

/// Lets go of every connection that waits in the pool; the pool tries each as it comes back, and drops the dead.
pub(super) fn weed(pool: &PgPool) {
    let idle: Vec<_> = std::iter::from_fn(|| pool.try_acquire()).collect();
    drop(idle);
}
