//! Who may ask, as long as nobody has to sign in: not a web page that somebody on this machine happens to look at.
//!
//! The Host must be this machine's, or a page that has its own name point here (DNS rebinding) would be let in. The Origin
//! must be the Host's own, or one that the operator allows. What sends no Origin is no web page.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

use super::answer::Refusal;
use crate::config::HttpConfig;

/// Names of this machine that only this machine goes by.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// A foreign page could ask again and again, and fill the log: it is told not more often than this.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The hosts that a request may name, and the origins that a page may have.
#[derive(Debug)]
pub(super) struct Guard {
    public_hosts: Vec<String>,
    allow_origins: Vec<String>,
    host_told: Told,
    origin_told: Told,
}

/// When something was last told in the log.
#[derive(Debug, Default)]
struct Told(Mutex<Option<Instant>>);

impl Told {
    /// Whether it may be told again; that counts as told.
    fn is_due(&self) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told.is_none_or(|told| told.elapsed() > TELL_EVERY);
        if is_due {
            *told = Some(Instant::now());
        }
        is_due
    }
}

impl Guard {
    pub(super) fn new(config: &HttpConfig) -> Self {
        Self::of(config.public_hosts.clone(), config.allow_origins.clone())
    }

    fn of(public_hosts: Vec<String>, allow_origins: Vec<String>) -> Self {
        Self { public_hosts, allow_origins, host_told: Told::default(), origin_told: Told::default() }
    }

    /// Refuses a request that may come from a foreign web page. Gives the origin of a page that is allowed.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
        let host = host(uri, headers)?;
        if !self.is_ours(&host) {
            if self.host_told.is_due() {
                tracing::warn!(%host, "refused a request for a foreign host; --public-host {} allows it", host.host());
            }
            return Err(forbidden(format!(
                "This server does not answer for the host {:?}. Start it with --public-host {} if it should.",
                host.as_str(),
                host.host()
            )));
        }
        let Some(origin) = one(headers, &ORIGIN)? else { return Ok(None) };
        let text = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        if !self.allow_origins.contains(&text) && !is_origin_of(&text, &host) {
            if self.origin_told.is_due() {
                tracing::warn!(
                    origin = text,
                    "refused a request from a foreign origin; --allow-origin {text} allows it"
                );
            }
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
    use std::io;
    use std::sync::Arc;

    use super::*;

    fn guard() -> Guard {
        Guard::of(vec!["tasks.example.com".into()], vec!["https://app.example.com".into()])
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

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_log_names_the_flag_that_allows_it_and_not_each_time() {
        let (log, guard) = (Log::default(), guard());
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let is_refused = |host: &'static str, origin: &'static str| {
            let headers = [(HOST, HeaderValue::from_static(host)), (ORIGIN, HeaderValue::from_static(origin))]
                .into_iter()
                .collect();
            guard.check(&Uri::from_static("/graphql"), &headers).is_err()
        };
        tracing::subscriber::with_default(lines, || {
            for _ in 0..3 {
                assert!(is_refused("evil.com:80", "null") && is_refused("localhost", "https://evil.com"));
            }
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        for flag in ["--public-host evil.com", "--allow-origin https://evil.com"] {
            assert_eq!(log.matches(flag).count(), 1, "{log}");
        }
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
