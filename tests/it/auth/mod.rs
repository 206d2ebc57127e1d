//! Who is calling: `tokens.rs` (each thing that may be wrong with one), `jwks.rs` (keys from a file or a URL),
//! `start.rs` (settings and `taskwire token`), `log.rs` (what is never in the log). `keys.rs` makes keys and tokens.

pub(crate) mod keys;

mod jwks;
mod log;
mod start;
mod tokens;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use taskwire::auth::Authenticator;
use taskwire::clock::Clock;
use taskwire::config::AuthConfig;

/// What time it is in these tests.
const NOW: i64 = 1_800_000_000;

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

async fn authenticator(config: &AuthConfig) -> (Authenticator, Clock) {
    let clock = Clock::standing_at(moment(NOW));
    (Authenticator::new(config, clock.clone()).await.unwrap(), clock)
}

/// Claims that are right, but for these.
fn claims(others: Value) -> Value {
    let mut claims = json!({ "sub": "anna", "exp": NOW + 60 });
    for (name, value) in others.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}
