//! Which of GraphQL's two media types an answer has, as the client's `Accept` would have it.
//!
//! They differ in more than their name: with `application/graphql-response+json` the status says whether the request was
//! good, with `application/json` (older, and what is sent where nothing is asked for) it only says whether it was one.

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue, StatusCode};

use super::answer::Refusal;

/// The media type of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// `application/graphql-response+json`
    GraphqlResponse,
    /// `application/json`
    Json,
}

impl MediaType {
    /// What the client likes best: by weight, then in its order. None where it takes neither.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(ACCEPT).iter().peekable();
        if values.peek().is_none() {
            return Some(Self::Json);
        }
        let ranges = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let mut best = None;
        for (media_type, weight) in ranges.filter_map(range) {
            // The first of equals stays.
            if weight > best.map_or(0, |(_, weight)| weight) {
                best = Some((media_type, weight));
            }
        }
        best.map(|(media_type, _)| media_type)
    }

    /// The same; an error is told as JSON to a client that takes neither.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self::accepted(headers).unwrap_or(Self::Json)
    }

    /// Refuses a client that could not read the answer, before anything is done for it.
    pub(super) fn check(headers: &HeaderMap) -> Result<(), Refusal> {
        Self::accepted(headers).map(|_| ()).ok_or_else(|| {
            let message = "The answer is application/graphql-response+json or application/json: accept one of them.";
            Refusal::new(StatusCode::NOT_ACCEPTABLE, "BAD_USER_INPUT", message)
        })
    }

    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        })
    }

    /// The status of a well-formed request that was not executed.
    pub(super) fn refused(self) -> StatusCode {
        match self {
            Self::GraphqlResponse => StatusCode::BAD_REQUEST,
            Self::Json => StatusCode::OK,
        }
    }
}

/// Whether a browser asks for something to look at: HTML, rather than what a client of GraphQL reads.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|all| all.split(','));
    let (mut html, mut others) = (0, 0);
    for (name, weight) in ranges.filter_map(weighed) {
        let best = if name == "text/html" { &mut html } else { &mut others };
        if name == "text/html" || media_type(&name).is_some() {
            *best = weight.max(*best);
        }
    }
    html > others
}

/// One range of an `Accept`, with its weight in thousandths; none where it is not for us.
fn range(text: &str) -> Option<(MediaType, u16)> {
    let (name, weight) = weighed(text)?;
    Some((media_type(&name)?, weight))
}

fn media_type(name: &str) -> Option<MediaType> {
    match name {
        "application/graphql-response+json" => Some(MediaType::GraphqlResponse),
        "application/json" | "application/*" | "*/*" => Some(MediaType::Json),
        _ => None,
    }
}

/// One range's name in small letters, with its weight; none where it wants another encoding than ours.
fn weighed(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let mut weight = 1000;
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => weight = thousandths(value)?,
            "charset" if !["utf-8", "utf8"].iter().any(|utf8| value.eq_ignore_ascii_case(utf8)) => return None,
            _ => {}
        }
    }
    Some((name, weight))
}

fn thousandths(weight: &str) -> Option<u16> {
    let (whole, part) = weight.split_once('.').unwrap_or((weight, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match whole {
        "1" => Some(1000),
        "0" => format!("{part:0<3}").parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &str) -> Option<MediaType> {
        MediaType::accepted(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(accept).unwrap())]))
    }

    #[test]
    fn the_client_gets_what_it_likes_best() {
        let (graphql, json) = (Some(MediaType::GraphqlResponse), Some(MediaType::Json));
        assert_eq!(MediaType::accepted(&HeaderMap::new()), json);
        for (accept, best) in [
            ("*/*", json),
            ("application/*", json),
            ("application/json", json),
            ("application/graphql-response+json", graphql),
            ("Application/GraphQL-Response+JSON; charset=UTF-8", graphql),
            ("application/graphql-response+json, application/json", graphql),
            ("application/json, application/graphql-response+json", json),
            ("application/json;q=0.9, application/graphql-response+json", graphql),
            ("application/graphql-response+json;q=0.1, application/json;q=0.25", json),
            ("application/graphql-response+json;q=0, application/json;q=0.001", json),
            ("multipart/mixed;boundary=graphql, application/graphql-response+json, application/json;q=0.9", graphql),
            ("text/html, application/xhtml+xml, */*;q=0.8", json),
            ("text/html", None),
            ("application/json;q=0", None),
            ("application/json; charset=utf-16", None),
            ("application/json;q=2", None),
            ("", None),
        ] {
            assert_eq!(accepted(accept), best, "{accept}");
        }
    }

    #[test]
    fn a_browser_is_known_by_html_alone() {
        for (accept, is_browser) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", true),
            ("text/html", true),
            ("Text/HTML; charset=utf-8, application/json;q=0.9", true),
            ("application/json, text/html", false),
            ("text/html;q=0.5, application/graphql-response+json", false),
            ("text/html;q=0", false),
            ("*/*", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(accept).unwrap())]);
            assert_eq!(prefers_html(&headers), is_browser, "{accept}");
        }
    }
}
