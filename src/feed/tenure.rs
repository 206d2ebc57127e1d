//! Which run of the database the hub knows its heads from.
//!
//! Another run (after a failover, a restart, a restore) may lack the last of what the one before had acknowledged, and
//! have other records in its place. Until the reader has asked for every head anew, nothing is added to what is known, and
//! what was read meanwhile waits.

use std::sync::atomic::Ordering;

use super::hub::Hub;
use super::{FeedError, hub::lock};
use crate::store::{Head, StoreError};

/// How many transactions of a run that ended may have been lost, beside those that wrote records: these numbers are given
/// out again.
const REISSUED: u64 = 1000;

impl Hub {
    /// Whether the database is another run than the one that the heads are known from.
    pub(super) fn is_other(&self) -> bool {
        *self.inner.known_in.borrow() != self.inner.store.tenure()
    }

    /// Every head has been asked for in this tenure.
    pub(super) fn known_in(&self, tenure: u64) {
        self.inner.known_in.send_replace(tenure);
    }

    /// Waits until the heads are known from the database that is read from.
    pub(super) async fn settled(&self) -> Result<(), FeedError> {
        if !self.is_other() {
            return Ok(());
        }
        self.inner.wake.notify_one();
        let mut known_in = self.inner.known_in.subscribe();
        tokio::select! {
            // Never an error: the sender is in the hub.
            _ = known_in.wait_for(|tenure| *tenure == self.inner.store.tenure()) => Ok(()),
            () = self.inner.closed.cancelled() => Err(FeedError::Closed),
        }
    }

    /// Of those who watch everybody: does what they were told last still stand? Else they have to read again. `xmin` is
    /// that of a snapshot taken before this is asked.
    pub(super) async fn renew_everyone(&self, xmin: &str) -> Result<(), StoreError> {
        let told = lock(&self.inner.everyone).told_last();
        let mut stands = true;
        for told in told.iter().filter(|told| !told.is_empty()) {
            let standing = self.within_time(self.inner.store.standing(told)).await?;
            stands &= standing.len() == told.len();
        }
        let mut everyone = lock(&self.inner.everyone);
        if stands {
            everyone.stood();
        } else {
            tracing::warn!("what was told last of all users' tasks is gone; who watches them has to read again");
            everyone.begin_anew();
        }
        let number = |xid: &str| xid.parse::<u64>().unwrap_or(0);
        if let Some(since) = everyone.since() {
            everyone.set_since(number(&since).min(number(xmin)).saturating_sub(REISSUED).to_string());
        }
        Ok(())
    }

    /// So many listeners there are to be.
    pub(super) fn listens_to(&self, nodes: usize) {
        self.inner.nodes.store(nodes.max(1), Ordering::Relaxed);
    }

    /// A listener hears, for as long as what this gives lives.
    pub(super) fn connected(&self) -> Connected {
        self.inner.listening.fetch_add(1, Ordering::Relaxed);
        Connected(self.clone())
    }

    /// Whether every listener hears notifications now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inner.listening.load(Ordering::Relaxed) >= self.inner.nodes.load(Ordering::Relaxed)
    }
}

/// Of a listener that hears.
pub(super) struct Connected(Hub);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.inner.listening.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The record that a task's state comes with.
pub(super) fn head_of(task: &entity::task::Model) -> Head {
    Head { position: task.position, recorded_at: task.updated_at, record_id: task.record_id }
}
