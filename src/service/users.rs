//! Those who have tasks: for workers and admins, who act for everyone.

use super::feed::FeedPosition;
use super::page::{Asked, list_number};
use super::scope::{everyones_readers_only, readable_user};
use super::{Page, PageArgs, Service, ServiceError, input, limits};
use crate::auth::Viewer;
use crate::store::UserHead;

impl Service {
    /// A page of those who have tasks, by their id.
    pub async fn users(
        &self,
        viewer: &Viewer,
        prefix: Option<String>,
        page: PageArgs,
    ) -> Result<Page<UserHead>, ServiceError> {
        everyones_readers_only(viewer)?;
        let prefix = prefix.unwrap_or_default();
        input::characters("userIdPrefix", &prefix, limits::ID_CHARACTERS)?;
        let asked: Asked<String> = Asked::read(page, list_number(&["users", &prefix]), self.limits())?;
        for (field, cursor) in [("after", &asked.keyset.after), ("before", &asked.keyset.before)] {
            if let Some(user_id) = cursor {
                input::id(field, user_id)?;
            }
        }
        let found = self.store.list_users(&prefix, &asked.keyset).await?;
        Ok(asked.page(found.rows, found.has_more, None, None, |user| user.user_id.clone()))
    }

    /// Somebody who has tasks; none where there are none, or they are not the viewer's to see.
    pub async fn user(&self, viewer: &Viewer, user_id: String) -> Result<Option<UserHead>, ServiceError> {
        let Some(user_id) = readable_user(viewer, Some(user_id))? else { return Ok(None) };
        Ok(self.store.user(&user_id).await?)
    }

    /// The oldest position still kept of a user whom the viewer may see.
    pub async fn oldest_position(&self, viewer: &Viewer, user_id: &str) -> Result<Option<i64>, ServiceError> {
        let Some(user_id) = readable_user(viewer, Some(user_id.to_owned()))? else { return Ok(None) };
        Ok(self.store.oldest_of(&user_id).await?)
    }
}

impl From<&UserHead> for FeedPosition {
    fn from(user: &UserHead) -> Self {
        Self::at(&user.user_id, &user.head)
    }
}
