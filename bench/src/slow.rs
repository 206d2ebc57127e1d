//! One subscriber stops reading while many changes pass, and then reads them all. (That it is closed when it stays away for
//! longer than `--slow-reader-time`, and resumes, is a test's matter.)

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Saver, Socket, field, pace, report};
use crate::fanout::since_recorded;
use crate::server::Server;
use crate::{Figure, Result, Sockets, figure, float, percentile};

const READERS: usize = 10;
/// Batches a second; small ones, so that others' delay is the server's and not the batch's.
const BATCHES: f64 = 100.0;
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) async fn run(arguments: &Sockets) -> Result<Vec<Figure>> {
    let (batches, each) = if arguments.quick { (600, 5) } else { (6_000, 17) };
    let server = Server::start(arguments).await?;
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
    let memory = server.memory()?;
    let mut sleeper = Socket::subscribed(&server.address, "watched").await?;
    let most = pass(&server, batches, each).await?;
    let with_99 = percentile(&mut taken(), 0.99);
    let expected = batches * each;
    let (mut got, mut last, mut out_of_order) = (0, None, 0);
    while got < expected {
        let Ok(Ok(frame)) = timeout(PATIENCE, sleeper.frame()).await else { break };
        let position = field(frame, "position").and_then(|text| text.parse::<u64>().ok());
        if last.is_some() && position != last.map(|last: u64| last + 1) {
            out_of_order += 1;
        }
        last = position;
        got += 1;
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
        figure("changes out of order", float(out_of_order), "", "0"),
    ])
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
