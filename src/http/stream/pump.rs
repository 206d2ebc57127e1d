//! From the schema into a response's body, no faster than the client reads.
//!
//! A piece is taken from the schema only when the one before is on its way: a client that stops reading costs what the
//! connection buffers and one result, and its subscription falls back to the table. (That one result, because a subscription
//! that stood still in the middle of a read would keep a connection of the pool for as long.) If it goes on like that its
//! connection is broken off; it comes back with its last cursor.

use std::pin::Pin;
use std::time::Duration;

use async_graphql::Response as Answer;
use axum::body::{Body, Bytes};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{Permit, Receiver, Sender};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at};

use super::{Format, signed_out, sse};
use crate::auth::AuthError;
use crate::graphql::Answer as Told;
use crate::http::connections::{Ending, Seat};
use crate::telemetry::Telemetry;

/// Results that are there already go out together, up to about this many bytes.
const PIECE_BYTES: usize = 16 << 10;
/// A piece that takes longer to be on its way waits for the client, not for its turn.
const PROMPT: Duration = Duration::from_millis(250);
/// Between the last event and the end: clients were seen to miss an end that comes with an event.
const PAUSE: Duration = Duration::from_millis(100);
/// An `EventSource` whose server ended comes back within this time.
const COME_BACK_MILLISECONDS: std::ops::Range<u64> = 500..5_000;

/// A piece of a body.
pub(super) struct Piece {
    bytes: Bytes,
    is_last: bool,
}

/// The reading end came to no proper end: the connection is broken off, so that nobody takes this for the end.
#[derive(Debug, thiserror::Error)]
#[error("the stream was broken off")]
struct BrokenOff;

/// A stream's body, piece by piece.
pub(super) fn body(pieces: Receiver<Piece>) -> Body {
    Body::from_stream(stream::unfold(Some(pieces), async |pieces| {
        let mut pieces = pieces?;
        match pieces.recv().await {
            Some(Piece { bytes, is_last: false }) => Some((Ok(bytes), Some(pieces))),
            Some(Piece { bytes, is_last: true }) => Some((Ok(bytes), None)),
            None => Some((Err(BrokenOff), None)),
        }
    }))
}

/// What moves results into a body.
pub(super) struct Pump {
    pub(super) format: Format,
    pub(super) is_subscription: bool,
    pub(super) remaining: Option<Duration>,
    pub(super) pieces: Sender<Piece>,
    pub(super) seat: Seat,
}

/// What comes next in a body.
enum Next {
    Answer(Option<Told>),
    KeepAlive,
    SignedOut(Answer),
    Gone,
}

impl Pump {
    /// Until the operation, the client, the token or the server ends.
    pub(super) async fn run(self, answers: BoxStream<'static, Told>) {
        let telemetry = self.seat.connections().telemetry().clone();
        telemetry.streams.inc();
        self.move_all(answers).await;
        telemetry.streams.dec();
    }

    async fn move_all(self, answers: BoxStream<'static, Told>) {
        let mut answers = answers.peekable();
        let Self { format, is_subscription, remaining, pieces, seat } = self;
        let (config, telemetry) = (seat.connections().config(), seat.connections().telemetry());
        let mut keep_alive = interval(config.keep_alive);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        keep_alive.reset();
        let expiry = remaining.map(|left| Instant::now() + left);
        let mut bytes = format.opening().to_vec();
        loop {
            let room = room(&pieces, config.slow_reader_time, telemetry);
            let Ok(room) = meanwhile(room, Pin::new(&mut answers).peek()).await else {
                telemetry.slow_readers.inc();
                tracing::info!("a client does not read its stream: it is broken off");
                return;
            };
            let Ok(room) = room else { return };
            if !bytes.is_empty() {
                room.send(Piece { bytes: std::mem::take(&mut bytes).into(), is_last: false });
                keep_alive.reset();
                continue;
            }
            let next = tokio::select! {
                biased;
                () = pieces.closed() => Next::Gone,
                () = until(expiry) => Next::SignedOut(signed_out(AuthError::Expired.to_string())),
                () = disconnected(&seat) => {
                    Next::SignedOut(signed_out("Your connections were ended. Sign in again."))
                }
                answer = answers.next() => Next::Answer(answer),
                _ = keep_alive.tick() => Next::KeepAlive,
            };
            match next {
                Next::Answer(Some(answer)) => {
                    let mut answer = Some(answer);
                    let mut count = 0;
                    while let Some(told) = answer {
                        format.told(&mut bytes, &told);
                        count += 1;
                        let is_full = bytes.len() >= PIECE_BYTES;
                        answer = if is_full { None } else { answers.next().now_or_never().flatten() };
                    }
                    telemetry.events_delivered.inc_by(count);
                    room.send(Piece { bytes: std::mem::take(&mut bytes).into(), is_last: false });
                    keep_alive.reset();
                }
                Next::KeepAlive => bytes.extend_from_slice(format.keep_alive()),
                Next::Gone => return,
                // By itself a subscription ends after an error alone. With the server it ends when all that was there is told,
                // whatever the last event was: the client goes on elsewhere.
                Next::Answer(None) if is_subscription && seat.is_shutdown() => break,
                Next::Answer(None) => {
                    let bytes = Bytes::from_static(format.completion());
                    return room.send(Piece { bytes, is_last: true });
                }
                Next::SignedOut(answer) => {
                    format.failure(&mut bytes, &answer);
                    bytes.extend_from_slice(format.completion());
                    return room.send(Piece { bytes: bytes.into(), is_last: true });
                }
            }
        }
        drop(answers);
        sleep(seat.turn().max(PAUSE)).await;
        if format == Format::Events {
            sse::come_back(&mut bytes, fastrand::u64(COME_BACK_MILLISECONDS));
        }
        // Whoever does not take this has gone.
        let _ = timeout(PAUSE, pieces.send(Piece { bytes: bytes.into(), is_last: true })).await;
    }
}

/// Room for the next piece: the one before is on its way. Fails where the client takes nothing for so long.
async fn room<'a>(
    pieces: &'a Sender<Piece>,
    slow_reader_time: Duration,
    telemetry: &Telemetry,
) -> Result<Result<Permit<'a, Piece>, SendError<()>>, Elapsed> {
    let begin = Instant::now();
    if let Ok(room) = timeout(PROMPT.min(slow_reader_time), pieces.reserve()).await {
        return Ok(room);
    }
    telemetry.blocked_connections.inc();
    let room = timeout_at(begin + slow_reader_time, pieces.reserve()).await;
    telemetry.blocked_connections.dec();
    room
}

/// Waits for the first of the two, and lets the second go on meanwhile.
async fn meanwhile<T>(waited_for: impl Future<Output = T>, other: impl Future) -> T {
    tokio::select! {
        biased;
        done = waited_for => done,
        never = other.then(|_| std::future::pending()) => never,
    }
}

/// Until somebody ends the caller's connections. (With the server its subscriptions end by themselves.)
async fn disconnected(seat: &Seat) {
    if seat.ending().await == Ending::Shutdown {
        std::future::pending::<()>().await;
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
