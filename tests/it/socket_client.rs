//! A client of sockets that sees every frame, and says whatever it is told to say.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use taskwire::config::{AuthConfig, Config, KeyConfig, SocketConfig};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Message, protocol::Role, protocol::WebSocketConfig};

use super::api_server::ApiServer;
use super::auth::keys::SECRET;

pub(crate) const TRANSPORT: &str = "graphql-transport-ws";
pub(crate) const LEGACY: &str = "graphql-ws";
pub(crate) const EVENTS: &str = "subscription($user: ID, $after: FeedCursor, $fromStart: Boolean) { \
    taskEvents(userId: $user, after: $after, fromStart: $fromStart) { feedCursor record { position message } } }";

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with these settings of sockets.
pub(crate) async fn server(socket: SocketConfig) -> ApiServer {
    ApiServer::with_config(Config { socket, ..Config::default() }).await
}

/// One where everybody has to sign in, and a token is not good for a moment longer than it says.
pub(crate) async fn guarded_server(socket: SocketConfig) -> ApiServer {
    let auth = AuthConfig { key: KeyConfig::Secret(SECRET.into()), leeway: Duration::ZERO, ..AuthConfig::default() };
    ApiServer::with_config(Config { auth, socket, ..Config::default() }).await
}

/// What comes.
#[derive(Debug, PartialEq)]
pub(crate) enum Got {
    Message(Value),
    Closed(Option<u16>, String),
    /// Without a close.
    Lost,
}

pub(crate) struct Client {
    pub(crate) stream: WebSocketStream<TcpStream>,
    /// By which the server calls the handshake; errors name it.
    pub(crate) request_id: String,
}

impl Client {
    /// After the handshake.
    pub(crate) async fn open(server: &ApiServer, protocol: &str) -> Self {
        Self::with(server, protocol, None, TcpSocket::new_v4().unwrap()).await
    }

    /// One that has little room for what it does not read.
    pub(crate) async fn small(server: &ApiServer, protocol: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::with(server, protocol, None, socket).await
    }

    pub(crate) async fn with(
        server: &ApiServer,
        protocol: &str,
        authorization: Option<&str>,
        socket: TcpSocket,
    ) -> Self {
        Self::at(server.address, protocol, authorization, socket).await
    }

    /// Of whatever server is there.
    pub(crate) async fn at(
        address: SocketAddr,
        protocol: &str,
        authorization: Option<&str>,
        socket: TcpSocket,
    ) -> Self {
        let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        if let Some(authorization) = authorization {
            request.headers_mut().insert("authorization", authorization.parse().unwrap());
        }
        let socket = socket.connect(address).await.unwrap();
        let (stream, response) = tokio_tungstenite::client_async(request, socket).await.unwrap();
        let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        Self { stream, request_id }
    }

    /// After a handshake that this library would not accept: the answer names no sub-protocol of those that were asked for.
    pub(crate) async fn unheard(server: &ApiServer, protocol: Option<&str>) -> Self {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let protocol = protocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
        let request = format!(
            "GET /graphql HTTP/1.1\r\nHost: {}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n",
            server.address
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 101") && !head.contains("sec-websocket-protocol"), "{head}");
        let stream = WebSocketStream::from_raw_socket(socket, Role::Client, Some(WebSocketConfig::default())).await;
        Self { stream, request_id: String::new() }
    }

    /// Let in, with this payload.
    pub(crate) async fn init(server: &ApiServer, protocol: &str, payload: Value) -> Self {
        let mut client = Self::open(server, protocol).await;
        client.say_init(payload).await;
        client
    }

    pub(crate) async fn say_init(&mut self, payload: Value) {
        self.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(self.message().await, json!({ "type": "connection_ack" }));
    }

    pub(crate) async fn ready(server: &ApiServer) -> Self {
        Self::init(server, TRANSPORT, Value::Null).await
    }

    /// Bytes that this library would not send.
    pub(crate) async fn bytes(&mut self, bytes: &[u8]) {
        tokio::io::AsyncWriteExt::write_all(self.stream.get_mut(), bytes).await.unwrap();
    }

    pub(crate) async fn raw(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.raw(Message::text(message.to_string())).await;
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.send(json!({ "id": id, "type": "subscribe", "payload": payload })).await;
    }

    /// What comes next; WebSocket's own pings and pongs left out.
    pub(crate) async fn next(&mut self) -> Got {
        loop {
            return match timeout(PATIENCE, self.stream.next()).await.expect("nothing comes") {
                Some(Ok(Message::Text(text))) => Got::Message(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.as_ref().map(|frame| frame.reason.to_string()).unwrap_or_default();
                    Got::Closed(frame.map(|frame| frame.code.into()), reason)
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(other)) => panic!("an unexpected frame: {other:?}"),
                Some(Err(_)) | None => Got::Lost,
            };
        }
    }

    pub(crate) async fn message(&mut self) -> Value {
        match self.next().await {
            Got::Message(message) => message,
            other => panic!("no message: {other:?}"),
        }
    }

    /// The code of the close, whatever comes before it.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            match self.next().await {
                Got::Message(_) => {}
                Got::Closed(code, _) => return code.expect("a close without a code"),
                Got::Lost => panic!("lost without a close"),
            }
        }
    }

    /// Runs an operation that has one answer.
    pub(crate) async fn ask(&mut self, id: &str, query: &str) -> Value {
        self.subscribe(id, query, json!({})).await;
        let mut next = self.message().await;
        assert_eq!((&next["id"], &next["type"]), (&json!(id), &json!("next")), "{next}");
        assert_eq!(self.message().await, json!({ "id": id, "type": "complete" }));
        next["payload"].take()
    }

    /// That it is let in, still there and served.
    pub(crate) async fn is_served(&mut self) {
        assert_eq!(self.ask("served", "{ __typename }").await, json!({ "data": { "__typename": "Query" } }));
    }
}
