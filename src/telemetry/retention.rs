//! The metrics of retention, as counted by the server that did it.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// The metrics of retention by name.
#[derive(Debug, Default)]
pub struct RetentionMetrics {
    /// Scheduled runs that came to their end.
    pub runs: Counter,
    /// Scheduled runs that did not.
    pub failures: Counter,
    /// 1 from a run that failed until one that does not.
    pub failing: Gauge,
    /// Records removed, those of whole partitions as estimated.
    pub records: Counter,
    /// Tasks removed.
    pub tasks: Counter,
    /// Partitions dropped.
    pub dropped_partitions: Counter,
}

impl RetentionMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let all = Self::default();
        for (name, help, counter) in [
            ("retention_runs", "Scheduled runs of retention that came to their end", &all.runs),
            ("retention_failures", "Scheduled runs of retention that failed", &all.failures),
            ("retention_records", "Records removed, those of whole partitions as estimated", &all.records),
            ("retention_tasks", "Tasks removed", &all.tasks),
            ("retention_dropped_partitions", "Partitions dropped", &all.dropped_partitions),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register("retention_failing", "1 from a run that failed until one that does not", all.failing.clone());
        all
    }
}
