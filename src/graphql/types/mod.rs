//! What the schema gives: one room a file.
//!
//! A type wraps what the service gives and converts field by field, nothing more. A field that can fail by itself returns
//! [`Answer`](super::errors::Answer); all others come from what the parent holds. To add a type: its room here, and where
//! it has a global id its variant in [`Node`] and its arm in [`node`](super::node).

mod cancellation;
mod connections;
mod enums;
mod facets;
mod feed;
mod statistics;
mod storage;
mod system;
mod task;
mod task_record;
mod task_step;
mod user;
mod viewer;

use async_graphql::{ID, Interface};

pub(crate) use cancellation::Cancellation;
pub(crate) use connections::{BoundedCount, TaskConnection, TaskRecordConnection, TaskStepConnection};
pub(crate) use enums::{
    AcknowledgeCancellationOutcome, CancelTaskOutcome, CancellationOutcome, Role, TaskOrder, TaskRecordKind, TaskStatus,
};
pub(crate) use facets::TaskFacets;
pub(crate) use feed::Feed;
pub(crate) use statistics::{StatisticsBucket, TaskStatistics};
pub(crate) use system::System;
pub(crate) use task::Task;
pub(crate) use task_record::TaskRecord;
pub(crate) use task_step::TaskStep;
pub(crate) use user::{User, UserConnection};
pub(crate) use viewer::Viewer;

/// Anything that has a global id: `node` finds it again, and caches know it by it.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Global and opaque: for `node` and for caches."))]
pub(crate) enum Node {
    /// One unit of background work.
    Task(Task),
    /// One step of it.
    TaskStep(TaskStep),
    /// One entry of its history.
    TaskRecord(TaskRecord),
    /// Somebody who has tasks.
    User(User),
}

/// A count as an Int. What is beyond 32 bits is told as the largest Int: no count comes near it.
fn int(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
