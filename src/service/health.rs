//! Whether the server can do its work.

use std::time::Duration;

use super::Service;

/// Who asks wants to know now.
const PATIENCE: Duration = Duration::from_secs(2);

impl Service {
    /// Whether the database answers, soon.
    pub async fn is_healthy(&self) -> bool {
        let answer = tokio::time::timeout(PATIENCE, self.store.connection().ping()).await;
        matches!(answer, Ok(Ok(())))
    }
}
