//! Who gets a stream: who asks for one in `Accept`.
//!
//! Some clients list every format that they know with each request (urql), so the operation decides as well: a
//! subscription comes as a stream wherever one is accepted, anything else only where nothing else is.

use async_graphql::parser::types::OperationType;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use super::Format;

/// The format of this operation's results; none where they are one JSON text.
pub(in crate::http) fn chosen(headers: &HeaderMap, operation: Option<OperationType>) -> Option<Format> {
    match operation {
        Some(OperationType::Subscription) => ranges(headers).find_map(format),
        _ => refused(headers),
    }
}

/// The format of a refusal, where nothing is known of the operation.
pub(in crate::http) fn refused(headers: &HeaderMap) -> Option<Format> {
    let is_json = |range: &str| ["json", "*/*", "application/*"].iter().any(|end| kind(range).ends_with(end));
    let format = ranges(headers).find_map(format).filter(|format| *format == Format::Events)?;
    (!ranges(headers).any(is_json)).then_some(format)
}

fn format(range: &str) -> Option<Format> {
    match kind(range).as_str() {
        "text/event-stream" => Some(Format::Events),
        "multipart/mixed" if parameters(range).any(|parameter| parameter == "subscriptionspec=1.0") => {
            Some(Format::Multipart)
        }
        _ => None,
    }
}

/// What is accepted, in the client's order; what is accepted with a quality of zero is not.
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_accepted = |range: &&str| {
        !parameters(range)
            .filter_map(|parameter| parameter.strip_prefix("q=")?.parse::<f32>().ok())
            .any(|quality| quality <= 0.0)
    };
    values.flat_map(|value| value.split(',')).filter(is_accepted)
}

fn kind(range: &str) -> String {
    range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn parameters(range: &str) -> impl Iterator<Item = String> {
    range.split(';').skip(1).map(|parameter| parameter.replace([' ', '"', '\''], "").to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const URQL: &str = "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed";
    const APOLLO: &str = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9";

    fn of(accept: &str, operation: Option<OperationType>) -> Option<Format> {
        chosen(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(accept).unwrap())]), operation)
    }

    #[test]
    fn a_subscription_comes_as_a_stream_wherever_one_is_accepted() {
        let subscription = Some(OperationType::Subscription);
        for accept in ["text/event-stream", "TEXT/Event-Stream;q=0.5", "application/json, text/event-stream", URQL] {
            assert_eq!(of(accept, subscription), Some(Format::Events), "{accept}");
        }
        for accept in [APOLLO, "application/json, multipart/mixed; subscriptionSpec=\"1.0\"; boundary=-"] {
            assert_eq!(of(accept, subscription), Some(Format::Multipart), "{accept}");
        }
        for accept in ["application/json", "*/*", "multipart/mixed", "multipart/mixed;deferSpec=20220824", ""] {
            assert_eq!(of(accept, subscription), None, "{accept}");
        }
        assert_eq!(of("text/event-stream;q=0, application/json", subscription), None);
    }

    #[test]
    fn anything_else_comes_as_a_stream_where_nothing_else_is_accepted() {
        for operation in [None, Some(OperationType::Query), Some(OperationType::Mutation)] {
            assert_eq!(of("text/event-stream", operation), Some(Format::Events));
            for accept in [
                URQL,
                APOLLO,
                "text/event-stream, */*;q=0.1",
                "application/json",
                "multipart/mixed;subscriptionSpec=1.0",
            ] {
                assert_eq!(of(accept, operation), None, "{accept}");
            }
        }
    }
}
