//! `taskwire doctor`: looks at the settings, the database and the machine as a server would find them, changes nothing, and
//! says of everything that is not well what to do. It asks PostgreSQL about itself, so its SQL is here and not in `store`;
//! all of it goes by the simple protocol, which every pooler passes on.
//!
//! To add a finding: a function of its kind in `settings.rs`, `server.rs`, `tables.rs` or `sessions.rs`, a name for it like
//! its neighbours', and a test in `tests/it/doctor*.rs` that provokes it.

mod examination;
mod finding;
mod server;
mod sessions;
mod settings;
mod tables;

use std::time::Duration;

use clap::{ArgAction, Args, builder::FalseyValueParser};

use crate::config;

pub use examination::examine;
pub use finding::{Finding, Report, Severity};
pub use settings::unusable;

/// What `taskwire doctor` looks for, besides the settings of a server.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Print one JSON object instead of text
    #[arg(long, env = "TASKWIRE_DOCTOR_JSON", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub json: bool,
    /// How far this machine's clock and the database's may be apart
    #[arg(long, env = "TASKWIRE_DOCTOR_CLOCK_OFFSET", value_name = "DURATION", default_value = "1s", value_parser = config::duration)]
    pub clock_offset: Duration,
    /// How long a transaction may have been open before it is told of
    #[arg(long, env = "TASKWIRE_DOCTOR_SNAPSHOT_AGE", value_name = "DURATION", default_value = "5min", value_parser = config::duration)]
    pub snapshot_age: Duration,
    /// For how long the disk should still have room at today's growth
    #[arg(long, env = "TASKWIRE_DOCTOR_DISK_AHEAD", value_name = "DURATION", default_value = "30d", value_parser = config::duration)]
    pub disk_ahead: Duration,
}
