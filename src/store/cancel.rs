//! Cancelling and acknowledging: decided under the head's lock, in SQL, and answered with the row.

use entity::{CancellationOutcome, task};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{FromQueryResult, QueryResult};
use sqlx::postgres::types::PgInterval;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use uuid::Uuid;

use super::append::{Place, Wait};
use super::columns::task_columns;
use super::feed::no_row;
use super::record::Committed;
use super::retry::Attempts;
use super::turn::Turn;
use super::{Store, StoreError};

static CANCEL: LazyLock<String> = LazyLock::new(|| {
    format!(
        r#"SELECT c.ord, c.outcome, c."position" AS at_position, c.recorded_at AS at, {}
        FROM taskwire_cancel_v1($1, $2, $3, $4, $5, $6, $7, $8, $9) c"#,
        task_columns("(c.left_as)")
    )
});
static ACKNOWLEDGE: LazyLock<String> = LazyLock::new(|| {
    format!(
        r#"SELECT a.outcome, a."position" AS at_position, a.recorded_at AS at, {}
        FROM taskwire_acknowledge_v1($1, $2, $3, $4, $5, $6, $7, $8) a"#,
        task_columns("(a.left_as)")
    )
});

/// A task to be cancelled.
#[derive(Clone, Debug)]
pub struct NewCancellation {
    /// Whose task.
    pub user_id: String,
    /// Which task.
    pub task_id: String,
    /// Of the record to come: a repeated call answers the same and adds nothing.
    pub record_id: Uuid,
}

/// Why, by whom, and by which rules.
#[derive(Clone, Debug)]
pub struct CancelTerms {
    /// Why.
    pub reason: Option<String>,
    /// The user or admin.
    pub requested_by: Option<String>,
    /// Cancel even a finished task.
    pub force: bool,
    /// How long a COMPLETED task without `total_steps` may still be between two steps.
    pub settle: Duration,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// Cancelled by this call.
    Cancelled,
    /// Cancelled before.
    AlreadyCancelled,
    /// Ended before.
    AlreadyFinished,
    /// There is no such task.
    NotFound,
}

/// What became of a cancellation, and the task as it then was.
#[derive(Clone, Debug)]
pub struct Cancelled {
    /// What became of it.
    pub outcome: CancelOutcome,
    /// None where there is none.
    pub task: Option<task::Model>,
}

/// A worker's answer to a cancellation.
#[derive(Clone, Debug)]
pub struct NewAcknowledgement {
    /// Whose task.
    pub user_id: String,
    /// Which task.
    pub task_id: String,
    /// Of the record to come.
    pub record_id: Uuid,
    /// What the worker did.
    pub outcome: CancellationOutcome,
    /// What it adds.
    pub message: Option<String>,
    /// Who answers.
    pub reported_by: Option<String>,
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcknowledgeOutcome {
    /// Taken.
    Acknowledged,
    /// Somebody answered before.
    AlreadyAcknowledged,
    /// The task is not cancelled.
    NotRequested,
    /// There is no such task.
    NotFound,
}

impl Store {
    /// Cancels tasks in one transaction; the answers stand in the order of the items.
    pub async fn cancel(&self, items: &[NewCancellation], terms: &CancelTerms) -> Result<Vec<Cancelled>, StoreError> {
        let (mut attempts, mut turn) = (Attempts::new(), Turn::new(self));
        let rows = loop {
            match self.cancel_once(items, terms, turn.wait(), attempts.notify).await {
                Err(StoreError::Timeout) if turn.next(self).await => {}
                Err(error) => attempts.after(self, error).await?,
                Ok(rows) => break rows,
            }
        };
        let missing = || Cancelled { outcome: CancelOutcome::NotFound, task: None };
        let mut cancelled: Vec<Cancelled> = items.iter().map(|_| missing()).collect();
        let mut places = Vec::new();
        for row in &rows {
            let ord: i32 = row.try_get("", "ord")?;
            let outcome: String = row.try_get("", "outcome")?;
            let task = read_task(row)?;
            places.extend(place(row, task.as_ref())?);
            if let Some(slot) = cancelled.get_mut(usize::try_from(ord - 1).unwrap_or(usize::MAX)) {
                let outcome = match outcome.as_str() {
                    "CANCELLED" => CancelOutcome::Cancelled,
                    "ALREADY_CANCELLED" => CancelOutcome::AlreadyCancelled,
                    "ALREADY_FINISHED" => CancelOutcome::AlreadyFinished,
                    _ => CancelOutcome::NotFound,
                };
                *slot = Cancelled { outcome, task };
            }
        }
        self.tell_of(&places, cancelled.iter().filter_map(|cancelled| cancelled.task.as_ref())).await;
        Ok(cancelled)
    }

    /// Takes a worker's answer.
    pub async fn acknowledge(
        &self,
        answer: &NewAcknowledgement,
    ) -> Result<(AcknowledgeOutcome, Option<task::Model>), StoreError> {
        let (mut attempts, mut turn) = (Attempts::new(), Turn::new(self));
        let row = loop {
            match self.acknowledge_once(answer, turn.wait(), attempts.notify).await {
                Err(StoreError::Timeout) if turn.next(self).await => {}
                Err(error) => attempts.after(self, error).await?,
                Ok(row) => break row,
            }
        };
        let outcome: String = row.try_get("", "outcome")?;
        let task = read_task(&row)?;
        let places: Vec<Place> = place(&row, task.as_ref())?.into_iter().collect();
        self.tell_of(&places, task.iter()).await;
        let outcome = match outcome.as_str() {
            "ACKNOWLEDGED" => AcknowledgeOutcome::Acknowledged,
            "ALREADY_ACKNOWLEDGED" => AcknowledgeOutcome::AlreadyAcknowledged,
            "NOT_REQUESTED" => AcknowledgeOutcome::NotRequested,
            _ => AcknowledgeOutcome::NotFound,
        };
        Ok((outcome, task))
    }

    async fn cancel_once(
        &self,
        items: &[NewCancellation],
        terms: &CancelTerms,
        wait: Wait,
        notify: bool,
    ) -> Result<Vec<QueryResult>, StoreError> {
        let settle = PgInterval {
            months: 0,
            days: 0,
            microseconds: i64::try_from(terms.settle.as_micros()).unwrap_or(i64::MAX),
        };
        let query = sqlx::query(CANCEL.as_str())
            .bind(items.iter().map(|item| item.user_id.clone()).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.task_id.clone()).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.record_id).collect::<Vec<_>>())
            .bind(terms.reason.clone())
            .bind(terms.requested_by.clone())
            .bind(terms.force)
            .bind(settle)
            .bind(wait.millis())
            .bind(notify);
        let rows = self.write(query).await?;
        Ok(rows.into_iter().map(QueryResult::from).collect())
    }

    async fn acknowledge_once(
        &self,
        answer: &NewAcknowledgement,
        wait: Wait,
        notify: bool,
    ) -> Result<QueryResult, StoreError> {
        let query = sqlx::query(ACKNOWLEDGE.as_str())
            .bind(answer.user_id.clone())
            .bind(answer.task_id.clone())
            .bind(answer.record_id)
            .bind(answer.outcome.as_str())
            .bind(answer.message.clone())
            .bind(answer.reported_by.clone())
            .bind(wait.millis())
            .bind(notify);
        let row = self.write(query).await?.pop().ok_or_else(no_row)?;
        Ok(QueryResult::from(row))
    }

    /// Tells the feed of what SQL has written by itself: read once more, since only SQL knows the record. It may fail: the
    /// notification says the same.
    pub(super) async fn tell_of(&self, places: &[Place], tasks: impl Iterator<Item = &task::Model>) {
        if places.is_empty() {
            return;
        }
        self.learnt(places.iter().map(|(user, ..)| user.as_str()));
        let tasks: Vec<&task::Model> = tasks.collect();
        let records = match self.records_at(places).await {
            Ok(records) => records,
            Err(error) => {
                tracing::debug!(%error, "a change is told by its notification alone");
                return;
            }
        };
        let committed: Vec<Committed> = records
            .into_iter()
            .filter_map(|record| {
                let of_record = |task: &&&task::Model| task.user_id == record.user_id && task.task_id == record.task_id;
                let task = Arc::new((*tasks.iter().find(of_record)?).clone());
                Some(Committed { record: Arc::new(record), task })
            })
            .collect();
        (self.on_commit)(committed);
    }
}

pub(super) fn read_task(row: &QueryResult) -> Result<Option<task::Model>, StoreError> {
    let user_id: Option<String> = row.try_get("t_", "user_id")?;
    Ok(user_id.map(|_| task::Model::from_query_result(row, "t_")).transpose()?)
}

pub(super) fn place(row: &QueryResult, task: Option<&task::Model>) -> Result<Option<Place>, StoreError> {
    let position: Option<i64> = row.try_get("", "at_position")?;
    let recorded_at: Option<DateTimeUtc> = row.try_get("", "at")?;
    Ok(match (task, position, recorded_at) {
        (Some(task), Some(position), Some(recorded_at)) => Some((task.user_id.clone(), position, recorded_at)),
        _ => None,
    })
}
