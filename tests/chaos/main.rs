//! Faults against the real program: servers, their PostgreSQL or both are killed, stopped and restarted under load, and
//! afterwards it is counted whether anything was lost, repeated or out of order.
//!
//! The harness: `room.rs` is a test's folder, and what ends everything when the test ends, however it ends · `server.rs`
//! starts, kills and restarts servers and finds their postmasters · `client.rs` asks and saves as a worker does ·
//! `postgres.rs` is a PostgreSQL of an operator's, with standbys · `load.rs` is many such workers · `socket.rs` is a subscriber that resumes by its cursor · `check.rs` counts.
//!
//! To add a fault: a file beside these with its tests, and a `mod` line here. It starts a `Load` and `Subscriber`s, does
//! its harm whenever the load has gone on a little (never after a sleep), and ends with `check::run`.
//! `CHAOS_ROUNDS=30 cargo test --test chaos kill_server` looks longer.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod check;
mod client;
mod load;
mod postgres;
mod room;
mod server;
mod socket;

mod failover;
mod kill_server;
mod lost_tail;
mod outage;
mod pooler;
mod reports;
mod retention;
mod shutdown;
mod standby_reads;
mod three_servers;
mod two_servers;

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` sees something, for things that send no signal.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < until, "waited in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
