//! HTTP and WebSocket: `/graphql` and who may ask there, `/health`.
//!
//! - [`router`]: the routes · `guard`: what a web page could send is refused, as long as nobody has to sign in
//! - `request`: a request's query string or body becomes GraphQL's request · `answer`: what goes back
//! - `socket`: subscriptions, for now by async-graphql-axum
//!
//! To add a route: here, behind the guard if it tells or changes anything of a user's.

mod answer;
mod guard;
mod request;
mod socket;

use std::sync::Arc;

use async_graphql::Executor as _;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::UPGRADE;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::{any, get};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Viewer;
use crate::config::HttpConfig;
use crate::graphql::Api;
use answer::Refusal;
use guard::Guard;

/// How open sockets hear that the server ends, and how it waits for them.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    /// Cancelled when subscriptions are to end.
    pub end: CancellationToken,
    /// Every open socket.
    pub open: TaskTracker,
}

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    api: Api,
    guard: Arc<Guard>,
    sockets: Sockets,
}

/// The routes: `/graphql` for queries, mutations and, over WebSocket, subscriptions; `/health`.
pub fn router(api: Api, config: &HttpConfig, sockets: Sockets) -> Router {
    let guard = Arc::new(Guard::new(config));
    Router::new().route("/graphql", any(graphql)).route("/health", get(health)).with_state(Shared {
        api,
        guard,
        sockets,
    })
}

/// For load balancers and scripts: tells nothing of anybody, so whoever asks is answered.
async fn health(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    if shared.api.service().is_healthy().await {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no database")
    }
}

async fn graphql(State(shared): State<Shared>, request: Request) -> Response {
    let headers = request.headers().clone();
    let origin = match shared.guard.check(request.uri(), &headers) {
        Ok(origin) => origin,
        Err(refusal) => return refusal.respond(&headers),
    };
    let answered = match *request.method() {
        Method::GET if is_upgrade(&headers) => socket::upgrade(&shared, request).await,
        Method::GET | Method::POST => execute(&shared, request, &headers).await,
        Method::OPTIONS => Ok(answer::preflight()),
        _ => Err(Refusal::method_not_allowed("GET, POST", "Send a query by GET or POST, a mutation by POST.")),
    };
    let response = answered.unwrap_or_else(|refusal| refusal.respond(&headers));
    answer::allow_origin(response, origin)
}

async fn execute(shared: &Shared, request: Request, headers: &HeaderMap) -> Result<Response, Refusal> {
    let request = match *request.method() {
        Method::GET => request::from_query_string(request.uri(), &shared.api)?,
        _ => request::from_body(request, shared.api.service().limits().request_bytes).await?,
    };
    let answer = shared.api.caller(Viewer::admin()).execute(request).await;
    Ok(answer::respond(answer, headers))
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
