//! Dividing `task_record` ahead: at start-up and hourly, never inside an append.

use sea_orm::{ConnectionTrait, TransactionTrait};

use super::feed::{no_row, statement};
use super::{Store, StoreError};

impl Store {
    /// Gives this week and the next `weeks_ahead` a partition each; returns how many it made. It needs an exclusive lock
    /// for an instant and waits for it no longer than 50 ms, so that no writer waits behind it: on
    /// [`StoreError::Timeout`] try again later.
    pub async fn divide_partitions(&self, weeks_ahead: u32) -> Result<i32, StoreError> {
        let transaction = self.db.begin().await?;
        transaction.execute_unprepared("SET LOCAL lock_timeout = '50ms'").await?;
        let values = [i32::try_from(weeks_ahead).unwrap_or(i32::MAX).into()];
        let sql = "SELECT taskwire_divide_partitions(now(), $1) AS made";
        let row = transaction.query_one_raw(statement(sql, values)).await?.ok_or_else(no_row)?;
        let made = row.try_get("", "made")?;
        transaction.commit().await?;
        Ok(made)
    }
}
