//! The spans of a trace, and whose they are: a request over HTTP, within it an operation, within that what the database is
//! asked; and the transaction of a write lane, which belongs to the first save in it and is linked with the others.
//!
//! They have names of their own making and few attributes, none of which a client writes but the operation's name. To add
//! one: a function here, and `.instrument(…)` around what it measures.

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::Empty;
use tracing::{Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{FilterFn, filter_fn};

use super::Operation;

/// What tells them from the spans of the log.
const TARGET: &str = "taskwire::trace";
/// Headers, and entries of `connection_init`'s payload, by which a client says to which trace its request belongs: those of
/// W3C's Trace Context.
const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// Characters of an operation's name.
const NAME: usize = 100;
/// Codes that tell of a failure of ours; with any other one the client was answered as it should be.
const FAILURES: [&str; 4] = ["INTERNAL_SERVER_ERROR", "DATABASE_UNAVAILABLE", "TIMEOUT", "OVERLOADED"];

fn is_one(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET
}

/// Lets them through, and nothing else.
pub(super) fn only() -> FilterFn {
    filter_fn(is_one)
}

/// Lets everything else through.
pub(super) fn none() -> FilterFn {
    filter_fn(|metadata| !is_one(metadata))
}

/// Not `tracing::enabled!`: where layers have filters of their own, asking without making the span swallows the next line.
static WANTED: AtomicBool = AtomicBool::new(false);

/// There is somebody for spans.
pub(super) fn want() {
    WANTED.store(true, Ordering::Relaxed);
}

fn are_wanted() -> bool {
    WANTED.load(Ordering::Relaxed)
}

/// Somebody else's span, within which a request was sent.
#[derive(Clone, Debug)]
pub struct RemoteSpan(opentelemetry::Context);

impl RemoteSpan {
    /// By `traceparent` and `tracestate`, as `get` finds them. None where nobody wants traces, or it names no such span.
    pub fn of<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        if !are_wanted() {
            return None;
        }
        let given = Given { parent: get(PARENT)?, state: get(STATE) };
        // Nothing of our own around it, which would be taken where this is not valid.
        let context = TraceContextPropagator::new().extract_with_context(&opentelemetry::Context::new(), &given);
        context.span().span_context().is_valid().then_some(Self(context))
    }

    fn adopt(&self, span: &Span) {
        if let Err(error) = span.set_parent(self.0.clone()) {
            tracing::debug!(%error, "a trace was not taken over");
        }
    }
}

struct Given<'a> {
    parent: &'a str,
    state: Option<&'a str>,
}

impl Extractor for Given<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            PARENT => Some(self.parent),
            STATE => self.state,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![PARENT, STATE]
    }
}

/// A request to `/graphql`.
pub fn request(method: &str, remote: Option<&RemoteSpan>) -> Span {
    let span = tracing::info_span!(
        target: TARGET, "request",
        otel.name = Empty, otel.kind = "server", http.request.method = method, http.route = "/graphql",
        http.response.status_code = Empty,
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("{method} /graphql"));
        remote.inspect(|remote| remote.adopt(&span));
    }
    span
}

/// The request has this answer.
pub fn answered(request: &Span, status: u16) {
    request.record("http.response.status_code", i64::from(status));
}

/// An operation. What it is turns out later.
pub fn operation(remote: Option<&RemoteSpan>) -> Span {
    let span = tracing::info_span!(
        target: TARGET, "operation",
        otel.kind = "server", otel.name = Empty, otel.status_code = Empty,
        graphql.operation.type = Empty, graphql.operation.name = Empty, taskwire.code = Empty,
    );
    if !span.is_disabled() {
        remote.inspect(|remote| remote.adopt(&span));
    }
    span
}

/// As much of an operation's name as logs and traces tell: longer, it would only fill them. A name is of ASCII alone.
#[must_use]
pub fn short(name: &str) -> &str {
    name.get(..NAME).unwrap_or(name)
}

/// It is this operation.
pub fn is(span: &Span, operation: &Operation, name: Option<&str>) {
    if !span.is_disabled() {
        let (kind, field) = (operation.kind.as_str(), operation.field.as_str());
        span.record("otel.name", format!("{kind} {field}")).record("graphql.operation.type", kind);
        name.inspect(|name| _ = span.record("graphql.operation.name", short(name)));
    }
}

/// It came to this.
pub fn came_to(span: &Span, code: &str) {
    span.record("taskwire.code", code);
    if FAILURES.contains(&code) {
        span.record("otel.status_code", "ERROR");
    }
}

/// The span around what runs now, for what will be done elsewhere; a disabled one where there is none.
#[must_use]
pub fn here() -> Span {
    if are_wanted() { current() } else { Span::none() }
}

/// Lines of the log have spans, too: they are none.
fn current() -> Span {
    let span = Span::current();
    if span.metadata().is_some_and(is_one) { span } else { Span::none() }
}

/// A transaction that writes for all of these, each [`here`] when it was handed in.
pub fn commit<'a>(savers: impl IntoIterator<Item = &'a Span>, records: usize) -> Span {
    if !are_wanted() {
        return Span::none();
    }
    let mut savers = savers.into_iter().filter_map(Span::id);
    let Some(first) = savers.next() else { return Span::none() };
    let records = i64::try_from(records).unwrap_or(i64::MAX);
    let span = tracing::info_span!(target: TARGET, parent: first, "commit", taskwire.records = records);
    savers.for_each(|saver| _ = span.follows_from(saver));
    span
}

/// What the database is asked, and what waits for a connection to it; only within a trace.
pub fn database() -> Span {
    let around = here();
    if around.is_disabled() {
        return around;
    }
    tracing::info_span!(target: TARGET, parent: &around, "database", otel.kind = "client", db.system.name = "postgresql")
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Layer as _, fmt, registry};

    use super::*;

    /// One test: who asks for the same spans at the same moment in another thread can make tracing keep a wrong answer.
    #[test]
    fn a_span_is_made_where_somebody_wants_it() {
        nobody_wants_them();
        a_line_of_the_log_is_none();
    }

    fn nobody_wants_them() {
        let log = fmt::layer().with_writer(std::io::sink).with_filter(none());
        with_default(registry().with(log), || {
            let _line = tracing::info_span!("request", id = 7).entered();
            let around = [request("POST", None), operation(None), here(), database(), commit([&here()], 3)];
            assert!(around.iter().all(Span::is_disabled));
            assert!(RemoteSpan::of(|_| Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")).is_none());
        });
    }

    fn a_line_of_the_log_is_none() {
        want();
        let traces = fmt::layer().with_writer(std::io::sink).with_filter(only());
        with_default(registry().with(traces), || {
            assert!(database().is_disabled(), "nothing is around it");
            let operation = operation(None).entered();
            assert!(!here().is_disabled() && !database().is_disabled());
            assert!(!commit([&Span::none(), &*operation], 2).is_disabled());
            assert!(commit([&Span::none()], 1).is_disabled(), "it is nobody's");
            for parent in ["", "00-made-up-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
                assert!(RemoteSpan::of(|name| (name == PARENT).then_some(parent)).is_none(), "{parent}");
            }
        });
    }
}
