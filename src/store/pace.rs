//! Whether commits take their time: how long those of a few records take now, beside the quickest of late.
//!
//! Where the database has none to spare, as when several servers write to it, more transactions at once make each of them
//! slower; fewer and larger ones are faster for everybody.

use std::time::{Duration, Instant};

/// For so long the quickest one counts, and for twice as long at most.
const WINDOW: Duration = Duration::from_secs(30);
/// So many times the quickest is slow. With 2, three servers went on using six lanes too often (docs/adr/0008).
const SLOW: f64 = 1.5;
/// About so many commits make the mean.
const MEAN_OF: f64 = 8.0;

pub(super) struct Pace {
    /// The mean of late, in seconds.
    mean: f64,
    /// The quickest of this window and of the one before, in seconds.
    quickest: [f64; 2],
    window_since: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { mean: 0.0, quickest: [f64::INFINITY; 2], window_since: Instant::now() }
    }
}

impl Pace {
    /// A commit of a few records, which was over `at`, took so long.
    pub(super) fn took(&mut self, time: Duration, at: Instant) {
        let age = at.saturating_duration_since(self.window_since);
        if age > WINDOW {
            self.quickest = [f64::INFINITY, if age > 2 * WINDOW { f64::INFINITY } else { self.quickest[0] }];
            self.window_since = at;
        }
        let seconds = time.as_secs_f64();
        self.quickest[0] = self.quickest[0].min(seconds);
        self.mean += (seconds - self.mean) / MEAN_OF;
    }

    pub(super) fn is_slow(&self) -> bool {
        self.mean > SLOW * self.quickest[0].min(self.quickest[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(pace: &mut Pace, times: usize, millis: u64, at: Instant) {
        (0..times).for_each(|_| pace.took(Duration::from_millis(millis), at));
    }

    #[test]
    fn commits_are_slow_beside_the_quickest_of_late() {
        let mut pace = Pace::default();
        let at = Instant::now();
        assert!(!pace.is_slow());
        took(&mut pace, 20, 1, at);
        assert!(!pace.is_slow());
        // One alone says nothing.
        took(&mut pace, 1, 4, at);
        assert!(!pace.is_slow());
        took(&mut pace, 20, 3, at);
        assert!(pace.is_slow());
        took(&mut pace, 20, 1, at);
        assert!(!pace.is_slow());
    }

    #[test]
    fn what_was_quick_once_is_forgotten() {
        let mut pace = Pace::default();
        let at = Instant::now();
        took(&mut pace, 20, 1, at);
        took(&mut pace, 20, 4, at + WINDOW / 2);
        assert!(pace.is_slow());
        // In the next window it still counts; after that, a disk that takes its time is how it is.
        took(&mut pace, 20, 4, at + WINDOW * 3 / 2);
        assert!(pace.is_slow());
        took(&mut pace, 20, 4, at + WINDOW * 3);
        assert!(!pace.is_slow());
    }
}
