//! Looks how far the standbys are that lists and histories are read from: one that is too far behind is not asked.

use tokio_util::sync::CancellationToken;

use crate::store::Store;

pub(super) async fn run(store: Store, token: CancellationToken) {
    while let Some(Some(pause)) = token.run_until_cancelled(store.look_at_standbys()).await {
        if token.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}
