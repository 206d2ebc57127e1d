//! Where a user's feed stands.

use entity::task_record;

use super::{Service, ServiceError};
use crate::auth::Viewer;

/// Where the feed of a user stands now.
#[derive(Clone, Debug)]
pub struct FeedPosition {
    /// The last position given; 0 before the first record.
    pub position: i64,
    /// Resumes the feed from here.
    pub cursor: String,
    /// The oldest position still kept.
    pub oldest_position: Option<i64>,
}

impl Service {
    /// Where a user's feed stands.
    pub async fn feed(&self, viewer: &Viewer, user_id: Option<String>) -> Result<FeedPosition, ServiceError> {
        todo!()
    }
}

/// The cursor that resumes the feed just after this record.
#[must_use]
pub fn feed_cursor_of(record: &task_record::Model) -> String {
    todo!()
}
