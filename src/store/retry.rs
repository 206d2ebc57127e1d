//! What is tried again, and how often. Every write carries its `record_id`, and every attempt checks for duplicates, so
//! repeating one whose answer was lost changes nothing.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::append::{Appended, States, Terms, Wait};
use super::record::NewRecord;
use super::write::Kept;
use super::{Store, StoreError, error};
use crate::db::Call;
use crate::telemetry::spans;

/// The attempts of one write: about four seconds in all, and one alone in an outage that has lasted as long.
pub(super) struct Attempts {
    pauses: ExponentialBackoff,
    begun: Instant,
    /// False once the queue for notifications was found full.
    pub(super) notify: bool,
    stale_plans: u32,
}

/// How often a stale plan is met: the connection is closed each time, and so are those that wait in the pool, but one that
/// was in use meanwhile may come next.
const STALE_PLANS: u32 = 3;

impl Attempts {
    pub(super) fn new() -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(20))
            .with_max_delay(Duration::from_secs(1))
            .with_factor(2.0)
            .with_max_times(9)
            .with_jitter()
            .build();
        Self { pauses, begun: Instant::now(), notify: true, stale_plans: 0 }
    }

    /// Returns when the write may be tried again; or gives the error back where that makes no sense any more.
    pub(super) async fn after(&mut self, store: &Store, error: StoreError) -> Result<(), StoreError> {
        match &error {
            StoreError::Unavailable(reason) => {
                store.doubt();
                store.weed();
                let pause = if store.outage.lasts(self.begun) { None } else { self.pauses.next() };
                let Some(pause) = pause else { return Err(error) };
                tracing::debug!(reason, ?pause, "a write is tried again");
                tokio::time::sleep(pause).await;
            }
            StoreError::Unstorable { message, .. } if self.notify && error::is_full_queue(message) => {
                tracing::error!(
                    "PostgreSQL's queue for notifications is full: some listener stands still. Writing without notifying; \
                     feeds see it by their periodic check."
                );
                self.notify = false;
            }
            StoreError::Database(inner) if self.stale_plans < STALE_PLANS && error::is_stale_plan(inner) => {
                self.stale_plans += 1;
            }
            _ => return Err(error),
        }
        Ok(())
    }
}

impl Store {
    /// Bounds a call to the database, and gives it up where the database is away; the outcome is unknown then.
    pub(super) async fn within_time<F: Future>(&self, call: F) -> Result<F::Output, StoreError> {
        let calling = self.calling();
        let mut call = std::pin::pin!(call.instrument(spans::database()));
        // Dropped before the call is: the pool looks at the connection as soon as that has let it go.
        let way = Call::begin();
        let done = tokio::select! {
            done = tokio::time::timeout(self.settings.command_timeout, &mut call) => done.map_err(|_| StoreError::Timeout),
            reason = self.outage.found(self.db.get_postgres_connection_pool()) => {
                self.doubt();
                Err(StoreError::Unavailable(reason))
            }
        };
        if done.is_ok() {
            way.end();
            calling.answered();
        }
        done
    }

    /// Reads by SQL of our own.
    pub(super) async fn query_all(
        &self,
        sql: &str,
        values: Vec<sea_orm::Value>,
    ) -> Result<Vec<QueryResult>, StoreError> {
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        Ok(self.within_time(self.db.query_all_raw(statement)).await??)
    }

    /// Appends, and appends again where the answer was lost or the server was going away. Nobody is notified.
    pub(super) async fn append_until_known(
        &self,
        kept: &mut Kept,
        records: &[&NewRecord],
        wait: Wait,
    ) -> Result<Appended, StoreError> {
        let mut attempts = Attempts::new();
        loop {
            let terms = Terms { wait, notify: false, states: States::Each };
            match self.append(kept, records, terms).await {
                Err(error) => attempts.after(self, error).await?,
                appended => return appended,
            }
        }
    }
}
