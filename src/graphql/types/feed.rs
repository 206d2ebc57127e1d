//! `Feed`: where the feed of a user stands.

use async_graphql::SimpleObject;

use crate::graphql::scalars::{FeedCursor, SafeInt};
use crate::service::FeedPosition;

/// Where the feed of a user stands now.
#[derive(SimpleObject)]
pub(crate) struct Feed {
    /// The last position given; 0 before the first record.
    position: SafeInt,
    /// A subscription that starts from here gets what comes after it.
    cursor: FeedCursor,
    /// The oldest position that retention has kept; null where there is none.
    oldest_position: Option<SafeInt>,
}

impl From<FeedPosition> for Feed {
    fn from(feed: FeedPosition) -> Self {
        Self {
            position: feed.position.into(),
            cursor: FeedCursor(feed.cursor),
            oldest_position: feed.oldest_position.map(SafeInt::from),
        }
    }
}
