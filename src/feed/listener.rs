//! The one connection to a node that hears notifications. It does nothing but mark who has news: reading is `check`'s.
//!
//! Whatever goes wrong, a new listener is built, and everything sent meanwhile counts as lost. It is tried every few
//! seconds, because a connection whose other end has silently gone says nothing.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification, PgPoolOptions};
use tokio_util::sync::CancellationToken;

use super::error::Backoff;
use super::hub::Hub;
use crate::json;
use crate::store::Hosts;

/// Users that have news, as a JSON array.
const FEED: &str = "taskwire_feed";
/// What every server must do, found sooner than by the check.
const CONTROL: &str = "taskwire_control";
/// How long building a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Listens until the token ends it.
pub(super) async fn run(hub: Hub, node: Hosts, token: CancellationToken) {
    let mut backoff = Backoff::new();
    let mut moves = hub.inner.store.moves();
    loop {
        let lost = tokio::select! {
            () = token.cancelled() => return,
            lost = session(&hub, &node, &mut backoff) => lost,
        };
        // The first to notice that a primary is gone.
        hub.inner.store.doubt();
        hub.inner.telemetry.listener_reconnects.inc();
        let wait = backoff.wait();
        tracing::warn!(error = %lost, ?wait, "the feed's listener lost its connection; it builds a new one");
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            // Never an error: the store has the other end.
            _ = moves.changed() => {}
        }
    }
}

/// Why a session ended: always something.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("the connection was lost")]
    Connection,
    #[error("the database did not answer in time")]
    Silent,
    #[error("another host is the primary now")]
    Moved,
}

async fn session(hub: &Hub, node: &Hosts, backoff: &mut Backoff) -> Lost {
    match listen(hub, node, backoff).await {
        Ok(never) => match never {},
        Err(lost) => lost,
    }
}

async fn listen(hub: &Hub, node: &Hosts, backoff: &mut Backoff) -> Result<std::convert::Infallible, Lost> {
    let mut moves = hub.inner.store.moves();
    let connect = async {
        let options = node.located().await?.clone();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(options)
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        // We build a new one ourselves, at our own pace.
        listener.eager_reconnect(false);
        listener.listen_all([FEED, CONTROL]).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    let mut listener = tokio::select! {
        connected = tokio::time::timeout(CONNECT, connect) => connected.map_err(|_| Lost::Silent)??,
        _ = moves.changed() => return Err(Lost::Moved),
    };
    backoff.reset();
    // Whatever ended the last session may have ended those of the pool.
    hub.inner.store.weed();
    let _connected = hub.connected();
    hub.renewed();

    let settings = &hub.inner.settings;
    let mut ping = tokio::time::interval(settings.ping_interval);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ping.tick().await;
    loop {
        tokio::select! {
            received = listener.try_recv() => match received? {
                Some(notification) => hear(hub, &notification),
                None => return Err(Lost::Connection),
            },
            // Never an error: the store has the other end.
            _ = moves.changed() => return Err(Lost::Moved),
            _ = ping.tick() => {
                let answer = sqlx::query("SELECT 1").execute(&mut listener);
                tokio::time::timeout(settings.io_timeout, answer).await.map_err(|_| Lost::Silent)??;
            }
        }
    }
}

fn hear(hub: &Hub, notification: &PgNotification) {
    if notification.channel() == CONTROL {
        // Erasing a user sends {"erased": …}; whatever else comes hints at somebody who was disconnected.
        let told = json::read(notification.payload()).ok();
        match told.as_ref().and_then(|told| told.get("erased")?.as_str()) {
            Some(user) => hub.erased(user),
            None => hub.control_notified(),
        }
        return;
    }
    match serde_json::from_str::<Vec<String>>(notification.payload()) {
        Ok(users) => hub.notified(notification.process_id(), &users),
        // Anybody may NOTIFY: a hint that cannot be read hints at nothing.
        Err(error) => tracing::debug!(%error, "a notification that is no list of users"),
    }
}
