//! Divides the partition that is open above while it is still empty, at start-up and hourly: never inside an append, which
//! would deadlock with other writers.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError};

/// Weeks that have a partition before they begin.
const WEEKS_AHEAD: u32 = 4;
/// How often it is looked at.
const EVERY: Duration = Duration::from_hours(1);
/// When to try again where somebody held the table: there are weeks of time.
const AFTER_FAILURE: Duration = Duration::from_secs(15);

pub(super) async fn run(store: Store, token: CancellationToken) {
    loop {
        let pause = match store.divide_partitions(WEEKS_AHEAD).await {
            Ok(0) => EVERY,
            Ok(made) => {
                tracing::info!(made, "partitions made ahead");
                EVERY
            }
            Err(StoreError::Timeout) => {
                tracing::debug!("somebody holds task_record: partitions are made later");
                AFTER_FAILURE
            }
            Err(error) => {
                tracing::warn!(%error, "no partitions made; tried again");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
