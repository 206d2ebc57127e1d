//! Who is asking, and through what: the one thing that resolvers take from the request's context.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::Context;
use entity::{task, task_record};
use tokio::time::{Instant, timeout_at};

use super::errors::ApiError;
use super::loader::RecordLoader;
use crate::auth::Viewer;
use crate::service::{RecordKey, Service, ServiceError};

/// The caller of one request, or of one socket. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Session {
    /// Does the work.
    pub(crate) service: Arc<Service>,
    /// Who is asking.
    pub(crate) viewer: Viewer,
    records: Arc<RecordLoader>,
    /// When the operation's time is over, and how long that is.
    time: Option<(Instant, Duration)>,
}

impl Session {
    /// The session of this viewer.
    #[must_use]
    pub(crate) fn new(service: Arc<Service>, viewer: Viewer) -> Self {
        Self { service, viewer, records: Arc::default(), time: None }
    }

    /// The session of an operation that ends then, after so long.
    pub(crate) fn until(&self, deadline: Instant, limit: Duration) -> Self {
        Self { time: Some((deadline, limit)), ..self.clone() }
    }

    /// What a verb gives, if it gives it before the operation's time is over. For verbs whose failure says more than that
    /// of the whole operation, and for the start of a subscription.
    pub(crate) async fn in_time<T>(
        &self,
        verb: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        let Some((deadline, limit)) = self.time else { return verb.await };
        timeout_at(deadline, verb).await.unwrap_or_else(|_| Err(ServiceError::timeout(limit)))
    }

    /// What is left of the operation's time, for a verb that stops in time by itself.
    pub(crate) fn time_left(&self) -> Duration {
        self.time.map_or(Duration::from_hours(1), |(deadline, _)| deadline.saturating_duration_since(Instant::now()))
    }

    /// The session that [`Caller`](super::Caller) put into the request.
    pub(crate) fn of<'a>(context: &Context<'a>) -> Result<&'a Self, ApiError> {
        context
            .data_opt::<Self>()
            .ok_or_else(|| ServiceError::internal(&"a request was executed without its session").into())
    }

    /// The record that last moved this task, read together with those of other tasks.
    pub(crate) async fn moved_by(&self, task: &task::Model) -> Result<Option<Arc<task_record::Model>>, ApiError> {
        let key =
            RecordKey { user_id: task.user_id.clone(), position: task.moved_position, recorded_at: task.moved_at };
        Ok(self.records.load(&self.service, &self.viewer, key).await?)
    }
}
