//! Calls that nobody waits for any more. sqlx keeps the connection of such a call and waits for its end before it lends
//! the connection again; `PostgreSQL` works on for nobody. So a connection that comes back busy is closed, and
//! `PostgreSQL`, told to look whether its client is still there, ends the statement.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};

/// For so long after a call was left, connections that come back are looked at.
const LATELY: Duration = Duration::from_secs(1);
/// A connection that takes longer to say that it is there is busy.
const ANSWER: Duration = Duration::from_millis(100);
/// How often `PostgreSQL` looks whether the client of a running statement is still there. (Not every platform can.)
const LOOK: &str = "SET client_connection_check_interval = '500ms'";

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
/// When a call was left last, in milliseconds from the beginning. It only says when to look, so one will do for all
/// pools of the process.
static LEFT: AtomicU64 = AtomicU64::new(0);

/// A call on its way: dropped before it has [ended](Self::end), it was left.
#[derive(Debug)]
pub struct Call {
    is_over: bool,
}

impl Call {
    /// Make it after the call's future and drop it before that.
    #[must_use]
    pub fn begin() -> Self {
        Self { is_over: false }
    }

    /// It has been answered.
    pub fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_over {
            LEFT.store(now().max(1), Ordering::Release);
        }
    }
}

/// Tells a new session to look after its client.
pub(super) async fn prepare(connection: &mut PgConnection) {
    if let Err(error) = sqlx::raw_sql(LOOK).execute(connection).await {
        tracing::debug!(%error, "statements that nobody waits for end by their time-out alone");
    }
}

/// Whether a connection that comes back can be lent again.
pub(super) async fn is_free(connection: &mut PgConnection) -> bool {
    let left = LEFT.load(Ordering::Acquire);
    if left == 0 || now().saturating_sub(left) > u64::try_from(LATELY.as_millis()).unwrap_or(u64::MAX) {
        return true;
    }
    matches!(tokio::time::timeout(ANSWER, connection.ping()).await, Ok(Ok(())))
}

fn now() -> u64 {
    u64::try_from(BEGIN.elapsed().as_millis()).unwrap_or(u64::MAX)
}
