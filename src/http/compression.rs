//! Answers go compressed to who takes that, by gzip or Brotli. What is sent bit by bit does not: an event must not wait in
//! a compressor for the next one.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use tower_http::CompressionLevel;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, predicate::And};

/// Smaller answers fit into one packet anyway.
const SMALLEST: u16 = 1024;

/// The layer around all routes.
pub(super) fn layer() -> CompressionLayer<And<SizeAbove, Whole>> {
    // Answers are made once for one client: speed matters more than the last per cent.
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(SizeAbove::new(SMALLEST).and(Whole))
}

/// No streams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole;

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
