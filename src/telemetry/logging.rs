//! The lines of the log, to standard error: for people on a terminal, else an object of JSON each.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, ParseError, filter_fn};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, fmt, registry};

use super::json::Json;
use super::spans;
use super::traces::Traces;

/// Libraries that tell more than anybody wants to know.
const QUIET: &str = "sqlx=warn,sea_orm_migration=warn";

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON for everything else.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Whether a filter can be read, as `info` or `taskwire=debug,warn`.
pub fn check_filter(filter: &str) -> Result<String, String> {
    let why = "give error, warn, info, debug, trace or off, or one for a module as in taskwire=debug,info";
    parse(filter).map(|_| filter.to_owned()).map_err(|error| format!("{error}; {why}"))
}

fn parse(filter: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(format!("{QUIET},{filter}"))
}

/// Writes log lines to standard error, as many as `filter` lets through, and hands spans to `traces`. The first call counts:
/// a test process may start several servers.
pub fn init_logging(filter: &str, format: LogFormat, traces: Option<&Traces>) {
    let is_terminal = io::stderr().is_terminal();
    let is_text = format == LogFormat::Text || (format == LogFormat::Auto && is_terminal);
    let filter = parse(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // A second call fails since there is a subscriber already, which is all that is wanted. (A layer that is none would have
    // every span made, for nobody.)
    let _: Result<(), TryInitError> = if let Some(traces) = traces {
        spans::want();
        let filter = filter.and(filter_fn(keeps_secrets)).and(spans::none());
        registry().with(lines(is_text, is_terminal).with_filter(filter)).with(traces.layer()).try_init()
    } else {
        // For all layers together, not for that of the lines: then no span is made for nobody. And where a layer's own
        // filter is the only one, it remembers of a span that was refused that it refuses, and swallows the next line.
        let filters = registry().with(filter).with(filter_fn(keeps_secrets)).with(spans::none());
        filters.with(lines(is_text, is_terminal)).try_init()
    };
}

fn lines<S>(is_text: bool, is_terminal: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(io::stderr);
    if is_text {
        lines.with_ansi(is_terminal).boxed()
    } else {
        lines.with_ansi(false).fmt_fields(JsonFields::new()).event_format(Json).boxed()
    }
}

/// The WebSocket library traces every message and frame whole, and with them the token of `connection_init`: no filter of
/// the operator's lets that through.
fn keeps_secrets(metadata: &Metadata<'_>) -> bool {
    !(*metadata.level() == Level::TRACE && metadata.target().starts_with("tungstenite"))
}

#[cfg(test)]
mod tests {
    use super::check_filter;

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        for filter in ["info", "warn,taskwire=debug", "[request]=trace", "off"] {
            assert_eq!(check_filter(filter).as_deref(), Ok(filter));
        }
        assert!(check_filter("taskwire=loud").is_err_and(|why| why.contains("give error, warn")));
    }
}
