//! Who may ask, as long as nobody has to sign in: not a web page that somebody on this machine happens to look at.
//!
//! The Host must be this machine's, or a page that has its own name point here (DNS rebinding) would be let in. The Origin
//! must be the Host's own, or one that the operator allows. What sends no Origin is no web page.

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

use super::answer::Refusal;
use crate::config::HttpConfig;

/// Names of this machine that only this machine goes by.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The hosts that a request may name, and the origins that a page may have.
#[derive(Debug)]
pub(super) struct Guard {
    public_hosts: Vec<String>,
    allow_origins: Vec<String>,
}

impl Guard {
    pub(super) fn new(config: &HttpConfig) -> Self {
        Self { public_hosts: config.public_hosts.clone(), allow_origins: config.allow_origins.clone() }
    }

    /// Refuses a request that may come from a foreign web page. Gives the origin of a page that is allowed.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
        let host = host(uri, headers)?;
        if !self.is_ours(&host) {
            tracing::warn!(%host, "refused a request for a foreign host");
            return Err(forbidden(format!(
                "This server does not answer for the host {:?}. Start it with --public-host {} if it should.",
                host.as_str(),
                host.host()
            )));
        }
        let Some(origin) = one(headers, &ORIGIN)? else { return Ok(None) };
        let text = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        if !self.allow_origins.contains(&text) && !is_origin_of(&text, &host) {
            tracing::warn!(origin = text, "refused a request from a foreign origin");
            return Err(forbidden(format!(
                "Pages of the origin {text:?} may not use this server. Start it with --allow-origin {text} if they should."
            )));
        }
        Ok(Some(origin.clone()))
    }

    fn is_ours(&self, host: &Authority) -> bool {
        let named = |name: &str| host.host().eq_ignore_ascii_case(name);
        LOCAL.into_iter().any(named)
            || self.public_hosts.iter().any(|public| named(public) || host.as_str().eq_ignore_ascii_case(public))
    }
}

fn is_origin_of(origin: &str, host: &Authority) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| host.as_str().eq_ignore_ascii_case(authority))
}

/// The host that was asked: from the request's target (HTTP/2), or the header.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Refusal> {
    let header = one(headers, &HOST)?.map(|host| Authority::try_from(host.as_bytes()));
    let host = match (uri.authority(), header) {
        (_, Some(Ok(host))) => host,
        (Some(target), None) => target.clone(),
        (_, Some(Err(_))) => return Err(Refusal::bad_request("The header Host is no host name.")),
        (None, None) => return Err(Refusal::bad_request("The header Host is missing.")),
    };
    if host.as_str().contains('@') {
        return Err(Refusal::bad_request("The header Host is no host name."));
    }
    Ok(host)
}

/// A header that may come once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Refusal::bad_request(format!("The header {name} came more than once."))),
    }
}

fn forbidden(message: String) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard { public_hosts: vec!["tasks.example.com".into()], allow_origins: vec!["https://app.example.com".into()] }
    }

    fn check(host: &[&str], origin: &[&str]) -> Result<Option<String>, u16> {
        let mut headers = HeaderMap::new();
        for value in host {
            headers.append(HOST, HeaderValue::from_str(value).unwrap());
        }
        for value in origin {
            headers.append(ORIGIN, HeaderValue::from_str(value).unwrap());
        }
        let checked = guard().check(&Uri::from_static("/graphql"), &headers);
        let text = |origin: HeaderValue| origin.to_str().unwrap().to_owned();
        checked.map(|origin| origin.map(text)).map_err(|refusal| refusal.respond(&headers).status().as_u16())
    }

    #[test]
    fn only_our_own_hosts_are_answered_for() {
        for host in ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]", "[::1]:8000", "tasks.example.com:443"] {
            assert_eq!(check(&[host], &[]), Ok(None), "{host}");
        }
        for host in
            ["evil.com", "localhost.evil.com", "evil.com:8000", "127.0.0.2", "[::2]", "localhost.", "192.168.0.1"]
        {
            assert_eq!(check(&[host], &[]), Err(403), "{host}");
        }
        for host in [&[][..], &["a b"], &["me@localhost"], &["localhost", "evil.com"]] {
            assert_eq!(check(host, &[]), Err(400), "{host:?}");
        }
    }

    #[test]
    fn only_our_own_and_allowed_origins_are_answered() {
        for origin in ["http://localhost:8000", "https://LOCALHOST:8000", "https://app.example.com"] {
            assert_eq!(check(&["localhost:8000"], &[origin]), Ok(Some(origin.to_owned())));
        }
        for origin in ["null", "", "http://localhost", "http://localhost:8001", "http://evil.com", "localhost:8000"] {
            assert_eq!(check(&["localhost:8000"], &[origin]), Err(403), "{origin}");
        }
        assert_eq!(check(&["localhost"], &["http://localhost", "http://localhost"]), Err(400));
    }
}
