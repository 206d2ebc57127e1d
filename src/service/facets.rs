//! Values for a filter's menus.

use super::scope::readable_scope;
use super::{Service, ServiceError, input, limits};
use crate::auth::Viewer;
use crate::store::{Store, TaskFacets};

impl Service {
    /// Which names, tags and error codes the latest 10,000 tasks have that the viewer may see: of each kind the `first` most
    /// frequent that begin with `prefix`.
    pub async fn task_facets(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        prefix: Option<String>,
        first: i32,
    ) -> Result<TaskFacets, ServiceError> {
        let scope = readable_scope(viewer, user_id)?;
        let prefix = prefix.unwrap_or_default();
        input::characters("prefix", &prefix, limits::NAME_CHARACTERS)?;
        input::between("first", first.into(), 0, self.limits().page_size.into())?;
        let Some(scope) = scope else { return Ok(TaskFacets::default()) };
        let (of, prefix, first) = (&scope, &prefix, u64::try_from(first).unwrap_or(0));
        let read = |store: Store| async move { store.task_facets(of, prefix, first).await };
        Ok(self.store.near(scope.user_id(), read, |_| true).await?)
    }
}
