//! What tests share (a shim until helper 1's arrives).

pub(crate) mod database;
pub(crate) mod write;

pub(crate) use database::TestDatabase;
pub(crate) use write::{lanes_of, record, store_of};
