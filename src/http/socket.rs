//! Subscriptions over WebSocket, by async-graphql-axum: both sub-protocols, none of the protocol's finer rules. The issue on
//! the live feed replaces it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_graphql::http::ALL_WEBSOCKET_PROTOCOLS;
use async_graphql::{Data, Executor, Request as GraphQLRequest, Response as GraphQLResponse};
use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts as _, Request};
use axum::response::Response;
use futures_util::stream::{self, BoxStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{sleep, timeout};

use super::answer::Refusal;
use super::viewer::{self, SignInError};
use super::{Shared, Sockets};
use crate::auth::Viewer;

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
    let socket = shared.clone();
    let most = usize::try_from(shared.api.service().limits().user_request_bytes).unwrap_or_default();
    Ok(upgrade
        .protocols(ALL_WEBSOCKET_PROTOCOLS)
        .max_message_size(most)
        .on_upgrade(move |connection| serve(connection, socket, protocol)))
}

/// Until the client closes it, or the server ends: then its subscriptions complete, and it is closed as the protocol says.
async fn serve(socket: WebSocket, shared: Shared, protocol: GraphQLProtocol) {
    let Sockets { end, open, .. } = shared.sockets.clone();
    let door = Door { shared, viewer: Arc::default() };
    let ended = end.clone();
    let conversation = async move {
        let (mut sink, mut stream) = socket.split();
        let over = async move {
            ended.cancelled_owned().await;
            // The same end completes the subscriptions, whose last messages come before the close.
            sleep(LAST_WORDS).await;
        };
        let input = stream.by_ref().take_until(Box::pin(over));
        let signed_in = door.clone();
        let sign_in = async move |payload: serde_json::Value| {
            let viewer = viewer::of_payload(&signed_in.shared.authenticator, &payload).await?;
            let _ = signed_in.viewer.set(viewer);
            Ok(Data::default())
        };
        GraphQLWebSocket::new_with_pair(&mut sink, input, door, protocol).on_connection_init(sign_in).serve().await;
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

/// Executes for whoever has signed in on this socket, and for nobody before that.
#[derive(Clone)]
struct Door {
    shared: Shared,
    viewer: Arc<OnceLock<Viewer>>,
}

impl Executor for Door {
    async fn execute(&self, request: GraphQLRequest) -> GraphQLResponse {
        match self.viewer.get() {
            Some(viewer) => self.shared.api.caller(viewer.clone()).execute(request).await,
            None => SignInError::Missing.into(),
        }
    }

    fn execute_stream(&self, request: GraphQLRequest, data: Option<Arc<Data>>) -> BoxStream<'static, GraphQLResponse> {
        match self.viewer.get() {
            Some(viewer) => self.shared.api.caller(viewer.clone()).execute_stream(request, data),
            None => stream::iter([SignInError::Missing.into()]).boxed(),
        }
    }
}
