//! The database: the pool of connections, of several hosts the primary, migrations under an advisory lock, and the embedded
//! cluster. What is in the tables is none of its business. Start-up that fails says so with a [`StartError`]: to add a reason, add a variant
//! whose text is one line with the cause and the remedy.

mod abandoned;
pub mod cluster;
mod error;
mod hosts;
mod migrate;
mod pool;
mod primary;

pub use abandoned::Call;
pub use cluster::{Cluster, ClusterOptions};
pub use error::StartError;
pub use hosts::Hosts;
pub use migrate::{down, is_migrated, look, migrate};
pub use pool::{Backends, Database, connect, connect_options, place, standbys};
pub use primary::Primary;
