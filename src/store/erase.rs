//! Erasing a user: one step at a time, each under the user's lock.

use sea_orm::QueryResult;

use super::feed::no_row;
use super::retry::Attempts;
use super::turn::Turn;
use super::{Store, StoreError};

const ERASE: &str = "SELECT removed_records, removed_tasks, is_done FROM taskwire_erase_v1($1, $2, $3, $4)";

/// What a step has removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErasedStep {
    /// Records.
    pub records: i64,
    /// Tasks.
    pub tasks: i64,
    /// Nothing is left of the user.
    pub is_done: bool,
}

impl Store {
    /// Removes up to `limit` records of a user, and as many tasks once no record is left; in the end the head.
    pub async fn erase_step(&self, user_id: &str, limit: i32) -> Result<ErasedStep, StoreError> {
        let (mut attempts, mut turn) = (Attempts::new(), Turn::new(self));
        loop {
            let query = sqlx::query(ERASE)
                .bind(user_id.to_owned())
                .bind(limit)
                .bind(turn.wait().millis())
                .bind(attempts.notify);
            match self.write(query).await {
                Err(StoreError::Timeout) if turn.next(self).await => {}
                Err(error) => attempts.after(self, error).await?,
                Ok(mut rows) => {
                    self.learnt(std::iter::once(user_id));
                    let row = rows.pop().map(QueryResult::from).ok_or_else(no_row)?;
                    return Ok(ErasedStep {
                        records: row.try_get("", "removed_records")?,
                        tasks: row.try_get("", "removed_tasks")?,
                        is_done: row.try_get("", "is_done")?,
                    });
                }
            }
        }
    }
}
