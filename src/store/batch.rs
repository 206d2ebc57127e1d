//! Batches: saved together or not at all, beside the lanes.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::append::{Placed, States};
use super::record::{NewRecord, Saved};
use super::retry::Attempts;
use super::turn::Turn;
use super::{Store, StoreError};

/// How many batches are in the database at once: one that writes, and one that is there already when the first commits.
/// More would only wait for each other's users: six at once saved a third less than two.
const WRITERS: usize = 2;

/// What a batch's first attempt takes one of.
pub(super) fn writers() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(WRITERS))
}

impl Store {
    /// Saves records in one transaction, in the order given. Where one of them cannot be saved nothing is, and the error
    /// names it.
    pub async fn save_batch(&self, records: &[NewRecord]) -> Result<Vec<Saved>, StoreError> {
        let all: Vec<&NewRecord> = records.iter().collect();
        let placed = match self.append_in_turn(&all).await {
            Err(StoreError::Unstorable { index: None, message }) => {
                let index = self.find_unstorable(&all).await?;
                return Err(StoreError::Unstorable { index, message });
            }
            placed => placed?,
        };
        if let Some(index) = placed.iter().position(|placed| matches!(placed, Placed::Conflict)) {
            return Err(StoreError::Conflict { index });
        }
        self.tell(&placed);
        let known: Vec<_> = placed
            .iter()
            .filter_map(|placed| match placed {
                Placed::Duplicate(place) => Some(place.clone()),
                _ => None,
            })
            .collect();
        let mut duplicates = self.duplicates(&known).await?.into_iter();
        placed
            .into_iter()
            .map(|placed| match placed {
                Placed::Saved(saved) => Ok(*saved),
                _ => duplicates
                    .next()
                    .flatten()
                    .ok_or_else(|| StoreError::Unavailable("a record of the batch has just been removed".to_owned())),
            })
            .collect()
    }

    async fn append_in_turn(&self, records: &[&NewRecord]) -> Result<Vec<Placed>, StoreError> {
        // Not for ever: in an outage each in front takes its time to fail.
        let mut writer = timeout(self.settings.hold_timeout, self.batches.acquire()).await.ok();
        let (mut attempts, mut turn) = (Attempts::new(), Turn::new(self));
        loop {
            match self.append(records, turn.wait(), attempts.notify, States::Last).await {
                // Who waits, for a held user or for the database, does so elsewhere.
                Err(error) => {
                    drop(writer.take());
                    match error {
                        StoreError::Timeout if turn.next(self).await => {}
                        error => attempts.after(self, error).await?,
                    }
                }
                placed => return placed,
            }
        }
    }

    /// Which record `PostgreSQL` refuses, by halving, in transactions that are rolled back.
    async fn find_unstorable(&self, records: &[&NewRecord]) -> Result<Option<usize>, StoreError> {
        let (mut start, mut end) = (0, records.len());
        while end - start > 1 {
            let middle = start + (end - start) / 2;
            match self.try_append(&records[start..middle]).await {
                Ok(()) => start = middle,
                Err(StoreError::Unstorable { .. }) => end = middle,
                Err(error) => return Err(error),
            }
        }
        Ok((start < records.len()).then_some(start))
    }
}
