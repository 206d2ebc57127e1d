//! One user whom many watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use crate::client::{Positions, Saver, Socket, field, pace, report};
use crate::server::Server;
use crate::{Figure, Result, Sockets, figure, float, percentile};

const SUBSCRIBERS: usize = 1_000;
/// Changes a second that have to hold, and more than that, to see what else would.
const RATE: f64 = 200.0;
const MORE: f64 = 280.0;
/// Every so many subscribers one looks at the time of what it gets; to look at all would take the CPU that is measured.
const LOOKS: usize = 20;
const SAVERS: usize = 16;
const PATIENCE: Duration = Duration::from_mins(1);
/// The last change may be so long on its way.
const LAST: Duration = Duration::from_millis(100);

/// What the subscribers see together.
#[derive(Default)]
struct Seen {
    delivered: AtomicUsize,
    /// Events that were not the next one of their subscriber: repeated, or after a hole.
    wrong: AtomicUsize,
    delays: std::sync::Mutex<Vec<f64>>,
}

/// What came of one rate.
struct Run {
    a_second: f64,
    cpu_for_each: f64,
    missing: usize,
    delays: Vec<f64>,
}

pub(crate) async fn run(arguments: &Sockets) -> Result<Vec<Figure>> {
    let seconds = if arguments.quick { 5.0 } else { 30.0 };
    let server = arguments.start(&[]).await?;
    Saver::connect(&server.address).await?.begin(["watched".to_owned()]).await?;
    let seen = Arc::new(Seen::default());
    let mut readers = JoinSet::new();
    for index in 0..SUBSCRIBERS {
        let socket = Socket::subscribed(&server.address, "watched").await?;
        readers.spawn(read(socket, Arc::clone(&seen), index % LOOKS == 0));
    }
    let mut first = measure(&server, &seen, RATE, seconds).await?;
    let mut more = measure(&server, &seen, MORE, seconds / 3.0).await?;
    readers.abort_all();
    server.stop().await?;
    let wrong = seen.wrong.load(Ordering::Relaxed);
    Ok(vec![
        figure("deliveries a second, of 200,000 offered", first.a_second, "/s", "at least 200,000"),
        figure("server CPU for each", first.cpu_for_each, "µs", "at most 5"),
        figure("commit to client p50", percentile(&mut first.delays, 0.5), "ms", ""),
        figure("commit to client p99", percentile(&mut first.delays, 0.99), "ms", "at most 100"),
        figure("deliveries missing", float(first.missing + more.missing), "", "0"),
        figure("deliveries repeated or out of order", float(wrong), "", "0"),
        figure("deliveries a second, of 280,000 offered", more.a_second, "/s", "room above 200,000"),
        figure("server CPU for each, then", more.cpu_for_each, "µs", ""),
        figure("commit to client p99, then", percentile(&mut more.delays, 0.99), "ms", ""),
    ])
}

/// Sends changes at this rate. What counts as delivered in that time has come until the last change may have: a server that
/// falls behind gets fewer a second, one that keeps up gets what was offered.
async fn measure(server: &Server, seen: &Seen, rate: f64, seconds: f64) -> Result<Run> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
    let count = (rate * seconds) as usize;
    let expected = count * SUBSCRIBERS;
    let (start, cpu) = (seen.delivered.load(Ordering::Relaxed), server.cpu()?);
    let mut savers = Vec::new();
    for _ in 0..SAVERS {
        savers.push(Saver::connect(&server.address).await?);
    }
    let delivered = || seen.delivered.load(Ordering::Relaxed) - start;
    let begin = Instant::now();
    let end = tokio::time::Instant::from_std(begin + Duration::from_secs_f64(seconds) + LAST);
    let in_time = async {
        sleep_until(end).await;
        delivered()
    };
    let (sent, in_time) = tokio::join!(send(savers, "watched", rate, count), in_time);
    sent?;
    while delivered() < expected && begin.elapsed() < PATIENCE * 2 {
        sleep(Duration::from_millis(10)).await;
    }
    let took = server.cpu()? - cpu;
    let delays = seen.delays.lock().map(|mut delays| std::mem::take(&mut *delays)).unwrap_or_default();
    Ok(Run {
        a_second: float(in_time) / seconds,
        cpu_for_each: took / float(delivered().max(1)) * 1e6,
        missing: expected.saturating_sub(delivered()),
        delays,
    })
}

/// Counts what is the next of its positions; and notes, if it looks, how long after `recordedAt` (the database's clock just
/// before the commit) each came.
async fn read(mut socket: Socket, seen: Arc<Seen>, looks: bool) {
    let mut positions = Positions::after(1);
    while let Ok(frame) = socket.frame().await {
        if positions.take(frame) {
            seen.delivered.fetch_add(1, Ordering::Relaxed);
        } else {
            seen.wrong.fetch_add(1, Ordering::Relaxed);
        }
        if looks
            && let Some(delay) = since_recorded(frame)
            && let Ok(mut delays) = seen.delays.lock()
        {
            delays.push(delay);
        }
    }
}

/// Milliseconds from the record's `recordedAt` until now.
pub(crate) fn since_recorded(frame: &[u8]) -> Option<f64> {
    let recorded: DateTime<Utc> = field(frame, "recordedAt")?.parse().ok()?;
    Some((Utc::now() - recorded).to_std().unwrap_or_default().as_secs_f64() * 1_000.0)
}

/// Saves so many records of about 250 bytes at a constant spacing. (What is delivered of each are the six fields, in a
/// frame of about 300 bytes.)
async fn send(savers: Vec<Saver>, user: &str, rate: f64, count: usize) -> Result<()> {
    let result = Value::from("x".repeat(120));
    let due = Arc::new(Mutex::new(pace(rate, count)));
    let mut sending = JoinSet::new();
    for mut saver in savers {
        let (due, user, result) = (Arc::clone(&due), user.to_owned(), result.clone());
        sending.spawn(async move {
            loop {
                let next = due.lock().await.recv().await;
                let Some((number, _)) = next else { return Ok::<_, crate::Error>(()) };
                saver.save(report(&user, number, &result)).await?;
            }
        });
    }
    sending.join_all().await.into_iter().collect::<Result<Vec<()>>>()?;
    Ok(())
}
