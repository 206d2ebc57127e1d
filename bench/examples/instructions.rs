//! What `bench instructions` counts: so many saves or statuses, one after the other, through the real router and a real
//! PostgreSQL, on a runtime of one thread. Arguments: the URL of an empty database, `save` or `status`, how many.
#![expect(clippy::print_stdout, reason = "its one answer")]

use std::error::Error;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use taskwire::app::{Parts, Shutdown};
use taskwire::auth::Authenticator;
use taskwire::clock::Clock;
use taskwire::config::Config;
use taskwire::http::{Sockets, connections::Connections, router};
use taskwire::telemetry::Telemetry;
use taskwire::{auth, db};
use tikv_jemallocator::Jemalloc;
use tower::ServiceExt as _;

/// The program's own, so that what it does is counted too.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const SAVE: &str = "mutation($i:SaveTaskHistoryInput!){saveTaskHistory(input:$i){record{position} task{status}}}";
const STATUS: &str = "query($u:ID!,$t:ID!){task(userId:$u,taskId:$t){status step updatedAt}}";
/// Steps of a task.
const STEPS: usize = 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("arguments: URL, save or status, and how many");
    let (url, kind, count) = (next()?, next()?, next()?.parse::<usize>()?);
    let mut config = Config::default();
    // More would only be opened, not used.
    (config.database.min_connections, config.database.max_connections) = (2, 5);
    db::migrate(&db::connect_options(&url, "argument")?, "argument").await?;
    let database = db::connect(&config.database, &url, "argument").await?;
    let (telemetry, shutdown) = (Telemetry::new(), Shutdown::default());
    let authenticator: Authenticator = auth::Authenticator::new(&config.auth, Clock::system()).await?;
    let parts = Parts::start(&database, Vec::new(), &config, authenticator, &telemetry, shutdown.subscriptions.clone());
    let connections = Connections::new(config.socket.clone(), telemetry.clone(), shutdown.subscriptions.clone());
    let sockets = Sockets { connections, open: shutdown.sockets.clone() };
    let router = router(parts.api(), parts.authenticator().clone(), &config, sockets);

    match kind.as_str() {
        "save" => {
            for number in 0..count {
                ask(&router, &save(number), "\"position\":").await?;
            }
        }
        "status" => {
            ask(&router, &save(0), "\"position\":").await?;
            let status = json!({ "query": STATUS, "variables": { "u": "user_0", "t": "t_0" } });
            for _ in 0..count {
                ask(&router, &status, "\"status\":\"COMPLETED\"").await?;
            }
        }
        other => return Err(format!("neither save nor status: {other}").into()),
    }
    println!("{count} {kind}");
    Ok(())
}

/// As in `bench table`: of one task after the other, each of another user.
fn save(number: usize) -> Value {
    let (task, step) = (number / STEPS, number % STEPS);
    let result = json!({ "processed_rows": 1000, "text": "x".repeat(200) });
    let step_result = json!({ "stepName": "s", "status": "COMPLETED", "message": "m", "result": result });
    let input = json!({
        "userId": format!("user_{}", task % 100), "taskId": format!("t_{task}"), "step": step, "stepResult": step_result,
    });
    json!({ "query": SAVE, "variables": { "i": input } })
}

async fn ask(router: &Router, body: &Value, good: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let request = Request::post("/graphql")
        .header("host", "127.0.0.1:8000")
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(Body::from(body.to_string()))?;
    let answer = router.clone().oneshot(request).await?.into_body().collect().await?.to_bytes();
    let text = std::str::from_utf8(&answer)?;
    if text.contains(good) && !text.contains("\"errors\"") { Ok(()) } else { Err(text.into()) }
}
