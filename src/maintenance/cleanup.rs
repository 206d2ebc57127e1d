//! Removing what is older than a cut-off: what the schedule, `cleanupOldTasks` and `taskwire cleanup` do.
//!
//! Whole partitions first, the oldest first, each taken off concurrently and dropped; then, where that is asked for, the
//! records of the one that the cut-off divides, user by user from the lowest position on; then the tasks whose last record
//! has gone. Where one step cannot be done, the later ones of the same kind are left: what is kept of a user is always the
//! positions from some number up to the head.
//!
//! Between batches it rests three times as long as the last one took: who writes beside it is not to feel it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep};

use crate::store::{Blocker, Lease, Partition, RecordPlace, Removed, Store, StoreError, TaskPlace};

/// How long somebody's open transaction is waited for before it is given up for this time.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often the partition that is open below is tried to be moved up: an instant each.
const TRIES: u32 = 20;
/// Between two tries, or two rounds over what somebody held.
const PAUSE: Duration = Duration::from_millis(250);
/// What a batch may take: its users wait for it.
const BATCH_TIME: Duration = Duration::from_millis(10);
/// So many times as long as a batch took, whoever writes has the disk and the processor to himself.
const REST: u32 = 3;
/// How large batches are.
const RECORDS: BatchSize = BatchSize { now: 500, most: 4_000 };
const TASKS: BatchSize = BatchSize { now: 100, most: 500 };

/// What is to be removed.
#[derive(Clone, Debug)]
pub struct Cleanup {
    /// What was recorded before this moment.
    pub cutoff: DateTime<Utc>,
    /// Whether a task that is not finished stays, without its records.
    pub keep_unfinished: bool,
    /// Whether records go also where newer ones lie in the same partition.
    pub inside: bool,
    /// When to stop, with or without the rest.
    pub until: Instant,
    /// The time of the schedule that this is for.
    pub scheduled_for: Option<DateTime<Utc>>,
}

/// What was removed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Records; of whole partitions as PostgreSQL's statistics have them.
    pub records: i64,
    /// Tasks.
    pub tasks: i64,
    /// Partitions.
    pub partitions: Vec<String>,
    /// Time ran out, or somebody held something for too long.
    pub has_more: bool,
    /// What somebody held, and who: for people.
    pub held: Option<String>,
}

/// Removes it. One at a time: while another server does, it waits.
pub async fn clean(store: &Store, holder: &str, cleanup: &Cleanup) -> Result<Cleaned, StoreError> {
    let Some(lease) = Lease::wait_for(store, holder, cleanup.until).await? else {
        return Ok(Cleaned { has_more: true, held: Some("another server is at it".to_owned()), ..Cleaned::default() });
    };
    clean_under(store, lease, cleanup).await
}

/// The same, under a lease that was taken already, and gives it back.
pub(super) async fn clean_under(store: &Store, lease: Lease, cleanup: &Cleanup) -> Result<Cleaned, StoreError> {
    let mut run = Run { store, lease, cleanup, done: Cleaned::default() };
    let result = run.all().await;
    let Run { lease, mut done, .. } = run;
    match result {
        Ok(()) => lease.release().await,
        // Then it is not ours to give back.
        Err(StoreError::LeaseLost) => {
            done.has_more = true;
            done.held = Some("another server took over".to_owned());
        }
        Err(error) => {
            lease.release().await;
            return Err(error);
        }
    }
    let (cutoff, inside, partitions) = (cleanup.cutoff, cleanup.inside, done.partitions.join(" "));
    let Cleaned { records, tasks, has_more, ref held, .. } = done;
    tracing::info!(%cutoff, inside, records, tasks, partitions, has_more, held, "cleaned up");
    Ok(done)
}

/// What [`clean`] would remove: counted, and nothing touched. Of whole partitions, as PostgreSQL's statistics have them.
pub async fn count(store: &Store, cleanup: &Cleanup) -> Result<Cleaned, StoreError> {
    let (whole, divided) = partitions_before(store, cleanup.cutoff).await?;
    let patience = cleanup.until.saturating_duration_since(Instant::now());
    let inside = divided.as_ref().filter(|_| cleanup.inside);
    let counted = store.countable(inside, cleanup.cutoff, cleanup.keep_unfinished, patience).await?;
    Ok(Cleaned {
        records: whole.iter().map(|partition| partition.estimated_records).sum::<i64>() + counted.records,
        tasks: counted.tasks,
        partitions: whole.into_iter().map(|partition| partition.name).collect(),
        ..Cleaned::default()
    })
}

/// The partitions that lie before a cut-off as a whole, the oldest first, and the one that it divides. The one that is open
/// below is always there: it counts only where it holds something.
async fn partitions_before(
    store: &Store,
    cutoff: DateTime<Utc>,
) -> Result<(Vec<Partition>, Option<Partition>), StoreError> {
    let mut whole = Vec::new();
    for partition in store.partitions().await? {
        if partition.end.is_none_or(|end| end > cutoff) {
            let begins_before = partition.start.is_none_or(|start| start < cutoff);
            return Ok((whole, Some(partition).filter(|_| begins_before)));
        }
        if partition.is_leaving || partition.start.is_some() || store.has_records(&partition).await? {
            whole.push(partition);
        }
    }
    Ok((whole, None))
}

struct Run<'a> {
    store: &'a Store,
    lease: Lease,
    cleanup: &'a Cleanup,
    done: Cleaned,
}

impl Run<'_> {
    async fn all(&mut self) -> Result<(), StoreError> {
        match self.lease.drop_left_behind().await {
            Err(StoreError::Timeout) => self.give_way("somebody reads a partition that was taken off".to_owned()),
            done => done?,
        }
        self.lease.unmark().await?;
        let (whole, divided) = partitions_before(self.store, self.cleanup.cutoff).await?;
        let mut gone_before = divided.as_ref().and_then(|partition| partition.start);
        for partition in &whole {
            if !self.partition(partition).await? {
                gone_before = partition.start;
                break;
            }
        }
        self.close_below().await?;
        if let Some(partition) = divided.filter(|_| self.cleanup.inside && !self.done.has_more) {
            self.records(&partition).await?;
            if !self.done.has_more {
                gone_before = Some(self.cleanup.cutoff);
            }
        }
        // Those of kept partitions have their last record still: it is looked up for each.
        let before = gone_before.unwrap_or(DateTime::UNIX_EPOCH).min(self.cleanup.cutoff);
        self.tasks(before).await?;
        if !self.done.has_more {
            self.lease.ran(self.done.records, self.cleanup.scheduled_for).await?;
        }
        Ok(())
    }

    /// Whether it has gone.
    async fn partition(&mut self, partition: &Partition) -> Result<bool, StoreError> {
        if self.is_over() {
            return Ok(false);
        }
        match self.lease.remove_partition(partition, PATIENCE, self.cleanup.until).await {
            Ok(Ok(())) => {
                tracing::info!(partition = partition.name, records = partition.estimated_records, "partition dropped");
                self.done.partitions.push(partition.name.clone());
                self.done.records += partition.estimated_records;
                Ok(true)
            }
            Ok(Err(blockers)) => {
                self.give_way(format!("{} {}", partition.name, waits_for(&blockers)));
                Ok(false)
            }
            Err(StoreError::Timeout) => {
                self.give_way(format!("somebody has locked {}", partition.name));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn close_below(&mut self) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            match self.lease.close_below().await {
                Err(StoreError::Timeout) => sleep(PAUSE).await,
                done => return done,
            }
        }
        self.give_way("somebody's transaction holds task_record".to_owned());
        Ok(())
    }

    async fn records(&mut self, partition: &Partition) -> Result<(), StoreError> {
        let (mut size, mut round) = (RECORDS, Round::<RecordPlace>::default());
        while !self.is_over() {
            let begin = Instant::now();
            let removed =
                self.lease.remove_records(&partition.name, self.cleanup.cutoff, &round.place, size.now).await?;
            self.done.records += removed.count;
            let took = begin.elapsed();
            size.fit(took);
            if !self.goes_on(round.next(removed), took, || format!("records of {}", partition.name)).await {
                break;
            }
        }
        Ok(())
    }

    async fn tasks(&mut self, before: DateTime<Utc>) -> Result<(), StoreError> {
        let (mut size, mut round) = (TASKS, Round::<TaskPlace>::default());
        while !self.is_over() {
            let begin = Instant::now();
            let removed = self.lease.remove_tasks(before, self.cleanup.keep_unfinished, &round.place, size.now).await?;
            self.done.tasks += removed.count;
            let took = begin.elapsed();
            size.fit(took);
            if !self.goes_on(round.next(removed), took, || "users whose tasks have gone".to_owned()).await {
                break;
            }
        }
        Ok(())
    }

    /// Rests as that turn wants it, which took so long; whether there is another one. `held` is what somebody may hold.
    async fn goes_on(&mut self, turn: Turn, took: Duration, held: impl FnOnce() -> String) -> bool {
        match turn {
            Turn::On => sleep(took * REST).await,
            Turn::Again => sleep(PAUSE).await,
            Turn::Done => return false,
            Turn::Held => {
                self.give_way(format!("somebody's transaction holds {}", held()));
                return false;
            }
        }
        true
    }

    /// Notes where time has run out.
    fn is_over(&mut self) -> bool {
        let is_over = Instant::now() >= self.cleanup.until;
        self.done.has_more |= is_over;
        is_over
    }

    fn give_way(&mut self, held: String) {
        tracing::warn!(held, "not all of it can be cleaned up now; tried again later");
        self.done.has_more = true;
        self.done.held.get_or_insert(held);
    }
}

/// A walk from the beginning to the end, and again over what somebody held, as long as that leads to something or for
/// [`PATIENCE`].
struct Round<P> {
    place: P,
    held: i64,
    progress: Instant,
}

enum Turn {
    On,
    Again,
    Done,
    Held,
}

impl<P: Default> Default for Round<P> {
    fn default() -> Self {
        Self { place: P::default(), held: 0, progress: Instant::now() }
    }
}

impl<P: Default> Round<P> {
    fn next(&mut self, removed: Removed<P>) -> Turn {
        self.held += removed.held;
        if removed.count > 0 {
            self.progress = Instant::now();
        }
        if let Some(next) = removed.next {
            self.place = next;
            return Turn::On;
        }
        let held = std::mem::take(&mut self.held);
        self.place = P::default();
        match held {
            0 => Turn::Done,
            _ if self.progress.elapsed() >= PATIENCE => Turn::Held,
            _ => Turn::Again,
        }
    }
}

/// As many as can be done in [`BATCH_TIME`].
#[derive(Clone, Copy)]
struct BatchSize {
    now: i32,
    most: i32,
}

impl BatchSize {
    fn fit(&mut self, took: Duration) {
        if took > BATCH_TIME {
            self.now = (self.now / 2).max(10);
        } else if took < BATCH_TIME / 2 {
            self.now = (self.now * 2).min(self.most);
        }
    }
}

pub(super) fn waits_for(blockers: &[Blocker]) -> String {
    match blockers {
        [] => "waited for a transaction that has ended since".to_owned(),
        [first] => format!("is held by {first}"),
        [first, rest @ ..] => format!("is held by {first} and {} more", rest.len()),
    }
}
