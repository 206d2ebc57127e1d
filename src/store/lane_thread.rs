//! The thread of the lanes, with a runtime and connections of its own.
//!
//! While a lane has nothing under way `PostgreSQL` has nothing to do, so its turn must not come after those of all requests:
//! a runtime that is busy with them looks only now and then for what has come from the network, and lanes waited for that
//! half of their time (docs/adr/0008 has the figures). The system lets a thread run as soon as an answer is there for it.
//!
//! What is awaited here and not written by a lane belongs on the runtime that everything else runs on.

use std::sync::Arc;
use std::thread;

use sea_orm::SqlxPostgresConnector;
use sqlx::PgPool;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Store;
use super::write::close_idle;

/// The thread. It ends with the last clone, and what is under way there with it.
#[derive(Clone)]
pub(super) struct LaneThread {
    pub(super) runtime: Handle,
    _end: Arc<DropGuard>,
}

impl LaneThread {
    /// Starts it. Where the system gives no thread, the lanes run beside everything else.
    pub(super) fn start() -> Self {
        let end = CancellationToken::new();
        let runtime = begin(end.clone()).unwrap_or_else(|error| {
            tracing::warn!(%error, "the lanes have no thread of their own, and write less at a time");
            Handle::current()
        });
        Self { runtime, _end: Arc::new(end.drop_guard()) }
    }

    /// The same store over one connection for each lane, which are opened here and lead where the pool leads. A connection is
    /// woken where it was opened: those of the pool would be there.
    pub(super) fn store(&self, store: &Store, lanes: usize) -> Store {
        let _here = self.runtime.enter();
        let pool = store.db.get_postgres_connection_pool();
        let lanes = u32::try_from(lanes).unwrap_or(u32::MAX);
        let options = pool.options().clone().min_connections(lanes).max_connections(lanes);
        let own = options.connect_lazy_with((*pool.connect_options()).clone());
        self.runtime.spawn(follow(store.clone(), own.clone()));
        let db = SqlxPostgresConnector::from_sqlx_postgres_pool(own);
        Store { db, ..store.clone() }.counting(&store.telemetry)
    }

    /// Closes the connections of that store.
    pub(super) async fn close(&self, store: &Store) {
        let pool = store.db.get_postgres_connection_pool().clone();
        // Fails where the thread has ended, and they with it.
        let _ = self.runtime.spawn(async move { pool.close().await }).await;
    }
}

fn begin(end: CancellationToken) -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let thread = thread::Builder::new().name("taskwire-lanes".to_owned());
    thread.spawn(move || runtime.block_on(end.cancelled()))?;
    Ok(handle)
}

/// Points these connections at the primary whenever the pool is.
async fn follow(store: Store, own: PgPool) {
    let mut moves = store.moves();
    while moves.changed().await.is_ok() {
        own.set_connect_options((*store.db.get_postgres_connection_pool().connect_options()).clone());
        close_idle(&own);
    }
}
