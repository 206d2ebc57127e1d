//! Logging, and the name of every metric.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

/// Every metric of a server, by its name.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    /// Group commits.
    pub commits: Counter,
    /// Records saved.
    pub saved_records: Counter,
    /// Saves that were repeated.
    pub duplicate_records: Counter,
    /// Saves refused because too many were waiting.
    pub overloaded: Counter,
    /// Changes that only the periodic check found.
    pub recovered_by_check: Counter,
    /// New connections of the listener.
    pub listener_reconnects: Counter,
    /// Reads of the feed.
    pub feed_reads: Counter,
    /// Events delivered.
    pub feed_events: Counter,
    /// Open subscriptions.
    pub subscriptions: Gauge,
}
