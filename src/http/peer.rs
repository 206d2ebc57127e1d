//! Whose request it is, as an address: for limits and for the log.
//!
//! The socket's own address, unless that is a trusted proxy's: then the proxy's header says for whom it speaks, read from
//! its end. What stands before the first address that is not trusted was written by a stranger and counts for nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;

use crate::config::{ListenConfig, ProxyHeader};

/// The client's address; the listener gives it to every request, as an extension. IPv4 is never written as IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// Of a request. One that came past the listener (a test's) counts as this machine's.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().copied().unwrap_or(Self(IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.extensions))
    }
}

/// Which proxies are believed, and where they write whom they speak for.
#[derive(Debug)]
pub(super) struct Proxies {
    trusted: Vec<IpNet>,
    header: ProxyHeader,
}

impl Proxies {
    pub(super) fn new(config: &ListenConfig) -> Self {
        Self { trusted: config.trusted_proxies.clone(), header: config.proxy_header }
    }

    /// Who is behind the connection from `socket`.
    pub(super) fn peer(&self, socket: IpAddr, headers: &HeaderMap) -> Peer {
        let mut peer = socket.to_canonical();
        if self.trusts(peer) {
            // Several headers are one list, in their order.
            let name = match self.header {
                ProxyHeader::XForwardedFor => "x-forwarded-for",
                ProxyHeader::Forwarded => "forwarded",
            };
            let values: Vec<&str> = headers.get_all(name).iter().map(|v| v.to_str().unwrap_or_default()).collect();
            for hop in values.iter().rev().flat_map(|value| value.rsplit(',')) {
                // Whoever is not named (`unknown`, a made-up name) is behind the last one who was.
                let Some(address) = self.address(hop) else { break };
                peer = address;
                if !self.trusts(peer) {
                    break;
                }
            }
        }
        Peer(peer)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    fn address(&self, hop: &str) -> Option<IpAddr> {
        match self.header {
            ProxyHeader::XForwardedFor => address(hop.trim()),
            ProxyHeader::Forwarded => {
                let is_for = |pair: &str| pair.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("for="));
                let pair = hop.split(';').map(str::trim).find(|pair| is_for(pair))?;
                address(pair.get(4..)?.trim_matches('"'))
            }
        }
    }
}

/// With a port or without, IPv6 in brackets or without.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(header: ProxyHeader, socket: &str, values: &[(&'static str, &'static str)]) -> String {
        let trusted = ["10.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap()).to_vec();
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, value.parse().unwrap());
        }
        Proxies { trusted, header }.peer(socket.parse().unwrap(), &headers).0.to_string()
    }

    #[test]
    fn a_stranger_s_word_counts_for_nothing() {
        let told = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=2.2.2.2")];
        assert_eq!(peer(ProxyHeader::XForwardedFor, "9.9.9.9", &told), "9.9.9.9");
        assert_eq!(peer(ProxyHeader::Forwarded, "9.9.9.9", &told), "9.9.9.9");
        // Only the header that the proxies write is read: the other may be a stranger's.
        assert_eq!(peer(ProxyHeader::XForwardedFor, "10.0.0.1", &told), "1.1.1.1");
        assert_eq!(peer(ProxyHeader::Forwarded, "10.0.0.1", &told), "2.2.2.2");
    }

    #[test]
    fn the_right_most_address_that_is_not_trusted_is_the_client_s() {
        let xff = |values: &[&'static str]| {
            let values: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
            peer(ProxyHeader::XForwardedFor, "::ffff:10.0.0.1", &values)
        };
        assert_eq!(xff(&[]), "10.0.0.1");
        assert_eq!(xff(&["6.6.6.6, 7.7.7.7, 10.2.2.2"]), "7.7.7.7");
        assert_eq!(xff(&["6.6.6.6", "7.7.7.7:4711", "10.2.2.2"]), "7.7.7.7");
        assert_eq!(xff(&["10.3.3.3, 10.2.2.2"]), "10.3.3.3");
        assert_eq!(xff(&["6.6.6.6, nonsense, 10.2.2.2"]), "10.2.2.2");
        assert_eq!(xff(&["::ffff:7.7.7.7"]), "7.7.7.7");
        assert_eq!(xff(&["2001:db8::7"]), "2001:db8::7");
        assert_eq!(xff(&["[2001:db8::7]:80"]), "2001:db8::7");
        assert_eq!(xff(&[""]), "10.0.0.1");
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_writes_it() {
        let told = |value| peer(ProxyHeader::Forwarded, "::1", &[("forwarded", value)]);
        assert_eq!(told("for=192.0.2.43, for=10.0.0.2"), "192.0.2.43");
        assert_eq!(told("by=10.0.0.9;For=\"[2001:db8:cafe::17]:4711\";proto=https"), "2001:db8:cafe::17");
        assert_eq!(told("for=1.1.1.1, for=_hidden"), "::1");
        assert_eq!(told("for=unknown"), "::1");
        assert_eq!(told("proto=https"), "::1");
    }
}
