//! How large things are: counts in buckets, of atomics alone. (The library's own histogram takes a lock for each value.)

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Parts of the sum's unit: what is counted is seconds, or whole things.
const PARTS: f64 = 1e6;

/// Values by size. Cheap to clone: the clones count together.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The largest value of each bucket, rising, and how many there were; the last one takes all that is larger.
    buckets: Box<[(f64, AtomicU64)]>,
    /// Of all values, in millionths.
    sum: AtomicU64,
}

impl Histogram {
    /// With buckets up to each of these, which rise, and one for what is larger.
    #[must_use]
    pub fn new(bounds: impl IntoIterator<Item = f64>) -> Self {
        let bounds = bounds.into_iter().chain([f64::INFINITY]);
        let buckets = bounds.map(|bound| (bound, AtomicU64::new(0))).collect();
        Self(Arc::new(Inner { buckets, sum: AtomicU64::new(0) }))
    }

    /// There was this value once more.
    pub fn observe(&self, value: f64) {
        let (place, inner) = (self.0.buckets.partition_point(|(bound, _)| *bound < value), &self.0);
        if let Some((_, count)) = inner.buckets.get(place).or(inner.buckets.last()) {
            count.fetch_add(1, Relaxed);
        }
        inner.sum.fetch_add(parts(value), Relaxed);
    }

    /// The same for how many of something.
    pub fn observe_many(&self, number: usize) {
        self.observe(u32::try_from(number).map_or(f64::MAX, f64::from));
    }
}

/// (What is no number, or negative, becomes none.)
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` stops at the bounds")]
fn parts(value: f64) -> u64 {
    (value * PARTS) as u64
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    #[expect(clippy::cast_precision_loss, reason = "a sum to sixteen digits")]
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), fmt::Error> {
        let buckets: Vec<(f64, u64)> =
            self.0.buckets.iter().map(|(bound, count)| (*bound, count.load(Relaxed))).collect();
        // Of the very counts that are told: the sum of the buckets must not be another number.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum.load(Relaxed) as f64 / PARTS;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_that_is_as_large() {
        let (histogram, mut registry) = (Histogram::new([0.5, 1.0]), Registry::default());
        registry.register("h", "H", histogram.clone());
        for value in [0.1, 0.5, 0.6, 1.5, 2.0] {
            histogram.observe(value);
        }
        histogram.observe_many(1);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in
            ["h_sum 5.7", "h_count 6", r#"h_bucket{le="0.5"} 2"#, r#"h_bucket{le="1.0"} 4"#, r#"h_bucket{le="+Inf"} 6"#]
        {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn no_value_is_too_strange() {
        let histogram = Histogram::new([1.0]);
        for value in [f64::NAN, -1.0, f64::INFINITY] {
            histogram.observe(value);
        }
        let counts: Vec<u64> = histogram.0.buckets.iter().map(|(_, count)| count.load(Relaxed)).collect();
        assert_eq!(counts, [2, 1]);
    }
}
