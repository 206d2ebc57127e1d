//! Batches: saved together or not at all, beside the lanes. Batches that wait at the same time share a transaction, as
//! single saves do: one commit, and a task that several of them report of is written once. Where that fails, for whatever
//! reason, each goes alone, so one that cannot be saved harms nobody else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::append::{Placed, States, Terms, Wait, no_state};
use super::record::{Counted, NewRecord, Saved};
use super::retry::Attempts;
use super::turn::{TURN, Turn};
use super::write::Kept;
use super::{Store, StoreError};

/// How many transactions of batches there are at once: one that writes, and one that is there already when the first
/// commits. More would only wait for each other's users: six at once saved a third less than two.
const WRITERS: usize = 2;
/// Batches that must be waiting for the second one to start.
const BATCHES_FOR_ANOTHER: usize = 2;
/// Records that batches in one transaction have at most together, and their bytes.
const RECORDS: usize = 1000;
const BYTES: usize = 4 * 1024 * 1024;

/// Batches that wait, and those who write them. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Batches(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    /// Oldest first.
    batches: VecDeque<Batch>,
    writers: usize,
}

struct Batch {
    records: Arc<[NewRecord]>,
    /// Its caller wants to see what each record came to.
    is_read: bool,
    /// None: it has to go alone.
    answer: oneshot::Sender<Option<Vec<Placed>>>,
}

/// Writes what waits, one transaction after the other, until nothing does.
struct Writer {
    store: Store,
    kept: Kept,
}

impl Batches {
    fn with<T>(&self, f: impl FnOnce(&mut Waiting) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Saves a batch with others. None: it has to go alone.
    async fn save(&self, store: &Store, records: &Arc<[NewRecord]>, is_read: bool) -> Option<Vec<Placed>> {
        let (answer, mut settled) = oneshot::channel();
        let is_worth_a_writer = self.with(|waiting| {
            waiting.batches.push_back(Batch { records: Arc::clone(records), is_read, answer });
            let is_worth_it =
                waiting.writers == 0 || waiting.writers < WRITERS && waiting.batches.len() >= BATCHES_FOR_ANOTHER;
            waiting.writers += usize::from(is_worth_it);
            is_worth_it
        });
        if is_worth_a_writer {
            // A task of its own: others wait for it, too, and its own caller may go away.
            tokio::spawn(Writer { store: store.clone(), kept: Kept::default() }.run());
        }
        // Not for ever: in an outage each in front takes its time to fail.
        if let Ok(placed) = timeout(store.settings.hold_timeout, &mut settled).await {
            return placed.ok().flatten();
        }
        let still_waits = self.with(|waiting| {
            let before = waiting.batches.len();
            waiting.batches.retain(|batch| !Arc::ptr_eq(&batch.records, records));
            waiting.batches.len() < before
        });
        if still_waits { None } else { settled.await.ok().flatten() }
    }
}

impl Waiting {
    /// What a writer's next transaction takes: the oldest, and what goes with it. None: the writer has ended.
    fn take(&mut self) -> Option<Vec<Batch>> {
        let (mut taken, mut records, mut bytes) = (Vec::new(), 0, 0);
        while let Some(batch) = self.batches.pop_front() {
            records += batch.records.len();
            bytes += batch.records.iter().map(NewRecord::bytes).sum::<usize>();
            if !taken.is_empty() && (records > RECORDS || bytes > BYTES) {
                self.batches.push_front(batch);
                break;
            }
            // Nobody waits for it any more: nobody was told that it is saved.
            if !batch.answer.is_closed() {
                taken.push(batch);
            }
        }
        if taken.is_empty() {
            self.writers -= 1;
            return None;
        }
        Some(taken)
    }
}

impl Writer {
    async fn run(mut self) {
        while let Some(batches) = self.store.batches.with(Waiting::take) {
            let wait = TURN.min(self.store.settings.hold_timeout);
            let records: Vec<&NewRecord> = batches.iter().flat_map(|batch| batch.records.iter()).collect();
            let states = self.store.states_for(&records, batches.iter().any(|batch| batch.is_read));
            let terms = Terms { wait: Wait::AtMost(wait), notify: true, states };
            let appended = self.store.append(&mut self.kept, &records, terms).await;
            let placed = appended.and_then(|appended| appended.read(&records));
            // With a conflict, nothing is written.
            let written = placed.ok().filter(|placed| !placed.iter().any(|placed| matches!(placed, Placed::Conflict)));
            if let Some(written) = &written {
                self.store.tell(written);
            }
            let mut written = written.map(Vec::into_iter);
            for batch in batches {
                let own = written.as_mut().map(|written| written.take(batch.records.len()).collect());
                let _ = batch.answer.send(own);
            }
        }
    }
}

impl Store {
    /// Saves records in one transaction, in the order given. Where one of them cannot be saved nothing is, and the error
    /// names it.
    pub async fn save_batch(&self, records: impl Into<Arc<[NewRecord]>>) -> Result<Vec<Saved>, StoreError> {
        let records = records.into();
        let (placed, duplicates) = self.place(&records, true).await?;
        let mut duplicates = duplicates.into_iter();
        placed
            .into_iter()
            .zip(records.iter())
            .map(|(placed, record)| match placed {
                Placed::Saved(saved) => Ok(*saved),
                Placed::Written(..) => Err(no_state(record)),
                _ => duplicates
                    .next()
                    .flatten()
                    .ok_or_else(|| StoreError::Unavailable("a record of the batch has just been removed".to_owned())),
            })
            .collect()
    }

    /// The same for who does not want to see the records, which costs less.
    pub async fn count_batch(&self, records: impl Into<Arc<[NewRecord]>>) -> Result<Counted, StoreError> {
        let (placed, duplicates) = self.place(&records.into(), false).await?;
        let (known, all) = (duplicates.len(), placed.len());
        let states = placed.into_iter().filter_map(|placed| match placed {
            Placed::Saved(saved) => Some(saved.task),
            Placed::Written(_, task) => task,
            _ => None,
        });
        let tasks = states.chain(duplicates.into_iter().flatten().map(|saved| saved.task)).collect();
        Ok(Counted { saved: all - known, known, tasks })
    }

    /// What became of each record, and what those stand for that were there before.
    async fn place(
        &self,
        records: &Arc<[NewRecord]>,
        is_read: bool,
    ) -> Result<(Vec<Placed>, Vec<Option<Saved>>), StoreError> {
        let placed = match self.batches.save(self, records, is_read).await {
            Some(placed) => placed,
            None => self.save_alone(records, is_read).await?,
        };
        let known: Vec<_> = placed
            .iter()
            .filter_map(|placed| match placed {
                Placed::Duplicate(place) => Some(place.clone()),
                _ => None,
            })
            .collect();
        let duplicates = self.duplicates(&known).await?;
        Ok((placed, duplicates))
    }

    /// Which states these records' append has to give back: of all their tasks where the caller or the feed wants them.
    fn states_for(&self, records: &[&NewRecord], is_read: bool) -> States {
        let is_watched = || {
            let users: Vec<&str> = records.iter().map(|record| record.user_id.as_str()).collect();
            self.audience.as_ref().is_none_or(|audience| (audience.is_watching)(&users))
        };
        if is_read || is_watched() { States::Last } else { States::CancellationPending }
    }

    async fn save_alone(&self, records: &[NewRecord], is_read: bool) -> Result<Vec<Placed>, StoreError> {
        let all: Vec<&NewRecord> = records.iter().collect();
        let placed = match self.append_in_turn(&all, self.states_for(&all, is_read)).await {
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
        Ok(placed)
    }

    async fn append_in_turn(&self, records: &[&NewRecord], states: States) -> Result<Vec<Placed>, StoreError> {
        let (mut attempts, mut turn) = (Attempts::new(), Turn::new(self));
        loop {
            let terms = Terms { wait: turn.wait(), notify: attempts.notify, states };
            match self.append(&mut Kept::default(), records, terms).await {
                Err(StoreError::Timeout) if turn.next(self).await => {}
                Err(error) => attempts.after(self, error).await?,
                Ok(appended) => return appended.read(records),
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
