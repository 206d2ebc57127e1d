//! HTTP and WebSocket: `/graphql` and who may ask there, `/health` and `/metrics`, and the pages.
//!
//! - [`router`]: the routes · `guard`: what a web page could send is refused, as long as nobody has to sign in
//! - `viewer`: who is calling, by the token that comes along
//! - `request`: a request's query string or body becomes GraphQL's request, `persisted` has the documents that it may ask
//!   for by name · `answer`: what goes back, in the media type that `negotiation` finds
//! - `pages/`: the dashboard and GraphiQL · `health`: for who starts and stops servers · `metrics`: for Prometheus
//! - `stream/`: results one by one, as server-sent events or multipart
//! - `request_id`, `compression`, `cors`: what is around both · [`Peer`]: the client's address, an extension of each request
//! - [`connections`]: every open connection with live updates, counted and ended · `socket`: subscriptions over WebSocket
//! - [`Listening`]: the accept loop · [`Tls`]: its certificate
//!
//! To add a route: here, behind the guard if it tells or changes anything of a user's.

mod answer;
mod compression;
pub mod connections;
mod cors;
mod guard;
mod health;
mod listen;
mod metrics;
mod negotiation;
mod pages;
mod peer;
mod persisted;
mod request;
mod request_id;
mod socket;
mod stream;
mod tls;
mod viewer;

use std::sync::Arc;

pub use listen::Listening;
pub use pages::has_pages;
pub use peer::Peer;
pub use persisted::check_documents;
pub use tls::{Tls, TlsError};

use async_graphql::Executor as _;
use async_graphql::parser::types::OperationType;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::UPGRADE;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use axum::routing::{any, get};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::auth::{Authenticator, Viewer};
use crate::config::Config;
use crate::graphql::Api;
use crate::service::Service;
use crate::telemetry::{RemoteSpan, method, spans};
use answer::Refusal;
use compression::Accepted;
use connections::Connections;
use guard::Guard;
use negotiation::{MediaType, prefers_html};
use persisted::Persisted;
use request_id::REQUEST_ID;
use viewer::SignInError;

/// What is open, and how the server waits for it when it ends.
#[derive(Clone)]
pub struct Sockets {
    /// Who is connected, and how they hear of the end.
    pub connections: Connections,
    /// Every open socket and stream.
    pub open: TaskTracker,
}

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    api: Api,
    authenticator: Authenticator,
    guard: Arc<Guard>,
    persisted: Arc<Persisted>,
    sockets: Sockets,
    has_graphiql: bool,
}

/// The routes: `/graphql` for queries, mutations and, over WebSocket, subscriptions; `/health…`; `/metrics`; the pages.
pub fn router(api: Api, authenticator: Authenticator, config: &Config, sockets: Sockets) -> Router {
    let guard = Arc::new(Guard::new(&config.http));
    let persisted = Arc::new(Persisted::new(&config.documents, api.clone()));
    let has_graphiql = config.graphql.introspection;
    let shared = Shared { api, authenticator, guard, persisted, sockets, has_graphiql };
    let mut routes = Router::new().route("/graphql", any(graphql));
    if config.telemetry.metrics_listen.is_none() {
        routes = routes.route("/metrics", get(metrics));
    }
    let health = health::routes(shared.api.service().clone(), CancellationToken::new());
    routes.merge(pages::routes(has_graphiql)).with_state(shared).merge(health)
}

/// The router's answer, and what is around every one: its request's id, and compression. (As a layer of the router's it would be
/// boxed and copied for each route anew.)
async fn around(router: Router, request: Request) -> Response {
    let accepted = Accepted::by(request.headers());
    accepted.compress(request_id::attach(router, request).await).await
}

/// The routes of `--metrics-listen`: whoever reaches that address may know all that they tell. `stop` ends the server.
pub fn telemetry_router(service: &Service, stop: CancellationToken) -> Router {
    metrics::routes(service.clone()).merge(health::routes(service.clone(), stop))
}

/// At the main address: for admins, as `system` is.
async fn metrics(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    // Who has to bring a token is no foreign page; without one, a page could have its own name point here.
    let guarded = if shared.authenticator.is_open() { shared.guard.check(&uri, &headers).map(drop) } else { Ok(()) };
    let told = async {
        guarded?;
        let viewer = viewer::of_request(&shared.authenticator, &method, &uri, &headers).await;
        metrics::tell(shared.api.service(), &viewer.map_err(SignInError::refusal)?)
    };
    told.await.unwrap_or_else(|refusal| refusal.respond(&headers))
}

async fn graphql(State(shared): State<Shared>, request: Request) -> Response {
    let remote = RemoteSpan::of(|name| request.headers().get(name)?.to_str().ok());
    let span = spans::request(method(request.method().as_str()), remote.as_ref());
    let response = answer(shared, request).instrument(span.clone()).await;
    spans::answered(&span, response.status().as_u16());
    response
}

async fn answer(shared: Shared, request: Request) -> Response {
    let headers = request.headers().clone();
    let origin = match shared.guard.check(request.uri(), &headers) {
        Ok(origin) => origin,
        Err(refusal) => return refusal.respond(&headers),
    };
    cors::Allowed::note(request.extensions(), origin.as_ref());
    let answered = match *request.method() {
        Method::GET if is_upgrade(&headers) => Box::pin(socket::upgrade(&shared, request)).await,
        // Such a request asks for nothing, and would only be told so.
        Method::GET if shared.has_graphiql && request.uri().query().is_none() && prefers_html(&headers) => {
            Ok(pages::to_graphiql())
        }
        Method::GET | Method::POST => Box::pin(execute(&shared, request, &headers)).await,
        Method::OPTIONS => Ok(cors::preflight()),
        _ => Err(Refusal::method_not_allowed("GET, POST", "Send a query by GET or POST, a mutation by POST.")),
    };
    let response = answered.unwrap_or_else(|refusal| refusal.respond(&headers));
    cors::allow(response, origin)
}

async fn execute(shared: &Shared, request: Request, headers: &HeaderMap) -> Result<Response, Refusal> {
    let viewer = viewer::of_request(&shared.authenticator, request.method(), request.uri(), headers).await;
    let viewer = viewer.map_err(SignInError::refusal)?;
    let peer = Peer::of(request.extensions());
    let asked = match shared.api.caller(viewer.clone()).admitted() {
        // Boxed, so that its room is free again while the operation runs.
        Ok(caller) => Box::pin(read(shared, &viewer, request)).await.map(|asked| (caller, asked)),
        Err(limited) => Err(Refusal::of(limited)),
    };
    let (caller, (request, operation)) = match (asked, stream::refused(headers)) {
        (Err(refusal), Some(format)) => {
            return Ok(stream::refuse(format, refusal.into_request_error()?, headers.get(REQUEST_ID)));
        }
        (asked, _) => asked?,
    };
    if let Some(format) = stream::chosen(headers, operation) {
        let is_subscription = operation == Some(OperationType::Subscription);
        let service = shared.api.service();
        Box::pin(viewer::admit(service, &viewer)).await.map_err(SignInError::refusal)?;
        let seat = shared.sockets.connections.enter(Some(&viewer), Some(peer.0)).map_err(stream::full)?;
        if service.is_disconnected(&viewer) {
            return Err(SignInError::Disconnected.refusal());
        }
        let remaining = shared.authenticator.remaining(&viewer);
        let request_id = headers.get(REQUEST_ID).cloned();
        let operation = stream::Operation { caller, request, is_subscription, remaining, request_id };
        return Ok(stream::open(format, operation, seat, &shared.sockets));
    }
    MediaType::check(headers)?;
    let answer = Box::pin(caller.execute(request)).await;
    Ok(answer::respond(answer, headers))
}

async fn read(shared: &Shared, viewer: &Viewer, request: Request) -> Result<request::Asked, Refusal> {
    if *request.method() == Method::GET {
        return request::from_query_string(request.uri(), &shared.persisted, &shared.api);
    }
    let limit = shared.api.service().limits().request_bytes_of(viewer);
    request::from_body(request, limit, &shared.persisted, &shared.api).await
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
