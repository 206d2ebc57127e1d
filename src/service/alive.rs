//! Signs of life, which write no record.

use entity::task;

use super::scope::attended_user;
use super::{Service, ServiceError, input};
use crate::auth::Viewer;

impl Service {
    /// A sign of life of a task: its next report is due anew from now on, if one is. None where there is no such task.
    pub async fn report_alive(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        task_id: String,
    ) -> Result<Option<task::Model>, ServiceError> {
        let user_id = attended_user(viewer, "input.userId", user_id)?;
        input::id("input.taskId", &task_id)?;
        Ok(self.store.report_alive(&user_id, &task_id, self.report_within).await?)
    }
}
