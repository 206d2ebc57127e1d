//! From sending a mutation to having read its event, beside the least that PostgreSQL can do at the same rate: sending the
//! COMMIT of `INSERT one row; NOTIFY` until a listener has read it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Saver, field, pace, report};
use crate::server::Server;
use crate::{Figure, Result, Sockets, figure, float, idle, percentile};

const USERS: usize = 1_000;
const RATE: f64 = 1_000.0;
/// Connections that send mutations.
const SAVERS: usize = 64;
/// Sessions of the baseline.
const SESSIONS: usize = 16;
/// When what has not come is missing.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn run(arguments: &Sockets) -> Result<Vec<Figure>> {
    let count = if arguments.quick { 3_000 } else { 30_000 };
    let server = arguments.start(&[]).await?;
    let (mut base, lost) = baseline(&server, count).await?;
    let (mut ours, missing) = events(&server, count).await?;
    server.stop().await?;
    let (base_50, base_99) = (percentile(&mut base, 0.5), percentile(&mut base, 0.99));
    let (p50, p99) = (percentile(&mut ours, 0.5), percentile(&mut ours, 0.99));
    Ok(vec![
        figure("baseline p50", base_50, "ms", "COMMIT to listener"),
        figure("baseline p99", base_99, "ms", "COMMIT to listener"),
        figure("mutation to event p50", p50, "ms", "at most 3 times the baseline"),
        figure("mutation to event p99", p99, "ms", "at most 6 times the baseline"),
        figure("p50 over the baseline's", p50 / base_50, "times", "at most 3"),
        figure("p99 over the baseline's", p99 / base_99, "times", "at most 6"),
        figure("events missing", float(missing), "", "0"),
        figure("notifications missing in the baseline", float(lost), "", "0"),
    ])
}

/// What has arrived: which one, and when.
type Arrivals = mpsc::UnboundedReceiver<(usize, Instant)>;

async fn events(server: &Server, count: usize) -> Result<(Vec<f64>, usize)> {
    let (sender, arrivals) = mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    Saver::connect(&server.address).await?.begin((0..USERS).map(|user| format!("u{user}"))).await?;
    for mut socket in idle::connect_all(&server.address, USERS).await? {
        let sender = sender.clone();
        readers.spawn(async move {
            while let Ok(frame) = socket.frame().await {
                let at = Instant::now();
                if let Some(number) = field(frame, "message").and_then(|text| text.strip_prefix('n')?.parse().ok()) {
                    let _ = sender.send((number, at));
                }
            }
        });
    }
    let due = Arc::new(Mutex::new(pace(RATE, count)));
    let mut savers = JoinSet::new();
    for _ in 0..SAVERS {
        let (due, mut saver) = (Arc::clone(&due), Saver::connect(&server.address).await?);
        savers.spawn(async move {
            let mut sent = Vec::new();
            loop {
                let next = due.lock().await.recv().await;
                let Some((number, at)) = next else { return Ok::<_, crate::Error>(sent) };
                sent.push((number, at));
                saver.save(report(&format!("u{}", number % USERS), number, &serde_json::Value::Null)).await?;
            }
        });
    }
    let collected = tokio::spawn(collect(arrivals, count));
    let sent = savers.join_all().await.into_iter().collect::<Result<Vec<_>>>()?.concat();
    let arrived = collected.await?;
    readers.abort_all();
    Ok(latencies(&sent, &arrived, count))
}

async fn baseline(server: &Server, count: usize) -> Result<(Vec<f64>, usize)> {
    let mut session = server.session().await?;
    session.execute("CREATE TABLE IF NOT EXISTS bench_baseline (number bigint PRIMARY KEY, text text)").await?;
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect_with(server.database.clone()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen("bench_baseline").await?;
    let (sender, arrivals) = mpsc::unbounded_channel();
    let reader = tokio::spawn(async move {
        while let Ok(notification) = listener.recv().await {
            let at = Instant::now();
            if let Ok(number) = notification.payload().parse() {
                let _ = sender.send((number, at));
            }
        }
    });
    let mut writers = JoinSet::new();
    let mut queues = Vec::new();
    for first in 0..SESSIONS {
        let (queue, mut due) = mpsc::unbounded_channel::<(usize, Instant)>();
        queues.push(queue);
        let mut session = server.session().await?;
        writers.spawn(async move {
            let mut sent = Vec::new();
            let mut number = first;
            loop {
                // All but the COMMIT is done before it is due.
                let sql = format!(
                    "BEGIN; INSERT INTO bench_baseline VALUES ({number}, 'baseline'); NOTIFY bench_baseline, '{number}'"
                );
                session.execute(AssertSqlSafe(sql)).await?;
                let Some((due_number, at)) = due.recv().await else { break };
                debug_assert_eq!(due_number, number);
                session.execute("COMMIT").await?;
                sent.push((number, at));
                number += SESSIONS;
            }
            session.close().await?;
            Ok::<_, crate::Error>(sent)
        });
    }
    let mut due = pace(RATE, count);
    let collected = tokio::spawn(collect(arrivals, count));
    while let Some((number, at)) = due.recv().await {
        if let Some(queue) = queues.get(number % SESSIONS) {
            queue.send((number, at))?;
        }
    }
    drop(queues);
    let sent = writers.join_all().await.into_iter().collect::<Result<Vec<_>>>()?.concat();
    let arrived = collected.await?;
    reader.abort();
    session.execute("DROP TABLE bench_baseline").await?;
    Ok(latencies(&sent, &arrived, count))
}

async fn collect(mut arrivals: Arrivals, count: usize) -> Vec<(usize, Instant)> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let Ok(Some(arrival)) = timeout(PATIENCE, arrivals.recv()).await else { break };
        all.push(arrival);
    }
    all
}

/// In milliseconds, and how many are missing.
fn latencies(sent: &[(usize, Instant)], arrived: &[(usize, Instant)], count: usize) -> (Vec<f64>, usize) {
    let mut due = vec![None; count];
    for (number, at) in sent {
        if let Some(place) = due.get_mut(*number) {
            *place = Some(*at);
        }
    }
    let mut all = Vec::with_capacity(count);
    for (number, at) in arrived {
        if let Some(due) = due.get_mut(*number).and_then(Option::take) {
            all.push(at.saturating_duration_since(due).as_secs_f64() * 1_000.0);
        }
    }
    let missing = count - all.len();
    (all, missing)
}
