//! What pages of other origins may do: nothing, but for those of `--allow-origin`. The guard decides; here is what a browser
//! is told of it.
//!
//! Nothing goes by cookie, so no answer allows credentials. Every mutation is one that a browser asks for first: it is no
//! "simple" request.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, VARY,
};
use axum::http::{Extensions, HeaderValue, StatusCode};
use axum::response::Response;

/// An extension of each request that takes down whose page may read the answer, for the answer that the listener gives
/// where the handler, whose guard has said so, takes too long.
#[derive(Clone, Default)]
pub(super) struct Allowed(Arc<OnceLock<HeaderValue>>);

impl Allowed {
    /// Takes down what the guard has said of this request.
    pub(super) fn note(extensions: &Extensions, origin: Option<&HeaderValue>) {
        if let (Some(allowed), Some(origin)) = (extensions.get::<Self>(), origin) {
            // Once is enough: each request is looked at once.
            let _ = allowed.0.set(origin.clone());
        }
    }

    /// The origin, if the guard has allowed one.
    pub(super) fn origin(&self) -> Option<HeaderValue> {
        self.0.get().cloned()
    }
}

/// To a browser that asks whether a page of an allowed origin may send its request: the guard has said so already.
pub(super) fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    let allowed = HeaderValue::from_static("content-type, accept, authorization, x-request-id");
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Lets a page of this origin read the answer, and its request's id.
pub(super) fn allow(mut response: Response, origin: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("x-request-id"));
    }
    headers.append(VARY, HeaderValue::from_static("Origin, Accept"));
    response
}
