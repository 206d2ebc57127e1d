//! `cleanupOldTasks`: what is too old goes now, to the very moment.

use async_graphql::{Context, InputObject, Object, SimpleObject};

use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::scalars::{DateTime, SafeInt};
use crate::graphql::session::Session;
use crate::service::CleanedUp;

/// What is too old.
#[derive(InputObject)]
pub(crate) struct CleanupOldTasksInput {
    /// Records older than so many days go, 1 to 36,525, by the database's clock when they were appended.
    #[graphql(default = 30)]
    days_old: i32,
    /// Count, and change nothing.
    #[graphql(default = false)]
    dry_run: bool,
}

/// What has gone, or would go.
#[derive(SimpleObject)]
pub(crate) struct CleanupOldTasksPayload {
    /// Records from before this moment.
    cutoff: DateTime,
    /// How many records; of whole partitions it is PostgreSQL's estimate.
    deleted_records: SafeInt,
    /// How many tasks: those whose last record has gone, without the unfinished ones where these are kept
    /// (`--keep-unfinished`).
    deleted_tasks: SafeInt,
    /// The partitions that went as a whole.
    dropped_partitions: Vec<String>,
    /// Time ran out (`--maintenance-time`), or somebody's open transaction held something for too long: call again. It goes
    /// on where it stopped.
    has_more: bool,
}

impl From<CleanedUp> for CleanupOldTasksPayload {
    fn from(CleanedUp { cutoff, cleaned }: CleanedUp) -> Self {
        Self {
            cutoff: DateTime(cutoff),
            deleted_records: cleaned.records.into(),
            deleted_tasks: cleaned.tasks.into(),
            dropped_partitions: cleaned.partitions,
            has_more: cleaned.has_more,
        }
    }
}

/// The mutation's resolver.
#[derive(Default)]
pub(crate) struct CleanupMutation;

#[Object]
impl CleanupMutation {
    /// Removes records that are older than so many days, and tasks of which no record is left. The schedule does the same
    /// by whole partitions (`--keep-days`); this goes to the very moment, in small batches. One server at a time: while
    /// another is at it, it waits. Admins only.
    async fn cleanup_old_tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What is too old.")] input: CleanupOldTasksInput,
    ) -> Answer<CleanupOldTasksPayload> {
        Some(Box::pin(cleanup(context, input)).await)
    }
}

async fn cleanup(context: &Context<'_>, input: CleanupOldTasksInput) -> Result<CleanupOldTasksPayload, ApiError> {
    let session = Session::of(context)?;
    let CleanupOldTasksInput { days_old, dry_run } = input;
    let time = session.time_left();
    Ok(session.service.cleanup_old_tasks(&session.viewer, days_old, dry_run, time).await?.into())
}
