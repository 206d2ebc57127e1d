//! Those who watch all users: workers and admins.
//!
//! Woken by the users that a notification names, and by this server's own commits. Each has a bounded set of tasks that
//! wait for it, the latest state of each; who lets it overflow has to read again. No record is read for them, and no ring
//! kept: a merged state is all they get.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use entity::task;
use tokio::sync::Notify;

use super::FeedError;
use super::hub::{Hub, lock};
use super::tenure::head_of;
use crate::store::{Committed, Head};
use crate::telemetry::Telemetry;

/// How many users' positions are remembered. Beyond, all are forgotten: then states may be told twice, never lost.
const KNOWN_USERS: usize = 100_000;
/// How many users' last records are remembered: transactions that commit at the same moment may be told in another order.
const TOLD_LAST: usize = 64;

/// All of them together.
#[derive(Default)]
pub(super) struct Everyone {
    watchers: Vec<Arc<Pending>>,
    /// Up to where a user's tasks have been told.
    known: HashMap<String, i64>,
    /// The snapshot up to which the tasks of all others have been told (`xid8` as text); none before the first read.
    since: Option<String>,
    /// Where the users stood who were told of last: as long as these records stand, nothing that was told is lost.
    told_last: VecDeque<(String, Head)>,
    /// The same of another run of the database, of which nothing is known yet.
    told_since: VecDeque<(String, Head)>,
}

impl Everyone {
    pub(super) fn is_watched(&self) -> bool {
        !self.watchers.is_empty()
    }

    pub(super) fn since(&self) -> Option<String> {
        self.since.clone()
    }

    pub(super) fn set_since(&mut self, xmin: String) {
        if self.is_watched() {
            self.since = Some(xmin);
        }
    }

    /// These users with what has been told of them.
    pub(super) fn known(&self, users: impl IntoIterator<Item = String>) -> Vec<(String, Option<i64>)> {
        users
            .into_iter()
            .map(|user| (self.known.get(&user).copied(), user))
            .map(|(known, user)| (user, known))
            .collect()
    }

    /// What they were told last, and since the database is another one: each user once in either.
    pub(super) fn told_last(&self) -> [Vec<(String, Head)>; 2] {
        [&self.told_last, &self.told_since].map(|told| told.iter().cloned().collect())
    }

    /// All of that stands.
    pub(super) fn stood(&mut self) {
        for told in std::mem::take(&mut self.told_since).into_iter().rev() {
            remember(&mut self.told_last, told);
        }
    }

    /// What they were told is not so any more.
    pub(super) fn begin_anew(&mut self) {
        self.known.clear();
        self.told_last.clear();
        self.told_since.clear();
        self.overflow();
    }

    /// What they know of a user does not hold any more: all of it is read again.
    pub(super) fn forget_known(&mut self, user: &str) {
        self.known.remove(user);
    }

    /// The user was erased: positions begin anew, and what waits to be told is not there any more.
    pub(super) fn forget(&mut self, user: &str) {
        self.known.remove(user);
        self.told_last.retain(|(owner, _)| owner != user);
        self.told_since.retain(|(owner, _)| owner != user);
        for watcher in &self.watchers {
            lock(&watcher.tasks).by_key.retain(|(owner, _), _| owner != user);
        }
    }

    /// What was read for them, every task after the position known.
    pub(super) fn told(&mut self, tasks: Vec<task::Model>) {
        for task in &tasks {
            if self.known.len() >= KNOWN_USERS && !self.known.contains_key(&task.user_id) {
                self.known.clear();
            }
            let known = self.known.entry(task.user_id.clone()).or_insert(task.position);
            *known = task.position.max(*known);
        }
        for task in tasks.iter().rev().take(TOLD_LAST).rev() {
            remember(&mut self.told_last, (task.user_id.clone(), head_of(task)));
        }
        let tasks: Vec<_> = tasks.into_iter().map(Arc::new).collect();
        for watcher in &self.watchers {
            watcher.push(&tasks);
        }
    }

    /// What this server committed. Where it does not continue what is known, another's change may still be on its way: then
    /// nothing is noted, and a state may be told twice.
    /// In a database of which nothing is known yet, no position is noted.
    pub(super) fn committed(&mut self, entries: &[Arc<Committed>], is_other: bool) {
        if !self.is_watched() {
            return;
        }
        let known = if is_other { &[] } else { entries };
        for entry in known {
            if let Some(known) = self.known.get_mut(&entry.record.user_id)
                && *known + 1 == entry.record.position
            {
                *known = entry.record.position;
            }
        }
        let told = if is_other { &mut self.told_since } else { &mut self.told_last };
        for entry in entries.iter().rev().take(TOLD_LAST).rev() {
            remember(told, (entry.task.user_id.clone(), head_of(&entry.task)));
        }
        let tasks: Vec<_> = entries.iter().map(|entry| Arc::clone(&entry.task)).collect();
        for watcher in &self.watchers {
            watcher.push(&tasks);
        }
    }

    /// Not everything could be read.
    pub(super) fn overflow(&self) {
        for watcher in &self.watchers {
            watcher.overflow();
        }
    }
}

/// The latest first, and each user once.
fn remember(told: &mut VecDeque<(String, Head)>, last: (String, Head)) {
    told.retain(|(user, _)| *user != last.0);
    told.truncate(TOLD_LAST - 1);
    told.push_front(last);
}

/// What waits for one of them.
struct Pending {
    tasks: Mutex<PendingTasks>,
    wake: Notify,
    limit: usize,
}

#[derive(Default)]
struct PendingTasks {
    by_key: HashMap<(String, String), (u64, Arc<task::Model>)>,
    /// Numbers arrivals, so that they are told in that order.
    arrivals: u64,
    is_overflown: bool,
}

impl Pending {
    fn push(&self, tasks: &[Arc<task::Model>]) {
        let mut pending = lock(&self.tasks);
        for task in tasks {
            if pending.is_overflown {
                break;
            }
            pending.arrivals += 1;
            let arrival = pending.arrivals;
            let key = (task.user_id.clone(), task.task_id.clone());
            let (_, newest) = pending.by_key.entry(key).or_insert_with(|| (arrival, Arc::clone(task)));
            if newest.position < task.position {
                *newest = Arc::clone(task);
            }
            if pending.by_key.len() > self.limit {
                pending.is_overflown = true;
                pending.by_key.clear();
            }
        }
        drop(pending);
        self.wake.notify_one();
    }

    fn overflow(&self) {
        let mut pending = lock(&self.tasks);
        pending.is_overflown = true;
        pending.by_key.clear();
        drop(pending);
        self.wake.notify_one();
    }
}

/// A subscription to all users' tasks. Ends its registration when it is dropped.
pub struct EveryoneWatch {
    hub: Hub,
    pending: Arc<Pending>,
}

impl Hub {
    /// Watches all users, from now on.
    pub async fn watch_everyone(&self) -> Result<EveryoneWatch, FeedError> {
        let pending = Arc::new(Pending {
            tasks: Mutex::default(),
            wake: Notify::new(),
            limit: self.inner.settings.pending_tasks,
        });
        lock(&self.inner.everyone).watchers.push(Arc::clone(&pending));
        self.inner.telemetry.subscriptions.inc();
        let watch = EveryoneWatch { hub: self.clone(), pending };
        // Read even where another has read it: who comes while the database is away is refused.
        let now = self.within_time(self.inner.store.changed_heads(&[], "0")).await?;
        let latest = self.within_time(Box::pin(self.inner.store.latest_tasks(1))).await?;
        let mut everyone = lock(&self.inner.everyone);
        everyone.since.get_or_insert(now.xmin);
        // They have read a list: it is not to be of a tail that gets lost.
        if everyone.told_last.is_empty() {
            everyone.told_last.extend(latest.iter().map(|task| (task.user_id.clone(), head_of(task))));
        }
        drop(everyone);
        // For what was named before that snapshot was back.
        self.inner.wake.notify_one();
        Ok(watch)
    }
}

impl EveryoneWatch {
    /// The tasks that changed since the last call, in the order in which they first did, each in its latest state; waits
    /// until there is one.
    pub async fn next(&mut self) -> Result<Vec<Arc<task::Model>>, FeedError> {
        loop {
            {
                let mut pending = lock(&self.pending.tasks);
                if pending.is_overflown {
                    pending.is_overflown = false;
                    return Err(FeedError::Expired { oldest_position: None });
                }
                if !pending.by_key.is_empty() {
                    let mut tasks: Vec<_> = pending.by_key.drain().map(|(_, task)| task).collect();
                    drop(pending);
                    tasks.sort_unstable_by_key(|(arrival, _)| *arrival);
                    return Ok(tasks.into_iter().map(|(_, task)| task).collect());
                }
            }
            tokio::select! {
                () = self.pending.wake.notified() => {}
                () = self.hub.inner.closed.cancelled() => return Err(FeedError::Closed),
            }
        }
    }

    /// The hub it belongs to.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// What the feed counts.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.hub.inner.telemetry
    }
}

impl Drop for EveryoneWatch {
    fn drop(&mut self) {
        self.hub.inner.telemetry.subscriptions.dec();
        let mut everyone = lock(&self.hub.inner.everyone);
        everyone.watchers.retain(|pending| !Arc::ptr_eq(pending, &self.pending));
        if everyone.watchers.is_empty() {
            everyone.known.clear();
            everyone.told_last.clear();
            everyone.told_since.clear();
            everyone.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::tests::entry;
    use super::*;

    fn watched(limit: usize) -> (Everyone, Arc<Pending>) {
        let pending = Arc::new(Pending { tasks: Mutex::default(), wake: Notify::new(), limit });
        (Everyone { watchers: vec![Arc::clone(&pending)], ..Everyone::default() }, pending)
    }

    fn waiting(pending: &Pending) -> Vec<(String, i64)> {
        let tasks = lock(&pending.tasks);
        let mut all: Vec<_> = tasks.by_key.values().map(|(_, task)| (task.task_id.clone(), task.position)).collect();
        all.sort();
        all
    }

    #[test]
    fn keeps_the_latest_state_of_each_task() {
        let (mut everyone, pending) = watched(10);
        everyone.committed(&[entry("u", "a", 1), entry("u", "b", 2), entry("u", "a", 3)], false);
        everyone.told(vec![(*entry("u", "a", 1).task).clone()]);
        assert_eq!(waiting(&pending), [("a".to_owned(), 3), ("b".to_owned(), 2)]);
    }

    #[test]
    fn notes_a_commit_only_where_it_continues_what_is_known() {
        let (mut everyone, _) = watched(10);
        everyone.committed(&[entry("u", "a", 5)], false);
        assert_eq!(everyone.known(["u".to_owned()]), [("u".to_owned(), None)]);
        everyone.told(vec![(*entry("u", "a", 5).task).clone()]);
        everyone.committed(&[entry("u", "a", 6), entry("u", "a", 8)], false);
        assert_eq!(everyone.known(["u".to_owned()]), [("u".to_owned(), Some(6))]);
    }

    #[test]
    fn too_many_waiting_tasks_end_it() {
        let (mut everyone, pending) = watched(2);
        for task in ["a", "b", "c", "d"] {
            everyone.committed(&[entry("u", task, 1)], false);
        }
        let tasks = lock(&pending.tasks);
        assert!(tasks.is_overflown && tasks.by_key.is_empty());
    }
}
