//! What a server tells of itself: the name of every metric, and (in the files beside) how lines of the log and traces look.
//!
//! To add a metric: a field of [`Metrics`], and a line in [`Telemetry::new`] that names it; nobody else names one. What
//! grows is a counter, whose name Prometheus ends with `_total`; what has a unit ends with it (`_seconds`, `_bytes`). Labels
//! have few values, which are known beforehand: never a user, a task or a text that somebody sent. On the way of a request
//! a metric is atomics, and a look-up where it has labels. Then its query in `deploy/`, where somebody should look at it.
//!
//! - `labels`: the labels · `histogram`, `latency`: how large, how long · `retention`, `process`: a part each
//! - `logging`, `json`: the lines of the log · [`spans`], `traces`: what becomes a trace, and how it gets to a collector

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::exponential_buckets;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

mod histogram;
mod json;
mod labels;
mod latency;
mod logging;
mod process;
mod retention;
pub mod spans;
mod traces;

pub use histogram::Histogram;
pub use labels::{Code, Exchange, Name, Operation, Root, Table, method};
pub use latency::{Latency, LatencySummary};
pub use logging::{LogFormat, check_filter, init_logging};
pub use retention::RetentionMetrics;
pub use spans::RemoteSpan;
pub use traces::{TraceSettings, Traces};

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
    /// Reads that a standby may answer, by who was asked for the answer: `standby` or `primary`. None without `--read-url`.
    pub standby_reads: Family<[(&'static str, &'static str); 1], Counter>,
    /// Calls to the database that are under way, those that wait for a connection among them.
    pub database_calls: Gauge,
    /// Open TCP connections, sockets among them.
    pub tcp_connections: Gauge,
    /// Connections closed at once because there were too many.
    pub refused_connections: Counter,
    /// Answers over HTTP, by route, method and status.
    pub http_requests: Family<Exchange, Counter>,
    /// Seconds until their first byte, by route.
    pub http_request_seconds: Seconds<[(&'static str, &'static str); 1]>,
    /// Operations that are over, by what they asked for and the code that they came to.
    pub operations: Family<(Operation, Code), Counter>,
    /// Seconds that each query and mutation took.
    pub operation_seconds: Seconds<Operation>,
    /// Those that took longer than `--slow-operation`.
    pub slow_operations: Counter,
    /// Records that one transaction of a write lane has written.
    pub commit_records: Histogram,
    /// Seconds that each of these transactions took.
    pub commit_seconds: Histogram,
    /// Seconds that each save waited until a lane took it.
    pub commit_wait_seconds: Histogram,
    /// Saves that wait for a lane or are being written.
    pub queued_saves: Gauge,
    /// What they hold.
    pub queued_bytes: Gauge,
    /// Connections to PostgreSQL that are open.
    pub pool_connections: Gauge,
    /// Of these, those that wait for work.
    pub pool_idle: Gauge,
    /// Calls that wait for a connection.
    pub pool_waiting: Gauge,
    /// Connections that there may be.
    pub pool_max: Gauge,
    /// 1 while the listener hears notifications.
    pub feed_listening: Gauge,
    /// Bytes of a table with its indexes.
    pub table_bytes: Family<[(&'static str, Table); 1], Gauge>,
    /// Rows of it, as PostgreSQL's statistics estimate them.
    pub table_rows: Family<[(&'static str, Table); 1], Gauge>,
    /// Partitions of the history.
    pub partitions: Gauge,
    /// Age of the oldest snapshot that somebody holds in this database, in seconds; 0 where nobody does.
    pub oldest_snapshot_seconds: Float,
    /// Of retention.
    pub retention: RetentionMetrics,
    registry: Registry,
}

/// A gauge that is no whole number.
pub type Float = Gauge<f64, AtomicU64>;

/// Histograms of seconds, by labels.
pub type Seconds<Labels> = Family<Labels, Histogram, fn() -> Histogram>;

/// Registers what it makes.
struct Names<'a>(&'a mut Registry);

impl Names<'_> {
    fn add<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn counter(&mut self, name: &str, help: &str) -> Counter {
        self.add(name, help, Counter::default())
    }

    fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.add(name, help, Gauge::default())
    }

    fn latency(&mut self, name: &str, help: &str) -> Latency {
        let latency = Latency::new(seconds());
        self.0.register(name, help, latency.histogram());
        latency
    }

    fn family<L, M>(&mut self, name: &str, help: &str) -> Family<L, M>
    where
        L: EncodeLabelSet + Labels,
        M: EncodeMetric + TypedMetric + Default + std::fmt::Debug + Send + Sync + 'static,
    {
        self.add(name, help, Family::default())
    }

    fn seconds<L: EncodeLabelSet + Labels>(&mut self, name: &str, help: &str) -> Seconds<L> {
        self.add(name, help, Family::new_with_constructor(seconds as fn() -> Histogram))
    }
}

/// What a set of labels has to be.
trait Labels: Clone + std::hash::Hash + Eq + std::fmt::Debug + Send + Sync + 'static {}

impl<L: Clone + std::hash::Hash + Eq + std::fmt::Debug + Send + Sync + 'static> Labels for L {}

/// 0.25 ms to 8 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

impl Telemetry {
    /// Registers every metric.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process::Process));
        let mut own = Names(registry.sub_registry_with_prefix("taskwire"));
        let version = [("version", env!("CARGO_PKG_VERSION")), ("commit", env!("TASKWIRE_COMMIT"))];
        own.0.register("build", "Which program this is", Info::new(version));
        Self(Arc::new(Metrics {
            recovered_by_check: own.counter("recovered_by_check", "Changes found by the periodic check alone"),
            listener_reconnects: own.counter("listener_reconnects", "New connections of the listener after the first"),
            feed_reads: own.counter("feed_reads", "Reads of the feed from the table"),
            feed_events: own.counter("feed_events", "Events handed to subscriptions"),
            saved_records: own.counter("saved_records", "Records written"),
            commits: own.counter("commits", "Transactions of the write lanes"),
            duplicate_records: own.counter("duplicate_records", "Records that were there already when they came again"),
            overloaded: own.counter("overloaded", "Saves refused because the queues were full"),
            slow_readers: own.counter("stream_slow_readers", "Streams over HTTP broken off because nobody read them"),
            subscriptions: own.gauge("subscriptions", "Open subscriptions"),
            streams: own.gauge("streams", "Open streams over HTTP"),
            connections: own.gauge("connections", "Open connections with live updates"),
            blocked_connections: own
                .gauge("blocked_connections", "Open connections whose clients do not take what they are sent"),
            socket_operations: own.counter("socket_operations", "Operations begun on sockets"),
            events_delivered: own.counter("events_delivered", "Answers and events given to sockets and streams"),
            rendered_events: own.counter("rendered_events", "Events executed and written, each for one or for many"),
            catch_ups: own.counter("catch_ups", "Reads of the table by subscriptions that had fallen behind"),
            socket_closes: own.family("socket_closes", "Sockets that ended, by close code"),
            delivery_seconds: own.latency("delivery_seconds", "From commit to the connection"),
            queries: own.counter("queries", "Statements that PostgreSQL was given"),
            failed_queries: own.counter("failed_queries", "Statements that failed"),
            query_seconds: own.latency("query_seconds", "What each statement took"),
            standby_reads: own
                .family("standby_reads", "Reads that a standby may answer, by who was asked for the answer"),
            database_calls: own.gauge("database_calls", "Calls to the database under way"),
            tcp_connections: own.gauge("tcp_connections", "Open TCP connections, sockets among them"),
            refused_connections: own
                .counter("refused_connections", "Connections closed at once because there were too many"),
            http_requests: own.family("http_requests", "Answers over HTTP"),
            http_request_seconds: own.seconds("http_request_seconds", "Until an answer over HTTP began"),
            operations: own.family("operations", "GraphQL operations that are over"),
            operation_seconds: own.seconds("operation_seconds", "What each query and mutation took"),
            slow_operations: own.counter("slow_operations", "Queries and mutations beyond --slow-operation"),
            commit_records: own.add(
                "commit_records",
                "Records that one transaction of a write lane wrote",
                Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            ),
            commit_seconds: own.add("commit_seconds", "What a transaction of a write lane took", seconds()),
            commit_wait_seconds: own.add("commit_wait_seconds", "What a save waited until a lane took it", seconds()),
            queued_saves: own.gauge("queued_saves", "Saves that wait or are being written"),
            queued_bytes: own.gauge("queued_bytes", "What the saves hold that wait or are being written"),
            pool_connections: own.gauge("pool_connections", "Open connections to PostgreSQL"),
            pool_idle: own.gauge("pool_idle_connections", "Connections to PostgreSQL that wait for work"),
            pool_waiting: own.gauge("pool_waiting", "Calls that wait for a connection to PostgreSQL"),
            pool_max: own.gauge("pool_max_connections", "Connections to PostgreSQL that there may be"),
            feed_listening: own.gauge("feed_listening", "1 while the listener hears notifications"),
            table_bytes: own.family("table_bytes", "A table with its indexes"),
            table_rows: own.family("table_rows", "Rows of a table, as PostgreSQL estimates them"),
            partitions: own.gauge("partitions", "Partitions of the history"),
            oldest_snapshot_seconds: own.add(
                "oldest_snapshot_seconds",
                "Age of the oldest snapshot that somebody holds, as far as we may see it",
                Float::default(),
            ),
            retention: RetentionMetrics::registered(own.0),
            registry,
        }))
    }

    /// PostgreSQL was given a statement, and has answered after so long.
    pub fn queried(&self, took: Duration, failed: bool) {
        self.queries.inc();
        self.failed_queries.inc_by(failed.into());
        self.query_seconds.observe(took.as_secs_f64());
    }

    /// A request over HTTP has got an answer, which began after so long.
    pub fn exchanged(&self, exchange: Exchange, took: Duration) {
        let by_route = [("route", exchange.route)];
        self.http_requests.get_or_create(&exchange).inc();
        self.http_request_seconds.get_or_create(&by_route).observe(took.as_secs_f64());
    }

    /// An operation is over. A subscription's time says nothing: it lasts as long as somebody likes.
    pub fn operated(&self, operation: Operation, code: Code, took: Option<Duration>) {
        if let Some(took) = took {
            self.operation_seconds.get_or_create(&operation).observe(took.as_secs_f64());
        }
        self.operations.get_or_create(&(operation, code)).inc();
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
        for name in
            ["taskwire_build_info{", "process_resident_memory_bytes ", "taskwire_commit_seconds_bucket{le=\"+Inf\"} 0"]
        {
            assert!(text.contains(name), "{name}: {text}");
        }
        let names = text.lines().filter(|line| line.starts_with("# HELP")).map(|line| line.split(' ').nth(2));
        let names: Vec<_> = names.collect();
        assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), names.len(), "twice: {names:?}");
    }
}
