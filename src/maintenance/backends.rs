//! Forgets which backends were our pool's once they have ended: their process numbers may go to somebody else, whose
//! notifications must not be taken for our own.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::db::Database;

const EVERY: Duration = Duration::from_secs(30);

pub(super) async fn run(database: Database, token: CancellationToken) {
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = database.backends.prune(&database.connection).await {
            tracing::debug!(%error, "ended backends not looked up");
        }
    }
}
