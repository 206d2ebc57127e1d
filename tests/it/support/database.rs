//! One database a test (a shim over a scratch cluster).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use taskwire::config::{DatabaseConfig, DatabaseSource};
use taskwire::db::{self, Database};

pub(crate) struct TestDatabase {
    pub(crate) database: Database,
    pub(crate) url: String,
    pub(crate) name: String,
}

fn url(name: &str) -> String {
    format!("postgres://taskwire@localhost/{name}?host=/tmp/pgs")
}

impl TestDatabase {
    pub(crate) async fn new() -> Self {
        static TEMPLATE: OnceLock<String> = OnceLock::new();
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let template = TEMPLATE.get_or_init(|| {
            std::thread::spawn(|| {
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                    let name = format!("h4_{}_template", std::process::id());
                    create(&name, "template0").await;
                    db::migrate(&db::connect_options(&url(&name), "the test").unwrap(), "the test").await.unwrap();
                    name
                })
            })
            .join()
            .unwrap()
        });
        let name = format!("h4_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        create(&name, template).await;
        let url = url(&name);
        let config = DatabaseConfig {
            url: DatabaseSource::Url { url: url.clone(), setting: "the test".into() },
            min_connections: 1,
            ..DatabaseConfig::default()
        };
        let database = db::connect(&config, &url, "the test").await.unwrap();
        Self { database, url, name }
    }

    pub(crate) fn connect_options(&self) -> PgConnectOptions {
        url(&self.name).parse().unwrap()
    }

    pub(crate) async fn session(&self) -> PgConnection {
        self.connect_options().connect().await.unwrap()
    }
}

async fn create(name: &str, template: &str) {
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one = ONE.lock().await;
    let mut session = url("postgres").parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    session.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}"))).await.unwrap();
    session.close().await.unwrap();
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = std::process::Command::new("psql").args(["-h", "/tmp/pgs", "-U", "taskwire", "-qc", &sql, "postgres"]).spawn();
    }
}
