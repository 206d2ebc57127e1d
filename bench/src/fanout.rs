//! One user whom many watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Saver, Socket, field, pace, report};
use crate::server::Server;
use crate::{Figure, Result, Sockets, figure, float, percentile};

const SUBSCRIBERS: usize = 1_000;
const RATE: f64 = 200.0;
/// Every so many subscribers one looks into what it gets; to look into all would take the CPU that is measured.
const LOOKS: usize = 20;
const SAVERS: usize = 16;
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn run(arguments: &Sockets) -> Result<Vec<Figure>> {
    let count = if arguments.quick { 400 } else { 6_000 };
    let server = Server::start(arguments).await?;
    let delivered = Arc::new(AtomicUsize::new(0));
    let delays = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut readers = JoinSet::new();
    for index in 0..SUBSCRIBERS {
        let socket = Socket::subscribed(&server.address, "watched").await?;
        let looks = (index % LOOKS == 0).then(|| Arc::clone(&delays));
        readers.spawn(read(socket, Arc::clone(&delivered), looks));
    }
    let (before, begin) = (server.cpu()?, Instant::now());
    send(&server.address, "watched", RATE, count).await?;
    let expected = count * SUBSCRIBERS;
    while delivered.load(Ordering::Relaxed) < expected && begin.elapsed() < PATIENCE * 2 {
        sleep(Duration::from_millis(10)).await;
    }
    let (took, spent) = (begin.elapsed().as_secs_f64(), server.cpu()? - before);
    let got = delivered.load(Ordering::Relaxed);
    readers.abort_all();
    server.stop().await?;
    let mut delays = delays.lock().map(|delays| delays.clone()).unwrap_or_default();
    Ok(vec![
        figure("deliveries a second", float(got) / took, "/s", "at least 200,000"),
        figure("server CPU for each", spent / float(got.max(1)) * 1e6, "µs", "at most 5"),
        figure("commit to client p50", percentile(&mut delays, 0.5), "ms", ""),
        figure("commit to client p99", percentile(&mut delays, 0.99), "ms", "at most 100"),
        figure("deliveries missing", float(expected.saturating_sub(got)), "", "0"),
    ])
}

/// Counts; and notes, if it looks, how long after `recordedAt` (the database's clock just before the commit) each came.
async fn read(mut socket: Socket, delivered: Arc<AtomicUsize>, looks: Option<Arc<std::sync::Mutex<Vec<f64>>>>) {
    while let Ok(frame) = socket.frame().await {
        if let Some(delays) = &looks
            && let Some(delay) = since_recorded(frame)
            && let Ok(mut delays) = delays.lock()
        {
            delays.push(delay);
        }
        delivered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Milliseconds from the record's `recordedAt` until now.
pub(crate) fn since_recorded(frame: &[u8]) -> Option<f64> {
    let recorded: DateTime<Utc> = field(frame, "recordedAt")?.parse().ok()?;
    Some((Utc::now() - recorded).to_std().unwrap_or_default().as_secs_f64() * 1_000.0)
}

/// Saves so many records of about 250 bytes at a constant spacing.
async fn send(address: &str, user: &str, rate: f64, count: usize) -> Result<()> {
    let result = Value::from("x".repeat(120));
    let due = Arc::new(Mutex::new(pace(rate, count)));
    let mut savers = JoinSet::new();
    for _ in 0..SAVERS {
        let (due, user, result) = (Arc::clone(&due), user.to_owned(), result.clone());
        let mut saver = Saver::connect(address).await?;
        savers.spawn(async move {
            loop {
                let next = due.lock().await.recv().await;
                let Some((number, _)) = next else { return Ok::<_, crate::Error>(()) };
                saver.save(report(&user, number, &result)).await?;
            }
        });
    }
    savers.join_all().await.into_iter().collect::<Result<Vec<()>>>()?;
    Ok(())
}
