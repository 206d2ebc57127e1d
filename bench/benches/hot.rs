//! The pure parts that every request or event passes, each by itself: `cargo bench -p bench`. Against a change of one of
//! them; what the whole comes to says `bench table`.

use std::error::Error;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_graphql::Request;
use criterion::{BatchSize, Criterion};
use entity::TaskStatus;
use serde_json::json;
use taskwire::config::{Config, DataDirConfig, GraphqlConfig};
use taskwire::db::{self, Cluster, ClusterOptions};
use taskwire::feed::{FeedCursor, FeedSettings, Hub, Watch};
use taskwire::graphql::Api;
use taskwire::service::{Service, StoredStepResult, this_server};
use taskwire::store::{Committed, Head, LaneSettings, Lanes, NewRecord, Store, StoreSettings};
use taskwire::telemetry::Telemetry;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const SAVE: &str = "mutation($i:SaveTaskHistoryInput!){saveTaskHistory(input:$i){record{position} task{status}}}";
/// Watched users, and how many of them a commit is of.
const WATCHED: usize = 1_000;
const WRITTEN: usize = 100;

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    cursors(&mut criterion);
    payloads(&mut criterion)?;
    let parts = runtime.block_on(Parts::start())?;
    documents(&mut criterion, &parts);
    hub(&mut criterion, &runtime, &parts)?;
    criterion.final_summary();
    let Parts { cluster, .. } = parts;
    runtime.block_on(cluster.stop());
    Ok(())
}

fn cursors(criterion: &mut Criterion) {
    let head = Head { position: 4_711, recorded_at: chrono::Utc::now(), record_id: Uuid::now_v7() };
    let text = FeedCursor::new("user_42", &head).to_string();
    criterion.bench_function("cursor: written", |bencher| {
        bencher.iter(|| FeedCursor::new(black_box("user_42"), black_box(&head)).to_string());
    });
    criterion.bench_function("cursor: read, and held against its user and record", |bencher| {
        bencher.iter(|| {
            let cursor = black_box(&text).parse::<FeedCursor>();
            cursor.is_ok_and(|cursor| cursor.is_of("user_42") && cursor.stands_on(&head))
        });
    });
}

fn payloads(criterion: &mut Criterion) -> Result<()> {
    let users: Vec<String> = (0..WRITTEN).map(|number| format!("user_{number}")).collect();
    let notification = serde_json::to_string(&users)?;
    criterion.bench_function("payload: a notification of 100 users", |bencher| {
        bencher.iter(|| serde_json::from_str::<Vec<String>>(black_box(&notification)));
    });
    let stored = step_result();
    criterion.bench_function("payload: a stored step result of 240 bytes", |bencher| {
        bencher.iter(|| StoredStepResult::parse(black_box(&stored)));
    });
    Ok(())
}

fn documents(criterion: &mut Criterion, parts: &Parts) {
    let request = Request::new(SAVE);
    let keeps = Api::new(parts.service.clone(), &GraphqlConfig::default());
    let forgets = Api::new(parts.service.clone(), &GraphqlConfig { document_cache: 0, ..GraphqlConfig::default() });
    for (name, api) in [("document: kept", keeps), ("document: read and measured anew", forgets)] {
        criterion.bench_function(name, |bencher| bencher.iter(|| api.operation_type(black_box(&request))));
    }
}

fn hub(criterion: &mut Criterion, runtime: &tokio::runtime::Runtime, parts: &Parts) -> Result<()> {
    let watch_all = async {
        let mut watches: Vec<Watch> = Vec::new();
        for user in 0..WATCHED {
            watches.push(parts.hub.watch(&format!("watched_{user}")).await?);
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(watches)
    };
    let _watches = runtime.block_on(watch_all)?;
    let mut position = 0;
    // Each the next of its user: what does not continue the ring is not taken into it.
    let mut next = |prefix: &str| -> Vec<Committed> {
        position += 1;
        let entry = |user: usize| {
            let (mut record, mut task) =
                (parts.committed.record.as_ref().clone(), parts.committed.task.as_ref().clone());
            record.user_id = format!("{prefix}_{user}");
            task.user_id.clone_from(&record.user_id);
            (record.position, task.position) = (position, position);
            Committed { record: Arc::new(record), task: Arc::new(task) }
        };
        (0..WRITTEN).map(entry).collect()
    };
    for (name, prefix) in [
        ("hub: a commit of 100 users who are watched", "watched"),
        ("hub: a commit of 100 users whom nobody watches", "unwatched"),
    ] {
        criterion.bench_function(name, |bencher| {
            bencher.iter_batched(|| next(prefix), |entries| parts.hub.committed(entries), BatchSize::SmallInput);
        });
    }
    Ok(())
}

/// A store over a cluster of its own, what was committed through it, and a hub and a service over it.
struct Parts {
    cluster: Cluster,
    service: Service,
    hub: Hub,
    /// A record, to be copied.
    committed: Committed,
    _folder: tempfile::TempDir,
}

impl Parts {
    async fn start() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::Builder::new().prefix("taskwire-hot-").tempdir_in("/tmp")?;
        // As root, PostgreSQL runs as another user, who has to walk through it.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let place = DataDirConfig { path: folder.path().join("data"), chosen: true };
        let cluster = Cluster::start(ClusterOptions::new(place)).await?;
        let (config, url) = (Config::default(), cluster.url(cluster.database()));
        db::migrate(&db::connect_options(&url, "embedded")?, "embedded").await?;
        let database = db::connect(&config.database, &url, "embedded").await?;

        let taken = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&taken);
        let on_commit =
            move |entries: Vec<Committed>| told.lock().map(|mut taken| taken.extend(entries)).unwrap_or_default();
        let store = Store::new(database.connection.clone(), StoreSettings::default(), Arc::new(on_commit));
        let lanes = Lanes::start(store.clone(), LaneSettings::default(), Telemetry::new());
        lanes.save(record()).await?;
        let committed = taken.lock().map_err(|_| "a panic")?.pop().ok_or("nothing was committed")?;
        let (settings, never) = (FeedSettings::default(), CancellationToken::new());
        let hub = Hub::new(store.clone(), settings, Telemetry::new(), Arc::new(|_| false), never);
        let service = Service::new(Arc::new(this_server()), store, lanes, hub.clone(), Duration::from_mins(5));
        Ok(Self { cluster, service, hub, committed, _folder: folder })
    }
}

fn record() -> NewRecord {
    NewRecord {
        user_id: "somebody".into(),
        task_id: "t_1".into(),
        step: 1,
        status: TaskStatus::Completed,
        result: step_result(),
        step_name: "s".into(),
        message: "m".into(),
        error_code: String::new(),
        progress: None,
        timestamp: None,
        record_id: Uuid::now_v7(),
        reported_by: None,
        details: None,
    }
}

fn step_result() -> String {
    let result = json!({ "processed_rows": 1000, "text": "x".repeat(200) });
    let stored = json!({
        "step": "s", "result": result, "completed": true, "message": "m", "status": "completed", "error_code": null,
        "error_message": null,
    });
    stored.to_string()
}
