//! Server-sent events, as graphql-sse's PROTOCOL.md has them in its distinct connections mode: `next`, then `complete`.

use axum::http::HeaderValue;

pub(super) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
/// A comment.
pub(super) const KEEP_ALIVE: &[u8] = b":\n\n";
/// Without the empty data an `EventSource` would not tell of it.
pub(super) const COMPLETION: &[u8] = b"event: complete\ndata: \n\n";

/// One result, as JSON. JSON in one line has no line breaks of its own.
pub(super) fn result(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(b"event: next\ndata: ");
    out.extend_from_slice(json);
    out.extend_from_slice(b"\n\n");
}

/// When an `EventSource` is to come back: not all in the same instant.
pub(super) fn come_back(out: &mut Vec<u8>, milliseconds: u64) {
    out.extend_from_slice(format!("retry: {milliseconds}\n\n").as_bytes());
}
