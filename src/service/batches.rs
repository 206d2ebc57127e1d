//! What the batches that are being saved may hold together. They go beside the lanes, whose queues have a bound of their own;
//! beyond this one a batch is refused at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ServiceError;
use crate::store::NewRecord;

/// What is counted at once: a semaphore counts to 32 bits.
const PIECE: usize = 1 << 10;
const DEFAULT_BYTES: usize = 64 << 20;
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The room that all batches share. Cheap to clone.
#[derive(Clone)]
pub(super) struct Batches {
    room: Arc<Semaphore>,
    pieces: u32,
}

impl Default for Batches {
    fn default() -> Self {
        Self::new(DEFAULT_BYTES)
    }
}

impl Batches {
    pub(super) fn new(bytes: usize) -> Self {
        let pieces = u32::try_from(bytes / PIECE).unwrap_or(u32::MAX).max(1);
        let room = usize::try_from(pieces).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(room)), pieces }
    }

    /// Takes room for a batch, until what it gives is dropped. One that is larger than all of it has it alone.
    pub(super) fn take(&self, records: &[NewRecord]) -> Result<OwnedSemaphorePermit, ServiceError> {
        let bytes: usize = records.iter().map(NewRecord::bytes).sum();
        let pieces = u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX).min(self.pieces);
        let taken = Arc::clone(&self.room).try_acquire_many_owned(pieces);
        taken.map_err(|_| ServiceError::overloaded(RETRY_AFTER))
    }
}
