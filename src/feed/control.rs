//! What an admin has every server do about a user: close what is open. A row says so; it is looked for with the check, and
//! sooner when a notification on `taskwire_control` hints at it.
//!
//! The feed knows nothing of sockets: whoever opens them leaves a [`Close`] here.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use chrono::{DateTime, TimeDelta, Utc};

use super::hub::lock;
use crate::store::Disconnections;

/// Closes all that a user has open on this server, and tells how many that were. Must not wait for anything.
pub type Close = Box<dyn Fn(&str) -> usize + Send + Sync>;

/// A row is read again for a minute; what was done is remembered for longer than that.
const REMEMBERED: TimeDelta = TimeDelta::minutes(3);

#[derive(Default)]
pub(super) struct Control {
    close: OnceLock<Close>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The database's clock at the last look.
    since: Option<DateTime<Utc>>,
    /// What was carried out, and how much was closed.
    done: HashMap<String, HashMap<DateTime<Utc>, usize>>,
}

impl Control {
    /// How to close what is open; the first one counts.
    pub(super) fn close_by(&self, close: Close) {
        let _ = self.close.set(close);
    }

    pub(super) fn since(&self) -> Option<DateTime<Utc>> {
        lock(&self.state).since
    }

    /// Carries out what was read, where that was not done yet.
    pub(super) fn found(&self, found: Disconnections) {
        for (user, at) in found.users {
            self.disconnected(&user, at);
        }
        let mut state = lock(&self.state);
        state.since = Some(found.at);
        state.done.retain(|_, times| {
            times.retain(|at, _| *at > found.at - REMEMBERED);
            !times.is_empty()
        });
    }

    /// Closes what the user has open, once for each time that this was asked for; and tells how many that were.
    pub(super) fn disconnected(&self, user: &str, at: DateTime<Utc>) -> usize {
        // Held while it closes, so that of two who find the same row the second knows what the first has closed.
        let mut state = lock(&self.state);
        let count = || self.close.get().map_or(0, |close| close(user));
        *state.done.entry(user.to_owned()).or_default().entry(at).or_insert_with(count)
    }

    pub(super) fn has_disconnected(&self, user: &str, since: DateTime<Utc>) -> bool {
        lock(&self.state).done.get(user).is_some_and(|times| times.keys().any(|at| *at >= since))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_row_is_carried_out_once_whoever_finds_it_first() {
        let control = Control::default();
        let open = Arc::new(AtomicUsize::new(3));
        let closed = Arc::clone(&open);
        control.close_by(Box::new(move |_| closed.swap(0, Ordering::Relaxed)));
        let (at, user) = (Utc::now(), "u".to_owned());
        let found = |at| Disconnections { at, users: vec![(user.clone(), at)] };
        control.found(found(at));
        open.store(1, Ordering::Relaxed);
        assert_eq!(control.disconnected("u", at), 3, "closed before, and counted");
        control.found(found(at));
        assert_eq!(open.load(Ordering::Relaxed), 1, "what came later stays open");
        assert_eq!(control.disconnected("u", at + TimeDelta::microseconds(1)), 1);
        assert!(control.has_disconnected("u", at) && !control.has_disconnected("u", at + TimeDelta::seconds(1)));
        assert!(!control.has_disconnected("v", at));
        control.found(Disconnections { at: at + TimeDelta::minutes(4), users: Vec::new() });
        assert!(lock(&control.state).done.is_empty());
    }
}
