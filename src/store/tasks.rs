//! Reads of tasks: by key, by page, and counts. A page or count under a filter looks at no more than 20,000 tasks.

use sea_orm::prelude::DateTimeUtc;

/// The order of a list of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TaskOrder {
    /// Latest update first; within a user, the order of the feed.
    #[default]
    UpdatedDesc,
    /// Oldest update first.
    UpdatedAsc,
    /// Newest first.
    CreatedDesc,
    /// Oldest first.
    CreatedAsc,
}

/// Where a task stands in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskKey {
    /// `updated_at` or `created_at`, by the order.
    pub at: DateTimeUtc,
    /// Whose task.
    pub user_id: String,
    /// Which task.
    pub task_id: String,
    /// Its position: orders one user's tasks by update.
    pub position: i64,
}
