//! All tests on a real PostgreSQL, in one program: one embedded cluster for the run, one database a test.
//! To add tests: a file beside this one, and a `mod` line here. `support/` has what tests share.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod config;
mod demo;
mod embedded;
mod layers;
mod limits_doc;
mod migrations;
mod schema;
mod startup;
mod support;
