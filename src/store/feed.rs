//! What the feed reads: heads, the records after a position, the tasks that changed after one.
//! Every read of records carries a bound on `recorded_at`, and no window of it spans more than three weekly partitions.

use super::StoreError;
use super::record::Committed;
use sea_orm::QueryResult;
use sea_orm::prelude::DateTimeUtc;
use uuid::Uuid;

/// Where a user's feed stands: the user's last record, or nothing yet (position 0, the epoch, the nil UUID).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of the last record; 0 before the first.
    pub position: i64,
    /// When it was appended.
    pub recorded_at: DateTimeUtc,
    /// Which record stands there.
    pub record_id: Uuid,
}

impl Head {
    /// Before the first record.
    pub const START: Self = Self { position: 0, recorded_at: DateTimeUtc::UNIX_EPOCH, record_id: Uuid::nil() };

    /// From the columns `head_position`, `head_recorded_at` and `head_record_id`, null where there is no row yet.
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        let position: Option<i64> = row.try_get("", "head_position")?;
        let recorded_at: Option<DateTimeUtc> = row.try_get("", "head_recorded_at")?;
        let record_id: Option<Uuid> = row.try_get("", "head_record_id")?;
        Ok(match (position, recorded_at, record_id) {
            (Some(position), Some(recorded_at), Some(record_id)) => Self { position, recorded_at, record_id },
            _ => Self::START,
        })
    }
}

/// Some records after a position, each with its task as it is now, and the head as it was in the same statement.
#[derive(Clone, Debug)]
pub struct FeedPage {
    /// In position order, without a gap.
    pub entries: Vec<Committed>,
    /// The user's head when they were read.
    pub head: Head,
}
