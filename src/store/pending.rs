//! A save that waits for the lanes, and its share of what may wait in all of them together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::Span;

use super::StoreError;
use super::lanes::LaneSettings;
use super::record::{NewRecord, Saved};

pub(super) struct Pending {
    pub(super) record: NewRecord,
    pub(super) since: Instant,
    /// By a lane, at least once.
    pub(super) was_taken: bool,
    pub(super) span: Span,
    pub(super) answer: oneshot::Sender<Result<Saved, StoreError>>,
    // Given back when the save is settled, however that happens.
    pub(super) _room: Room,
}

/// What waits in all lanes together.
#[derive(Default)]
pub(super) struct Rooms {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// One record's share of it.
pub(super) struct Room {
    rooms: Arc<Rooms>,
    bytes: usize,
}

impl Rooms {
    /// None where as much waits as may.
    pub(super) fn make(self: &Arc<Self>, bytes: usize, most: &LaneSettings) -> Option<Room> {
        let records = self.records.fetch_add(1, Ordering::Relaxed) + 1;
        let all_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let room = Room { rooms: Arc::clone(self), bytes };
        (records <= most.queue_records && all_bytes <= most.queue_bytes).then_some(room)
    }

    /// Records and their bytes.
    pub(super) fn taken(&self) -> (usize, usize) {
        (self.records.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.rooms.records.fetch_sub(1, Ordering::Relaxed);
        self.rooms.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Pending {
    /// One that nobody waits for.
    #[cfg(test)]
    pub(super) fn of_user(user_id: &str) -> Self {
        let room = Arc::<Rooms>::default().make(0, &LaneSettings::default()).expect("nothing waits there");
        let record = NewRecord::of(user_id, "t", uuid::Uuid::nil());
        let answer = oneshot::channel().0;
        Self { record, since: Instant::now(), was_taken: false, span: Span::none(), answer, _room: room }
    }

    pub(super) fn is_overdue(&self, after: Duration) -> bool {
        self.since.elapsed() >= after
    }
}
