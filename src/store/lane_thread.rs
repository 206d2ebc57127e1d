//! The thread of the lanes, with a runtime and connections of its own.
//!
//! While a lane has nothing under way `PostgreSQL` has nothing to do, so its turn must not come after those of all requests:
//! a runtime that is busy with them looks only now and then for what has come from the network, and lanes waited for that
//! half of their time (docs/adr/0008 has the figures). The system lets a thread run as soon as an answer is there for it.
//!
//! What is awaited here and not written by a lane belongs on the runtime that everything else runs on.

use std::sync::{Arc, mpsc};
use std::{io, thread};

use sea_orm::SqlxPostgresConnector;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Store;
use crate::config::CONNECTIONS_A_LANE;

/// The thread. It ends with the last clone, and what is under way there with it.
#[derive(Clone)]
pub(super) struct LaneThread {
    pub(super) runtime: Handle,
    /// Lanes that may be there: one where it is not a thread of theirs, for only on one thread does nothing come between a
    /// lane that lets its users go and what it tells of them.
    pub(super) most_lanes: usize,
    _end: Arc<DropGuard>,
}

impl LaneThread {
    /// Starts it. Where the system gives no thread, there is one lane, beside everything else.
    pub(super) fn start() -> Self {
        let end = CancellationToken::new();
        let (runtime, most_lanes) = match begin(end.clone()) {
            Ok(runtime) => (runtime, usize::MAX),
            Err(error) => {
                tracing::warn!(%error, "there is no thread for the lanes: one lane writes, beside everything else");
                (Handle::current(), 1)
            }
        };
        Self { runtime, most_lanes, _end: Arc::new(end.drop_guard()) }
    }

    /// The same store over connections of the lanes' own, which are opened here and lead where the pool leads. A connection
    /// is woken where it was opened: those of the pool would be there.
    pub(super) fn store(&self, store: &Store, lanes: usize) -> Store {
        let _here = self.runtime.enter();
        let pool = store.db.get_postgres_connection_pool();
        // None that the pool opens by itself: after an outage its pauses are long, and the lanes would have to wait for it.
        let most = u32::try_from(lanes).unwrap_or(u32::MAX).saturating_mul(CONNECTIONS_A_LANE);
        let settings = pool.options().clone().min_connections(0).max_connections(most);
        let own = store.primary.follower(pool, settings);
        let db = SqlxPostgresConnector::from_sqlx_postgres_pool(own);
        Store { db, ..store.clone() }.counting(&store.telemetry)
    }
}

/// The runtime is made, and dropped, on its thread.
fn begin(end: CancellationToken) -> io::Result<Handle> {
    let (tell, told) = mpsc::channel();
    let run = move || match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let _ = tell.send(Ok(runtime.handle().clone()));
            runtime.block_on(end.cancelled());
        }
        Err(error) => drop(tell.send(Err(error))),
    };
    thread::Builder::new().name("taskwire-lanes".to_owned()).spawn(run)?;
    told.recv().map_err(io::Error::other)?
}
