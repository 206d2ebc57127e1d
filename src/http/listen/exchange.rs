//! One request and its answer: from whom it came, what it may take, and that it is waited for when the server ends.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use axum::response::Response;
use http_body::{Frame, SizeHint};
use hyper::body::{Buf, Incoming};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Common;
use super::connection::Waited;
use super::io::Activity;
use crate::http::answer::Refusal;
use crate::http::around;
use crate::http::cors::{self, Allowed};
use crate::http::peer::Peer;
use crate::http::request_id::{self, REQUEST_ID};
use crate::telemetry::{Exchange, method};

/// Answers a request that came over the connection of `socket`.
pub(super) async fn answer(
    common: Arc<Common>,
    router: Router,
    socket: IpAddr,
    activity: Arc<Activity>,
    waited: Waited,
    request: Request<Incoming>,
) -> Result<Response<Answered>, Infallible> {
    let mut running = Running::new(activity, &common);
    let (begun, route, method) = (Instant::now(), route(request.uri().path()), method(request.method().as_str()));
    let (mut request, body_end) = with_body_end(request);
    let peer = common.proxies.peer(socket, request.headers());
    request.extensions_mut().insert(peer);
    let allowed = Allowed::default();
    request.extensions_mut().insert(allowed.clone());
    request_id::give(request.headers_mut());
    let version = request.version();
    let response = run(&common, router, request, body_end).await;
    let response = response.unwrap_or_else(|refused| cors::allow(refused.respond(version), allowed.origin()));
    let status = response.status().as_u16();
    common.telemetry.exchanged(Exchange { route, method, status }, begun.elapsed());
    if is_stream(response.headers()) {
        // It ends with the subscriptions, which nobody waits for before. `stream` sees to clients that do not read.
        waited.release();
        running.waited = None;
    } else if version == Version::HTTP_2 {
        running.is_taken();
    }
    Ok(response.map(|body| Answered { body, running: Arc::new(running) }))
}

/// What metrics call a part of the server: paths are somebody's, and there are many.
fn route(path: &str) -> &'static str {
    match path {
        "/graphql" => "graphql",
        "/metrics" => "metrics",
        _ if path.starts_with("/health") => "health",
        _ => "pages",
    }
}

/// The answer, unless the client or the handler takes too long for it.
async fn run(
    common: &Common,
    router: Router,
    request: Request,
    body_end: Option<oneshot::Receiver<()>>,
) -> Result<Response, TooLong> {
    let (headers, peer) = (request.headers().clone(), Peer::of(request.extensions()));
    let mut handler = std::pin::pin!(around(router, request));
    if let Some(end) = body_end {
        tokio::select! {
            biased;
            answer = &mut handler => return Ok(answer),
            // Either way the sender is gone: the body is at its end, or nobody wants the rest.
            read = timeout(common.body_timeout, end) => if read.is_err() {
                return Err(TooLong::body(common.body_timeout, headers));
            },
        }
    }
    if let Ok(answer) = timeout(common.handler_timeout, handler).await {
        return Ok(answer);
    }
    let told = common.handler_timeout.as_secs_f64();
    let tell = || tracing::warn!(seconds = told, "gave up a request (--handler-timeout)");
    request_id::span(&headers, peer).in_scope(tell);
    Err(TooLong::handler(common.handler_timeout, headers))
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.starts_with(b"text/event-stream") || kind.starts_with(b"multipart/mixed")
}

/// What was not done in time.
struct TooLong {
    refusal: Refusal,
    headers: HeaderMap,
    /// The rest of a body is still on its way.
    closes: bool,
}

impl TooLong {
    fn body(limit: Duration, headers: HeaderMap) -> Self {
        let message = format!("The body did not come within {} s.", limit.as_secs_f64());
        Self { closes: true, ..Self::new(StatusCode::REQUEST_TIMEOUT, "body time", &message, limit, headers) }
    }

    fn handler(limit: Duration, headers: HeaderMap) -> Self {
        let message = format!("There was no answer within {} s.", limit.as_secs_f64());
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "handler time", &message, limit, headers)
    }

    fn new(status: StatusCode, limit: &str, message: &str, max: Duration, headers: HeaderMap) -> Self {
        let refusal = Refusal::new(status, "TIMEOUT", message)
            .with("retryable", true)
            .with("limit", limit)
            .with("maxMs", u64::try_from(max.as_millis()).unwrap_or(u64::MAX));
        Self { refusal, headers, closes: false }
    }

    fn respond(self, version: Version) -> Response {
        let mut response = self.refusal.respond(&self.headers);
        if let Some(id) = self.headers.get(REQUEST_ID) {
            response.headers_mut().insert(REQUEST_ID, id.clone());
        }
        // HTTP/2 knows no such header; its stream is reset instead.
        if self.closes && version <= Version::HTTP_11 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A request counts as running until its answer has been written to its end, or is dropped.
pub(super) struct Running {
    activity: Arc<Activity>,
    waited: Option<TaskTrackerToken>,
    /// Which answer it is, where the client is to take it stream by stream.
    answer: Option<u64>,
}

impl Running {
    fn new(activity: Arc<Activity>, common: &Common) -> Self {
        activity.requests.fetch_add(1, Relaxed);
        activity.has_begun.store(false, Relaxed);
        Self { activity, waited: Some(common.busy.token()), answer: None }
    }

    /// From now on the client is to take the answer, and does.
    fn is_taken(&mut self) {
        let answer = *self.answer.get_or_insert_with(|| self.activity.answers.fetch_add(1, Relaxed));
        self.activity.took(answer);
    }

    fn took(&self) {
        if let Some(answer) = self.answer {
            self.activity.took(answer);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(answer) = self.answer {
            self.activity.is_through(answer);
        }
        self.activity.served.fetch_add(1, Relaxed);
        // What has come meanwhile was its body.
        if self.activity.requests.fetch_sub(1, Relaxed) == 1 {
            self.activity.has_begun.store(false, Relaxed);
        }
    }
}

/// An answer's body, with the request that it ends.
pub(super) struct Answered {
    body: Body,
    running: Arc<Running>,
}

impl http_body::Body for Answered {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let running = Arc::clone(&self.running);
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| Piece { bytes, running }))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece of an answer. HTTP/2 takes whole bodies as soon as a client opens its window by a byte, and keeps them for as
/// long as the client likes: until then the request is running.
pub(super) struct Piece {
    bytes: Bytes,
    running: Arc<Running>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.running.took();
        self.bytes.advance(count);
    }
}

/// The request, and what hears of its body's end; nothing where there is no body.
fn with_body_end(request: Request<Incoming>) -> (Request, Option<oneshot::Receiver<()>>) {
    if http_body::Body::is_end_stream(request.body()) {
        return (request.map(Body::new), None);
    }
    let (sender, receiver) = oneshot::channel();
    (request.map(|body| Body::new(Asked { body, end: Some(sender) })), Some(receiver))
}

/// A request's body; `end` goes when it has been read.
struct Asked {
    body: Incoming,
    end: Option<oneshot::Sender<()>>,
}

impl http_body::Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.end = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
