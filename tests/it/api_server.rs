//! A server over a database of its own, asked by HTTP and by WebSocket as a client would.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use taskwire::app::App;
use taskwire::auth::{NewToken, Role, make_token};
use taskwire::clock::Clock;
use taskwire::config::{AuthConfig, Config, DatabaseConfig, DatabaseSource, HttpConfig, KeyConfig};
use taskwire::telemetry::Telemetry;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::auth::keys::SECRET;
use super::support::TestDatabase;

/// What a save asks back where a test does not say.
pub(crate) const SAVE: &str = "mutation($input: SaveTaskHistoryInput!) { saveTaskHistory(input: $input) { \
     record { id position feedCursor recordId } task { id status position } isDuplicate cancellationRequested } }";

pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    pub(crate) client: reqwest::Client,
    pub(crate) database: TestDatabase,
    pub(crate) app: App,
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        Self::with(HttpConfig::default()).await
    }

    pub(crate) async fn with(http: HttpConfig) -> Self {
        Self::with_config(Config { http, ..Config::default() }).await
    }

    /// Where everybody has to sign in.
    pub(crate) async fn with_key() -> Self {
        Self::with_config(Self::key_config()).await
    }

    /// Settings by which everybody has to sign in, with a [`token`].
    pub(crate) fn key_config() -> Config {
        let auth = AuthConfig { key: KeyConfig::Secret(SECRET.into()), ..AuthConfig::default() };
        Config { auth, ..Config::default() }
    }

    /// With these settings, but on a free port and with a database of its own.
    pub(crate) async fn with_config(config: Config) -> Self {
        Self::configured(|own| {
            let (database, listen) = (own.database.clone(), own.http.listen);
            *own = config;
            own.database = database;
            own.http.listen = listen;
        })
        .await
    }

    /// On a free port, with a database of its own, and otherwise as `change` makes it.
    pub(crate) async fn configured(change: impl FnOnce(&mut Config)) -> Self {
        let database = TestDatabase::new().await;
        let mut config = Config {
            database: DatabaseConfig {
                url: DatabaseSource::Url { url: database.url.clone(), setting: "the test".into() },
                min_connections: 1,
                max_connections: 8,
                ..DatabaseConfig::default()
            },
            http: HttpConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..HttpConfig::default() },
            ..Config::default()
        };
        change(&mut config);
        let app = App::start(config, Telemetry::new()).await.unwrap();
        Self { address: app.address(), client: reqwest::Client::new(), database, app }
    }

    /// For a test that ends the server itself.
    pub(crate) fn into_parts(self) -> (App, TestDatabase) {
        (self.app, self.database)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/graphql", self.address)
    }

    /// The answer as it came, byte by byte.
    pub(crate) async fn raw(&self, query: &str, variables: Value) -> String {
        let body = json!({ "query": query, "variables": variables });
        self.client.post(self.url()).json(&body).send().await.unwrap().text().await.unwrap()
    }

    /// The answer. Its errors name the request, each by another id: that is looked at here and taken out.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Value {
        let mut answer: Value = serde_json::from_str(&self.raw(query, variables).await).unwrap();
        for error in answer.get_mut("errors").and_then(Value::as_array_mut).into_iter().flatten() {
            let id = error["extensions"].as_object_mut().and_then(|extensions| extensions.remove("requestId"));
            assert!(id.is_some_and(|id| id.as_str().is_some_and(|id| !id.is_empty())), "no requestId: {error}");
        }
        answer
    }

    /// The data of an answer without errors.
    pub(crate) async fn data(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.ask(query, variables).await;
        assert!(answer.get("errors").is_none(), "{query}: {answer}");
        answer["data"].take()
    }

    /// The only error of an answer.
    pub(crate) async fn error(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.ask(query, variables.clone()).await;
        assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1), "{query} {variables}: {answer}");
        answer["errors"][0].take()
    }

    /// Saves a report; what `more` holds is laid over it.
    pub(crate) async fn save(&self, user: &str, task: &str, step: i32, status: &str, more: Value) -> Value {
        let mut answer = self.data(SAVE, json!({ "input": report(user, task, step, status, more) })).await;
        answer["saveTaskHistory"].take()
    }

    pub(crate) async fn socket(&self) -> Socket {
        let mut socket = self.open_socket().await;
        socket.send(json!({ "type": "connection_init" })).await;
        assert_eq!(socket.next().await, json!({ "type": "connection_ack" }));
        socket
    }

    /// A socket on which nobody has said anything yet.
    pub(crate) async fn open_socket(&self) -> Socket {
        Socket(self.upgrade("graphql-transport-ws", None).await.unwrap())
    }

    pub(crate) async fn upgrade(
        &self,
        protocol: &str,
        origin: Option<&str>,
    ) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, Error> {
        let mut request = format!("ws://{}/graphql", self.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        tokio_tungstenite::connect_async(request).await.map(|(socket, _)| socket)
    }
}

/// A token that a server [with a key](ApiServer::with_key) takes, valid for an hour.
pub(crate) fn token(sub: &str, role: Role) -> String {
    token_for(sub, role, Duration::from_hours(1))
}

pub(crate) fn token_for(sub: &str, role: Role, ttl: Duration) -> String {
    let config = AuthConfig { key: KeyConfig::Secret(SECRET.into()), ..AuthConfig::default() };
    let token = NewToken { sub: sub.into(), role, ttl };
    make_token(&config, &token, &Clock::system()).unwrap()
}

/// A report as an input; what `more` holds is laid over it, one level deep.
pub(crate) fn report(user: &str, task: &str, step: i32, status: &str, more: Value) -> Value {
    let mut input = json!({
        "userId": user, "taskId": task, "step": step, "stepResult": { "stepName": "", "status": status }
    });
    for (key, value) in more.as_object().cloned().unwrap_or_default() {
        match (&mut input[&key], value) {
            (Value::Object(there), Value::Object(laid)) => there.extend(laid),
            (there, value) => *there = value,
        }
    }
    input
}

/// A socket that speaks graphql-transport-ws.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.send(json!({ "id": id, "type": "subscribe", "payload": payload })).await;
    }

    /// The next message, of whatever operation.
    pub(crate) async fn next(&mut self) -> Value {
        let message = tokio::time::timeout(Duration::from_secs(10), self.0.next()).await;
        let message = message.expect("a message within 10 s").expect("an open socket").unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    /// The code with which the server closes it, whatever comes before.
    pub(crate) async fn close_code(&mut self) -> u16 {
        let closed = async {
            while let Some(Ok(message)) = self.0.next().await {
                if let Message::Close(Some(frame)) = message {
                    return frame.code.into();
                }
            }
            panic!("the connection ended without a close");
        };
        tokio::time::timeout(Duration::from_secs(10), closed).await.expect("a close within 10 s")
    }

    /// The data of the next event of the operation `id`, and no error with it.
    pub(crate) async fn event(&mut self, id: &str) -> Value {
        let mut message = self.next().await;
        assert_eq!((&message["id"], &message["type"]), (&json!(id), &json!("next")), "{message}");
        assert!(message["payload"].get("errors").is_none(), "{message}");
        message["payload"]["data"].take()
    }

    /// The error that ends the operation `id`: before it began, or in `next` with the `complete` behind it.
    pub(crate) async fn failure(&mut self, id: &str) -> Value {
        let mut message = self.next().await;
        assert_eq!(message["id"], id, "{message}");
        if message["type"] == "error" {
            return message["payload"][0].take();
        }
        assert_eq!(message["type"], "next", "{message}");
        assert_eq!(self.next().await, json!({ "id": id, "type": "complete" }));
        message["payload"]["errors"][0].take()
    }
}
