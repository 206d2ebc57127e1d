//! The pages' files, as `scripts/web` has made them and `build.rs` has put them into the program: compressed, because
//! browsers take them so.

use std::io::Read as _;

use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use flate2::read::GzDecoder;

/// One file of `web/dist`.
#[derive(Debug)]
pub(super) struct File {
    /// Its path from there.
    name: &'static str,
    /// Its content's hash, weak because its encodings share it.
    tag: &'static str,
    brotli: &'static [u8],
    gzip: &'static [u8],
}

/// Sorted by name; empty where the program was built without the pages.
const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The file of this name.
pub(super) fn find(name: &str) -> Option<&'static File> {
    FILES.binary_search_by(|file| file.name.cmp(name)).ok().and_then(|at| FILES.get(at))
}

/// Whether the program was built with the pages.
pub(super) fn are_there() -> bool {
    !FILES.is_empty()
}

impl File {
    /// The file, in an encoding that the client takes; or that it has it already.
    pub(super) fn respond(&self, asked: &HeaderMap) -> Response {
        let mut response =
            if is_known(asked, self.tag) { StatusCode::NOT_MODIFIED.into_response() } else { self.whole(asked) };
        let headers = response.headers_mut();
        headers.insert(ETAG, HeaderValue::from_static(self.tag));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        response
    }

    fn whole(&self, asked: &HeaderMap) -> Response {
        let mut response = if takes(asked, "br") {
            ([(CONTENT_ENCODING, "br")], self.brotli).into_response()
        } else if takes(asked, "gzip") {
            ([(CONTENT_ENCODING, "gzip")], self.gzip).into_response()
        } else {
            let mut plain = Vec::new();
            match GzDecoder::new(self.gzip).read_to_end(&mut plain) {
                Ok(_) => plain.into_response(),
                Err(error) => {
                    tracing::error!(%error, file = self.name, "a page's file cannot be read");
                    StatusCode::INTERNAL_SERVER_ERROR.into_response()
                }
            }
        };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type(self.name)));
        response
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ttf" => "font/ttf",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// Whether the client has this very content.
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|all| all.split(',')).any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}

/// Whether the client takes this encoding: named, or by `*`, and not with a weight of zero.
fn takes(asked: &HeaderMap, encoding: &str) -> bool {
    let mut by_star = false;
    let values = asked.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for item in values.flat_map(|all| all.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        let is_taken = weight.is_ok_and(|weight| weight > 0.0);
        if name.eq_ignore_ascii_case(encoding) {
            return is_taken;
        }
        by_star |= name == "*" && is_taken;
    }
    by_star
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_taken_by_its_name_or_by_the_star() {
        for (accept, brotli, gzip) in [
            ("gzip, deflate, br, zstd", true, true),
            ("gzip", false, true),
            ("br;q=0, *", false, true),
            ("GZIP;q=0.5", false, true),
            ("*;q=0", false, false),
            ("br;q=x", false, false),
            ("", false, false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap())]);
            assert_eq!((takes(&headers, "br"), takes(&headers, "gzip")), (brotli, gzip), "{accept}");
        }
        assert!(!takes(&HeaderMap::new(), "gzip"));
    }

    #[test]
    fn a_known_tag_is_known_weak_or_strong() {
        for (known, is) in [("W/\"a\"", true), ("\"a\"", true), ("\"b\", W/\"a\"", true), ("*", true), ("\"b\"", false)]
        {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(known))]);
            assert_eq!(is_known(&headers, "W/\"a\""), is, "{known}");
        }
    }
}
