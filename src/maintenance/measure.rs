//! Looks how large the tables have become, for the metrics: who asks for those is answered at once, also where the database is
//! away.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::Store;

const EVERY: Duration = Duration::from_secs(30);

pub(super) async fn run(store: Store, token: CancellationToken) {
    while let Some(measured) = token.run_until_cancelled(store.measure()).await {
        if let Err(error) = measured {
            tracing::debug!(%error, "the tables were not measured");
        }
        if token.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}
