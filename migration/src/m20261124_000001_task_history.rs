//! Heads, tasks, partitioned records, the append path, and the view for strangers.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// In the order in which they build on each other.
const UP: [&str; 9] = [
    include_str!("../sql/tables.sql"),
    include_str!("../sql/partitions.sql"),
    include_str!("../sql/status_rules.sql"),
    include_str!("../sql/append.sql"),
    include_str!("../sql/cancel.sql"),
    include_str!("../sql/reports.sql"),
    include_str!("../sql/erase.sql"),
    include_str!("../sql/history_view.sql"),
    include_str!("../sql/retention.sql"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for sql in UP {
            db.execute_unprepared(sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared(include_str!("../sql/down.sql")).await?;
        Ok(())
    }
}
