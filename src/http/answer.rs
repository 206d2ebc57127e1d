//! What goes back: GraphQL answers as JSON, and refusals in the same shape.
//!
//! A request that was refused whole has no `data`. What was no GraphQL request at all is a 4xx; whether one that was not
//! executed is one too depends on the media type (`negotiation`). Nobody keeps an answer: it is for its caller alone.

use async_graphql::{ServerError, Value};
use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::negotiation::MediaType;
use super::request_id;

/// In the specification's order: errors first, so that they are seen.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

/// The answer to a request that was executed, or refused by the library before that.
pub(super) fn respond(mut answer: async_graphql::Response, headers: &HeaderMap) -> Response {
    request_id::mark(&mut answer.errors, headers);
    let errors = &answer.errors;
    let refused = !errors.is_empty() && errors.iter().all(|error| error.path.is_empty());
    let data = (!refused).then_some(&answer.data);
    let media_type = MediaType::of(headers);
    let status = if refused { busy(errors).unwrap_or(media_type.refused()) } else { StatusCode::OK };
    json(status, media_type, &Answer { errors, data })
}

/// The status where the request was good and the server could not do it, or not now: proxies and clients act on these.
fn busy(errors: &[ServerError]) -> Option<StatusCode> {
    match text_of(errors.first()?, "code")? {
        "RATE_LIMITED" => Some(StatusCode::TOO_MANY_REQUESTS),
        "OVERLOADED" | "DATABASE_UNAVAILABLE" => Some(StatusCode::SERVICE_UNAVAILABLE),
        "TIMEOUT" => Some(StatusCode::GATEWAY_TIMEOUT),
        "INTERNAL_SERVER_ERROR" => Some(StatusCode::INTERNAL_SERVER_ERROR),
        _ => None,
    }
}

/// An answer as one JSON text.
pub(super) fn text(answer: &async_graphql::Response) -> Vec<u8> {
    let errors = &answer.errors;
    let refused = !errors.is_empty() && errors.iter().all(|error| error.path.is_empty());
    let answer = Answer { errors, data: (!refused).then_some(&answer.data) };
    serde_json::to_vec(&answer).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        br#"{"errors":[{"message":"Something went wrong on the server.","extensions":{"code":"INTERNAL_SERVER_ERROR"}}]}"#
            .to_vec()
    })
}

fn json(status: StatusCode, media_type: MediaType, answer: &Answer<'_>) -> Response {
    let (status, body) = match serde_json::to_vec(answer) {
        Ok(body) => (status, body),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            (StatusCode::INTERNAL_SERVER_ERROR, Vec::new())
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // Those below, the request's id and who may read it: at once.
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, media_type.header());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A GET can be in a foreign page as if it were a script or an image: no browser hands its answer over.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    if let Some(seconds) = answer.errors.first().and_then(retry_after).filter(|_| !status.is_success()) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Whole seconds, as the header has them.
fn retry_after(error: &ServerError) -> Option<u64> {
    match error.extensions.as_ref()?.get("retryAfterMs")? {
        Value::Number(milliseconds) => milliseconds.as_u64().map(|milliseconds| milliseconds.div_ceil(1000)),
        _ => None,
    }
}

fn text_of<'a>(error: &'a ServerError, name: &str) -> Option<&'a str> {
    match error.extensions.as_ref()?.get(name)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Why a request is not even executed.
#[derive(Debug)]
pub(super) struct Refusal {
    /// None: as the error's code or the media type has it for a request that is one, but is not executed.
    status: Option<StatusCode>,
    error: Box<ServerError>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let mut error = ServerError::new(message, None);
        error.extensions.get_or_insert_default().set("code", code);
        Self { status: Some(status), error: Box::new(error), header: None }
    }

    /// Something is wrong with the request itself.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_USER_INPUT", message)
    }

    /// This method may not do that; `allow` says which may.
    pub(super) fn method_not_allowed(allow: &'static str, message: &str) -> Self {
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "BAD_USER_INPUT", message);
        refusal.headed(ALLOW, HeaderValue::from_static(allow))
    }

    /// With one header more.
    pub(super) fn headed(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// Says more in the error's extensions.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.error.extensions.get_or_insert_default().set(name, value);
        self
    }

    /// As the library's own error, with the code that it has been given.
    pub(super) fn of(error: ServerError) -> Self {
        Self { status: None, error: Box::new(error), header: None }
    }

    /// The error alone, for an answer that does not go by HTTP.
    pub(super) fn into_error(self) -> ServerError {
        *self.error
    }

    /// The error by itself, where it can be told within a stream: something is wrong with the request, and nothing with
    /// who sends it or how.
    pub(super) fn into_request_error(self) -> Result<ServerError, Self> {
        if self.status.is_none_or(|status| status == StatusCode::BAD_REQUEST) { Ok(*self.error) } else { Err(self) }
    }

    pub(super) fn respond(mut self, headers: &HeaderMap) -> Response {
        request_id::mark(std::slice::from_mut(&mut *self.error), headers);
        let media_type = MediaType::of(headers);
        let errors = std::slice::from_ref(&*self.error);
        let status = self.status.or_else(|| busy(errors)).unwrap_or(media_type.refused());
        let mut response = json(status, media_type, &Answer { errors, data: None });
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
