//! Who is watched, how far each is known, and what is to be read next.
//!
//! Heads come from reads, or from what this server itself has committed, never from a notification. A user is registered
//! before the first read, so that nothing falls between. What is known of a user only grows, except where the table itself
//! went back (a lost tail): then the user's `epoch` rises, and each subscription looks whether its own cursor still stands.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::control::{Close, Control};
use super::everyone::Everyone;
use super::ring::Rings;
use super::watch::Watch;
use super::watched::{News, Standing, Watched};
use super::{FeedError, FeedSettings};
use crate::store::{Audience, Committed, FeedPage, Head, Store, StoreError};
use crate::telemetry::Telemetry;

/// Tells whether a backend belongs to this server's own pool.
pub type IsOwnBackend = Arc<dyn Fn(u32) -> bool + Send + Sync>;

/// More users than this in one go, and whoever watches everybody is served by a question over all heads instead.
const EVERYONE_USERS: usize = 10_000;
/// What this server commits is handed in sooner than this after its notification, unless the hand-over failed (the answer
/// was lost on the way).
const HAND_OVER: Duration = Duration::from_millis(200);

/// The middle of the feed. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) settings: FeedSettings,
    pub(super) telemetry: Telemetry,
    pub(super) closed: CancellationToken,
    /// There is something in the inbox.
    pub(super) wake: Notify,
    pub(super) everyone: Mutex<Everyone>,
    pub(super) control: Control,
    is_own: IsOwnBackend,
    /// Listeners that there are to be, and that hear.
    pub(super) nodes: AtomicUsize,
    pub(super) listening: AtomicUsize,
    /// The tenure of the database in which the heads were last asked for.
    pub(super) known_in: watch::Sender<u64>,
    users: Mutex<Users>,
    inbox: Mutex<Inbox>,
}

struct Users {
    watched: HashMap<Arc<str>, Watched>,
    rings: Rings,
    is_closed: bool,
}

/// What the reader finds when it wakes.
#[derive(Default)]
pub(super) struct Inbox {
    /// Watched users that have something new.
    pub(super) users: HashSet<String>,
    /// Users whose changed tasks those who watch everybody want to see.
    pub(super) everyone: HashSet<String>,
    /// The same for all users.
    pub(super) everyone_all: bool,
    /// Watched users that this server wrote to: was it handed in? Looked at together, when they are due.
    pub(super) own: HashSet<String>,
    pub(super) own_due: Option<Instant>,
    /// The listener is new: notifications may have been lost.
    pub(super) is_renewed: bool,
    /// Found by the check, and no notification yet: lost, if none comes soon. Since when, and how many changes.
    pub(super) suspects: HashMap<String, (Instant, u64)>,
    /// Somebody was disconnected.
    pub(super) control: bool,
    /// Watched users that were erased: does what is known of them still stand?
    pub(super) erased: HashSet<String>,
}

/// A lock whose holder panicked still guards consistent data: no method here leaves it half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A hub over the store it reads from. `is_own` tells which notifications come from this server's own commits, which
    /// are handed in by [`Hub::committed`] or named by the [`Audience`]; `closed` ends every subscription.
    #[must_use]
    pub fn new(
        store: Store,
        settings: FeedSettings,
        telemetry: Telemetry,
        is_own: IsOwnBackend,
        closed: CancellationToken,
    ) -> Self {
        let rings = Rings::new(settings.ring_bytes);
        let known_in = watch::Sender::new(store.tenure());
        Self {
            inner: Arc::new(Inner {
                store,
                settings,
                telemetry,
                closed,
                wake: Notify::new(),
                everyone: Mutex::default(),
                control: Control::default(),
                is_own,
                nodes: AtomicUsize::new(1),
                listening: AtomicUsize::new(0),
                known_in,
                users: Mutex::new(Users { watched: HashMap::new(), rings, is_closed: false }),
                inbox: Mutex::default(),
            }),
        }
    }

    /// Watches one user: registered first, then the head is read, so that nothing falls between.
    pub async fn watch(&self, user: &str) -> Result<Watch, FeedError> {
        let (user, standing) = self.register(user);
        let watch = Watch::new(self.clone(), Arc::clone(&user), standing);
        let head = self.within_time(self.inner.store.heads(&[user.to_string()])).await?;
        let head = head.get(user.as_ref()).copied().unwrap_or(Head::START);
        self.settle(&user, head);
        Ok(watch.starting_at(head))
    }

    /// Takes in what this server has just committed; called before the writers get their answers.
    pub fn committed(&self, entries: Vec<Committed>) {
        let entries: Vec<Arc<Committed>> = entries.into_iter().map(Arc::new).collect();
        let (mut torn, mut news) = (Vec::new(), Vec::new());
        let is_other;
        {
            let mut users = lock(&self.inner.users);
            // Under the lock: what is known of them may be of a database that is gone.
            is_other = self.is_other();
            for entry in &entries {
                let user = entry.record.user_id.as_str();
                let users = &mut *users;
                let Some((key, _)) = users.watched.get_key_value(user) else { continue };
                let key = Arc::clone(key);
                let Some(watched) = users.watched.get_mut(user) else { continue };
                match watched.known {
                    _ if is_other => torn.push(user.to_owned()),
                    Some(known) if entry.record.position <= known.position => {}
                    Some(known) if entry.record.position == known.position + 1 => {
                        users.rings.push(&key, Arc::clone(entry));
                        watched.push(entry);
                    }
                    // Somebody else wrote in between, or nothing is known yet: the reader fills the hole.
                    _ => torn.push(user.to_owned()),
                }
            }
            for entry in &entries {
                let Some(watched) = users.watched.get_mut(entry.record.user_id.as_str()) else { continue };
                news.extend(watched.news());
            }
        }
        news.into_iter().for_each(News::tell);
        let mut inbox = lock(&self.inner.inbox);
        if !inbox.suspects.is_empty() {
            for entry in &entries {
                inbox.suspects.remove(&entry.record.user_id);
            }
        }
        if !torn.is_empty() {
            inbox.users.extend(torn);
            self.inner.wake.notify_one();
        }
        drop(inbox);
        lock(&self.inner.everyone).committed(&entries, is_other);
    }

    /// What the feed counts.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.inner.telemetry
    }

    /// How to close what a user has open on this server; the first one counts.
    pub fn close_by(&self, close: Close) {
        self.inner.control.close_by(close);
    }

    /// The user was disconnected at that time, by the database's clock: closes what is open here, and tells how many that
    /// were. Done once, whoever finds it first.
    #[must_use]
    pub fn disconnected(&self, user: &str, at: DateTime<Utc>) -> usize {
        self.inner.control.disconnected(user, at)
    }

    /// Whether the user was disconnected here of late, at that time or later.
    #[must_use]
    pub fn has_disconnected(&self, user: &str, since: DateTime<Utc>) -> bool {
        self.inner.control.has_disconnected(user, since)
    }

    /// The listener is new: whatever was sent before may be lost.
    pub(super) fn renewed(&self) {
        lock(&self.inner.inbox).is_renewed = true;
        self.inner.wake.notify_one();
    }

    /// Somebody was disconnected: the table says who.
    pub(super) fn control_notified(&self) {
        lock(&self.inner.inbox).control = true;
        self.inner.wake.notify_one();
    }

    /// A notification says that this user was erased. The table says whether, and what has come since.
    pub(super) fn erased(&self, user: &str) {
        let has_everyone = {
            let mut everyone = lock(&self.inner.everyone);
            everyone.forget(user);
            everyone.is_watched()
        };
        let is_watched = lock(&self.inner.users).watched.contains_key(user);
        let mut inbox = lock(&self.inner.inbox);
        if has_everyone {
            inbox.everyone.insert(user.to_owned());
        }
        if is_watched {
            inbox.erased.insert(user.to_owned());
        }
        drop(inbox);
        self.inner.wake.notify_one();
    }

    /// What writers ask of it.
    #[must_use]
    pub fn audience(&self) -> Audience {
        let (watching, look) = (self.clone(), self.clone());
        Audience {
            is_watching: Arc::new(move |users| watching.is_watching(users)),
            look_at: Arc::new(move |users| look.look_at(users.iter().copied())),
        }
    }

    /// Whether any of these users is watched here.
    fn is_watching(&self, users: &[&str]) -> bool {
        if lock(&self.inner.everyone).is_watched() {
            return true;
        }
        let watched = lock(&self.inner.users);
        !watched.watched.is_empty() && users.iter().any(|user| watched.watched.contains_key(*user))
    }

    /// A notification names these users. What this server committed itself is handed in by memory and needs no read; a
    /// little later their heads are looked at, all together, in case the hand-over failed.
    pub(super) fn notified(&self, backend: u32, users: &[String]) {
        if !(self.inner.is_own)(backend) {
            self.look_at(users.iter().map(String::as_str));
            return;
        }
        let mut news = false;
        let watched = lock(&self.inner.users);
        let mut inbox = lock(&self.inner.inbox);
        for user in users {
            inbox.suspects.remove(user);
            if watched.watched.contains_key(user.as_str()) {
                inbox.own.insert(user.clone());
                // The reader has to set its clock.
                news |= inbox.own_due.is_none();
                inbox.own_due.get_or_insert_with(|| Instant::now() + HAND_OVER);
            }
        }
        if news {
            self.inner.wake.notify_one();
        }
    }

    /// There is something new of these users that nobody will hand in: whoever watches them reads it.
    pub(super) fn look_at<'a>(&self, users: impl IntoIterator<Item = &'a str>) {
        let has_everyone = lock(&self.inner.everyone).is_watched();
        let mut news = false;
        let watched = lock(&self.inner.users);
        let mut inbox = lock(&self.inner.inbox);
        for user in users {
            inbox.suspects.remove(user);
            if has_everyone && !inbox.everyone_all {
                if inbox.everyone.len() < EVERYONE_USERS {
                    inbox.everyone.insert(user.to_owned());
                } else {
                    inbox.everyone.clear();
                    inbox.everyone_all = true;
                }
                news = true;
            }
            if watched.watched.contains_key(user) {
                inbox.users.insert(user.to_owned());
                news = true;
            }
        }
        if news {
            self.inner.wake.notify_one();
        }
    }

    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.inner.inbox)
    }

    /// What there is to do now; the suspects stay where notifications strike them off.
    pub(super) fn take_inbox(&self) -> Inbox {
        let mut inbox = lock(&self.inner.inbox);
        let suspects = std::mem::take(&mut inbox.suspects);
        let mut left = Inbox { suspects, ..Inbox::default() };
        if inbox.own_due.is_some_and(|due| due > Instant::now()) {
            left.own = std::mem::take(&mut inbox.own);
            left.own_due = inbox.own_due.take();
        }
        std::mem::replace(&mut *inbox, left)
    }

    /// Bounds a read, so that a connection that hangs holds nobody.
    pub(super) async fn within_time<T>(
        &self,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let calling = self.inner.store.calling();
        let Ok(read) = tokio::time::timeout(self.inner.settings.io_timeout, read).await else {
            return Err(StoreError::Unavailable("no answer in time".to_owned()));
        };
        calling.answered();
        read
    }

    fn register(&self, user: &str) -> (Arc<str>, watch::Receiver<Standing>) {
        let mut users = lock(&self.inner.users);
        let key = users.watched.get_key_value(user).map_or_else(|| user.into(), |(key, _)| Arc::clone(key));
        let is_closed = users.is_closed;
        let watched = users.watched.entry(Arc::clone(&key)).or_insert_with(|| Watched::new(is_closed));
        watched.subscribers += 1;
        let standing = watched.standing.subscribe();
        self.inner.telemetry.subscriptions.inc();
        (key, standing)
    }

    pub(super) fn unregister(&self, user: &str) {
        self.inner.telemetry.subscriptions.dec();
        let mut users = lock(&self.inner.users);
        if let Some(watched) = users.watched.get_mut(user) {
            watched.subscribers -= 1;
            if watched.subscribers == 0 {
                users.watched.remove(user);
                users.rings.clear(user);
            }
        }
    }

    /// The first read of a user sets its head; a later one that is ahead is left to the reader, which fills the ring.
    fn settle(&self, user: &str, head: Head) {
        let mut users = lock(&self.inner.users);
        let Some(watched) = users.watched.get_mut(user) else { return };
        let is_behind = match watched.known {
            None => {
                watched.set(head);
                std::mem::take(&mut watched.is_torn)
            }
            Some(known) => head.position > known.position,
        };
        let news = watched.news();
        drop(users);
        news.into_iter().for_each(News::tell);
        if is_behind {
            lock(&self.inner.inbox).users.insert(user.to_owned());
            self.inner.wake.notify_one();
        }
    }

    /// These users with what is known of them, to be read. Who is not watched is left out; who is not known yet, too, and
    /// is read again once the first read is back.
    pub(super) fn known(&self, names: impl IntoIterator<Item = String>) -> Vec<(String, Head)> {
        let mut users = lock(&self.inner.users);
        let known = |name: String| {
            let watched = users.watched.get_mut(name.as_str())?;
            watched.is_torn |= watched.known.is_none();
            Some((name, watched.known?))
        };
        names.into_iter().filter_map(known).collect()
    }

    /// Found by the check and not told by a notification: lost, unless one is on its way. Looked at under both locks, so
    /// that nothing that has come meanwhile is suspected.
    pub(super) fn suspect(&self, behind: &HashMap<String, Head>) {
        let users = lock(&self.inner.users);
        let mut inbox = lock(&self.inner.inbox);
        for (user, head) in behind {
            let known = users.watched.get(user.as_str()).and_then(|watched| watched.known);
            if known.is_some_and(|known| known.position < head.position) && !inbox.users.contains(user) {
                inbox.suspects.entry(user.clone()).or_insert_with(|| (Instant::now(), 0)).1 += 1;
            }
        }
    }

    /// Whether anybody is watched, and whether anybody whom no check has asked for yet.
    pub(super) fn is_watched(&self) -> (bool, bool) {
        let users = lock(&self.inner.users);
        (!users.watched.is_empty(), users.watched.values().any(|watched| watched.is_fresh && watched.known.is_some()))
    }

    /// Every watched user that is known; with `fresh`, those that no check has asked for yet, without: the others.
    pub(super) fn watched(&self, fresh: bool) -> Vec<(String, Head)> {
        let users = lock(&self.inner.users);
        let wanted = |(name, watched): (&Arc<str>, &Watched)| {
            (watched.is_fresh == fresh).then_some((name.to_string(), watched.known?))
        };
        users.watched.iter().filter_map(wanted).collect()
    }

    /// A check has asked for these.
    pub(super) fn checked(&self, names: &[(String, Head)]) {
        let mut users = lock(&self.inner.users);
        for (name, _) in names {
            if let Some(watched) = users.watched.get_mut(name.as_str()) {
                watched.is_fresh = false;
            }
        }
    }

    /// Takes in what was read of a user; true if there is more before its head. Entries that are known already are passed
    /// over; a hole before them begins the ring anew, and the subscriptions find it in the table.
    pub(super) fn extend(&self, user: &str, page: FeedPage) -> bool {
        let mut locked = lock(&self.inner.users);
        let users = &mut *locked;
        let Some((key, _)) = users.watched.get_key_value(user) else { return false };
        let key = Arc::clone(key);
        let Some(watched) = users.watched.get_mut(user) else { return false };
        let Some(was) = watched.known else { return false };
        let mut known = was;
        for entry in page.entries {
            if entry.record.position > known.position {
                known = Head::of(&entry.record);
                let entry = Arc::new(entry);
                watched.push(&entry);
                users.rings.push(&key, entry);
            }
        }
        if known == was && page.head.position > known.position {
            // Nothing to be had up to there: retention was faster, or the records are gone.
            users.rings.clear(user);
            known = page.head;
            watched.set(known);
        }
        let news = watched.news();
        drop(locked);
        news.into_iter().for_each(News::tell);
        page.head.position > known.position
    }

    /// The table went back: what is known is what it says, downwards too.
    pub(super) fn set_back(&self, user: &str, head: Head) {
        let mut users = lock(&self.inner.users);
        users.rings.clear(user);
        let news = users.watched.get_mut(user).and_then(|watched| {
            watched.set_back(head);
            watched.news()
        });
        drop(users);
        news.into_iter().for_each(News::tell);
    }

    /// Ends every subscription, once it has told what there was.
    pub(super) fn close(&self) {
        let mut users = lock(&self.inner.users);
        users.is_closed = true;
        let all: Vec<_> = users.watched.values().map(|watched| Arc::clone(&watched.standing)).collect();
        drop(users);
        for standing in all {
            standing.send_modify(|standing| standing.is_closed = true);
        }
    }

    pub(super) fn ring_after(&self, user: &str, position: i64, limit: usize) -> Option<Vec<Arc<Committed>>> {
        lock(&self.inner.users).rings.after(user, position, limit)
    }

    pub(super) fn ring_entry(&self, user: &str, position: i64) -> Option<Arc<Committed>> {
        lock(&self.inner.users).rings.at(user, position).map(Arc::clone)
    }
}
