//! What admins do for the tables: cleaning up, optimising, and asking what the schedule removes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::scope::admins_only;
use super::{Service, ServiceError, input, limits};
use crate::auth::Viewer;
use crate::maintenance::cleanup::{self, Cleaned, Cleanup};
use crate::maintenance::due_at;
use crate::maintenance::optimize::{Optimized, optimize};

/// Left of an operation's time for its answer: no step of maintenance takes longer.
const FOR_THE_ANSWER: Duration = Duration::from_secs(2);

/// What a cleanup removed, or would remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanedUp {
    /// From before this moment.
    pub cutoff: DateTime<Utc>,
    /// How much.
    pub cleaned: Cleaned,
}

/// What the schedule removes, and how that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionStatus {
    /// For so many days a record is kept at least; 0: for ever.
    pub keep_days: u32,
    /// When older ones are removed; empty where none are.
    pub schedule: String,
    /// When something was last removed, by the schedule or by hand.
    pub last_run_at: Option<DateTime<Utc>>,
    /// How many records that were.
    pub last_deleted_records: Option<i64>,
    /// When the schedule comes next, or a failed run is tried again; none where nothing is removed.
    pub next_run_at: Option<DateTime<Utc>>,
    /// Why the last scheduled run came to nothing.
    pub failure: Option<String>,
}

impl Service {
    /// Removes what is older than so many days, also within a partition that holds newer records; or only counts it. It ends
    /// within `time`, with or without the rest.
    pub async fn cleanup_old_tasks(
        &self,
        viewer: &Viewer,
        days_old: i32,
        dry_run: bool,
        time: Duration,
    ) -> Result<CleanedUp, ServiceError> {
        admins_only(viewer)?;
        input::between("input.daysOld", days_old.into(), 1, limits::DAYS_OLD.into())?;
        let cutoff = self.store.cutoff(days_old.unsigned_abs()).await?;
        let cleanup = Cleanup {
            cutoff,
            keep_unfinished: self.retention.keep_unfinished,
            inside: true,
            until: until(time),
            scheduled_for: None,
        };
        let cleaned = if dry_run {
            cleanup::count(&self.store, &cleanup).await?
        } else {
            cleanup::clean(&self.store, &self.server.server_id, &cleanup).await?
        };
        Ok(CleanedUp { cutoff, cleaned })
    }

    /// Takes fresh statistics, and with `reindex` builds indexes anew. It ends within `time`, with or without the rest.
    pub async fn optimize_storage(
        &self,
        viewer: &Viewer,
        reindex: bool,
        time: Duration,
    ) -> Result<Optimized, ServiceError> {
        admins_only(viewer)?;
        Ok(optimize(&self.store, &self.server.server_id, reindex, until(time)).await?)
    }

    /// What the schedule removes, and how that goes.
    pub async fn retention(&self, viewer: &Viewer) -> Result<RetentionStatus, ServiceError> {
        admins_only(viewer)?;
        let upkeep = self.store.upkeep().await?;
        let is_on = self.retention.keep_days > 0;
        // What is overdue comes with the next look.
        let now = Utc::now();
        let next = due_at(&self.retention, &upkeep, now).map(|due| due.max(now));
        Ok(RetentionStatus {
            keep_days: self.retention.keep_days,
            schedule: if is_on { self.retention.schedule.as_str().to_owned() } else { String::new() },
            last_run_at: upkeep.last_run_at,
            last_deleted_records: upkeep.last_deleted_records,
            next_run_at: next.filter(|_| is_on),
            failure: upkeep.failure,
        })
    }
}

/// When maintenance has to stop so that its answer is in time.
fn until(time: Duration) -> Instant {
    Instant::now() + time.saturating_sub(FOR_THE_ANSWER.min(time / 2))
}
