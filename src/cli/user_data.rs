//! `taskwire export` and `taskwire erase`: all that is kept of one user, over the database alone.

use std::path::PathBuf;

use clap::Args;

use super::{AloneArgs, ExitCode, Given};
use crate::app::user_data;
use crate::config::RetentionFlags;

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
    alone: AloneArgs,
}

/// Of `taskwire erase`.
#[derive(Debug, Args)]
pub(super) struct EraseArgs {
    /// Whose tasks and records to remove, all of them and for good
    #[arg(long, env = "TASKWIRE_ERASE_USER", value_name = "ID")]
    user: String,
    #[command(flatten)]
    alone: AloneArgs,
}

pub(super) fn export(arguments: ExportArgs, given: Given) -> ExitCode {
    let ExportArgs { user, out, alone } = arguments;
    alone.run(RetentionFlags::default(), given, |config| user_data::export(config, user, out))
}

pub(super) fn erase(arguments: EraseArgs, given: Given) -> ExitCode {
    let EraseArgs { user, alone } = arguments;
    alone.run(RetentionFlags::default(), given, |config| user_data::erase(config, user))
}
