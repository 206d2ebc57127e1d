//! Stores, lanes and records for tests of writing and reading.

use std::sync::Arc;
use std::time::Duration;

use entity::TaskStatus;
use taskwire::db::Database;
use taskwire::feed::{FeedSettings, Hub};
use taskwire::service::{Service, this_server};
use taskwire::store::{LaneSettings, Lanes, NewRecord, Store, StoreSettings};
use taskwire::telemetry::Telemetry;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::TestDatabase;

/// A store that tells nobody.
pub(crate) fn store_of(database: &TestDatabase) -> Store {
    store_with(database, StoreSettings::default())
}

/// The same over a pool of its own.
pub(crate) fn store_over(pool: &Database) -> Store {
    Store::new(pool.connection.clone(), StoreSettings::default(), Arc::new(|_| ()))
}

pub(crate) fn store_with(database: &TestDatabase, settings: StoreSettings) -> Store {
    Store::new(database.database.connection.clone(), settings, Arc::new(|_| ()))
}

/// Lanes over a store of their own, as a server has them.
pub(crate) fn lanes_of(database: &TestDatabase) -> Lanes {
    Lanes::start(store_of(database), LaneSettings::default(), Telemetry::new())
}

/// A report of a running step, with an id of its own.
pub(crate) fn record(user_id: &str, task_id: &str, step: i32) -> NewRecord {
    record_of(user_id, task_id, step, TaskStatus::Running)
}

pub(crate) fn record_of(user_id: &str, task_id: &str, step: i32, status: TaskStatus) -> NewRecord {
    let result = serde_json::json!({
        "step": "s", "result": null, "completed": status == TaskStatus::Completed, "message": "",
        "status": status.as_str(), "error_code": null, "error_message": null,
    });
    NewRecord {
        user_id: user_id.to_owned(),
        task_id: task_id.to_owned(),
        step,
        status,
        result: result.to_string(),
        step_name: "s".to_owned(),
        message: String::new(),
        error_code: String::new(),
        progress: None,
        timestamp: None,
        record_id: Uuid::now_v7(),
        reported_by: None,
        details: None,
    }
}

/// The service as a server has it, but for the feed's listener.
pub(crate) fn service_of(database: &TestDatabase) -> Service {
    let store = store_of(database);
    let lanes = Lanes::start(store.clone(), LaneSettings::default(), Telemetry::new());
    let hub = Hub::new(
        store.clone(),
        FeedSettings::default(),
        Telemetry::new(),
        Arc::new(|_| false),
        CancellationToken::new(),
    );
    Service::new(Arc::new(this_server()), store, lanes, hub, Duration::from_mins(5))
}
