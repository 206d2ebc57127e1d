//! All tests on a real PostgreSQL, in one program: one embedded cluster for the run, one database a test.
//! To add tests: a file beside this one, and a `mod` line here. `support/` has what tests share.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod accept;
mod accept_http;
mod accept_peer;
mod accept_tls;
mod api_http;
mod api_mutation;
mod api_paging;
mod api_query;
mod api_server;
mod api_subscription;
mod append;
mod audits;
mod auth;
mod config;
mod demo;
mod embedded;
mod feed;
mod held;
mod http_auth;
mod http_envelope;
mod layers;
mod limits_doc;
mod migrations;
mod partitions;
mod poison;
mod reads;
mod schema;
mod startup;
mod status_model;
mod status_prop;
mod status_rules;
mod strangers;
mod support;
mod visits;
