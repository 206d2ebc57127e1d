//! Logging, and the name of every metric. To add a metric: a field, and a line in [`Telemetry::new`] that registers it;
//! nobody else names one. They are counted from the first day and served by a later issue.

use std::{
    io::{self, IsTerminal},
    ops::Deref,
    sync::Arc,
    time::Duration,
};

mod latency;
mod retention;

pub use latency::{Latency, LatencySummary};
use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
pub use retention::RetentionMetrics;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter,
    filter::filter_fn,
    fmt,
    layer::SubscriberExt as _,
    util::{SubscriberInitExt, TryInitError},
};

/// Libraries that tell more than anybody wants to know.
const QUIET: &str = "sqlx=warn,sea_orm_migration=warn";

/// Writes log lines to standard error, as many as `filter` lets through (`info`, `taskwire=debug,warn` …).
/// The first call counts: a test process may start several servers.
pub fn init_logging(filter: &str) {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}")).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).finish();
    // A second call fails since there is a subscriber already, which is all that is wanted.
    let _: Result<(), TryInitError> = lines.with(filter_fn(keeps_secrets)).try_init();
}

/// The WebSocket library traces every message and frame whole, and with them the token of `connection_init`: no filter of
/// the operator's lets that through.
fn keeps_secrets(metadata: &Metadata<'_>) -> bool {
    !(*metadata.level() == Level::TRACE && metadata.target().starts_with("tungstenite"))
}

/// All metrics. Cheap to clone: the clones count together.
#[derive(Debug, Clone)]
pub struct Telemetry(Arc<Metrics>);

/// The metrics by name.
#[derive(Debug)]
pub struct Metrics {
    /// Changes of which no notification told, found by the periodic check.
    pub recovered_by_check: Counter,
    /// New connections of the feed's listener after the first.
    pub listener_reconnects: Counter,
    /// Reads of the feed from the table.
    pub feed_reads: Counter,
    /// Events handed to subscriptions.
    pub feed_events: Counter,
    /// Records written.
    pub saved_records: Counter,
    /// Transactions of the write lanes; each writes what was waiting.
    pub commits: Counter,
    /// Records that were there already when they came again.
    pub duplicate_records: Counter,
    /// Saves refused because the queues were full.
    pub overloaded: Counter,
    /// Streams over HTTP that were broken off because their clients did not read.
    pub slow_readers: Counter,
    /// Open subscriptions.
    pub subscriptions: Gauge,
    /// Open streams over HTTP.
    pub streams: Gauge,
    /// Open connections with live updates: sockets, server-sent events, multipart.
    pub connections: Gauge,
    /// Connections with live updates whose clients do not take what they are sent.
    pub blocked_connections: Gauge,
    /// Operations begun on sockets.
    pub socket_operations: Counter,
    /// Answers and events given to sockets and streams.
    pub events_delivered: Counter,
    /// Events of `taskEvents` executed and written; each may be given to many.
    pub rendered_events: Counter,
    /// Reads of the table by subscriptions that were further behind than what is kept in memory.
    pub catch_ups: Counter,
    /// Sockets that ended, by the code of their close; 1006 where the connection broke off.
    pub socket_closes: Family<[(&'static str, u16); 1], Counter>,
    /// Seconds from a record's commit until its live event was taken by the connection; of each subscription's events the
    /// first, and every sixteenth after it.
    pub delivery_seconds: Latency,
    /// Statements that PostgreSQL was given.
    pub queries: Counter,
    /// Those of them that failed.
    pub failed_queries: Counter,
    /// Seconds that each of them took.
    pub query_seconds: Latency,
    /// Calls to the database that are under way, those that wait for a connection among them.
    pub database_calls: Gauge,
    /// Open TCP connections, sockets among them.
    pub tcp_connections: Gauge,
    /// Connections closed at once because there were too many.
    pub refused_connections: Counter,
    /// Of retention.
    pub retention: RetentionMetrics,
    registry: Registry,
}

impl Telemetry {
    /// Registers every metric.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("taskwire");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let recovered_by_check = counter("recovered_by_check", "Changes found by the periodic check alone");
        let listener_reconnects = counter("listener_reconnects", "New connections of the listener after the first");
        let feed_reads = counter("feed_reads", "Reads of the feed from the table");
        let feed_events = counter("feed_events", "Events handed to subscriptions");
        let saved_records = counter("saved_records", "Records written");
        let commits = counter("commits", "Transactions of the write lanes");
        let duplicate_records = counter("duplicate_records", "Records that were there already when they came again");
        let overloaded = counter("overloaded", "Saves refused because the queues were full");
        let queries = counter("queries", "Statements that PostgreSQL was given");
        let failed_queries = counter("failed_queries", "Statements that failed");
        let slow_readers = counter("stream_slow_readers", "Streams over HTTP broken off because nobody read them");
        let refused_connections =
            counter("refused_connections", "Connections closed at once because there were too many");
        let subscriptions = Gauge::default();
        let socket_operations = counter("socket_operations", "Operations begun on sockets");
        let events_delivered = counter("events_delivered", "Answers and events given to sockets and streams");
        let rendered_events = counter("rendered_events", "Events executed and written, each for one or for many");
        let catch_ups = counter("catch_ups", "Reads of the table by subscriptions that had fallen behind");
        registry.register("subscriptions", "Open subscriptions", subscriptions.clone());
        let streams = Gauge::default();
        registry.register("streams", "Open streams over HTTP", streams.clone());
        let connections = Gauge::default();
        registry.register("connections", "Open connections with live updates", connections.clone());
        let blocked_connections = Gauge::default();
        let help = "Open connections whose clients do not take what they are sent";
        registry.register("blocked_connections", help, blocked_connections.clone());
        let socket_closes = Family::default();
        registry.register("socket_closes", "Sockets that ended, by close code", socket_closes.clone());
        // 0.25 ms to 8 s.
        let delivery_seconds = Latency::new(Histogram::new(exponential_buckets(0.000_25, 2.0, 16)));
        registry.register("delivery_seconds", "From commit to the connection", delivery_seconds.histogram());
        let query_seconds = Latency::new(Histogram::new(exponential_buckets(0.000_25, 2.0, 16)));
        registry.register("query_seconds", "What each statement took", query_seconds.histogram());
        let database_calls = Gauge::default();
        registry.register("database_calls", "Calls to the database under way", database_calls.clone());
        let tcp_connections = Gauge::default();
        registry.register("tcp_connections", "Open TCP connections, sockets among them", tcp_connections.clone());
        let retention = RetentionMetrics::registered(&mut registry);
        Self(Arc::new(Metrics {
            recovered_by_check,
            listener_reconnects,
            feed_reads,
            feed_events,
            saved_records,
            commits,
            duplicate_records,
            overloaded,
            slow_readers,
            subscriptions,
            streams,
            connections,
            blocked_connections,
            socket_operations,
            events_delivered,
            rendered_events,
            catch_ups,
            socket_closes,
            delivery_seconds,
            queries,
            failed_queries,
            query_seconds,
            database_calls,
            tcp_connections,
            refused_connections,
            retention,
            registry,
        }))
    }

    /// PostgreSQL was given a statement, and has answered after so long.
    pub fn queried(&self, took: Duration, failed: bool) {
        self.queries.inc();
        self.failed_queries.inc_by(failed.into());
        self.query_seconds.observe(took.as_secs_f64());
    }

    /// The metrics as text, in the format of OpenMetrics.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.0.registry);
        text
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Telemetry {
    type Target = Metrics;

    fn deref(&self) -> &Metrics {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Telemetry;

    #[test]
    fn clones_count_together_and_every_metric_has_its_name() {
        let telemetry = Telemetry::new();
        telemetry.clone().saved_records.inc_by(3);
        telemetry.subscriptions.inc();
        let text = telemetry.text();
        assert!(text.contains("taskwire_saved_records_total 3"), "{text}");
        assert!(text.contains("taskwire_subscriptions 1"), "{text}");
        assert_eq!(text.matches("# HELP").count(), 30, "{text}");
    }
}
