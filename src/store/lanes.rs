//! Group commit across requests: single saves wait in one queue, and a few lanes write what is waiting, each in a
//! transaction of its own. No timer: an idle lane writes at once, a busy one finds more waiting.
//!
//! - Records of one user commit in the order in which they were taken: one queue a user, taken round robin, and whose
//!   records one lane is writing no other lane takes.
//! - A further lane starts only beside one that writes little, where commits are quick, or when many are waiting: a few
//!   callers are served faster by one larger transaction. Of many users a lane takes its share, and the next lane another one.
//! - Who is held by somebody's open transaction, and still is a turn later, moves to the side (`held`) and delays only itself.
//! - A record that `PostgreSQL` refuses is found by halving and fails alone.
//! - Where no other lane writes, what has committed is read and answered while the next transaction is under way.
//! - Everything accepted is answered: [`Lanes::close`] waits for it.

use std::collections::HashSet;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::append::{Appended, Place, Placed, Wait};
use super::lane_thread::LaneThread;
use super::notifier::Notifier;
use super::pending::{Pending, Rooms};
use super::queue::Queue;
use super::record::{NewRecord, Saved};
use super::write::Kept;
use super::{Store, StoreError};
use crate::telemetry::{Telemetry, spans};

/// How many lanes there are, and how much may wait in them.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// Lanes, each with a connection of its own while it writes. Two do for two cores: three and four made no difference.
    pub lanes: usize,
    /// Records waiting in all of them together; beyond it a save is refused at once.
    pub queue_records: usize,
    /// Bytes waiting in all of them together.
    pub queue_bytes: usize,
}

impl Default for LaneSettings {
    fn default() -> Self {
        Self { lanes: 2, queue_records: 20_000, queue_bytes: 64 * 1024 * 1024 }
    }
}

/// Records that one transaction takes at most, and their bytes.
const BATCH_RECORDS: usize = 500;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// What a short wait for a held user may cost everybody else on the side.
const SHORT_WAIT: Duration = Duration::from_millis(50);
/// What a held save may still wait once the server ends, so that its caller gets an answer before that.
const LAST_HOLD: Duration = Duration::from_secs(2);
/// How often users held for longer are looked at again.
const HELD_PAUSE: Duration = Duration::from_millis(20);

/// A transaction that has committed, and whose callers do not know of it yet.
struct Written {
    piece: Vec<Pending>,
    appended: Appended,
    wait: Wait,
    took: Duration,
}

/// The lanes. Cheap to clone; without the last clone nothing is written any more.
#[derive(Clone)]
pub struct Lanes {
    inner: Arc<Inner>,
    _thread: LaneThread,
}

struct Inner {
    store: Store,
    /// The same, with the lanes' own connections.
    lane_store: Store,
    /// Where everything else runs.
    home: Handle,
    queue: Mutex<Queue>,
    /// Wakes each lane.
    arrived: Vec<Notify>,
    held_arrived: Notify,
    /// Lanes that have written all that they will: when all have, nothing more can move to the side.
    lanes_done: AtomicUsize,
    notifier: Notifier,
    settings: LaneSettings,
    rooms: Arc<Rooms>,
    telemetry: Telemetry,
    hurried: OnceLock<Instant>,
    closing: CancellationToken,
    tracker: TaskTracker,
}

impl Lanes {
    /// Starts the lanes.
    #[must_use]
    pub fn start(store: Store, settings: LaneSettings, telemetry: Telemetry) -> Self {
        let thread = LaneThread::start();
        let lanes = settings.lanes.clamp(1, thread.most_lanes);
        let inner = Arc::new(Inner {
            notifier: Notifier::start(store.clone()),
            lane_store: thread.store(&store, lanes),
            home: Handle::current(),
            store,
            queue: Mutex::default(),
            arrived: (0..lanes).map(|_| Notify::new()).collect(),
            held_arrived: Notify::new(),
            lanes_done: AtomicUsize::new(0),
            settings,
            rooms: Arc::default(),
            telemetry,
            hurried: OnceLock::new(),
            closing: CancellationToken::new(),
            tracker: TaskTracker::new(),
        });
        for lane in 0..inner.arrived.len() {
            inner.tracker.spawn_on(Arc::clone(&inner).write_free(lane), &thread.runtime);
        }
        inner.tracker.spawn(Arc::clone(&inner).write_held());
        Self { inner, _thread: thread }
    }

    /// Saves one record: settled when its transaction has committed, or it is certain that it will not. The record is
    /// written even if the caller goes away meanwhile.
    pub async fn save(&self, record: NewRecord) -> Result<Saved, StoreError> {
        let (answer, settled) = oneshot::channel();
        let inner = &self.inner;
        let Some(room) = inner.rooms.make(record.bytes(), &inner.settings) else {
            inner.telemetry.overloaded.inc();
            return Err(StoreError::Overloaded { retry_after: Duration::from_millis(500) });
        };
        let span = spans::here();
        {
            let mut queue = self.inner.lock();
            // Under the queue's lock: what is taken before the end is written before it.
            if self.inner.closing.is_cancelled() {
                return Err(StoreError::Unavailable("the server is shutting down".to_owned()));
            }
            let pending = Pending { record, since: Instant::now(), was_taken: false, span, answer, _room: room };
            if queue.push(pending) {
                self.inner.held_arrived.notify_one();
            } else {
                self.inner.wake(&queue);
            }
        }
        settled.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the save was given up".to_owned())))
    }

    /// How many saves wait or are being written, and what they hold.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        self.inner.rooms.taken()
    }

    /// The server will end: from now on nobody is held for long.
    pub fn hurry(&self) {
        let _ = self.inner.hurried.set(Instant::now());
    }

    /// Takes nothing more, and returns when all that was taken is settled.
    pub async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.arrived.iter().for_each(Notify::notify_one);
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
        self.inner.notifier.close().await;
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the lanes if there is something for a free one.
    fn wake(&self, queue: &Queue) {
        if queue.is_worth_a_lane() {
            self.arrived.iter().for_each(Notify::notify_one);
        }
    }

    /// The first lane ends when nobody is held any more either.
    fn look_for_the_end(&self) {
        if self.closing.is_cancelled() {
            self.arrived[0].notify_one();
        }
    }

    fn hold_timeout(&self) -> Duration {
        match self.hurried.get() {
            Some(since) if since.elapsed() >= LAST_HOLD => Duration::ZERO,
            _ => self.store.settings.hold_timeout,
        }
    }

    /// Writes what is waiting, batch after batch, until the lanes close and nothing is left.
    async fn write_free(self: Arc<Self>, lane: usize) {
        let mut kept = Kept::default();
        let mut written = None;
        loop {
            let mut batch = self.lock().take_free(self.arrived.len(), BATCH_RECORDS, BATCH_BYTES);
            if batch.is_empty()
                && let Some(written) = written.take()
            {
                self.finish(written);
                continue;
            }
            if batch.is_empty() {
                if self.closing.is_cancelled() && (lane > 0 || self.lock().is_empty()) {
                    self.lanes_done.fetch_add(1, Ordering::AcqRel);
                    self.held_arrived.notify_one();
                    // The first lane stays until the others have written what they took, and what is held.
                    self.arrived[0].notify_one();
                    return;
                }
                kept.rest(self.arrived[lane].notified()).await;
                continue;
            }
            for pending in &mut batch {
                if !mem::replace(&mut pending.was_taken, true) {
                    self.telemetry.commit_wait_seconds.observe(pending.since.elapsed().as_secs_f64());
                }
            }
            let users: Vec<String> = batch.iter().map(|pending| pending.record.user_id.clone()).collect();
            // First the next one is sent; while PostgreSQL is busy with it, the one before is read and its callers are answered.
            let before = written.take();
            let held;
            ((held, written), ()) = tokio::join!(
                biased;
                self.write(&self.lane_store, &mut kept, batch, Wait::Skip),
                async { before.map_or((), |written| self.finish(written)) },
            );
            let (is_side_wanted, is_alone) = {
                let mut queue = self.lock();
                let is_side_wanted = queue.settled(users, held);
                self.wake(&queue);
                (is_side_wanted, queue.is_at_rest())
            };
            if is_side_wanted {
                self.held_arrived.notify_one();
            }
            // Beside another one PostgreSQL has enough to do, and what comes meanwhile makes the next transaction larger.
            if !is_alone && let Some(written) = written.take() {
                self.finish(written);
            }
        }
    }

    /// Writes for users who were held twice. Whoever is held anew is waited for a little, all together; who is held for longer
    /// is asked for again and again, without a connection waiting for it.
    async fn write_held(self: Arc<Self>) {
        let mut next_look = Instant::now();
        loop {
            let (overdue, batch, wait) = {
                let mut queue = self.lock();
                let overdue = queue.take_overdue(self.hold_timeout());
                let is_time = Instant::now() >= next_look;
                let stuck = if is_time { queue.take_stuck(BATCH_RECORDS, BATCH_BYTES) } else { Vec::new() };
                if stuck.is_empty() {
                    (overdue, queue.take_held(BATCH_RECORDS, BATCH_BYTES), Wait::AtMost(SHORT_WAIT))
                } else {
                    (overdue, stuck, Wait::Skip)
                }
            };
            if !overdue.is_empty() {
                self.look_for_the_end();
            }
            for pending in overdue {
                let _ = pending.answer.send(Err(StoreError::Timeout));
            }
            if batch.is_empty() {
                if self.lanes_done.load(Ordering::Acquire) == self.arrived.len() && self.lock().is_empty() {
                    return;
                }
                let has_stuck = self.lock().has_stuck();
                tokio::select! {
                    () = self.held_arrived.notified() => {}
                    () = tokio::time::sleep_until(next_look.into()), if has_stuck => {}
                }
                continue;
            }
            let tried = batch.iter().map(|pending| pending.record.user_id.clone()).collect();
            let (still_held, written) = self.write(&self.store, &mut Kept::default(), batch, wait).await;
            if let Some(written) = written {
                self.finish(written);
            }
            if matches!(wait, Wait::Skip) && !still_held.is_empty() {
                next_look = Instant::now() + HELD_PAUSE;
            }
            let mut queue = self.lock();
            queue.put_back(tried, still_held);
            self.wake(&queue);
            drop(queue);
            self.look_for_the_end();
        }
    }

    /// Writes a batch; gives back those whose users are held, and what has been written but not answered yet: as mostly
    /// everything, where nobody is held and nothing was refused. The callers of all else know already.
    async fn write(
        &self,
        store: &Store,
        kept: &mut Kept,
        batch: Vec<Pending>,
        wait: Wait,
    ) -> (Vec<Pending>, Option<Written>) {
        let mut held = Vec::new();
        // Pieces still to be written, the next one last.
        let mut pieces = vec![batch];
        while let Some(piece) = pieces.pop() {
            let (piece, behind) = keep_order(piece, &held);
            held.extend(behind);
            if piece.is_empty() {
                continue;
            }
            let records: Vec<&NewRecord> = piece.iter().map(|pending| &pending.record).collect();
            let begun = Instant::now();
            let span = spans::commit(piece.iter().map(|pending| &pending.span), piece.len());
            let appended = store.append_until_known(kept, &records, wait).instrument(span).await;
            let took = begun.elapsed();
            let placed = match appended {
                Ok(appended) if pieces.is_empty() && appended.is_whole(piece.len()) => {
                    return (held, Some(Written { piece, appended, wait, took }));
                }
                Ok(appended) => {
                    // Should all of this have been one poll, the transaction before is still to be told of, and comes first.
                    tokio::task::yield_now().await;
                    appended.read(&records)
                }
                Err(error) => Err(error),
            };
            match placed {
                Ok(placed) if placed.iter().any(|placed| matches!(placed, Placed::Conflict)) => {
                    pieces.push(refuse_conflicts(piece, &placed));
                }
                Ok(placed) => held.extend(self.settle(piece, placed, wait, took)),
                // A short wait that was not enough: nothing is written, all go on waiting.
                Err(StoreError::Timeout) if matches!(wait, Wait::AtMost(_)) => held.extend(piece),
                Err(StoreError::Unstorable { .. }) if piece.len() > 1 => {
                    let (first, second) = halve(piece);
                    pieces.push(second);
                    pieces.push(first);
                }
                Err(error) => self.fail(piece, &error),
            }
        }
        (held, None)
    }

    /// Answers the callers of what has been written.
    fn finish(&self, written: Written) {
        let Written { piece, appended, wait, took } = written;
        let records: Vec<&NewRecord> = piece.iter().map(|pending| &pending.record).collect();
        match appended.read(&records) {
            Ok(placed) => drop(self.settle(piece, placed, wait, took)),
            Err(error) => self.fail(piece, &error),
        }
    }

    /// Tells of a transaction, and answers its callers; gives back those whose users are held.
    fn settle(&self, piece: Vec<Pending>, placed: Vec<Placed>, wait: Wait, took: Duration) -> Vec<Pending> {
        // Without a record there is no flush, and who waits for others says nothing of the database.
        if matches!(wait, Wait::Skip) && placed.iter().any(|placed| matches!(placed, Placed::Saved(_))) {
            self.lock().committed(placed.len(), took);
        }
        self.store.tell(&placed);
        self.notifier.tell(placed.iter().filter_map(Placed::user));
        self.count(&placed, took);
        self.answer(piece, placed)
    }

    fn fail(&self, piece: Vec<Pending>, error: &StoreError) {
        // It may have committed all the same.
        if matches!(error, StoreError::Timeout | StoreError::Unavailable(_)) {
            self.notifier.tell(piece.iter().map(|pending| pending.record.user_id.as_str()));
        }
        for pending in piece {
            let _ = pending.answer.send(Err(for_each(error)));
        }
    }

    fn answer(&self, piece: Vec<Pending>, placed: Vec<Placed>) -> Vec<Pending> {
        let mut held = Vec::new();
        let (mut known, mut askers) = (Vec::new(), Vec::new());
        for (pending, placed) in piece.into_iter().zip(placed) {
            match placed {
                Placed::Saved(saved) => drop(pending.answer.send(Ok(*saved))),
                Placed::Duplicate(place) => {
                    known.push(place);
                    askers.push(pending);
                }
                // Written unseen is nobody here: saved again, it would be found.
                Placed::Held | Placed::Conflict | Placed::Written(..) => held.push(pending),
            }
        }
        if !askers.is_empty() {
            // Beside the requests: the lane goes on meanwhile.
            self.tracker.spawn_on(answer_known(self.store.clone(), known, askers), &self.home);
        }
        held
    }

    fn count(&self, placed: &[Placed], took: Duration) {
        self.telemetry.commits.inc();
        self.telemetry.commit_records.observe_many(placed.len());
        self.telemetry.commit_seconds.observe(took.as_secs_f64());
    }
}

/// Answers those whose records were there before.
async fn answer_known(store: Store, known: Vec<Place>, askers: Vec<Pending>) {
    match store.duplicates(&known).await {
        Ok(saved) => {
            for (pending, saved) in askers.into_iter().zip(saved) {
                let gone = || StoreError::Unavailable("the first record has just been removed".to_owned());
                let _ = pending.answer.send(saved.ok_or_else(gone));
            }
        }
        Err(error) => {
            for pending in askers {
                let _ = pending.answer.send(Err(for_each(&error)));
            }
        }
    }
}

/// Answers the records whose ids stand for others, and returns the rest: nothing was written yet.
fn refuse_conflicts(piece: Vec<Pending>, placed: &[Placed]) -> Vec<Pending> {
    let mut rest = Vec::with_capacity(piece.len());
    for (pending, placed) in piece.into_iter().zip(placed) {
        if matches!(placed, Placed::Conflict) {
            let _ = pending.answer.send(Err(StoreError::Conflict { index: 0 }));
        } else {
            rest.push(pending);
        }
    }
    rest
}

/// Divides a piece into what may be written now and what stays behind a record of the same user that was held in a
/// piece before: a user may have been released since.
fn keep_order(piece: Vec<Pending>, held: &[Pending]) -> (Vec<Pending>, Vec<Pending>) {
    let users: HashSet<&str> = held.iter().map(|pending| pending.record.user_id.as_str()).collect();
    piece.into_iter().partition(|pending| !users.contains(pending.record.user_id.as_str()))
}

fn halve(mut piece: Vec<Pending>) -> (Vec<Pending>, Vec<Pending>) {
    let second = piece.split_off(piece.len() / 2);
    (piece, second)
}

/// The same failure for one more caller, who has one record.
fn for_each(error: &StoreError) -> StoreError {
    match error {
        StoreError::Unstorable { message, .. } => StoreError::Unstorable { index: Some(0), message: message.clone() },
        other => other.clone(),
    }
}
