//! A socket's times: what is due, and one timer that wakes for whatever is due next. An idle socket has no other, and
//! whatever happens on it only writes down a time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::alarm::Call;
use super::close::Close;
use crate::config::SocketConfig;

/// What operations that end with the server may take for their last words.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// What is due now.
pub(super) enum Due {
    Close(Close),
    Ping,
    /// The server ends, and it is this socket's turn, if it has nothing more to say.
    Shutdown,
}

/// Of one socket.
pub(super) struct Clock {
    sleep: Pin<Box<Sleep>>,
    /// Whether it is over, or was set anew.
    call: Call,
    /// When it wakes.
    armed: Instant,
    opened: Instant,
    has_begun: bool,
    is_open: bool,
    /// Since when no operation has been running.
    idle_since: Option<Instant>,
    last_ping: Instant,
    /// A ping that is not answered yet, and since when the client could have answered.
    unanswered: Option<Instant>,
    token_expires: Option<Instant>,
    /// At shutdown: from when on it may be closed, and when it must be.
    shutdown: Option<(Instant, Instant)>,
}

impl Clock {
    pub(super) fn new(config: &SocketConfig) -> Self {
        let now = Instant::now();
        let armed = now + config.init_time;
        Self {
            sleep: Box::pin(sleep_until(armed)),
            call: Call::new(),
            armed,
            opened: now,
            has_begun: false,
            is_open: false,
            idle_since: None,
            last_ping: now,
            unanswered: None,
            token_expires: None,
            shutdown: None,
        }
    }

    /// The client has said `connection_init`, in time. Looking at its token has times of its own.
    pub(super) fn begun(&mut self) {
        self.has_begun = true;
    }

    /// It is let in.
    pub(super) fn opened(&mut self) {
        self.is_open = true;
        let now = Instant::now();
        (self.idle_since, self.last_ping) = (Some(now), now);
    }

    /// The token is good for so long from now.
    pub(super) fn token_expires_in(&mut self, remaining: Option<Duration>) {
        // Beyond what a clock can tell: never.
        self.token_expires = remaining.and_then(|remaining| Instant::now().checked_add(remaining));
    }

    pub(super) fn operations_run(&mut self, any: bool) {
        if any {
            self.idle_since = None;
        } else if self.is_open {
            self.idle_since.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn pinged(&mut self) {
        let now = Instant::now();
        (self.last_ping, self.unanswered) = (now, Some(now));
    }

    pub(super) fn ponged(&mut self) {
        self.unanswered = None;
    }

    /// The client reads again: only from now on could it see a ping.
    pub(super) fn unblocked(&mut self) {
        if let Some(since) = &mut self.unanswered {
            *since = Instant::now();
        }
    }

    pub(super) fn shutdown(&mut self, turn: Duration) {
        let earliest = Instant::now() + turn;
        self.shutdown = Some((earliest, earliest.max(Instant::now() + LAST_WORDS)));
    }

    pub(super) fn is_shutdown(&self) -> bool {
        self.shutdown.is_some()
    }

    /// Whether something is due; if not, wakes the task when something is. `has_more` says that something is still to be
    /// sent.
    pub(super) fn poll(
        &mut self,
        config: &SocketConfig,
        blocked_since: Option<Instant>,
        has_more: bool,
        context: &Context<'_>,
    ) -> Poll<Due> {
        let mut next: Option<(Instant, Due)> = None;
        let mut consider = |at: Option<Instant>, due: Due| {
            if let Some(at) = at
                && next.as_ref().is_none_or(|(first, _)| at < *first)
            {
                next = Some((at, due));
            }
        };
        consider((!self.has_begun).then(|| self.opened + config.init_time), Due::Close(Close::InitTimeout));
        consider(self.token_expires, Due::Close(Close::TokenExpired));
        consider(self.idle_since.map(|since| since + config.idle_time), Due::Close(Close::Idle(config.idle_time)));
        if let Some((earliest, latest)) = self.shutdown {
            consider(Some(if has_more { latest } else { earliest }), Due::Shutdown);
        }
        match blocked_since {
            // No ping could be seen, and no pong be asked for.
            Some(since) => {
                let time = config.slow_reader_time;
                consider(Some(since + time), Due::Close(Close::SlowReader(time)));
            }
            None if config.ping_interval.is_zero() || !self.is_open => {}
            None => match self.unanswered {
                Some(since) => consider(Some(since + config.pong_time), Due::Close(Close::NoPong(config.pong_time))),
                None => consider(Some(self.last_ping + config.ping_interval), Due::Ping),
            },
        }
        let Some((at, due)) = next else { return Poll::Pending };
        // It may wake too early: that costs less than setting it anew with each message.
        if at < self.armed {
            self.arm(at);
        }
        if !self.call.has_come(context) {
            return Poll::Pending;
        }
        while self.sleep.as_mut().poll(&mut self.call.context()).is_ready() {
            if at <= Instant::now() {
                self.call.again();
                return Poll::Ready(due);
            }
            self.arm(at);
        }
        Poll::Pending
    }

    fn arm(&mut self, at: Instant) {
        self.sleep.as_mut().reset(at);
        self.armed = at;
        self.call.again();
    }
}
