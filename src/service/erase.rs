//! Erasing a user: an admin's verb, for good.

use std::time::Duration;

use tokio::time::Instant;

use super::scope::admins_only;
use super::{Service, ServiceError, input};
use crate::auth::Viewer;
use crate::maintenance::erase;

pub use crate::maintenance::erase::Erased;

/// What is kept of the operation's time for the step that is under way when it is over, and for the answer.
const MARGIN: Duration = Duration::from_secs(2);

impl Service {
    /// Removes all that is kept of a user, or as much as `time` allows. `confirm` repeats the user's id.
    pub async fn erase_user(
        &self,
        viewer: &Viewer,
        user_id: String,
        confirm: &str,
        time: Duration,
    ) -> Result<Erased, ServiceError> {
        admins_only(viewer)?;
        input::id("input.userId", &user_id)?;
        if confirm != user_id {
            let message = "input.confirm must repeat input.userId: what is erased does not come back.";
            return Err(ServiceError::bad_input("input.confirm", message));
        }
        let erased = erase::erase(&self.store, &user_id, Instant::now() + time.saturating_sub(MARGIN)).await?;
        // Without the user's id: it would stay in the log.
        let Erased { records, tasks, has_more } = erased;
        tracing::info!(records, tasks, has_more, "an admin erased a user");
        Ok(erased)
    }
}
