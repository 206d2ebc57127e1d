//! Each request has an id: in the log's lines about it, in the answer's `x-request-id`, and in every error's extensions. A
//! proxy or client that has given it one already keeps it.

use async_graphql::ServerError;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use tower::Service as _;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::Peer;

/// The header, in and out.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer is no id, and would only fill logs.
const LONGEST: usize = 128;

/// Gives a request its id. Handlers find it in the request's headers, whether or not it came with one.
pub(super) fn give(headers: &mut HeaderMap) {
    let id = given(headers).unwrap_or_else(new);
    headers.insert(REQUEST_ID, id);
}

/// Names the request's id in the log's lines about it, and in its answer.
pub(super) async fn attach(mut router: Router, request: Request) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    let span = span(request.headers(), Peer::of(request.extensions()));
    let answer = router.call(request).instrument(span).await;
    let mut response = answer.unwrap_or_else(|never| match never {});
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// What the log's lines about a request name: its id, and whose it is.
pub(super) fn span(headers: &HeaderMap, peer: Peer) -> Span {
    let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    // As high as the lines that want it: those of slow operations and of refusals.
    tracing::warn_span!(parent: None, "request", id, peer = %peer.0)
}

/// Writes the request's id into errors.
pub(super) fn mark(errors: &mut [ServerError], headers: &HeaderMap) {
    name(errors, headers.get(REQUEST_ID));
}

/// The same, where the id has been kept alone.
pub(super) fn name(errors: &mut [ServerError], id: Option<&HeaderValue>) {
    let Some(id) = id.and_then(|id| id.to_str().ok()) else { return };
    for error in errors {
        error.extensions.get_or_insert_default().set("requestId", id);
    }
}

/// What the client sent, where it can be an id.
fn given(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut ids = headers.get_all(REQUEST_ID).iter();
    let id = ids.next().filter(|_| ids.next().is_none())?;
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(byte);
    let is_id = !id.is_empty() && id.len() <= LONGEST && id.as_bytes().iter().all(is_usual);
    is_id.then(|| id.clone())
}

fn new() -> HeaderValue {
    HeaderValue::from_str(&Uuid::new_v4().to_string()).unwrap_or_else(|_| HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_and_harmless_in_a_log() {
        let given = |id: &str| given(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(id).unwrap())]));
        for id in ["a", "0b2c6f1e-3f0a-4d7c-9b0e-1f2d3c4b5a69", "Root=1-67891233-abc/x:y+z@w", &"x".repeat(LONGEST)] {
            assert_eq!(given(id).unwrap(), id);
        }
        for id in ["", "a b", "a\tb", "<b>", "\"", "a,b", "{}", &"x".repeat(LONGEST + 1)] {
            assert_eq!(given(id), None, "{id}");
        }
    }
}
