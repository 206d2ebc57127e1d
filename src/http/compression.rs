//! Answers go compressed to who takes that, by gzip or Brotli. What is sent bit by bit does not: an event must not wait in
//! a compressor for the next one.

use std::convert::Infallible;
use std::future::ready;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{And, Predicate, SizeAbove};

/// Smaller answers fit into one packet anyway.
const SMALLEST: u16 = 1024;

/// What a client says that it takes.
pub(super) struct Accepted(Vec<HeaderValue>);

impl Accepted {
    /// Of a request with these headers.
    pub(super) fn by(headers: &HeaderMap) -> Self {
        Self(headers.get_all(ACCEPT_ENCODING).iter().cloned().collect())
    }

    /// The answer as this client takes it. The library gives every answer a body with room for its compressors, six
    /// kilobytes: what is too small for it, or comes bit by bit, goes around it.
    pub(super) async fn compress(self, answer: Response) -> Response {
        if !compressible().should_compress(&answer) {
            return answer;
        }
        let mut asked = Request::new(answer);
        for value in self.0 {
            asked.headers_mut().append(ACCEPT_ENCODING, value);
        }
        // Answers are made once for one client: speed matters more than the last per cent.
        let layer = CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(compressible());
        let answered = service_fn(|asked: Request<Response>| ready(Ok::<_, Infallible>(asked.into_body())));
        match layer.layer(answered).oneshot(asked).await {
            Ok(answer) => answer.map(Body::new),
            Err(never) => match never {},
        }
    }
}

fn compressible() -> And<SizeAbove, Whole> {
    SizeAbove::new(SMALLEST).and(Whole)
}

/// No streams.
#[derive(Clone, Copy, Debug)]
struct Whole;

impl Predicate for Whole {
    fn should_compress<B>(&self, response: &axum::http::Response<B>) -> bool
    where
        B: axum::body::HttpBody,
    {
        is_whole(response.headers())
    }
}

fn is_whole(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    !kind.starts_with("text/event-stream") && !kind.starts_with("multipart/")
}
