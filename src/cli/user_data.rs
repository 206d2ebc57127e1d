//! `taskwire export` and `taskwire erase`: all that is kept of one user, over the database alone.

use std::path::PathBuf;

use clap::Args;

use super::{ExitCode, Given, LogArgs, fail, run, settle};
use crate::app::user_data;
use crate::config::{DataDirFlags, DatabaseFlags, Flags};

/// Of `taskwire export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Whose tasks and records to write
    #[arg(long, env = "TASKWIRE_EXPORT_USER", value_name = "ID")]
    user: String,
    /// File to write to, which must not be there yet [default: standard output]
    #[arg(long, env = "TASKWIRE_EXPORT_OUT", value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    data_dir: DataDirFlags,
    #[command(flatten)]
    log: LogArgs,
}

/// Of `taskwire erase`.
#[derive(Debug, Args)]
pub(super) struct EraseArgs {
    /// Whose tasks and records to remove, all of them and for good
    #[arg(long, env = "TASKWIRE_ERASE_USER", value_name = "ID")]
    user: String,
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    data_dir: DataDirFlags,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) fn export(arguments: ExportArgs, given: Given) -> ExitCode {
    let ExportArgs { user, out, database, data_dir, log } = arguments;
    log.begin();
    given.say_file();
    match settle(Flags { database, data_dir, ..Flags::default() }, given) {
        Ok(config) => run(async move { user_data::export(config, user, out).await }),
        Err(error) => fail(&error.to_string()),
    }
}

pub(super) fn erase(arguments: EraseArgs, given: Given) -> ExitCode {
    let EraseArgs { user, database, data_dir, log } = arguments;
    log.begin();
    given.say_file();
    match settle(Flags { database, data_dir, ..Flags::default() }, given) {
        Ok(config) => run(async move { user_data::erase(config, user).await }),
        Err(error) => fail(&error.to_string()),
    }
}
