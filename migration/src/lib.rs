//! Taskwire's database, step by step. One step a file, its SQL in `sql/`; to add a step, write
//! `mYYYYMMDD_NNNNNN_what.rs` beside the others and name it in [`Migrator::migrations`]. Until 1.0 nobody has a database
//! of ours: change the first step instead.

pub use sea_orm_migration::prelude::MigratorTrait;
use sea_orm_migration::prelude::*;

mod m20261124_000001_task_history;

/// The list of steps.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    // Of our own: another program in the same database may well use SeaORM's default.
    fn migration_table_name() -> DynIden {
        "taskwire_migration".into_iden()
    }

    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261124_000001_task_history::Migration)]
    }
}
