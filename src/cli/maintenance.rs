//! `taskwire cleanup` and `taskwire partitions`: what an operator does by hand, over the database alone.

use clap::Args;

use super::{AloneArgs, ExitCode, Given};
use crate::app::upkeep;
use crate::config::{MOST_DAYS, RetentionFlags, Switch};

/// Of `taskwire cleanup`.
#[derive(Debug, Args)]
pub(super) struct CleanupArgs {
    /// Remove what was recorded more than so many days ago
    #[arg(long, env = "TASKWIRE_CLEANUP_DAYS", value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_DAYS)))]
    days: u32,
    /// Count only, and change nothing
    #[arg(long, env = "TASKWIRE_CLEANUP_DRY_RUN")]
    dry_run: bool,
    /// Whether an unfinished task stays in the lists when all its records have gone [default: on]
    #[arg(long, env = "TASKWIRE_KEEP_UNFINISHED", value_name = "ON|OFF")]
    keep_unfinished: Option<Switch>,
    #[command(flatten)]
    alone: AloneArgs,
}

/// Of `taskwire partitions`.
#[derive(Debug, Args)]
pub(super) struct PartitionsArgs {
    #[command(flatten)]
    alone: AloneArgs,
}

pub(super) fn cleanup(arguments: CleanupArgs, given: Given) -> ExitCode {
    let CleanupArgs { days, dry_run, keep_unfinished, alone } = arguments;
    let retention = RetentionFlags { keep_unfinished, ..RetentionFlags::default() };
    alone.run(retention, given, |config| upkeep::cleanup(config, days, dry_run))
}

pub(super) fn partitions(arguments: PartitionsArgs, given: Given) -> ExitCode {
    arguments.alone.run(RetentionFlags::default(), given, upkeep::partitions)
}
