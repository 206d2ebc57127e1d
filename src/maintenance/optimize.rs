//! Looking after the tables: fresh statistics, and indexes built anew beside the old ones.
//!
//! One at a time and not beside a cleanup. Where time runs out, the next call goes on with what was not done.

use std::time::Duration;

use tokio::time::Instant;

use super::cleanup::waits_for;
use crate::store::{Blocker, Lease, Store, StoreError};

/// How long somebody's open transaction is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// What was looked after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Optimized {
    /// Tables with fresh statistics.
    pub analyzed: Vec<String>,
    /// Indexes that were built anew.
    pub reindexed: Vec<String>,
    /// Time ran out, or somebody held something for too long.
    pub has_more: bool,
}

/// Does it, until then at the most.
pub async fn optimize(store: &Store, holder: &str, reindex: bool, until: Instant) -> Result<Optimized, StoreError> {
    let mut done = Optimized::default();
    let Some(mut lease) = Lease::wait_for(store, holder, until).await? else {
        return Ok(Optimized { has_more: true, ..done });
    };
    let result = async {
        if reindex {
            rebuild(store, &mut lease, until, &mut done).await?;
        }
        analyze(store, &mut lease, until, &mut done).await
    }
    .await;
    lease.release().await;
    result.map(|()| done)
}

async fn analyze(store: &Store, lease: &mut Lease, until: Instant, done: &mut Optimized) -> Result<(), StoreError> {
    for table in store.analyzable().await? {
        if Instant::now() >= until {
            done.has_more = true;
            break;
        }
        match lease.analyze(&table).await {
            Ok(()) => done.analyzed.push(table.name),
            // Autovacuum, most likely, which does the same.
            Err(StoreError::Timeout) => done.has_more = true,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn rebuild(store: &Store, lease: &mut Lease, until: Instant, done: &mut Optimized) -> Result<(), StoreError> {
    if let Err(blockers) = lease.drop_unfinished_indexes(PATIENCE, until).await? {
        give_way(done, &blockers);
        return Ok(());
    }
    for index in store.reindexable().await? {
        if Instant::now() >= until {
            done.has_more = true;
            return Ok(());
        }
        match lease.reindex(&index, PATIENCE, until).await? {
            Ok(()) => done.reindexed.push(index.name),
            Err(blockers) => {
                give_way(done, &blockers);
                return Ok(());
            }
        }
    }
    lease.reindexed_all().await
}

fn give_way(done: &mut Optimized, blockers: &[Blocker]) {
    tracing::warn!(held = waits_for(blockers), "not all indexes can be built anew now; call again");
    done.has_more = true;
}
