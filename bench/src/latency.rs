//! From sending a mutation to having read its event, beside the least that PostgreSQL can do at the same rate: sending the
//! COMMIT of `INSERT one row; NOTIFY` until a listener has read it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use serde_json::Value;

use crate::client::{Saver, Socket, field, pace, report, save};
use crate::server::Server;
use crate::{Figure, Result, Sockets, figure, float, idle, percentile};

/// Subscribers, of one user each.
pub(crate) const USERS: usize = 1_000;
/// Changes a second.
pub(crate) const RATE: f64 = 1_000.0;
/// Connections that send mutations.
const SAVERS: usize = 64;
/// Sessions of the baseline.
const SESSIONS: usize = 16;
/// When what has not come is missing.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn run(arguments: &Sockets) -> Result<Vec<Figure>> {
    let count = if arguments.quick { 3_000 } else { 30_000 };
    let server = arguments.start(&[]).await?;
    let (mut base, lost) = baseline(&server, RATE, count).await?;
    Saver::connect(&server.address).await?.begin((0..USERS).map(|user| format!("u{user}"))).await?;
    let sockets = idle::connect_all(&server.address, USERS).await?;
    let (mut ours, missing) = Watchers::new(&server.address, OURS, sockets).run(RATE, count).await?;
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

/// How a system is told of a change, and how its event says which one it was.
#[derive(Clone, Copy)]
pub(crate) struct Language {
    /// The body of the mutation for this change, which is of the user of its number modulo [`USERS`].
    pub(crate) mutation: fn(usize) -> Value,
    pub(crate) number: fn(&[u8]) -> Option<usize>,
}

/// Taskwire's.
pub(crate) const OURS: Language = Language {
    mutation: |number| save(report(&format!("u{}", number % USERS), number, &Value::Null)),
    number: |frame| field(frame, "message")?.strip_prefix('n')?.parse().ok(),
};

/// Subscribers of a server, who tell what arrives.
pub(crate) struct Watchers {
    address: String,
    language: Language,
    arrivals: Arrivals,
    /// Changes sent so far: the next one's number.
    sent: usize,
    /// They end with it.
    _readers: JoinSet<()>,
}

impl Watchers {
    pub(crate) fn new(address: &str, language: Language, sockets: Vec<Socket>) -> Self {
        let (sender, arrivals) = mpsc::unbounded_channel();
        let mut readers = JoinSet::new();
        for mut socket in sockets {
            let sender = sender.clone();
            readers.spawn(async move {
                while let Ok(frame) = socket.frame().await {
                    let at = Instant::now();
                    if let Some(number) = (language.number)(frame) {
                        let _ = sender.send((number, at));
                    }
                }
            });
        }
        Self { address: address.to_owned(), language, arrivals, sent: 0, _readers: readers }
    }

    /// Sends so many changes at this rate. Returns how long each took from when it was due until its event was read, in
    /// milliseconds and in the order in which they came, and how many are missing.
    pub(crate) async fn run(&mut self, rate: f64, count: usize) -> Result<(Vec<f64>, usize)> {
        let (first, mutation) = (self.sent, self.language.mutation);
        self.sent += count;
        let due = Arc::new(Mutex::new(pace(rate, count)));
        let mut savers = JoinSet::new();
        for _ in 0..SAVERS {
            let (due, mut saver) = (Arc::clone(&due), Saver::connect(&self.address).await?);
            savers.spawn(async move {
                let mut sent = Vec::new();
                loop {
                    let next = due.lock().await.recv().await;
                    let Some((number, at)) = next else { return Ok::<_, crate::Error>(sent) };
                    sent.push((number, at));
                    saver.ask(&mutation(first + number)).await?;
                }
            });
        }
        let sending = async { savers.join_all().await.into_iter().collect::<Result<Vec<_>>>() };
        let (sent, arrived) = tokio::join!(sending, collect(&mut self.arrivals, first, count));
        Ok(latencies(&sent?.concat(), &arrived, count))
    }
}

/// The same of the least that `PostgreSQL` can do.
pub(crate) async fn baseline(server: &Server, rate: f64, count: usize) -> Result<(Vec<f64>, usize)> {
    let mut session = server.session().await?;
    session.execute("CREATE TABLE IF NOT EXISTS bench_baseline (number bigint PRIMARY KEY, text text)").await?;
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect_with(server.database.clone()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen("bench_baseline").await?;
    let (sender, mut arrivals) = mpsc::unbounded_channel();
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
    let mut due = pace(rate, count);
    let collected = tokio::spawn(async move { collect(&mut arrivals, 0, count).await });
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

/// The arrivals of so many changes from this number on, numbered from 0.
async fn collect(arrivals: &mut Arrivals, first: usize, count: usize) -> Vec<(usize, Instant)> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let Ok(Some((number, at))) = timeout(PATIENCE, arrivals.recv()).await else { break };
        // What was late in the run before is counted there, as missing.
        if let Some(number) = number.checked_sub(first) {
            all.push((number, at));
        }
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
