//! One database a test.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use taskwire::{
    config::{DatabaseConfig, DatabaseSource},
    db::{self, Cluster, Database},
};

use super::cluster::{TEMPLATE, cluster};

/// A database of the test's own, migrated and empty, in the cluster of the run. Dropped with this value.
pub(crate) struct TestDatabase {
    pub(crate) database: Database,
    pub(crate) url: String,
    pub(crate) name: String,
}

impl TestDatabase {
    /// A copy of the migrated template.
    pub(crate) async fn new() -> Self {
        Self::of(Some(TEMPLATE)).await
    }

    /// One without any table.
    pub(crate) async fn empty() -> Self {
        Self::of(None).await
    }

    async fn of(template: Option<&str>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let cluster = &cluster().cluster;
        create(cluster, &name, template).await;
        let url = cluster.url(&name);
        Self { database: pool(&url, POOL).await, url, name }
    }

    /// How to connect to it.
    pub(crate) fn connect_options(&self) -> PgConnectOptions {
        cluster().cluster.connect_options(&self.name)
    }

    /// A session beside the pool, as a psql is.
    pub(crate) async fn session(&self) -> PgConnection {
        self.connect_options().connect().await.unwrap()
    }
}

/// As many connections as a server's pool may have.
pub(crate) const POOL: u32 = 20;

/// A pool of one's own, of so many connections at the most.
pub(crate) async fn pool(url: &str, max_connections: u32) -> Database {
    let config = DatabaseConfig {
        url: DatabaseSource::Url { url: url.to_owned(), setting: "the test".into() },
        min_connections: 1,
        max_connections,
        ..DatabaseConfig::default()
    };
    db::connect(&config, url, "the test").await.unwrap()
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let cluster = cluster();
        let options = cluster.cluster.connect_options("postgres");
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // Nobody waits for it: it only saves room while the run lasts.
        cluster.runtime.spawn(async move {
            if let Ok(mut session) = options.connect().await {
                let _ = session.execute(AssertSqlSafe(sql)).await;
                let _ = session.close().await;
            }
        });
    }
}

/// Creates a database, as a copy of another one or without any table.
pub(crate) async fn create(cluster: &Cluster, name: &str, template: Option<&str>) {
    let template = template.unwrap_or("template0");
    let mut session = cluster.connect_options("postgres").connect().await.unwrap();
    session.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}"))).await.unwrap();
    session.close().await.unwrap();
}
