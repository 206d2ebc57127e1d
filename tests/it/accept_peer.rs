//! Whose request it is: the socket's address, or what a trusted proxy says.

use taskwire::config::{ListenConfig, ProxyHeader};

use super::accept::{Accepting, to_the_end};

async fn peer(config: ListenConfig, header: &str) -> String {
    let server = Accepting::start(config).await;
    let request = format!("GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n");
    let answer = to_the_end(&mut server.sent(&request).await).await;
    answer.rsplit("\r\n").next().unwrap().to_owned()
}

#[tokio::test]
async fn only_a_trusted_proxy_is_believed_the_client_s_address() {
    let trusting =
        |network: &str| ListenConfig { trusted_proxies: vec![network.parse().unwrap()], ..ListenConfig::default() };
    let told = "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 127.9.9.9";
    assert_eq!(peer(ListenConfig::default(), told).await, "127.0.0.1");
    assert_eq!(peer(trusting("10.0.0.0/8"), told).await, "127.0.0.1");
    assert_eq!(peer(trusting("127.0.0.0/8"), told).await, "203.0.113.9");
    let rfc = ListenConfig { proxy_header: ProxyHeader::Forwarded, ..trusting("127.0.0.0/8") };
    assert_eq!(peer(rfc.clone(), told).await, "127.0.0.1");
    assert_eq!(peer(rfc, "Forwarded: for=\"[2001:db8::1]:80\";proto=https").await, "2001:db8::1");
}
