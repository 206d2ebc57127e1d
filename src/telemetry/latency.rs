//! How long something takes: a histogram for Prometheus, and finer cells from which a page of ours tells shares of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Histogram;

/// Cells of an octave: neighbours differ by 4.4 %.
const OF_AN_OCTAVE: u32 = 16;
/// From a microsecond on: the last one holds a day and more.
const OCTAVES: u32 = 37;
const CELLS: usize = (OCTAVES * OF_AN_OCTAVE) as usize;

/// Times since the start. Cheap to clone: the clones count together.
#[derive(Clone, Debug)]
pub struct Latency(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    histogram: Histogram,
    cells: Box<[AtomicU64]>,
    longest_micros: AtomicU64,
}

/// Shares of the times that were seen, in seconds; right to a twentieth of themselves, the longest exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencySummary {
    /// Half of them were as short.
    pub p50: f64,
    /// 99 of a hundred.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Latency {
    pub(super) fn new(histogram: Histogram) -> Self {
        let cells = (0..CELLS).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { histogram, cells, longest_micros: AtomicU64::new(0) }))
    }

    pub(super) fn histogram(&self) -> Histogram {
        self.0.histogram.clone()
    }

    /// It took so long once more.
    pub fn observe(&self, seconds: f64) {
        self.0.histogram.observe(seconds);
        let micros = micros(seconds);
        if let Some(cell) = self.0.cells.get(cell_of(micros)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.0.longest_micros.fetch_max(micros, Ordering::Relaxed);
    }

    /// What was seen so far; none before the first time.
    #[must_use]
    pub fn summary(&self) -> Option<LatencySummary> {
        let counts: Vec<u64> = self.0.cells.iter().map(|cell| cell.load(Ordering::Relaxed)).collect();
        let all: u64 = counts.iter().sum();
        if all == 0 {
            return None;
        }
        let max = seconds(self.0.longest_micros.load(Ordering::Relaxed));
        let share = |percent: u64| {
            let (mut before, wanted) = (0, (all * percent).div_ceil(100));
            let cell = counts.iter().position(|count| {
                before += count;
                before >= wanted
            });
            cell.map_or(max, |cell| end_of(cell).min(max))
        };
        Some(LatencySummary { p50: share(50), p99: share(99), max })
    }
}

/// Whole microseconds, one at least. (A float that is too large, or no number, becomes the nearest that is one.)
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` stops at the bounds")]
fn micros(seconds: f64) -> u64 {
    ((seconds * 1e6).round() as u64).max(1)
}

#[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "0 to 1,024")]
fn cell_of(micros: u64) -> usize {
    (((micros as f64).log2() * f64::from(OF_AN_OCTAVE)) as usize).min(CELLS - 1)
}

/// Where a cell ends, in seconds.
#[expect(clippy::cast_precision_loss, reason = "less than 600")]
fn end_of(cell: usize) -> f64 {
    ((cell + 1) as f64 / f64::from(OF_AN_OCTAVE)).exp2() / 1e6
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::histogram::linear_buckets;

    use super::*;

    fn latency(times: impl IntoIterator<Item = f64>) -> Latency {
        let latency = Latency::new(Histogram::new(linear_buckets(0.1, 0.1, 3)));
        times.into_iter().for_each(|time| latency.observe(time));
        latency
    }

    #[test]
    fn shares_are_right_to_a_twentieth_and_the_longest_exactly() {
        assert_eq!(latency([]).summary(), None);
        let same = latency([0.005]).summary();
        assert_eq!(same, Some(LatencySummary { p50: 0.005, p99: 0.005, max: 0.005 }));
        let told =
            latency((1..=1_000).map(|number| f64::from(number) / 1_000.0)).summary().unwrap_or_else(|| unreachable!());
        assert!(told.p50 >= 0.5 && told.p50 < 0.525, "{told:?}");
        assert!(told.p99 >= 0.99 && told.p99 <= 1.0, "{told:?}");
        assert!((told.max - 1.0).abs() < 1e-9, "{told:?}");
    }

    #[test]
    fn no_time_is_too_strange() {
        let told = latency([0.0, -1.0, f64::NAN, 1e12]).summary();
        assert_eq!(told, Some(LatencySummary { p50: end_of(0), p99: end_of(CELLS - 1), max: 1e12 }));
    }
}
