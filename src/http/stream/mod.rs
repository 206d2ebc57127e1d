//! Results as they come, over plain HTTP: one operation a response, whose body lasts as long as the operation.
//!
//! - `accept`: whether a client asks for that, and for which of the two · [`open`]: the response
//! - `sse`: server-sent events, graphql-sse's distinct connections · `multipart`: Apollo's multipart subscriptions
//! - `pump`: takes results from the schema as fast as the client reads them, and ends when one of the two ends
//!
//! A stream that the server ends before its operation is over has no mark of completion: the client comes back with its
//! last cursor. To add a format: its file with the same five functions, a variant of [`Format`], a line in `accept`.

mod accept;
mod multipart;
mod pump;
mod sse;

use std::time::Duration;

use async_graphql::{Request, Response as Answer, ServerError};
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tracing::Instrument as _;

pub(super) use accept::{chosen, refused};

use super::Sockets;
use super::answer::{self, Refusal};
use super::connections::{Full, Seat};
use super::request_id;
use crate::auth::AuthError;
use crate::graphql::{Answer as Told, Caller};
use pump::Pump;

/// What a stream's operation is, and who asked for it.
pub(super) struct Operation {
    /// Executes it.
    pub(super) caller: Caller,
    /// The request.
    pub(super) request: Request,
    /// Whether its results may have no end.
    pub(super) is_subscription: bool,
    /// How long the caller's token is taken; none where it has no end.
    pub(super) remaining: Option<Duration>,
    /// What its errors are to name.
    pub(super) request_id: Option<HeaderValue>,
}

/// How results are told apart in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Server-sent events.
    Events,
    /// Parts of `multipart/mixed`.
    Multipart,
}

impl Format {
    fn content_type(self) -> HeaderValue {
        match self {
            Self::Events => sse::CONTENT_TYPE,
            Self::Multipart => multipart::CONTENT_TYPE,
        }
    }

    /// What the body begins with, so that the client sees at once that it has begun.
    fn opening(self) -> &'static [u8] {
        match self {
            Self::Events => sse::KEEP_ALIVE,
            Self::Multipart => multipart::OPENING,
        }
    }

    fn keep_alive(self) -> &'static [u8] {
        match self {
            Self::Events => sse::KEEP_ALIVE,
            Self::Multipart => multipart::KEEP_ALIVE,
        }
    }

    /// The mark of an operation that is over.
    fn completion(self) -> &'static [u8] {
        match self {
            Self::Events => sse::COMPLETION,
            Self::Multipart => multipart::COMPLETION,
        }
    }

    /// One result.
    fn told(self, out: &mut Vec<u8>, told: &Told) {
        match told {
            Told::Shared(json) => self.text(out, json),
            Told::Own(answer) => self.result(out, answer),
        }
    }

    fn result(self, out: &mut Vec<u8>, answer: &Answer) {
        self.text(out, &answer::text(answer));
    }

    fn text(self, out: &mut Vec<u8>, json: &[u8]) {
        match self {
            Self::Events => sse::result(out, json),
            Self::Multipart => multipart::result(out, json),
        }
    }

    /// Why there are no more results, though the operation is not over.
    fn failure(self, out: &mut Vec<u8>, answer: &Answer) {
        match self {
            Self::Events => sse::result(out, &answer::text(answer)),
            Self::Multipart => multipart::failure(out, &answer::text(answer)),
        }
    }
}

/// The response to an operation whose results come one by one.
pub(super) fn open(format: Format, operation: Operation, seat: Seat, sockets: &Sockets) -> Response {
    let Operation { caller, request, is_subscription, remaining, request_id } = operation;
    let answers = caller.answers(request).map(move |mut told| {
        if let Told::Own(answer) = &mut told {
            request_id::name(&mut answer.errors, request_id.as_ref());
        }
        told
    });
    let answers = answers.boxed();
    let (pieces, body) = mpsc::channel(1);
    let pump = Pump { format, is_subscription, remaining, pieces, seat };
    sockets.open.spawn(pump.run(answers).in_current_span());
    respond(format, pump::body(body))
}

/// The response to a request that was refused before it could be executed, for a client that reads nothing else.
pub(super) fn refuse(format: Format, mut error: ServerError, request_id: Option<&HeaderValue>) -> Response {
    request_id::name(std::slice::from_mut(&mut error), request_id);
    let mut text = format.opening().to_vec();
    format.result(&mut text, &Answer::from_errors(vec![error]));
    text.extend_from_slice(format.completion());
    respond(format, Body::from(text))
}

fn respond(format: Format, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, format.content_type());
    // Whoever stands between must pass each piece on as it comes, and keep none.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    // A GET of this sort can be in a foreign page as if it were a script or an image: no browser hands it over.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    response
}

/// What a client is told for whom there is no more room.
pub(super) fn full(full: Full) -> Refusal {
    let status = match full {
        Full::Server { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Full::User { .. } | Full::Address { .. } => StatusCode::TOO_MANY_REQUESTS,
    };
    Refusal::new(status, "LIMIT_EXCEEDED", full.to_string())
        .with("limit", full.limit())
        .with("max", full.max())
        .with("value", full.max().saturating_add(1))
        .headed(RETRY_AFTER, HeaderValue::from_static("5"))
}

/// Why a client has to sign in again.
fn signed_out(why: impl Into<String>) -> Answer {
    let mut error = ServerError::new(why, None);
    error.extensions.get_or_insert_default().set("code", AuthError::CODE);
    Answer::from_errors(vec![error])
}
