//! Reading tasks.

use entity::task;

use super::{BoundedCount, Page, PageArgs, Service, ServiceError, TaskFilter, TaskOrder};
use crate::auth::Viewer;

/// A list of tasks.
#[derive(Clone, Debug, Default)]
pub struct TaskQuery {
    /// Whose; left out: all that the viewer may see.
    pub user_id: Option<String>,
    /// Which.
    pub filter: TaskFilter,
    /// In which order.
    pub order: TaskOrder,
}

impl Service {
    /// One task; none where there is none, or it is not the viewer's to see.
    pub async fn task(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        task_id: String,
    ) -> Result<Option<task::Model>, ServiceError> {
        todo!()
    }

    /// A page of tasks.
    pub async fn tasks(
        &self,
        viewer: &Viewer,
        query: &TaskQuery,
        page: PageArgs,
    ) -> Result<Page<task::Model>, ServiceError> {
        todo!()
    }

    /// How many tasks a list has, up to `limit`.
    pub async fn count_tasks(
        &self,
        viewer: &Viewer,
        query: &TaskQuery,
        limit: i32,
    ) -> Result<BoundedCount, ServiceError> {
        todo!()
    }
}
