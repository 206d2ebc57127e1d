//! Taskwire keeps the history of background tasks in `PostgreSQL` and pushes every change the moment it commits.
//!
//! The data's way in and out: http → viewer → graphql → service → store → `PostgreSQL` → feed → `service::watch` →
//! graphql → socket. Each module's head says what lives there; `docs/ARCHITECTURE.md` is the map.

pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod demo;
pub mod doctor;
pub mod feed;
pub mod graphql;
pub mod http;
mod json;
pub mod maintenance;
pub mod service;
pub mod store;
pub mod telemetry;
