//! The time, passed in, so that a test can move it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

/// Tells the time. Cheap to clone; clones of one that is set by hand tell the same.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System(Instant),
    ByHand { start: DateTime<Utc>, gone: Arc<AtomicI64> },
}

impl Clock {
    /// The machine's.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// One that stands still until it is moved.
    #[must_use]
    pub fn standing_at(start: DateTime<Utc>) -> Self {
        Self(Source::ByHand { start, gone: Arc::default() })
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System(_) => Utc::now(),
            Source::ByHand { start, gone } => *start + TimeDelta::milliseconds(gone.load(Ordering::Relaxed)),
        }
    }

    /// How much time has gone by since this clock was made. It never goes back, whatever is done to the machine's date.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Source::System(start) => start.elapsed(),
            Source::ByHand { gone, .. } => {
                Duration::from_millis(u64::try_from(gone.load(Ordering::Relaxed)).unwrap_or_default())
            }
        }
    }

    /// Moves a clock that is set by hand; the machine's does not let itself be moved.
    pub fn advance(&self, by: Duration) {
        if let Source::ByHand { gone, .. } = &self.0 {
            gone.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}
