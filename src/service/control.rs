//! Closing what a user has open, on every server; and refusing to open it again with the same token.

use super::scope::admins_only;
use super::{Service, ServiceError, input};
use crate::auth::Viewer;
use crate::feed::Close;

impl Service {
    /// How whoever opens connections closes those of a user. Whether it may be called again for the same connections does
    /// not matter; that it does not wait does.
    pub fn close_by(&self, close: Close) {
        self.hub.close_by(close);
    }

    /// Closes all that a user has open, here and on every other server. Tells how many that were here.
    pub async fn disconnect_user(&self, viewer: &Viewer, user_id: String) -> Result<usize, ServiceError> {
        admins_only(viewer)?;
        input::id("input.userId", &user_id)?;
        let at = self.store.disconnect(&user_id).await?;
        let closed = self.hub.disconnected(&user_id, at);
        tracing::info!(user_id, closed, "an admin disconnected a user");
        Ok(closed)
    }

    /// Whether this viewer may open a connection: asked once it can be found by `close_by`, so that no row is missed
    /// between. FORBIDDEN where the user was disconnected after the token had been issued. A token that does not say when
    /// that was cannot be told from a newer one.
    pub async fn admit(&self, viewer: &Viewer) -> Result<(), ServiceError> {
        let (Some(user_id), Some(issued_at)) = (&viewer.user_id, viewer.token_issued_at) else { return Ok(()) };
        match self.store.disconnected_at(user_id).await? {
            // Tokens tell whole seconds: one of that very second counts as older.
            Some(at) if issued_at <= at => Err(ServiceError::disconnected()),
            _ => Ok(()),
        }
    }
}
