//! What `taskwire cleanup` and `taskwire partitions` do: the same as the server, without one.

use std::{fmt::Write as _, time::Duration};

use tokio::time::Instant;

use super::alone::over_database;
use super::{Outcome, say};
use crate::config::Config;
use crate::db::StartError;
use crate::maintenance::cleanup::{self, Cleaned, Cleanup};
use crate::service::this_server;
use crate::store::{Partition, StoreError};

/// Whoever sits there can end it, and somebody's open transaction does so after a minute.
const TIME: Duration = Duration::from_hours(24);

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// There is no database to do it to.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database did not let it be done.
    #[error("{0}; has `taskwire migrate` or a server prepared this database?")]
    Store(#[from] StoreError),
}

/// Removes what is older than so many days, or counts it, and tells.
pub async fn cleanup(config: Config, days: u32, dry_run: bool) -> Result<Outcome, UpkeepError> {
    let keep_unfinished = config.retention.keep_unfinished;
    over_database(config, async move |store| {
        let cutoff = store.cutoff(days).await?;
        let until = Instant::now() + TIME;
        let cleanup = Cleanup { cutoff, keep_unfinished, inside: true, until, scheduled_for: None };
        let cleaned = if dry_run {
            cleanup::count(&store, &cleanup).await?
        } else {
            cleanup::clean(&store, &this_server().server_id, &cleanup).await?
        };
        say(format!("from before {}\n{}", cutoff.format("%F %T UTC"), told(&cleaned, dry_run)));
        Ok(())
    })
    .await
}

/// Lists the partitions of the history.
pub async fn partitions(config: Config) -> Result<Outcome, UpkeepError> {
    over_database(config, async move |store| {
        say(table(&store.partitions().await?));
        Ok(())
    })
    .await
}

fn told(cleaned: &Cleaned, dry_run: bool) -> String {
    let Cleaned { records, tasks, partitions, has_more, held } = cleaned;
    let mut text = if dry_run { "would go:  ".to_owned() } else { "removed:   ".to_owned() };
    // Writing to a String does not fail.
    let _ = write!(text, "{records} records, {tasks} tasks");
    if !partitions.is_empty() {
        let _ = write!(text, "\npartitions as a whole (their records as estimated): {}", partitions.join(", "));
    }
    if *has_more {
        let why = held.as_deref().unwrap_or("time ran out");
        let _ = write!(text, "\nnot all of it: {why}. Run it again.");
    }
    text
}

fn table(partitions: &[Partition]) -> String {
    let day = |at: Option<chrono::DateTime<chrono::Utc>>| {
        at.map_or_else(|| "open".to_owned(), |at| at.format("%F %H:%M").to_string())
    };
    let mut text =
        format!("{:<24}{:<18}{:<18}{:>12}{:>16}", "partition", "from (UTC)", "until (UTC)", "MiB", "records, about");
    for partition in partitions {
        let Partition { name, start, end, bytes, estimated_records, is_leaving, .. } = partition;
        let leaving = if *is_leaving { "  being taken off" } else { "" };
        let (mib, tenth) = (bytes >> 20, (bytes >> 10) % 1024 * 10 / 1024);
        let size = format!("{mib}.{tenth}");
        let _ =
            write!(text, "\n{name:<24}{:<18}{:<18}{size:>12}{estimated_records:>16}{leaving}", day(*start), day(*end));
    }
    text
}
