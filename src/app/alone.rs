//! Work over the database alone, without a server: what `taskwire cleanup`, `partitions`, `export` and `erase` do.

use std::sync::Arc;

use super::{CLOSE, Outcome, Signals, direct, open};
use crate::config::{Config, DatabaseConfig, DatabaseSource};
use crate::db::{self, Cluster, StartError, cluster};
use crate::store::{Store, StoreSettings};

/// Does it, or stops at a signal.
pub(super) async fn over_database<E: From<StartError>>(
    mut config: Config,
    work: impl AsyncFnOnce(Store) -> Result<(), E>,
) -> Result<Outcome, E> {
    let mut signals = Signals::new()?;
    config.database = DatabaseConfig { min_connections: 1, ..config.database };
    let work = async {
        let (cluster, url, setting) = find(&config).await?;
        let result = async {
            let database = db::connect(&config.database, &url, &setting).await?.listening_at(direct(&config)?);
            let store = Store::new(database.connection.clone(), StoreSettings::default(), Arc::new(|_| {}));
            let done = work(store.directly_at(database.direct.first())).await;
            // A connection that was given back is looked at before it rests: not while its PostgreSQL ends.
            if let Err(error) = database.close(CLOSE).await {
                tracing::debug!(%error, "the pool did not close in time");
            }
            done
        }
        .await;
        if let Some(cluster) = cluster {
            cluster.stop().await;
        }
        result
    };
    tokio::select! {
        done = work => done.map(|()| Outcome::Finished),
        code = signals.next() => Ok(Outcome::Interrupted { code }),
    }
}

/// The database, also the embedded one of a server that runs; else it is started for as long as this takes.
async fn find(config: &Config) -> Result<(Option<Cluster>, String, String), StartError> {
    if matches!(config.database.url, DatabaseSource::Embedded)
        && let Some(url) = cluster::find(&config.data_dir)?.url
    {
        return Ok((None, url, "the embedded PostgreSQL".to_owned()));
    }
    open(config).await
}
