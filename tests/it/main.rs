//! The integration tests, one binary: a room a topic.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod append;
mod held;
mod poison;
mod reads;
mod schema;
mod status_model;
mod status_prop;
mod status_rules;
mod strangers;
mod support;
