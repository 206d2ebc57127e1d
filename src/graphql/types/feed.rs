//! `Feed`: where the feed of a user stands.

use async_graphql::{Context, Object};

use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::scalars::{FeedCursor, SafeInt};
use crate::graphql::session::Session;
use crate::service::{FeedPosition, UserHead};

/// Where the feed of a user stands.
pub(crate) struct Feed {
    feed: FeedPosition,
    /// Whose, where the oldest position is still to be read: it takes a search, for each user of a page.
    unread: Option<String>,
}

impl Feed {
    /// The feed of a user of whom only the head is known.
    pub(crate) fn of_user(user: &UserHead) -> Self {
        Self { feed: user.into(), unread: Some(user.user_id.clone()) }
    }

    async fn oldest(&self, context: &Context<'_>) -> Result<Option<SafeInt>, ApiError> {
        let Some(user_id) = &self.unread else { return Ok(self.feed.oldest_position.map(SafeInt::from)) };
        let session = Session::of(context)?;
        Ok(session.service.oldest_position(&session.viewer, user_id).await?.map(SafeInt::from))
    }
}

impl From<FeedPosition> for Feed {
    fn from(feed: FeedPosition) -> Self {
        Self { feed, unread: None }
    }
}

/// Where the feed of a user stands now.
#[Object]
impl Feed {
    /// The last position given; 0 before the first record.
    async fn position(&self) -> SafeInt {
        self.feed.position.into()
    }

    /// A subscription that starts from here gets what comes after it.
    async fn cursor(&self) -> FeedCursor {
        FeedCursor(self.feed.cursor.clone())
    }

    /// The oldest position that retention has kept; null where there is none.
    async fn oldest_position(&self, context: &Context<'_>) -> Answer<SafeInt> {
        self.oldest(context).await.transpose()
    }
}
