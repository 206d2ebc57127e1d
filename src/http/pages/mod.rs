//! What people look at: the dashboard at `/`, GraphiQL at `/graphiql`, and their files below `/assets/`.
//!
//! They are made from `web/` and are in the program (`files`). They tell nothing of anybody: whoever opens one gets it, and
//! signs in there. Everything comes from this server, by a strict Content-Security-Policy.
//!
//! To add a page: an HTML file in `web/` and in its `vite.config.ts`, and its route here. To add an address of the
//! dashboard, which finds its way by itself: its route here, and in `web/src/dashboard/`.

mod files;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;

/// Where GraphiQL is.
const GRAPHIQL: &str = "/graphiql";
/// Nothing comes from elsewhere, nothing is inline, and nobody shows a page within one of theirs.
const POLICY: &str =
    "default-src 'self'; script-src 'self'; worker-src 'self'; object-src 'none'; frame-ancestors 'none'";
/// GraphiQL's editor, Monaco, writes its styles into the page.
const GRAPHIQL_POLICY: &str = "default-src 'self'; script-src 'self'; worker-src 'self'; object-src 'none'; \
     frame-ancestors 'none'; style-src 'self' 'unsafe-inline'";

/// A page is asked for again each time; its files have their content's hash in their names.
const EACH_TIME: HeaderValue = HeaderValue::from_static("no-cache");
const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Whether the program was built with the pages (`scripts/web`).
#[must_use]
pub fn has_pages() -> bool {
    files::are_there()
}

/// The routes. Whoever is not to know the schema gets no GraphiQL.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(has_graphiql: bool) -> Router<S> {
    let graphiql = if has_graphiql { get(graphiql) } else { get(no_graphiql) };
    Router::new()
        .route("/", get(dashboard))
        .route("/overview", get(dashboard))
        .route("/tasks/{user}/{task}", get(dashboard))
        .route(GRAPHIQL, graphiql)
        .route("/assets/{*name}", get(asset))
}

/// Sends a browser that opens `/graphql` to the page for it.
pub(super) fn to_graphiql() -> Response {
    let headers = [(LOCATION, GRAPHIQL), (VARY, "accept"), (CACHE_CONTROL, "no-store")];
    (StatusCode::SEE_OTHER, headers).into_response()
}

async fn dashboard(asked: HeaderMap) -> Response {
    page("index.html", POLICY, &asked)
}

async fn graphiql(asked: HeaderMap) -> Response {
    page("graphiql.html", GRAPHIQL_POLICY, &asked)
}

async fn no_graphiql() -> Response {
    note("There is no GraphiQL here", "This server does not tell its schema (<code>--introspection off</code>).")
}

async fn asset(Path(name): Path<String>, asked: HeaderMap) -> Response {
    match files::find(&format!("assets/{name}")) {
        Some(file) => guarded(file.respond(&asked), POLICY, FOR_GOOD),
        None => {
            note("Not found", "There is no such file. A page that is older than the server wants to be loaded again.")
        }
    }
}

fn page(name: &str, policy: &'static str, asked: &HeaderMap) -> Response {
    match files::find(name) {
        Some(file) => guarded(file.respond(asked), policy, EACH_TIME),
        None => note(
            "The pages are not in this program",
            "It was built before them: run <code>scripts/web</code>, which wants Node.js, and build it again, \
             or <code>make run</code>, which does both. <code>/graphql</code> is served all the same.",
        ),
    }
}

/// A page of a few words, where there is no other one.
fn note(title: &str, text: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title} · Taskwire</title><h1>{title}</h1><p>{text}</p></html>"
    );
    guarded((StatusCode::NOT_FOUND, Html(html)).into_response(), POLICY, EACH_TIME)
}

/// With the headers that keep others' content out, and ours where it belongs.
fn guarded(mut response: Response, policy: &'static str, cache: HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(CACHE_CONTROL, cache);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static("same-origin"));
    }
    response
}
