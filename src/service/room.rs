//! So many bytes that many share, each for as long as it holds what it was given: what batches hold together, and what the
//! variables of operations do.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted at once: a semaphore counts to 32 bits.
const PIECE: usize = 1 << 10;

/// The room that all share. Cheap to clone.
#[derive(Clone)]
pub struct Room {
    free: Arc<Semaphore>,
    pieces: u32,
}

impl Room {
    /// Of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let pieces = u32::try_from(bytes / PIECE).unwrap_or(u32::MAX).max(1);
        Self { free: Arc::new(Semaphore::new(whole(pieces).min(Semaphore::MAX_PERMITS))), pieces }
    }

    /// All of its bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        whole(self.pieces) * PIECE
    }

    /// The bytes that are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.bytes().saturating_sub(self.free.available_permits() * PIECE)
    }

    /// Takes so many, until what it gives is dropped; none where so many are not free.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let pieces = u32::try_from(bytes.div_ceil(PIECE)).ok()?;
        Arc::clone(&self.free).try_acquire_many_owned(pieces).ok()
    }
}

fn whole(pieces: u32) -> usize {
    usize::try_from(pieces).unwrap_or(usize::MAX)
}
