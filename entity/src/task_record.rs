//! `task_record`: every record, append-only, partitioned by `recorded_at`.

use sea_orm::entity::prelude::*;

use crate::values::{RecordKind, TaskStatus};

/// One entry of a user's history. Give every read a bound on `recorded_at`: it decides which partitions are visited.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "task_record")]
pub struct Model {
    /// Whose record.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub user_id: String,
    /// Numbers the user's records 1, 2, 3 … in commit order.
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    /// The database's clock when it was appended; never falls from one position to the next.
    #[sea_orm(primary_key, auto_increment = false)]
    pub recorded_at: DateTimeUtc,
    /// Of which task.
    #[sea_orm(column_type = "Text")]
    pub task_id: String,
    /// 0 to 1,000,000; one above the highest for what the server adds.
    pub step: i32,
    /// The whole step result, as JSON text: a value that Rust cannot read must not hide the row around it.
    #[sea_orm(column_type = "Json", select_as = "text")]
    pub result: String,
    /// When it happened, by the reporter's clock.
    pub timestamp: DateTimeUtc,
    /// As reported.
    pub status: TaskStatus,
    /// Why it was written.
    pub kind: RecordKind,
    /// Unique within the user.
    pub record_id: Uuid,
    /// Reported after the task was cancelled: kept, but it moved nothing.
    pub is_late: bool,
    /// Who caused it; none for the server itself and for plain SQL.
    pub reported_by: Option<String>,
    /// How far the step was, 0 to 1.
    pub progress: Option<f64>,
}

/// None: rows are found by key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
