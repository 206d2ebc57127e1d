//! Apollo's multipart subscriptions: `multipart/mixed;subscriptionSpec=1.0`.
//!
//! A part is over for the client only when the boundary after it is there. So each part is sent with the boundary of the
//! next one, and nobody waits for the next event to see this one.

use axum::http::HeaderValue;

pub(super) const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0");
pub(super) const OPENING: &[u8] = b"\r\n--graphql";
/// A heartbeat.
pub(super) const KEEP_ALIVE: &[u8] = b"\r\nContent-Type: application/json\r\n\r\n{}\r\n--graphql";
/// Makes the last boundary, which is there already, the closing one.
pub(super) const COMPLETION: &[u8] = b"--\r\n";

const HEAD: &[u8] = b"\r\nContent-Type: application/json\r\n\r\n";

/// One result, as JSON.
pub(super) fn result(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(HEAD);
    out.extend_from_slice(b"{\"payload\":");
    out.extend_from_slice(json);
    out.extend_from_slice(b"}\r\n--graphql");
}

/// An error of the connection and not of the operation. `json` is an answer that has nothing but errors.
pub(super) fn failure(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(HEAD);
    out.extend_from_slice(b"{\"payload\":null,");
    out.extend_from_slice(json.strip_prefix(b"{").unwrap_or(json));
    out.extend_from_slice(b"\r\n--graphql");
}
