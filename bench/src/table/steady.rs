//! Requests at a constant rate, whatever the answers take: who cannot keep up gets late, and is seen to be.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::load::{Bodies, Connection, Measured, Request, Span};
use crate::client::pace;
use crate::{Result, float, percentile, server};

/// What is due, for whichever connection of a server is free.
type Due = Arc<Mutex<Receiver<(usize, Instant)>>>;

/// What one connection saw.
#[derive(Default)]
struct Seen {
    answers: usize,
    /// Answers that came within the window.
    in_time: usize,
    /// Milliseconds from when each was due, of those due within the window.
    times: Vec<f64>,
}

/// The same part of the rate to each of these servers, over so many connections each.
pub(crate) async fn drive(
    servers: Vec<Request>,
    rate: f64,
    span: Span,
    connections: usize,
    source: impl Fn(usize) -> Bodies + Send + 'static,
) -> Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::spawn_blocking(move || runtime.block_on(all(servers, rate, span, connections, source))).await?
}

async fn all(
    servers: Vec<Request>,
    rate: f64,
    span: Span,
    connections: usize,
    source: impl Fn(usize) -> Bodies,
) -> Result<Measured> {
    let mut opened = Vec::new();
    for index in 0..servers.len() * connections {
        let Some(request) = servers.get(index / connections) else { continue };
        opened.push((Connection::open(request).await?, source(index)));
    }
    let each = rate / float(servers.len());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some ten thousands")]
    let count = (each * (span.warm_up + span.measured).as_secs_f64()) as usize;
    let begin = Instant::now() + span.warm_up;
    let window = (begin, begin + span.measured);
    let mut running = JoinSet::new();
    let mut opened = opened.into_iter();
    for _ in &servers {
        let due = Arc::new(Mutex::new(pace(each, count)));
        for (connection, source) in opened.by_ref().take(connections) {
            running.spawn(keep_up(connection, source, Arc::clone(&due), window));
        }
    }
    sleep_until(begin.into()).await;
    let cpu = server::cpu_of(std::process::id())?;
    sleep_until(window.1.into()).await;
    let own_cpu = (server::cpu_of(std::process::id())? - cpu) / span.measured.as_secs_f64();
    let mut seen = Seen::default();
    while let Some(ended) = running.join_next().await {
        let one = ended??;
        seen.answers += one.answers;
        seen.in_time += one.in_time;
        seen.times.extend(one.times);
    }
    Ok(Measured {
        answers: seen.answers,
        a_second: float(seen.in_time) / span.measured.as_secs_f64(),
        p50: percentile(&mut seen.times, 0.5),
        p99: percentile(&mut seen.times, 0.99),
        own_cpu,
    })
}

async fn keep_up(mut connection: Connection, mut source: Bodies, due: Due, window: (Instant, Instant)) -> Result<Seen> {
    let (mut body, mut seen) = (Vec::new(), Seen::default());
    loop {
        let next = due.lock().await.recv().await;
        let Some((_, at)) = next else { return Ok(seen) };
        body.clear();
        source(&mut body);
        connection.ask(&body).await?;
        let now = Instant::now();
        seen.answers += 1;
        seen.in_time += usize::from(now >= window.0 && now < window.1);
        if at >= window.0 {
            seen.times.push((now - at).as_secs_f64() * 1_000.0);
        }
    }
}
