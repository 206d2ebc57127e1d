//! A line of the log as an object of JSON: `timestamp`, `level`, `target`, `message`, then what the event names, then what
//! is around it (the request's `id` and `peer`), all side by side, so that each can be searched for.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes lines so. The spans' fields have to be written as JSON, too.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        out.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut out)?;
        write!(out, "\",\"level\":\"{}\",\"target\":{}", metadata.level(), Quoted(metadata.target()))?;
        let mut fields = Fields { out: &mut out, written: Ok(()) };
        event.record(&mut fields);
        fields.written?;
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>().map(|fields| fields.fields.as_str());
            let inner = fields.and_then(|fields| fields.strip_prefix('{')?.strip_suffix('}'));
            if let Some(inner) = inner.filter(|inner| !inner.is_empty()) {
                write!(out, ",{inner}")?;
            }
        }
        out.write_str("}\n")
    }
}

/// Each as `,"name":value`.
struct Fields<'a, 'b> {
    out: &'a mut Writer<'b>,
    written: fmt::Result,
}

impl Fields<'_, '_> {
    fn write(&mut self, field: &Field, value: impl fmt::Display) {
        if self.written.is_ok() {
            self.written = write!(self.out, ",{}:{value}", Quoted(field.name()));
        }
    }
}

impl Visit for Fields<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no other numbers.
        let value = if value.is_finite() { value } else { 0.0 };
        self.write(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, Quoted(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, Quoted(&format!("{value:?}")));
    }
}

/// A text as JSON. Most need no escaping, and a busy server writes a dozen of them for each request.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.bytes().any(|byte| matches!(byte, 0..=31 | b'"' | b'\\')) {
            return f.write_str(&serde_json::Value::from(self.0).to_string());
        }
        f.write_str("\"")?;
        f.write_str(self.0)?;
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::fmt::format::JsonFields;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_object_whatever_it_says() {
        let log = Log::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().with_writer(move || writer.clone()).fmt_fields(JsonFields::new());
        tracing::subscriber::with_default(lines.event_format(Json).finish(), || {
            let _around = tracing::info_span!("request", id = "a\"b", peer = %"127.0.0.1").entered();
            tracing::warn!(n = 7, quote = "a\"b", slash = "a\\b", ms = 1.5, is = true, name = ?"x\ny", "one \"line\",\nand no more");
            tracing::info!("plain");
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [first, second] = lines.as_slice() else { panic!("{log}") };
        for (name, value) in [
            ("level", json!("WARN")),
            ("message", json!("one \"line\",\nand no more")),
            ("n", json!(7)),
            ("quote", json!("a\"b")),
            ("slash", json!("a\\b")),
            ("ms", json!(1.5)),
            ("is", json!(true)),
            ("name", json!("\"x\\ny\"")),
            ("id", json!("a\"b")),
            ("peer", json!("127.0.0.1")),
        ] {
            assert_eq!(first[name], value, "{name}: {log}");
        }
        assert!(first["timestamp"].as_str().unwrap().ends_with('Z') && second["id"] == "a\"b");
    }
}
