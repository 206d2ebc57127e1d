//! Where a user's feed stands.

use entity::task_record;

use super::scope::readable_user;
use super::{Service, ServiceError};
use crate::auth::Viewer;
use crate::feed::FeedCursor;
use crate::store::Head;

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

impl FeedPosition {
    /// Of a user of whom only the head is known.
    pub(super) fn at(user_id: &str, head: &Head) -> Self {
        let cursor = FeedCursor::new(user_id, head).to_string();
        Self { position: head.position, cursor, oldest_position: None }
    }
}

impl Service {
    /// Where a user's feed stands; where it is not the viewer's to see, as one without records.
    pub async fn feed(&self, viewer: &Viewer, user_id: Option<String>) -> Result<FeedPosition, ServiceError> {
        let named = user_id.clone().or_else(|| viewer.user_id.clone()).unwrap_or_default();
        let (head, oldest_position) = match readable_user(viewer, user_id)? {
            Some(user_id) => self.store.feed_of(&user_id).await?,
            None => (Head::START, None),
        };
        Ok(FeedPosition { oldest_position, ..FeedPosition::at(&named, &head) })
    }
}

/// The cursor that resumes the feed just after this record.
#[must_use]
pub fn feed_cursor_of(record: &task_record::Model) -> String {
    let head = Head { position: record.position, recorded_at: record.recorded_at, record_id: record.record_id };
    FeedCursor::new(&record.user_id, &head).to_string()
}
