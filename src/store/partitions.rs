//! Dividing `task_record` ahead: at start-up and hourly, never inside an append.

use sea_orm::{ConnectionTrait, TransactionTrait};

use super::feed::{no_row, statement};
use super::{Store, StoreError};

/// How much time a partition spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// From midnight to midnight in UTC.
    Day,
    /// From Monday to Monday.
    Week,
    /// A month of the calendar.
    Month,
}

impl Width {
    fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

impl Store {
    /// Gives this week and the next `weeks_ahead` a partition each; returns how many it made. It needs an exclusive lock
    /// for an instant and waits for it no longer than 50 ms, so that no writer waits behind it: on
    /// [`StoreError::Timeout`] try again later.
    pub async fn divide_partitions(&self, weeks_ahead: u32) -> Result<i32, StoreError> {
        self.divide_partitions_by(Width::Week, weeks_ahead).await
    }

    /// The same by days, weeks or months.
    pub async fn divide_partitions_by(&self, width: Width, ahead: u32) -> Result<i32, StoreError> {
        let transaction = self.db.begin().await?;
        transaction.execute_unprepared("SET LOCAL lock_timeout = '50ms'").await?;
        let values = [i32::try_from(ahead).unwrap_or(i32::MAX).into(), width.as_str().into()];
        let sql = "SELECT taskwire_divide_partitions(now(), $1, $2) AS made";
        let row = transaction.query_one_raw(statement(sql, values)).await?.ok_or_else(no_row)?;
        let made = row.try_get("", "made")?;
        transaction.commit().await?;
        Ok(made)
    }
}
