//! Why a subscription ends, or does not begin.

use std::time::Duration;

use crate::store::StoreError;

/// Why a subscription cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Records that it needs are not there any more, or its cursor's record never was: the client must read again.
    #[error("the feed cannot go on from this cursor without a hole")]
    Expired {
        /// The oldest position still kept.
        oldest_position: Option<i64>,
    },
    /// The server is stopping.
    #[error("the server is stopping")]
    Closed,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What passes by itself: a subscription waits for it.
pub(super) fn passes(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::Timeout | StoreError::Overloaded { .. })
}

/// Waits that double up to a bound, each cut at random between its half and its whole, so that many do not come together.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(2);

    pub(super) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// It went well: begin again with a short wait.
    pub(super) fn reset(&mut self) {
        self.next = Self::FIRST;
    }

    /// How long to wait now.
    pub(super) fn wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(Self::LAST);
        whole.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_again() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..20).map(|_| backoff.wait()).collect();
        assert!(waits[0] >= Backoff::FIRST / 2 && waits[0] <= Backoff::FIRST);
        assert!(waits.iter().all(|wait| *wait <= Backoff::LAST));
        assert!(waits[19] >= Backoff::LAST / 2);
        backoff.reset();
        assert!(backoff.wait() <= Backoff::FIRST);
    }
}
