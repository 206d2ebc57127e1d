//! Tells the other servers whom the lanes have written for: after the commit, and in transactions of its own.
//!
//! A transaction that notifies holds a lock of the whole cluster until its commit is flushed, so no two of them share a
//! flush: that was what the saves of several servers waited for (docs/adr/0004). The transactions here wait for no flush, one
//! follows the other, and each tells of everybody who came meanwhile.
//!
//! What gets lost, with a server that is killed in between, the other servers find by their check.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Store;
use super::retry::Attempts;
use super::write::Kept;

/// Whoever is told wakes every listener of every server: under load not more often than this.
const PAUSE: Duration = Duration::from_millis(5);
/// The queue for notifications is full, or the database away for longer.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// More than these are not remembered while the database is away: checks find them.
const USERS: usize = 100_000;

/// Nothing is flushed for a hint.
const NOTIFY: &str = "SELECT set_config('synchronous_commit', 'off', true), taskwire_notify($1)";

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Notifier {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    users: Mutex<HashSet<String>>,
    arrived: Notify,
    closing: CancellationToken,
    tracker: TaskTracker,
}

impl Notifier {
    pub(super) fn start(store: Store) -> Self {
        let inner = Arc::new(Inner {
            store,
            users: Mutex::default(),
            arrived: Notify::new(),
            closing: CancellationToken::new(),
            tracker: TaskTracker::new(),
        });
        inner.tracker.spawn(Arc::clone(&inner).run());
        Self { inner }
    }

    /// Something of these users has been committed.
    pub(super) fn tell<'a>(&self, users: impl Iterator<Item = &'a str>) {
        let mut waiting = self.inner.lock();
        for user in users {
            if waiting.len() < USERS && !waiting.contains(user) {
                waiting.insert(user.to_owned());
            }
        }
        drop(waiting);
        self.inner.arrived.notify_one();
    }

    /// Returns when everybody has been told.
    pub(super) async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        let mut kept = Kept::default();
        loop {
            // First: who comes before the end is told of.
            let is_closing = self.closing.is_cancelled();
            let users: Vec<String> = self.lock().drain().collect();
            if !users.is_empty() {
                let is_told = self.notify(&mut kept, &users).await;
                let pause = if is_told { PAUSE } else { PAUSE_AFTER_FAILURE };
                let _ = tokio::time::timeout(pause, self.closing.cancelled()).await;
            } else if is_closing {
                return;
            } else {
                kept.rest(async {
                    tokio::select! {
                        () = self.arrived.notified() => {}
                        () = self.closing.cancelled() => {}
                    }
                })
                .await;
            }
        }
    }

    /// False where it has to be given up.
    async fn notify(&self, kept: &mut Kept, users: &[String]) -> bool {
        let mut attempts = Attempts::new();
        // There is nothing to be written without notifying.
        attempts.notify = false;
        loop {
            let Err(error) = self.store.write_on(kept, sqlx::query(NOTIFY).bind(users)).await else { return true };
            if let Err(error) = attempts.after(&self.store, error).await {
                tracing::warn!(users = users.len(), %error, "other servers were not notified; their periodic check finds it");
                return false;
            }
        }
    }
}
