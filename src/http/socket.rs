//! Subscriptions over WebSocket, by async-graphql-axum: both sub-protocols, none of the protocol's finer rules. The issue on
//! the live feed replaces it.

use std::time::Duration;

use async_graphql::http::ALL_WEBSOCKET_PROTOCOLS;
use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts as _, Request};
use axum::response::Response;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{sleep, timeout};

use super::answer::Refusal;
use super::{Shared, Sockets};
use crate::auth::Viewer;
use crate::graphql::Caller;

/// What the last messages of subscriptions that end with the server may take.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// What a client may take to answer a close.
const CLOSE: Duration = Duration::from_millis(500);

/// Turns the connection into a socket. The guard has seen its Host and Origin already.
pub(super) async fn upgrade(shared: &Shared, request: Request) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    let protocol = GraphQLProtocol::from_request_parts(&mut parts, &()).await.map_err(|_| {
        Refusal::bad_request("A socket speaks graphql-transport-ws or graphql-ws: name it in Sec-WebSocket-Protocol.")
    })?;
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|error| Refusal::bad_request(error.body_text()))?;
    let (caller, sockets) = (shared.api.caller(Viewer::admin()), shared.sockets.clone());
    let most = usize::try_from(shared.api.service().limits().request_bytes).unwrap_or_default();
    Ok(upgrade
        .protocols(ALL_WEBSOCKET_PROTOCOLS)
        .max_message_size(most)
        .on_upgrade(move |socket| serve(socket, caller, protocol, sockets)))
}

/// Until the client closes it, or the server ends: then its subscriptions complete, and it is closed as the protocol says.
async fn serve(socket: WebSocket, caller: Caller, protocol: GraphQLProtocol, sockets: Sockets) {
    let Sockets { end, open, .. } = sockets;
    let ended = end.clone();
    let conversation = async move {
        let (mut sink, mut stream) = socket.split();
        let over = async move {
            ended.cancelled_owned().await;
            // The same end completes the subscriptions, whose last messages come before the close.
            sleep(LAST_WORDS).await;
        };
        let input = stream.by_ref().take_until(Box::pin(over));
        GraphQLWebSocket::new_with_pair(&mut sink, input, caller, protocol).serve().await;
        if end.is_cancelled() {
            let frame = CloseFrame { code: close_code::AWAY, reason: "The server is stopping.".into() };
            if sink.send(Message::Close(Some(frame))).await.is_ok() {
                // A socket dropped before the client has answered would be reset, and the close lost.
                let answered = async { while let Some(Ok(_)) = stream.next().await {} };
                let _ = timeout(CLOSE, answered).await;
            }
        }
    };
    open.track_future(conversation).await;
}
