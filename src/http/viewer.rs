//! Who is calling, by the token that a request brings: `Authorization: Bearer` in a header, the payload of
//! `connection_init` on a socket, and for an `EventSource`, which can send no headers, `?access_token=`.
//!
//! A token is handed to the [`Authenticator`] and nowhere else: it is not logged and comes back in no answer. Where nobody
//! has to sign in none is looked for.

use axum::extract::Query;
use axum::http::header::{ACCEPT, AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::Value;

use super::answer::Refusal;
use crate::auth::{AuthError, Authenticator, Viewer};
use crate::service::Service;

/// Names under which the payload of `connection_init` (and of a ping that renews it) may hold the token.
const PAYLOAD_KEYS: [&str; 3] = ["Authorization", "authorization", "token"];
const NO_TOKEN: HeaderValue = HeaderValue::from_static("Bearer realm=\"taskwire\"");
const BAD_TOKEN: HeaderValue = HeaderValue::from_static("Bearer realm=\"taskwire\", error=\"invalid_token\"");

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignInError {
    #[error("Sign in: this server answers nobody without a token.")]
    Missing,
    #[error("The credentials must be one bearer token, as in `Authorization: Bearer …`.")]
    NotBearer,
    #[error(transparent)]
    Token(#[from] AuthError),
    #[error("You were disconnected after this token had been issued. Sign in again for a new one.")]
    Disconnected,
    #[error("The database cannot be reached. Try again.")]
    Unavailable,
}

impl SignInError {
    /// Whether nothing is wrong with the token: it cannot be told at present whether it is good.
    pub(super) fn is_passing(self) -> bool {
        matches!(self, Self::Unavailable | Self::Token(AuthError::NoKeys))
    }

    /// As an answer over HTTP: 401, in the shape of GraphQL.
    pub(super) fn refusal(self) -> Refusal {
        if self == Self::Unavailable {
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "DATABASE_UNAVAILABLE", self.to_string());
            return refusal.with("retryable", true);
        }
        if self == Self::Token(AuthError::NoKeys) {
            // Nothing is wrong with the token: front ends must not sign their people out.
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, AuthError::CODE, self.to_string());
            return refusal.with("retryable", true).headed(RETRY_AFTER, HeaderValue::from_static("2"));
        }
        let challenge = if self == Self::Missing { NO_TOKEN } else { BAD_TOKEN };
        Refusal::new(StatusCode::UNAUTHORIZED, AuthError::CODE, self.to_string()).headed(WWW_AUTHENTICATE, challenge)
    }
}

#[derive(Deserialize)]
struct AccessToken {
    access_token: Option<String>,
}

/// Who sent this request.
pub(super) async fn of_request(
    authenticator: &Authenticator,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Viewer, SignInError> {
    if authenticator.is_open() {
        return Ok(Viewer::admin());
    }
    let token = match from_header(headers)? {
        Some(token) => token.to_owned(),
        None => from_query_string(method, uri, headers).ok_or(SignInError::Missing)?,
    };
    Ok(authenticator.authenticate(&token).await?)
}

/// Whether this viewer may open a connection with live updates: not with a token from before `disconnectUser`.
pub(super) async fn admit(service: &Service, viewer: &Viewer) -> Result<(), SignInError> {
    match service.admits(viewer).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(SignInError::Disconnected),
        Err(_) => Err(SignInError::Unavailable),
    }
}

/// Whose socket this is, by the payload of `connection_init`. The token may stand there as it does in the header, or bare.
pub(super) async fn of_payload(authenticator: &Authenticator, payload: &Value) -> Result<Viewer, SignInError> {
    if authenticator.is_open() {
        return Ok(Viewer::admin());
    }
    let given = PAYLOAD_KEYS.into_iter().find_map(|key| payload.get(key).filter(|value| !value.is_null()));
    let text = given.ok_or(SignInError::Missing)?.as_str().ok_or(SignInError::NotBearer)?;
    let token = bearer(text).unwrap_or(text.trim());
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(SignInError::NotBearer);
    }
    Ok(authenticator.authenticate(token).await?)
}

/// Whether such a payload brings a token, whatever it is worth.
pub(super) fn has_token(payload: &Value) -> bool {
    PAYLOAD_KEYS.into_iter().any(|key| payload.get(key).is_some_and(|value| !value.is_null()))
}

fn from_header(headers: &HeaderMap) -> Result<Option<&str>, SignInError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let token = value.to_str().ok().and_then(bearer).filter(|token| !token.contains(char::is_whitespace));
            token.map(Some).ok_or(SignInError::NotBearer)
        }
        (Some(_), Some(_)) => Err(SignInError::NotBearer),
    }
}

/// Of an `EventSource` alone. Anywhere else a token in a URL would end up in histories and in logs for nothing.
fn from_query_string(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if *method != Method::GET || !accepts_event_stream(headers) {
        return None;
    }
    let Query(given) = Query::<AccessToken>::try_from_uri(uri).ok()?;
    given.access_token.filter(|token| !token.is_empty())
}

/// Whether the client asks for server-sent events.
pub(super) fn accepts_event_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let kind = range.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/event-stream")
    })
}

/// What follows `Bearer`.
fn bearer(text: &str) -> Option<&str> {
    let (scheme, token) = text.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(accept).unwrap())])
    }

    #[test]
    fn a_bearer_token_is_told_from_everything_else() {
        for text in ["Bearer abc", "bearer abc", "BEARER   abc", " Bearer abc "] {
            assert_eq!(bearer(text), Some("abc"), "{text}");
        }
        for text in ["abc", "Basic abc", "Bearer", "Bearer ", "", "Bearerabc"] {
            assert_eq!(bearer(text), None, "{text}");
        }
    }

    #[test]
    fn a_token_in_the_url_is_an_event_sources_alone() {
        let uri = Uri::from_static("/graphql?query=x&access_token=abc");
        let of = |method, accept| from_query_string(&method, &uri, &accepting(accept));
        assert_eq!(of(Method::GET, "text/event-stream"), Some("abc".to_owned()));
        assert_eq!(of(Method::GET, "application/json, text/event-stream;q=0.5"), Some("abc".to_owned()));
        assert_eq!(of(Method::POST, "text/event-stream"), None);
        assert_eq!(of(Method::GET, "application/json"), None);
        assert_eq!(of(Method::GET, "*/*"), None);
        let bare = Uri::from_static("/graphql?access_token=");
        assert_eq!(from_query_string(&Method::GET, &bare, &accepting("text/event-stream")), None);
    }
}
