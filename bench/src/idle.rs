//! Many sockets of as many users, at rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::Executor as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::client::{Saver, Socket};
use crate::server::Server;
use crate::{Figure, Result, Sockets, figure, float};

pub(crate) async fn run(arguments: &Sockets) -> Result<Vec<Figure>> {
    let (count, rest, window) = if arguments.quick { (1_000, 3, 6) } else { (10_000, 30, 60) };
    let server = arguments.start(&[]).await?;
    // Users as they are in a server's life: known, with a head in the table.
    Saver::connect(&server.address).await?.begin((0..count).map(|user| format!("u{user}"))).await?;
    let before = server.memory()?;
    let begin = Instant::now();
    let mut sockets = connect_all(&server.address, count).await?;
    let took = begin.elapsed();
    sleep(Duration::from_secs(rest)).await;
    let each = (server.memory()? - before) / float(count);

    let at_rest = share(&server, window, async { sleep(Duration::from_secs(window)).await }).await?;
    let mut session = server.session().await?;
    session.execute("CREATE TABLE IF NOT EXISTS bench_foreign (number bigint)").await?;
    let written = share(&server, window, async {
        let mut every = interval(Duration::from_secs(1));
        for _ in 0..window {
            every.tick().await;
            let _ = session.execute("INSERT INTO bench_foreign VALUES (1)").await;
        }
        every.tick().await;
    })
    .await?;

    // Each of them is really there: one record for everybody comes to everybody.
    let arrived = Arc::new(AtomicUsize::new(0));
    let mut readers = JoinSet::new();
    for mut socket in sockets.drain(..) {
        let arrived = Arc::clone(&arrived);
        readers.spawn(async move {
            if let Ok(Ok(_)) = timeout(Duration::from_mins(1), socket.frame()).await {
                arrived.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    Saver::connect(&server.address).await?.begin((0..count).map(|user| format!("u{user}"))).await?;
    readers.join_all().await;
    let missing = count - arrived.load(Ordering::Relaxed);
    server.stop().await?;
    Ok(vec![
        figure("sockets", float(count), "", "10,000"),
        figure("until all are subscribed", took.as_secs_f64(), "s", "at most 20"),
        figure("server memory for each", each, "KiB", "at most 20"),
        figure("CPU of server and PostgreSQL at rest", at_rest * 100.0, "% of a core", "under 1"),
        figure("the same, a foreign table written once a second", written * 100.0, "% of a core", "under 3"),
        figure("sockets without the record sent to all afterwards", float(missing), "", "0"),
    ])
}

/// The share of a core that server and PostgreSQL take meanwhile.
async fn share(server: &Server, seconds: u64, meanwhile: impl Future<Output = ()>) -> Result<f64> {
    let (begin, before) = (Instant::now(), server.cpu_with_database()?);
    meanwhile.await;
    let spent = server.cpu_with_database()? - before;
    Ok(spent / begin.elapsed().max(Duration::from_secs(seconds)).as_secs_f64())
}

/// One socket for each user, who must have a record, some dozens at the same time.
pub(crate) async fn connect_all(address: &str, count: usize) -> Result<Vec<Socket>> {
    let room = Arc::new(Semaphore::new(64));
    let mut connecting = JoinSet::new();
    for user in 0..count {
        let (room, address) = (Arc::clone(&room), address.to_owned());
        connecting.spawn(async move {
            let _place = room.acquire_owned().await?;
            Ok::<_, crate::Error>((user, Socket::subscribed(&address, &format!("u{user}")).await?))
        });
    }
    let mut sockets = connecting.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    sockets.sort_by_key(|(user, _)| *user);
    Ok(sockets.into_iter().map(|(_, socket)| socket).collect())
}
