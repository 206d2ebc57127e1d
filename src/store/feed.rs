//! What the feed reads: heads, the records after a position, the tasks that changed after one.
//! Every read of records carries a bound on `recorded_at`, and no window of it spans more than three weekly partitions.

use super::record::Committed;
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
}

/// Some records after a position, each with its task as it is now, and the head as it was in the same statement.
#[derive(Clone, Debug)]
pub struct FeedPage {
    /// In position order, without a gap.
    pub entries: Vec<Committed>,
    /// The user's head when they were read.
    pub head: Head,
}
