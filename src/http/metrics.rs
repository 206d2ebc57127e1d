//! `/metrics`, in the format of OpenMetrics, which Prometheus reads. They tell which operations there are and how often they
//! are used, and nothing of any user; all the same not to everybody: at the main address to admins, at an address of their
//! own (`--metrics-listen`) to whoever can reach it.

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::answer::Refusal;
use crate::auth::Viewer;
use crate::service::Service;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Of an address of their own.
pub(super) fn routes(service: Service) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(service)
}

async fn metrics(State(service): State<Service>, headers: HeaderMap) -> Response {
    tell(&service, &Viewer::admin()).unwrap_or_else(|refusal| refusal.respond(&headers))
}

/// The metrics, to who may see them.
pub(super) fn tell(service: &Service, viewer: &Viewer) -> Result<Response, Refusal> {
    let text = service.metrics(viewer).map_err(|error| {
        Refusal::new(
            StatusCode::FORBIDDEN,
            error.code(),
            "Metrics are for admins. Bring an admin's token, or use --metrics-listen.",
        )
    })?;
    let headers = [(CONTENT_TYPE, OPEN_METRICS), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, text).into_response())
}
