//! Erasing a user, for a mutation and for the command line: small steps, so that whoever else writes for the user meanwhile
//! waits no longer than for one of them.

use tokio::time::Instant;

use crate::store::{Store, StoreError};

/// Records, and then tasks, that one step removes.
const STEP: i32 = 1_000;

/// What has gone of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Records.
    pub records: i64,
    /// Tasks.
    pub tasks: i64,
    /// Time ran out before everything had gone.
    pub has_more: bool,
}

/// Removes all that is kept of a user, or as much as can be removed until then: one step at least.
pub async fn erase(store: &Store, user_id: &str, until: Instant) -> Result<Erased, StoreError> {
    let mut erased = Erased::default();
    loop {
        let step = Box::pin(store.erase_step(user_id, STEP)).await?;
        erased.records += step.records;
        erased.tasks += step.tasks;
        if step.is_done || Instant::now() >= until {
            return Ok(Erased { has_more: !step.is_done, ..erased });
        }
    }
}
