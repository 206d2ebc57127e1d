//! Subscriptions over WebSocket, by async-graphql-axum: both sub-protocols, none of the protocol's finer rules. The issue on
//! the live feed replaces it.

use async_graphql::http::ALL_WEBSOCKET_PROTOCOLS;
use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request};
use axum::response::Response;
use futures_util::StreamExt as _;

use super::answer::Refusal;
use super::{Shared, Sockets};
use crate::auth::Viewer;
use crate::graphql::Caller;

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

/// Until the client closes it, or the server ends.
async fn serve(socket: WebSocket, caller: Caller, protocol: GraphQLProtocol, sockets: Sockets) {
    let (sink, stream) = socket.split();
    let stream = stream.take_until(sockets.end.clone().cancelled_owned());
    let socket = GraphQLWebSocket::new_with_pair(sink, stream, caller, protocol).serve();
    sockets.open.track_future(socket).await;
}
