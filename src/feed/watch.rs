//! One subscription to one user: a cursor and a loop. Wait until the user's head passes the cursor, read the next page
//! (from the ring, or from the table), check it, go on.
//!
//! A page begins at cursor + 1 and has no gap, or the subscription ends: what retention has removed is never mistaken for
//! silence. An outage of the database ends nothing: the read is tried again until it succeeds.

use std::collections::HashMap;
use std::sync::Arc;

use entity::task;
use tokio::sync::watch;

use super::error::{Backoff, passes};
use super::hub::Hub;
use super::watched::Standing;
use super::{FeedCursor, FeedError};
use crate::store::{Committed, Head, StoreError};
use crate::telemetry::Telemetry;

/// How many records or tasks a page has at the most.
const PAGE: usize = 200;

/// Some records, in order, without a gap from the cursor on (or those of one task among them).
#[derive(Debug)]
pub struct Page {
    /// Each with its task.
    pub entries: Vec<Arc<Committed>>,
    /// The cursor after this page.
    pub end: Head,
}

/// A task that changed, in its latest state.
#[derive(Clone, Debug)]
pub enum Changed {
    /// Read from the table.
    Read(Arc<task::Model>),
    /// As the latest record left it.
    Entry {
        /// That record with the task.
        entry: Arc<Committed>,
        /// What [`Watch::other_mover`] says of it.
        mover: Option<Arc<Committed>>,
    },
}

impl Changed {
    /// The task.
    #[must_use]
    pub fn task(&self) -> &task::Model {
        match self {
            Self::Read(task) => task,
            Self::Entry { entry, .. } => &entry.task,
        }
    }
}

/// Some tasks that changed, each in its latest state.
#[derive(Debug)]
pub struct Changes {
    /// By position.
    pub tasks: Vec<Changed>,
    /// Everything up to here has been told with this page.
    pub end: Head,
}

/// A subscription to one user. Ends its registration when it is dropped.
pub struct Watch {
    hub: Hub,
    user: Arc<str>,
    standing: watch::Receiver<Standing>,
    epoch: u64,
    start: Head,
    /// What was waited for last, if it is just the next one: without a look into the ring, which all share.
    next: Option<Arc<Committed>>,
}

impl Watch {
    pub(super) fn new(hub: Hub, user: Arc<str>, standing: watch::Receiver<Standing>) -> Self {
        let epoch = standing.borrow().epoch;
        Self { hub, user, standing, epoch, start: Head::START, next: None }
    }

    pub(super) fn starting_at(mut self, head: Head) -> Self {
        self.start = head;
        self
    }

    /// Where the feed stood when this began.
    #[must_use]
    pub fn start(&self) -> Head {
        self.start
    }

    /// Whose feed.
    #[must_use]
    pub fn user(&self) -> &Arc<str> {
        &self.user
    }

    /// What the feed counts.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.hub.inner.telemetry
    }

    /// The place a client's cursor stands on: the very record, or before the first. Else it has expired.
    pub async fn resume(&self, cursor: &FeedCursor) -> Result<Head, FeedError> {
        if cursor.is_of(&self.user) {
            // The ring may be of a database that is gone.
            let ring = if self.hub.is_other() { None } else { self.ring_at(cursor.position()) };
            let known = [Some(Head::START), Some(self.start), ring];
            if let Some(head) = known.into_iter().flatten().find(|head| cursor.stands_on(head)) {
                return Ok(head);
            }
            let read = self.hub.inner.store.record_at(&self.user, cursor.position(), cursor.recorded_at());
            if let Some(head) = self.hub.within_time(read).await?
                && cursor.stands_on(&head)
            {
                return Ok(head);
            }
        }
        let oldest = self.hub.within_time(self.hub.inner.store.oldest_position(&self.user)).await?;
        Err(FeedError::Expired { oldest_position: oldest })
    }

    fn ring_at(&self, position: i64) -> Option<Head> {
        self.hub.ring_entry(&self.user, position).map(|entry| Head::of(&entry.record))
    }

    /// The place just before the oldest record still kept; where none is kept, where the feed stands.
    pub async fn oldest(&self) -> Result<Head, FeedError> {
        let oldest = self.hub.within_time(self.hub.inner.store.oldest_record(&self.user)).await?;
        Ok(match oldest {
            Some(oldest) if oldest.position == 1 => Head::START,
            Some(oldest) => Head { position: oldest.position - 1, record_id: uuid::Uuid::nil(), ..oldest },
            None => self.start,
        })
    }

    /// Waits until there is something after this place.
    pub async fn moved(&mut self, from: Head) -> Result<(), FeedError> {
        loop {
            let (head, epoch, is_closed) = {
                let standing = self.standing.borrow_and_update();
                let is_next = standing.head.position == from.position + 1;
                self.next = if is_next { standing.last.upgrade() } else { None };
                (standing.head, standing.epoch, standing.is_closed)
            };
            if epoch != self.epoch {
                self.still_stands(from).await?;
            }
            if head.position > from.position {
                return Ok(());
            }
            if is_closed {
                return Err(FeedError::Closed);
            }
            self.standing.changed().await.map_err(|_| FeedError::Closed)?;
        }
    }

    /// The next records after a place.
    pub async fn page(&mut self, after: Head) -> Result<Page, FeedError> {
        self.still_stands(after).await?;
        if let Some(entries) = self.ring_after(after) {
            let end = entries.last().map_or(after, |entry| Head::of(&entry.record));
            return Ok(Page { entries, end });
        }
        let hub = self.hub.clone();
        hub.inner.telemetry.catch_ups.inc();
        let read = hub.patiently(|| hub.inner.store.feed_page(&self.user, None, after, PAGE as u64)).await?;
        self.stood(after).await?;
        let mut end = after;
        for entry in &read.entries {
            if entry.record.position != end.position + 1 {
                return Err(self.expired().await);
            }
            end = Head::of(&entry.record);
        }
        // A page that stops before the head for no reason, or brings nothing at all, has a hole at its end.
        if read.head.position > end.position && (!read.is_cut || read.entries.is_empty()) {
            return Err(self.expired().await);
        }
        Ok(Page { entries: read.entries.into_iter().map(Arc::new).collect(), end })
    }

    /// The next records of one task after a place. From the table only the task's own are read; that none is missing among
    /// those passed over is told by the oldest that is kept.
    pub async fn task_page(&mut self, task_id: &str, after: Head) -> Result<Page, FeedError> {
        self.still_stands(after).await?;
        if let Some(mut entries) = self.ring_after(after) {
            let end = entries.last().map_or(after, |entry| Head::of(&entry.record));
            entries.retain(|entry| entry.record.task_id == task_id);
            return Ok(Page { entries, end });
        }
        let hub = self.hub.clone();
        hub.inner.telemetry.catch_ups.inc();
        let store = &hub.inner.store;
        let read = hub.patiently(|| store.feed_page(&self.user, Some(task_id), after, PAGE as u64)).await?;
        // After the page: what was removed before or while it was read shows now.
        let oldest = hub.patiently(|| store.oldest_position(&self.user)).await?;
        self.stood(after).await?;
        let reaches = oldest.map_or(read.head.position <= after.position, |oldest| oldest <= after.position + 1);
        if !reaches || read.is_cut && read.entries.is_empty() {
            return Err(FeedError::Expired { oldest_position: oldest });
        }
        let end = match read.entries.last() {
            Some(last) if read.is_cut => Head::of(&last.record),
            _ if read.head.position > after.position => read.head,
            _ => after,
        };
        Ok(Page { entries: read.entries.into_iter().map(Arc::new).collect(), end })
    }

    /// The tasks that changed after a place. Whoever is little behind shares the ring's entries; whoever is further behind
    /// reads where each task stands now, however often it changed.
    pub async fn changes(&mut self, after: Head) -> Result<Changes, FeedError> {
        self.still_stands(after).await?;
        if let Some(entries) = self.near_entries(after) {
            let end = entries.last().map_or(after, |entry| Head::of(&entry.record));
            let mut latest: HashMap<&str, &Arc<Committed>> = HashMap::new();
            for entry in &entries {
                let newest = latest.entry(&entry.task.task_id).or_insert(entry);
                if newest.task.position <= entry.task.position {
                    *newest = entry;
                }
            }
            let mut tasks: Vec<_> = latest.into_values().map(Arc::clone).collect();
            tasks.sort_unstable_by_key(|entry| entry.task.position);
            return Ok(Changes { tasks: tasks.into_iter().map(|entry| self.changed(entry)).collect(), end });
        }
        let hub = self.hub.clone();
        hub.inner.telemetry.catch_ups.inc();
        let read = hub.patiently(|| hub.inner.store.tasks_changed(&self.user, after.position, PAGE as u64)).await?;
        self.stood(after).await?;
        let end = match read.tasks.last() {
            Some(last) if read.tasks.len() >= PAGE => {
                Head { position: last.position, recorded_at: last.updated_at, record_id: last.record_id }
            }
            _ if read.head.position > after.position => read.head,
            _ => after,
        };
        Ok(Changes { tasks: read.tasks.into_iter().map(|task| Changed::Read(Arc::new(task))).collect(), end })
    }

    /// One task as it is now, and where the feed stands with it.
    pub async fn task_now(&mut self, task_id: &str) -> Result<(Option<task::Model>, Head), FeedError> {
        let hub = self.hub.clone();
        hub.patiently(|| hub.inner.store.task_and_head(&self.user, task_id)).await
    }

    /// One task, if it changed after a place, in its latest state.
    pub async fn task_change(&mut self, task_id: &str, after: Head) -> Result<(Option<Changed>, Head), FeedError> {
        self.still_stands(after).await?;
        if let Some(entries) = self.near_entries(after) {
            let end = entries.last().map_or(after, |entry| Head::of(&entry.record));
            let changed = entries.iter().rev().find(|entry| entry.record.task_id == task_id);
            return Ok((changed.map(|entry| self.changed(Arc::clone(entry))), end));
        }
        self.hub.inner.telemetry.catch_ups.inc();
        let (task, head) = self.task_now(task_id).await?;
        self.stood(after).await?;
        Ok((
            task.filter(|task| task.position > after.position).map(|task| Changed::Read(Arc::new(task))),
            if head.position > after.position { head } else { after },
        ))
    }

    /// What comes after a place, if it is in memory: the one that was waited for, or what is in the ring.
    fn ring_after(&mut self, after: Head) -> Option<Vec<Arc<Committed>>> {
        let next = self.next.take().filter(|next| next.record.position == after.position + 1);
        next.map(|next| vec![next]).or_else(|| self.hub.ring_after(&self.user, after.position, PAGE))
    }

    fn changed(&self, entry: Arc<Committed>) -> Changed {
        Changed::Entry { mover: self.other_mover(&entry), entry }
    }

    /// With the record that last moved an entry's task, if it is in the ring and not the entry's own: a late record moves
    /// nothing, and a task that was read may have been moved by a later one.
    #[must_use]
    pub fn other_mover(&self, entry: &Committed) -> Option<Arc<Committed>> {
        let place = entry.task.moved_position;
        if entry.record.position == place { None } else { self.hub.ring_entry(&self.user, place) }
    }

    /// All that is new, from the ring, if it is no more than a page.
    fn near_entries(&mut self, after: Head) -> Option<Vec<Arc<Committed>>> {
        let behind = usize::try_from(self.standing.borrow().head.position - after.position).unwrap_or(0);
        (behind <= PAGE).then(|| self.ring_after(after))?
    }

    /// After the table went back, each subscription looks whether its own place is still there.
    async fn still_stands(&mut self, place: Head) -> Result<(), FeedError> {
        let epoch = self.standing.borrow().epoch;
        if epoch == self.epoch {
            return Ok(());
        }
        let hub = self.hub.clone();
        let users = [self.user.to_string()];
        let head = hub.patiently(|| hub.inner.store.heads(&users)).await?;
        let is_head = head.get(self.user.as_ref()).copied().unwrap_or(Head::START) == place;
        if !is_head && place.position > 0 {
            let read =
                hub.patiently(|| hub.inner.store.record_at(&self.user, place.position, place.recorded_at)).await?;
            if read != Some(place) {
                return Err(self.expired().await);
            }
        }
        self.epoch = epoch;
        Ok(())
    }

    /// After a read of the table: was it of the database in which that place is known? If another one has taken over
    /// meanwhile, the place is looked for there.
    async fn stood(&mut self, place: Head) -> Result<(), FeedError> {
        self.hub.settled().await?;
        self.still_stands(place).await
    }

    /// Begins anew where the feed stands now: for whoever reads the whole state after this and needs no record before it.
    pub async fn restart(&mut self) -> Result<Head, FeedError> {
        let hub = self.hub.clone();
        let users = [self.user.to_string()];
        self.epoch = self.standing.borrow().epoch;
        let head = hub.patiently(|| hub.inner.store.heads(&users)).await?;
        Ok(head.get(self.user.as_ref()).copied().unwrap_or(Head::START))
    }

    async fn expired(&self) -> FeedError {
        let hub = &self.hub;
        match hub.patiently(|| hub.inner.store.oldest_position(&self.user)).await {
            Ok(oldest_position) => FeedError::Expired { oldest_position },
            Err(error) => error,
        }
    }
}

impl Hub {
    /// Reads, through an outage of the database too, until it succeeds or the server stops.
    pub async fn patiently<T, F>(&self, mut read: impl FnMut() -> F) -> Result<T, FeedError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut backoff = Backoff::new();
        loop {
            self.inner.telemetry.feed_reads.inc();
            match self.within_time(read()).await {
                Err(error) if passes(&error) => tracing::debug!(%error, "a subscription waits for the database"),
                other => return Ok(other?),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.wait()) => {}
                () = self.inner.closed.cancelled() => return Err(FeedError::Closed),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.unregister(&self.user);
    }
}
