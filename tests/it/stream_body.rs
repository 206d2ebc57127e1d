//! A stream over HTTP as a client reads it: byte by byte, as it comes.

use std::time::Duration;

use reqwest::RequestBuilder;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use taskwire::config::{Config, SocketConfig};
use tokio::time::timeout;

use super::api_server::ApiServer;

pub(crate) const EVENTS: &str = "subscription($user: ID, $after: FeedCursor, $fromStart: Boolean) { \
    taskEvents(userId: $user, after: $after, fromStart: $fromStart) { feedCursor record { position message } } }";

/// A response that is still coming.
pub(crate) struct Body {
    response: reqwest::Response,
    /// What has come and was not taken yet.
    pub(crate) text: String,
}

impl Body {
    /// Of a request with this `Accept`.
    pub(crate) async fn of(request: RequestBuilder, accept: &str) -> Self {
        let response = request.header(ACCEPT, accept).send().await.unwrap();
        assert_eq!(response.status(), 200, "{response:?}");
        Self { response, text: String::new() }
    }

    /// Of an operation that is posted.
    pub(crate) async fn post(server: &ApiServer, accept: &str, query: &str, variables: Value) -> Self {
        let body = json!({ "query": query, "variables": variables });
        Self::of(server.client.post(server.url()).json(&body), accept).await
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }

    /// Takes everything up to `end`, which must be there within 10 s.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let more = timeout(Duration::from_secs(10), self.response.chunk()).await;
            let more = more.unwrap_or_else(|_| panic!("{end:?} in vain: {:?}", self.text)).unwrap();
            let more = more.unwrap_or_else(|| panic!("the end instead of {end:?}: {:?}", self.text));
            self.text.push_str(std::str::from_utf8(&more).unwrap());
        }
    }

    /// Everything that is still to come, and whether the body came to a proper end.
    pub(crate) async fn rest(mut self) -> (String, bool) {
        loop {
            match timeout(Duration::from_secs(20), self.response.chunk()).await.expect("no end within 20 s") {
                Ok(Some(more)) => self.text.push_str(std::str::from_utf8(&more).unwrap()),
                Ok(None) => return (self.text, true),
                Err(_) => return (self.text, false),
            }
        }
    }
}

/// A server whose streams have these times.
pub(crate) async fn server_with(keep_alive: Duration, slow_reader_time: Duration) -> ApiServer {
    let socket = SocketConfig { keep_alive, slow_reader_time, ..SocketConfig::default() };
    ApiServer::with_config(Config { socket, ..Config::default() }).await
}
