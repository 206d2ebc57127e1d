//! GraphQL over WebSocket: graphql-transport-ws, and for older clients graphql-ws, by the same code.
//!
//! - this file: the handshake · `protocol`: the messages of both sub-protocols · `close`: why a socket ends, and its code
//! - `conversation`: one socket's state machine, one task a socket · `operations`: what runs on it, served in turn
//! - `line`: the WebSocket itself, with bounded buffers; `input`: the frames that come · `clock`: its times, by one timer
//! - `alarm`: what is looked at only when it has called
//!
//! What holds everywhere: nothing is pulled from an operation while the client does not take what it was sent, so a reader
//! that stops costs a bounded amount of memory and its feed falls back to reading from the table. To add a message: a
//! variant of `protocol::Heard`, and what it does in `conversation`. To add a reason for closing: a variant of
//! `close::Close`, and a row in `service::limits` where it is a limit.

mod alarm;
mod clock;
mod close;
mod conversation;
mod input;
mod line;
mod operations;
mod protocol;

use std::net::IpAddr;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::Instrument as _;

use super::answer::Refusal;
use super::connections::{Connections, Seat};
use super::request_id::{self, REQUEST_ID};
use super::{Peer, Shared};
use crate::config::SocketConfig;
use crate::telemetry::RemoteSpan;
use close::{Close, End};
use conversation::{Conversation, Handshake};
use line::Line;
use protocol::Protocol;

/// Turns the connection into a socket. The guard has seen its Host and Origin already.
pub(super) async fn upgrade(shared: &Shared, request: Request) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    let key = handshake_key(&parts.headers)?;
    let upgrade = parts
        .extensions
        .remove::<OnUpgrade>()
        .ok_or_else(|| Refusal::bad_request("A WebSocket needs a connection of its own over HTTP/1.1."))?;
    let protocol = Protocol::offered(&parts.headers);
    let peer = Some(Peer::of(&parts.extensions).0);
    let authorization = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let remote = RemoteSpan::of(|name| parts.headers.get(name)?.to_str().ok());
    let handshake = Handshake { authorization, request_id: parts.headers.get(REQUEST_ID).cloned(), remote };

    // A span of its own: that of the request is over when the socket begins.
    let span = request_id::span(&parts.headers, Peer::of(&parts.extensions));
    let task = serve(shared.clone(), upgrade, protocol, peer, handshake).instrument(span);
    tokio::spawn(shared.sockets.open.track_future(task));

    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, key);
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol.name()));
    }
    Ok(response)
}

/// What the client asks to be answered with.
fn handshake_key(headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let connection = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    if !connection.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("upgrade")) {
        return Err(Refusal::bad_request("A WebSocket is asked for by `Connection: Upgrade`."));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::bad_request("A WebSocket is asked for by `Sec-WebSocket-Version: 13`."));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let key = key.ok_or_else(|| Refusal::bad_request("The header Sec-WebSocket-Key is missing, or is no such key."))?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|error| Refusal::bad_request(format!("The header Sec-WebSocket-Key cannot be answered: {error}")))
}

/// One socket, from the handshake to its close.
async fn serve(
    shared: Shared,
    upgrade: OnUpgrade,
    protocol: Option<Protocol>,
    peer: Option<IpAddr>,
    handshake: Handshake,
) {
    let connections = shared.sockets.connections.clone();
    // Before the connection is there: a seat is what it costs.
    let seat = connections.enter(None, peer);
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => return tracing::debug!(%error, "a connection did not become a socket"),
    };
    let most = connections.config().message_bytes.min(SocketConfig::FIRST_MESSAGE_BYTES);
    let mut line = Line::new(upgraded, most, connections.telemetry().clone());
    // Boxed: what a conversation needs is not needed any more while its socket closes.
    let end = match admit(seat, protocol) {
        Ok((seat, protocol)) => Box::pin(talk(&mut line, shared, protocol, seat, handshake)).await,
        Err(close) => (End::Close(close), None),
    };
    finish(line, end, &connections).await;
}

/// Whether this socket is served at all.
fn admit(seat: Result<Seat, super::connections::Full>, protocol: Option<Protocol>) -> Result<(Seat, Protocol), Close> {
    Ok((seat.map_err(Close::Full)?, protocol.ok_or(Close::Subprotocol)?))
}

/// Until it has to end, and with what. The seat is kept until the socket is closed.
async fn talk(
    line: &mut Line,
    shared: Shared,
    protocol: Protocol,
    seat: Seat,
    handshake: Handshake,
) -> (End, Option<Seat>) {
    let mut conversation = Conversation::new(line, shared, protocol, seat, handshake);
    let end = std::future::poll_fn(|context| conversation.poll(context)).await;
    (end, Some(conversation.into_seat()))
}

/// Says good-bye, if there is still somebody to say it to.
async fn finish(line: Line, (end, seat): (End, Option<Seat>), connections: &Connections) {
    connections.telemetry().socket_closes.get_or_create(&[("code", end.code())]).inc();
    match &end {
        End::Close(close) => {
            tracing::debug!(code = close.code(), reason = %close, "closing a socket");
            line.close(close, connections.config().slow_reader_time).await;
        }
        End::ByClient(code) => line.answer_close(*code).await,
        End::Lost => {}
    }
    drop(seat);
}
