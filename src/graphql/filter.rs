//! `TaskFilter`: which tasks a list, a count, a cancellation or a subscription means.

use async_graphql::{ID, InputObject};

use super::scalars::DateTime;
use super::types::TaskStatus;
use crate::service;

/// Which tasks are meant: all criteria that are given must hold. An empty list is the same as leaving it out.
#[derive(InputObject)]
#[graphql(name = "TaskFilter")]
pub(crate) struct TaskFilterInput {
    /// The task has any of these statuses.
    statuses: Option<Vec<TaskStatus>>,
    /// The task is finished, or is not.
    is_finished: Option<bool>,
    /// The task has any of these names, exactly.
    names: Option<Vec<String>>,
    /// The task is any of these, exactly; at most 500.
    task_ids: Option<Vec<ID>>,
    /// The task's taskId begins with this text; no character is a wildcard.
    task_id_prefix: Option<String>,
    /// The task has all of these tags.
    tags: Option<Vec<String>>,
    /// The task has any of these error codes, exactly.
    error_codes: Option<Vec<String>>,
    /// The task was created at this moment or later.
    created_from: Option<DateTime>,
    /// The task was created before this moment.
    created_before: Option<DateTime>,
    /// The task was last changed at this moment or later.
    updated_from: Option<DateTime>,
    /// The task was last changed before this moment.
    updated_before: Option<DateTime>,
    /// The task finished at this moment or later.
    finished_from: Option<DateTime>,
    /// The task finished before this moment.
    finished_before: Option<DateTime>,
    /// The task is cancelled and the cancellation is not acknowledged yet, or is not so.
    cancellation_pending: Option<bool>,
}

impl From<TaskFilterInput> for service::TaskFilter {
    fn from(input: TaskFilterInput) -> Self {
        let moment = |moment: Option<DateTime>| moment.map(|moment| moment.0);
        Self {
            statuses: input.statuses.unwrap_or_default().into_iter().map(Into::into).collect(),
            is_finished: input.is_finished,
            names: input.names.unwrap_or_default(),
            task_ids: input.task_ids.unwrap_or_default().into_iter().map(|id| id.0).collect(),
            task_id_prefix: input.task_id_prefix,
            tags: input.tags.unwrap_or_default(),
            error_codes: input.error_codes.unwrap_or_default(),
            created_from: moment(input.created_from),
            created_before: moment(input.created_before),
            updated_from: moment(input.updated_from),
            updated_before: moment(input.updated_before),
            finished_from: moment(input.finished_from),
            finished_before: moment(input.finished_before),
            cancellation_pending: input.cancellation_pending,
        }
    }
}

/// A filter that may be left out lets everything through.
pub(crate) fn or_all(filter: Option<TaskFilterInput>) -> service::TaskFilter {
    filter.map(Into::into).unwrap_or_default()
}

/// A user that may be left out.
pub(crate) fn user(id: Option<ID>) -> Option<String> {
    id.map(|id| id.0)
}
