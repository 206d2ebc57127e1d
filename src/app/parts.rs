//! The parts between the database and the sockets, put together in the order in which they need each other.

use std::sync::Arc;

use sea_orm::DatabaseConnection;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authenticator;
use crate::config::{Config, GraphqlConfig};
use crate::db::Database;
use crate::feed::{self, FeedSettings, Hub};
use crate::graphql::Api;
use crate::maintenance::{self, Heart};
use crate::service::{Limits, Service, this_server};
use crate::store::{HealthState, LaneSettings, Lanes, Store, StoreSettings};
use crate::telemetry::Telemetry;

/// What a server consists of, between its database and its sockets.
#[derive(Clone)]
pub struct Parts {
    /// The verbs.
    pub service: Service,
    api: Api,
    /// Who is calling.
    authenticator: Authenticator,
    /// Single saves, on their way.
    lanes: Lanes,
    /// Ends every subscription.
    subscriptions: CancellationToken,
    /// Ends listener, check and duties.
    background: CancellationToken,
    /// Ends the watch over due reports, before.
    reports: CancellationToken,
    tracker: TaskTracker,
}

impl Parts {
    /// Puts them together over a migrated database, and starts what runs by itself.
    #[must_use]
    pub fn start(
        database: &Database,
        standbys: Vec<(DatabaseConnection, String)>,
        config: &Config,
        authenticator: Authenticator,
        telemetry: &Telemetry,
        subscriptions: CancellationToken,
    ) -> Self {
        let settings =
            StoreSettings { command_timeout: config.database.command_timeout, hold_timeout: config.write.hold_timeout };
        // The feed reads by a store that tells nobody; the one that writes tells the feed. Both know of the same standbys.
        let reader = Store::new(database.connection.clone(), settings, Arc::new(|_| {}))
            .counting(telemetry)
            .following(&database.primary)
            .reading_from(standbys, config.nodes.read_staleness);
        let beside = reader.clone();
        let backends = Arc::clone(&database.backends);
        let hub = Hub::new(
            reader,
            FeedSettings::from(&config.feed),
            telemetry.clone(),
            Arc::new(move |pid| backends.contains(pid)),
            subscriptions.clone(),
        );
        let told = hub.clone();
        let store = Store::new(database.connection.clone(), settings, Arc::new(move |entries| told.committed(entries)))
            .watched_by(hub.audience())
            .counting(telemetry)
            .following(&database.primary)
            .noting_for(&beside)
            .directly_at(database.direct.first());
        let lane_settings = LaneSettings {
            lanes: config.write.lanes,
            queue_records: config.write.queue_records,
            queue_bytes: config.write.queue_bytes,
        };
        let lanes = Lanes::start(store.clone(), lane_settings, telemetry.clone());
        let (background, tracker) = (CancellationToken::new(), TaskTracker::new());
        tracker.spawn(database.clone().follow(background.clone()));
        feed::start(&hub, database.direct.clone(), &tracker, &background);
        let heart = heart(&hub, telemetry);
        maintenance::start(&store, database, &config.retention, heart.clone(), telemetry, &tracker, &background);
        let (within, reports) = (config.task.report_within_seconds(), background.child_token());
        maintenance::watch_reports(&store, within, &tracker, &reports);
        let GraphqlConfig { max_page_size, max_batch_records, max_result_bytes, .. } = config.graphql;
        let limits = Limits::default().bodies(config.http.user_body_limit, config.http.body_limit).sizes(
            max_page_size,
            max_batch_records,
            max_result_bytes,
        );
        let service = Service::new(heart.server, store, lanes.clone(), hub, config.task.settle)
            .users_may_save(config.auth.users_may_save)
            .with_report_within(within)
            .with_batch_bytes(config.write.queue_bytes)
            .with_retention(&config.retention)
            .with_limits(limits);
        let api = Api::new(service.clone(), &config.graphql);
        Self { service, api, authenticator, lanes, subscriptions, background, reports, tracker }
    }

    /// What the schema is served over.
    #[must_use]
    pub fn api(&self) -> Api {
        self.api.clone()
    }

    /// Who tells by a token who is calling.
    #[must_use]
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// The end is near: saves that wait for somebody else's transaction wait for it no longer than can be afforded, and no
    /// report is overdue that is not accepted any more.
    pub fn hurry(&self) {
        self.reports.cancel();
        self.lanes.hurry();
    }

    /// Takes no more saves, and returns when all that were taken are settled.
    pub async fn finish_writes(&self) {
        self.lanes.close().await;
    }

    /// Ends the subscriptions, then what runs by itself.
    pub async fn end(&self) {
        self.subscriptions.cancel();
        self.background.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// What the server tells the others of itself.
fn heart(hub: &Hub, telemetry: &Telemetry) -> Heart {
    let (hub, telemetry) = (hub.clone(), telemetry.clone());
    let told = move || {
        let state = if hub.is_connected() { HealthState::Healthy } else { HealthState::Degraded };
        (state, i32::try_from(telemetry.connections.get()).unwrap_or(i32::MAX))
    };
    Heart { server: Arc::new(this_server()), told: Arc::new(told) }
}
