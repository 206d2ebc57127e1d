//! Closing what a user has open, on every server; and refusing to open it again with the same token.

use std::time::Duration;

use tokio::time::timeout;

use super::scope::admins_only;
use super::{Service, ServiceError, input};
use crate::auth::Viewer;
use crate::feed::Close;
use crate::store::StoreError;

/// How long whoever connects waits for the database.
const PATIENCE: Duration = Duration::from_secs(5);

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

    /// Whether this viewer may open a connection: not where the user was disconnected after the token had been issued. A
    /// token that does not say when that was cannot be told from a newer one. Where the database cannot say, nobody may.
    ///
    /// Who opens one asks this first, then puts it where `close_by` finds it, then asks
    /// [`is_disconnected`](Self::is_disconnected): no disconnection falls between.
    pub async fn admits(&self, viewer: &Viewer) -> Result<bool, ServiceError> {
        let (Some(user_id), Some(issued_at)) = (&viewer.user_id, viewer.token_issued_at) else { return Ok(true) };
        let asked = timeout(PATIENCE, self.store.disconnected_at(user_id)).await;
        // Tokens tell whole seconds: one of that very second counts as older.
        Ok(asked.unwrap_or(Err(StoreError::Timeout))?.is_none_or(|at| issued_at > at))
    }

    /// Whether this server has closed what the viewer's user had open, in the last minutes and after the token had been
    /// issued. Does not wait.
    #[must_use]
    pub fn is_disconnected(&self, viewer: &Viewer) -> bool {
        let (Some(user_id), Some(issued_at)) = (&viewer.user_id, viewer.token_issued_at) else { return false };
        self.hub.has_disconnected(user_id, issued_at)
    }
}
