//! Divides the partition that is open above while it is still empty, at start-up and hourly: never inside an append, which
//! would deadlock with other writers.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::PartitionBy;
use crate::store::{Store, StoreError, Width};

/// How often it is looked at.
const EVERY: Duration = Duration::from_hours(1);
/// When to try again where somebody held the table: there are weeks of time.
const AFTER_FAILURE: Duration = Duration::from_secs(15);

/// How much time a partition spans, and how many there are before they begin.
fn ahead(by: PartitionBy) -> (Width, u32) {
    match by {
        PartitionBy::Day => (Width::Day, 7),
        PartitionBy::Week => (Width::Week, 4),
        PartitionBy::Month => (Width::Month, 2),
    }
}

pub(super) async fn run(store: Store, by: PartitionBy, token: CancellationToken) {
    let (width, ahead) = ahead(by);
    loop {
        let pause = match store.divide_partitions_by(width, ahead).await {
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
