//! What goes back: GraphQL answers as JSON, and refusals in the same shape.
//!
//! A request that was refused whole has no `data` and is a 4xx. (Content negotiation to the letter comes with the issue on
//! safety.)

use async_graphql::{ServerError, Value};
use axum::body::Body;
use axum::http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CONTENT_TYPE, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

const GRAPHQL: HeaderValue = HeaderValue::from_static("application/graphql-response+json; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// In the specification's order: errors first, so that they are seen.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

/// The answer to a request that was executed, or refused by the library before that.
pub(super) fn respond(answer: async_graphql::Response, headers: &HeaderMap) -> Response {
    let errors = &answer.errors;
    let refused = !errors.is_empty() && errors.iter().all(|error| error.path.is_empty());
    let data = (!refused).then_some(&answer.data);
    let status = if refused { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    json(status, headers, &Answer { errors, data })
}

fn json(status: StatusCode, headers: &HeaderMap, answer: &Answer<'_>) -> Response {
    let (status, body) = match serde_json::to_vec(answer) {
        Ok(body) => (status, body),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            (StatusCode::INTERNAL_SERVER_ERROR, Vec::new())
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let wants = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let kind = if wants.contains("application/graphql-response+json") { GRAPHQL } else { JSON };
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Why a request is not even executed.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: Box<ServerError>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let mut error = ServerError::new(message, None);
        error.extensions.get_or_insert_default().set("code", code);
        Self { status, error: Box::new(error), header: None }
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
        Self { status: StatusCode::BAD_REQUEST, error: Box::new(error), header: None }
    }

    /// The error alone, for an answer that does not go by HTTP.
    pub(super) fn into_error(self) -> ServerError {
        *self.error
    }

    pub(super) fn respond(self, headers: &HeaderMap) -> Response {
        let answer = Answer { errors: std::slice::from_ref(&*self.error), data: None };
        let mut response = json(self.status, headers, &answer);
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// To a browser that asks whether a page of an allowed origin may send its request: the guard has said so already.
pub(super) fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, accept, authorization"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Lets a page of this origin read the answer.
pub(super) fn allow_origin(mut response: Response, origin: Option<HeaderValue>) -> Response {
    if let Some(origin) = origin {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
    response
}
