//! The metrics, for who may see them.

use super::scope::admins_only;
use super::{Service, ServiceError};
use crate::auth::Viewer;

impl Service {
    /// All metrics as text, in the format of OpenMetrics. Asks nobody: it is answered at once however the server does.
    pub fn metrics(&self, viewer: &Viewer) -> Result<String, ServiceError> {
        admins_only(viewer)?;
        self.look();
        Ok(self.telemetry().text())
    }

    /// What is not counted as it happens is looked at when somebody asks.
    fn look(&self) {
        let (telemetry, pool) = (self.telemetry(), self.pool_status());
        telemetry.pool_connections.set(pool.size.into());
        telemetry.pool_idle.set(pool.idle.into());
        telemetry.pool_waiting.set(pool.waiting.into());
        telemetry.pool_max.set(pool.max.into());
        telemetry.feed_listening.set(self.hub.is_connected().into());
        let (saves, bytes) = self.lanes.queued();
        telemetry.queued_saves.set(i64::try_from(saves).unwrap_or(i64::MAX));
        telemetry.queued_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
