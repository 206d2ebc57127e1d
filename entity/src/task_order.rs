//! `task_order`: where each task stands in the lists that go by its last update.

use sea_orm::entity::prelude::*;

use crate::values::TaskStatus;

/// One task's place. Written by the append path alone, together with the task.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "task_order")]
pub struct Model {
    /// Whose task.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub user_id: String,
    /// The task's own: that of its last record in the user's feed.
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    /// Which task.
    pub task_id: String,
    /// The task's own.
    pub status: TaskStatus,
    /// The task's own.
    pub updated_at: DateTimeUtc,
    /// The task's own; none for none.
    pub tags: Option<Vec<String>>,
    /// The task's own.
    pub started_at: Option<DateTimeUtc>,
    /// The task's own.
    pub finished_at: Option<DateTimeUtc>,
}

/// None: rows are found by key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
