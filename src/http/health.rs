//! For load balancers, orchestrators and scripts. They tell nothing of anybody, so whoever asks is answered.
//!
//! - `/health/live`: the program runs; if this gives no answer, end it and start another one
//! - `/health/ready`: it can do its work: 503 says why not, and that requests are better sent to another server
//! - `/health`: the database answers (for who has asked there from the beginning)

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::service::{NotReady, Service};

#[derive(Clone)]
struct Asked {
    service: Service,
    /// The server ends.
    stop: CancellationToken,
}

/// The routes; with `stop` the server is not ready any more.
pub(super) fn routes(service: Service, stop: CancellationToken) -> Router {
    let routes = Router::new().route("/health", get(health)).route("/health/ready", get(ready));
    routes.route("/health/live", get(live)).with_state(Asked { service, stop })
}

async fn live() -> impl IntoResponse {
    told(StatusCode::OK, "ok".to_owned())
}

async fn ready(State(asked): State<Asked>) -> impl IntoResponse {
    let readiness = if asked.stop.is_cancelled() { Err(NotReady::Ending) } else { asked.service.readiness().await };
    match readiness {
        Ok(()) => told(StatusCode::OK, "ok".to_owned()),
        Err(why) => told(StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
    }
}

async fn health(State(asked): State<Asked>) -> impl IntoResponse {
    if asked.service.is_healthy().await {
        told(StatusCode::OK, "ok".to_owned())
    } else {
        told(StatusCode::SERVICE_UNAVAILABLE, "no database".to_owned())
    }
}

fn told(status: StatusCode, text: String) -> impl IntoResponse {
    (status, [(CACHE_CONTROL, "no-store")], text)
}
