//! One subscriber stops reading while many changes pass, and then reads them all; and the same with a server that closes it
//! after ten seconds, where it resumes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{Positions, Saver, Socket, field, pace, report};
use crate::fanout::since_recorded;
use crate::server::Server;
use crate::{Figure, Result, Sockets, figure, float, percentile};

const READERS: usize = 10;
/// Batches a second; small ones, so that others' delay is the server's and not the batch's.
const BATCHES: f64 = 100.0;
const PATIENCE: Duration = Duration::from_mins(2);
/// When one who is closed after ten seconds of not reading looks again: until its buffers were full took eight or more, and
/// the server waits ten more for its close to be seen.
const LOOKS_AGAIN: Duration = Duration::from_secs(23);

/// It is left alone, and gets everything on the same socket.
pub(crate) async fn stays(arguments: &Sockets) -> Result<Vec<Figure>> {
    let (batches, each) = if arguments.quick { (600, 5) } else { (6_000, 17) };
    let server = arguments.start(&[]).await?;
    Saver::connect(&server.address).await?.begin(["watched".to_owned()]).await?;
    let delays = Arc::new(Mutex::new(Vec::new()));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let mut socket = Socket::subscribed(&server.address, "watched").await?;
        let delays = Arc::clone(&delays);
        readers.spawn(async move {
            while let Ok(frame) = socket.frame().await {
                if let (Some(delay), Ok(mut delays)) = (since_recorded(frame), delays.lock()) {
                    delays.push(delay);
                }
            }
        });
    }
    let taken = || delays.lock().map(|mut delays| std::mem::take(&mut *delays)).unwrap_or_default();
    // The minute before fills the rings, too.
    pass(&server, batches, each).await?;
    let before_99 = percentile(&mut taken(), 0.99);
    let (mut sleeper, mut positions) = sleeper(&server).await?;
    let memory = server.memory()?;
    let mut most = pass(&server, batches, each).await?;
    let with_99 = percentile(&mut taken(), 0.99);
    let expected = batches * each;
    let mut got = 0;
    while got < expected {
        let Ok(Ok(frame)) = timeout(PATIENCE, sleeper.frame()).await else { break };
        got += usize::from(positions.take(frame));
        if got.is_multiple_of(1_000) {
            most = most.max(server.memory()?);
        }
    }
    readers.abort_all();
    server.stop().await?;
    Ok(vec![
        figure("changes while it does not read", float(expected), "", "100,000 in 60 s"),
        figure("growth of the server's memory", (most - memory) / 1024.0, "MiB", "under 8"),
        figure("others' p99 in the minute before", before_99, "ms", ""),
        figure("others' p99 meanwhile", with_99, "ms", ""),
        figure("the same, as a ratio", with_99 / before_99, "times", "at most 1.5"),
        figure("changes missing when it reads again", float(expected - got), "", "0"),
        figure("changes repeated or out of order", float(positions.wrong), "", "0"),
    ])
}

/// With 10 s for a slow reader it is closed with 1013, and gets all by resuming.
pub(crate) async fn is_closed(arguments: &Sockets) -> Result<Vec<Figure>> {
    let (batches, each) = if arguments.quick { (1_800, 17) } else { (6_000, 17) };
    let server = arguments.start(&["--slow-reader-time", "10s"]).await?;
    Saver::connect(&server.address).await?.begin(["watched".to_owned()]).await?;
    let (mut sleeper, mut positions) = sleeper(&server).await?;
    let expected = batches * each;
    let (mut got, mut cursor) = (0, Saver::connect(&server.address).await?.cursor("watched").await?);
    let reads = async {
        sleep(LOOKS_AGAIN).await;
        loop {
            match timeout(PATIENCE, sleeper.frame()).await {
                Ok(Ok(frame)) => {
                    got += usize::from(positions.take(frame));
                    if let Some(place) = field(frame, "feedCursor") {
                        place.clone_into(&mut cursor);
                    }
                }
                Ok(Err(error)) => break error.to_string(),
                Err(_) => break "it is not closed".to_owned(),
            }
        }
    };
    let (passed, end) = tokio::join!(pass(&server, batches, each), reads);
    passed?;
    let before = got;
    let mut resumed = Socket::resumed(&server.address, "watched", &cursor).await?;
    while got < expected {
        let Ok(Ok(frame)) = timeout(PATIENCE, resumed.frame()).await else { break };
        got += usize::from(positions.take(frame));
    }
    server.stop().await?;
    let is_closed = end.ends_with("1013");
    Ok(vec![
        figure("with 10 s for slow readers: closed with 1013", f64::from(u8::from(is_closed)), "", "1"),
        figure("changes before that close", float(before), "", ""),
        figure("changes missing after resuming", float(expected - got), "", "0"),
        figure("changes repeated or out of order, then", float(positions.wrong), "", "0"),
    ])
}

/// A subscriber with its place, that has shown to stand, and does not read from now on.
async fn sleeper(server: &Server) -> Result<(Socket, Positions)> {
    let mut saver = Saver::connect(&server.address).await?;
    let cursor = saver.cursor("watched").await?;
    let mut socket = Socket::resumed(&server.address, "watched", &cursor).await?;
    saver.begin(["watched".to_owned()]).await?;
    let first = timeout(PATIENCE, socket.frame()).await??;
    let position = field(first, "position").and_then(|text| text.parse().ok()).ok_or("no position")?;
    Ok((socket, Positions::after(position)))
}

/// Lets so many batches pass, and tells the most memory that was seen meanwhile, in KiB.
async fn pass(server: &Server, batches: usize, each: usize) -> Result<f64> {
    let mut saver = Saver::connect(&server.address).await?;
    let mut due = pace(BATCHES, batches);
    let mut most = server.memory()?;
    while let Some((batch, _)) = due.recv().await {
        saver.save_all((0..each).map(|index| report("watched", batch * each + index, &Value::Null)).collect()).await?;
        if batch % 100 == 0 {
            most = most.max(server.memory()?);
        }
    }
    Ok(most.max(server.memory()?))
}
