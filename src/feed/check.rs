//! The one task that reads what is new: for users that a notification named, and, every second or two, for those whose
//! notification was lost. One read a user and change, however many watch.
//!
//! A check asks which heads were written by transactions that the last check's snapshot may not have shown. Where WAL
//! stands still it ends before that: but only if that snapshot showed no running transaction, for a commit is in WAL a
//! moment before it can be seen.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::Backoff;
use super::hub::{Hub, Inbox, lock};
use crate::store::{Head, StoreError};

/// How many users one statement reads, and how many records of each.
const USERS: usize = 64;
const RECORDS: u32 = 64;
/// How many tasks, and how many users, one read for the watchers of everybody may bring.
const EVERYONE_TASKS: u64 = 10_000;
const EVERYONE_HEADS: u64 = 100_000;
/// A question over all heads comes with every third check.
const EVERYONE_EVERY: u32 = 3;
/// How long a notification may be behind the commit before it counts as lost.
const GRACE: Duration = Duration::from_millis(300);
/// What this server has committed can be seen in the table a moment before it is handed in.
const MOMENT: Duration = Duration::from_millis(100);

/// Reads until the token ends it. What fails is tried again, nothing is forgotten meanwhile.
pub(super) async fn run(hub: Hub, token: CancellationToken) {
    let mut reader = Reader { hub, since: "0".to_owned(), wal: None, is_stale: true, checks: 0, late: HashMap::new() };
    let mut backoff = Backoff::new();
    let mut next = Instant::now();
    loop {
        let late_due = reader.late.values().map(|(_, due)| *due).min();
        let until = reader.hub.inbox().own_due.into_iter().chain(late_due).fold(next, Instant::min);
        tokio::select! {
            () = token.cancelled() => return,
            () = reader.hub.inner.wake.notified() => {}
            () = tokio::time::sleep_until(until) => {}
        }
        let is_due = Instant::now() >= next;
        let step = tokio::select! {
            () = token.cancelled() => return,
            step = reader.step(is_due) => step,
        };
        if is_due {
            next = Instant::now() + reader.hub.inner.settings.check_interval.mul_f64(0.9 + fastrand::f64() / 5.0);
        }
        match step {
            Ok(()) => backoff.reset(),
            Err(error) => {
                let wait = backoff.wait();
                tracing::warn!(%error, ?wait, "the feed could not read; it tries again");
                next = next.min(Instant::now() + wait);
                tokio::select! {
                    () = token.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
                reader.hub.inner.wake.notify_one();
            }
        }
    }
}

struct Reader {
    hub: Hub,
    /// The last check's snapshot: what was running or yet to come then has not been seen.
    since: String,
    /// Where WAL stood before that snapshot, if nothing was running in it.
    wal: Option<String>,
    /// Something was written since all heads were asked for.
    is_stale: bool,
    checks: u32,
    /// What the table has of these users and nobody has handed in: read if that does not come by then.
    late: HashMap<String, (Head, Instant)>,
}

impl Reader {
    async fn step(&mut self, is_due: bool) -> Result<(), StoreError> {
        let mut inbox = self.hub.take_inbox();
        let step = self.work(&mut inbox, is_due).await;
        // What was not done stays in.
        let mut left = self.hub.inbox();
        left.users.extend(inbox.users);
        left.everyone.extend(inbox.everyone);
        left.everyone_all |= inbox.everyone_all;
        left.is_renewed |= inbox.is_renewed;
        left.control |= inbox.control;
        left.erased.extend(inbox.erased);
        if !inbox.own.is_empty() {
            left.own.extend(inbox.own);
            left.own_due.get_or_insert_with(Instant::now);
        }
        step
    }

    async fn work(&mut self, inbox: &mut Inbox, is_due: bool) -> Result<(), StoreError> {
        // First: it must not wait for anything of the feed.
        if inbox.control || inbox.is_renewed || is_due {
            self.carry_out().await?;
            inbox.control = false;
        }
        if inbox.is_renewed || self.hub.is_other() {
            self.renew().await?;
            inbox.is_renewed = false;
            inbox.everyone_all = true;
        }
        self.begin_anew(inbox).await?;
        self.look_after_own(inbox).await?;
        inbox.users.extend(self.take_late());
        self.read(&mut inbox.users).await?;
        self.read_everyone(&mut inbox.everyone).await?;
        if is_due {
            self.check().await?;
            self.checks = self.checks.wrapping_add(1);
            inbox.everyone_all |= self.is_stale && self.checks.is_multiple_of(EVERYONE_EVERY);
        }
        if inbox.everyone_all {
            self.read_all_heads().await?;
            inbox.everyone_all = false;
        }
        self.count_lost();
        Ok(())
    }

    /// Who was disconnected, by a row of this server or of another.
    async fn carry_out(&self) -> Result<(), StoreError> {
        let control = &self.hub.inner.control;
        let found = self.hub.within_time(self.hub.inner.store.disconnections(control.since())).await?;
        control.found(found);
        Ok(())
    }

    /// The listener is new, or the database is: does the record that was known as each user's last still stand? Then what
    /// came after it is read; else the hub is set to what the table says.
    async fn renew(&mut self) -> Result<(), StoreError> {
        let tenure = self.hub.inner.store.tenure();
        let mut known = self.hub.watched(false);
        known.extend(self.hub.watched(true));
        let names: Vec<String> = known.iter().map(|(user, _)| user.clone()).collect();
        let now = self.hub.within_time(self.hub.inner.store.changed_heads(&names, "0")).await?;
        let heads: HashMap<String, Head> = now.heads.into_iter().collect();
        let behind = self.compare(&known, &heads).await?;
        self.hub.renew_everyone(&now.xmin).await?;
        self.hub.checked(&known);
        self.hub.known_in(tenure);
        self.since = now.xmin;
        self.wal = None;
        self.is_stale = true;
        self.hub.suspect(&behind);
        self.read(&mut behind.into_keys().collect()).await
    }

    /// Users that were erased: who saves for one of them afterwards begins anew.
    async fn begin_anew(&self, inbox: &mut Inbox) -> Result<(), StoreError> {
        if inbox.erased.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = inbox.erased.iter().cloned().collect();
        let known = self.hub.known(names.iter().cloned());
        let heads = self.hub.within_time(self.hub.inner.store.heads(&names)).await?;
        self.compare(&known, &heads).await?;
        inbox.erased.clear();
        inbox.users.extend(names);
        Ok(())
    }

    /// Does the record still stand that was known as each user's last? Who is only behind comes back; the hub is set to what
    /// the table says of all others.
    async fn compare(
        &self,
        known: &[(String, Head)],
        heads: &HashMap<String, Head>,
    ) -> Result<HashMap<String, Head>, StoreError> {
        let head_of = |user: &str| heads.get(user).copied().unwrap_or(Head::START);

        let moved: Vec<_> = known.iter().filter(|(user, head)| head_of(user) != *head).cloned().collect();
        let doubtful: Vec<_> = moved.iter().filter(|(_, head)| head.position > 0).cloned().collect();
        let mut standing = HashSet::new();
        if !doubtful.is_empty() {
            standing = self.hub.within_time(self.hub.inner.store.standing(&doubtful)).await?;
        }
        let mut behind = HashMap::new();
        for (user, head) in moved {
            let now = head_of(&user);
            if now.position > head.position && (head.position == 0 || standing.contains(&user)) {
                behind.insert(user, now);
            } else {
                tracing::warn!(position = head.position, "a watched user's last record is gone; its feed begins anew");
                self.hub.set_back(&user, head_of(&user));
            }
        }
        Ok(behind)
    }

    /// Reads what is new of these users, until each is at its head; who is done is taken out.
    async fn read(&self, users: &mut HashSet<String>) -> Result<(), StoreError> {
        let mut behind: HashSet<String> = HashSet::new();
        loop {
            // Who is not known yet is left out: its first read is on its way, and later than this.
            let known = self.hub.known(users.drain().chain(behind.drain()));
            if known.is_empty() {
                return Ok(());
            }
            for (done, chunk) in known.chunks(USERS).enumerate() {
                self.hub.inner.telemetry.feed_reads.inc();
                match self.hub.within_time(self.hub.inner.store.new_records(chunk, RECORDS)).await {
                    Ok(_) if self.hub.is_other() => {
                        users.extend(behind);
                        users.extend(known[done * USERS..].iter().map(|(user, _)| user.clone()));
                        return Err(taken_over());
                    }
                    Ok(pages) => {
                        for (user, page) in pages {
                            if self.hub.extend(&user, page) {
                                behind.insert(user);
                            }
                        }
                    }
                    Err(error) => {
                        users.extend(behind);
                        users.extend(known[done * USERS..].iter().map(|(user, _)| user.clone()));
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Whether what this server committed was handed in; else it is read.
    async fn look_after_own(&mut self, inbox: &mut Inbox) -> Result<(), StoreError> {
        if inbox.own.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = inbox.own.iter().cloned().collect();
        let heads = self.hub.within_time(self.hub.inner.store.heads(&names)).await?;
        let known = self.hub.known(inbox.own.drain());
        let behind = |(user, known): (String, Head)| {
            let head = *heads.get(&user)?;
            (head.position > known.position).then_some((user, head))
        };
        self.expect(known.into_iter().filter_map(behind));
        Ok(())
    }

    /// These heads are in the table. They may be our own, and on their way.
    fn expect(&mut self, heads: impl IntoIterator<Item = (String, Head)>) {
        let due = Instant::now() + MOMENT;
        self.late.extend(heads.into_iter().map(|(user, head)| (user, (head, due))));
    }

    /// Who was expected, and is not known so far even now.
    fn take_late(&mut self) -> Vec<String> {
        let now = Instant::now();
        let mut due = HashMap::new();
        self.late.retain(|user, (head, at)| {
            let waits = *at > now;
            if !waits {
                due.insert(user.clone(), *head);
            }
            waits
        });
        let known = self.hub.known(due.keys().cloned());
        let behind = |(user, known): &(String, Head)| due.get(user).is_some_and(|head| head.position > known.position);
        known.into_iter().filter(behind).map(|(user, _)| user).collect()
    }

    /// What no notification told.
    async fn check(&mut self) -> Result<(), StoreError> {
        let store = &self.hub.inner.store;
        let (is_watched, has_fresh) = self.hub.is_watched();
        if !is_watched && !lock(&self.hub.inner.everyone).is_watched() {
            return Ok(());
        }
        let wal = self.hub.within_time(store.wal_position()).await?;
        if !has_fresh && self.wal.as_ref() == Some(&wal) {
            return Ok(());
        }
        self.is_stale = true;
        let watched = self.hub.watched(false);
        let fresh = self.hub.watched(true);
        let names: Vec<String> = watched.iter().map(|(user, _)| user.clone()).collect();
        let changed = self.hub.within_time(store.changed_heads(&names, &self.since)).await?;
        let mut heads: HashMap<String, Head> = changed.heads.into_iter().collect();
        if !fresh.is_empty() {
            let names: Vec<String> = fresh.iter().map(|(user, _)| user.clone()).collect();
            heads.extend(self.hub.within_time(store.heads(&names)).await?);
        }
        let mut behind = HashMap::new();
        for (user, known) in watched.iter().chain(&fresh) {
            match heads.get(user) {
                Some(head) if head.position > known.position => {
                    behind.insert(user.clone(), *head);
                }
                // Known before the question was asked, and not there: the table went back.
                Some(head) if head != known => self.hub.set_back(user, *head),
                _ => {}
            }
        }
        self.hub.suspect(&behind);
        self.expect(behind);
        self.hub.checked(&fresh);
        self.since = changed.xmin;
        self.wal = changed.is_quiet.then_some(wal);
        Ok(())
    }

    fn count_lost(&self) {
        let mut inbox = self.hub.inbox();
        let mut lost = 0;
        inbox.suspects.retain(|_, (since, changes)| {
            let waits = since.elapsed() < GRACE;
            lost += if waits { 0 } else { *changes };
            waits
        });
        drop(inbox);
        if lost > 0 {
            tracing::info!(changes = lost, "the check found what no notification had told");
            self.hub.inner.telemetry.recovered_by_check.inc_by(lost);
        }
    }

    /// The changed tasks of users that were named, for those who watch everybody.
    async fn read_everyone(&self, users: &mut HashSet<String>) -> Result<(), StoreError> {
        let (since, known) = {
            let everyone = lock(&self.hub.inner.everyone);
            // Who has just begun waits for the first snapshot.
            let Some(since) = everyone.since() else {
                if !everyone.is_watched() {
                    users.clear();
                }
                return Ok(());
            };
            (since, everyone.known(users.iter().cloned()))
        };
        if known.is_empty() {
            return Ok(());
        }
        self.hub.inner.telemetry.feed_reads.inc();
        let tasks = self.hub.within_time(self.hub.inner.store.tasks_since(&known, &since, EVERYONE_TASKS)).await?;
        if self.hub.is_other() {
            return Err(taken_over());
        }
        users.clear();
        let is_cut = tasks.len() as u64 >= EVERYONE_TASKS;
        let mut everyone = lock(&self.hub.inner.everyone);
        if is_cut {
            everyone.overflow();
        } else {
            everyone.told(tasks);
        }
        Ok(())
    }

    /// The same for whoever changed since the last such question.
    async fn read_all_heads(&mut self) -> Result<(), StoreError> {
        let Some(since) = lock(&self.hub.inner.everyone).since() else { return Ok(()) };
        self.is_stale = false;
        let changed = self.hub.within_time(self.hub.inner.store.changed_users(&since, EVERYONE_HEADS)).await;
        let changed = changed.inspect_err(|_| self.is_stale = true)?;
        if changed.users.len() as u64 >= EVERYONE_HEADS {
            lock(&self.hub.inner.everyone).overflow();
        } else {
            let known = lock(&self.hub.inner.everyone).known(changed.users.iter().map(|(user, _)| user.clone()));
            let behind = known.into_iter().zip(&changed.users);
            let mut behind: HashSet<String> = behind
                .filter(|((user, known), (_, position))| match known {
                    // Erased and begun anew, and the notification of it was lost.
                    Some(known) if known > position => {
                        lock(&self.hub.inner.everyone).forget_known(user);
                        true
                    }
                    known => known.is_none_or(|known| known < *position),
                })
                .map(|((user, _), _)| user)
                .collect();
            self.read_everyone(&mut behind).await?;
        }
        lock(&self.hub.inner.everyone).set_since(changed.xmin);
        Ok(())
    }
}

/// What was read is of another database than what is known: it is asked for again, once all heads have been.
fn taken_over() -> StoreError {
    StoreError::Unavailable("another PostgreSQL has taken over".to_owned())
}
