//! Reading from standbys what may be a little old: lists and histories, never the feed.
//!
//! How old a standby's answers are cannot be read off the standby: one that is cut off does not know what it lacks. So the
//! primary is asked again and again how far its WAL is, and the standby how far it has got: once that is behind it, the
//! standby has everything of that moment. A standby that shows too old a moment is not asked, nor for a user of whom this
//! server has learnt something since: what it has written for one, and what its feed has told.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tokio::time::Instant;

use super::feed::{no_row, statement};
use super::{Store, StoreError, StoreSettings};

/// A standby has this long for an answer; then the primary is asked.
const ANSWER: Duration = Duration::from_secs(2);
/// Of how many users it is remembered at the most when something was learnt. Beyond, no standby is asked until they have been forgotten.
const LEARNT: usize = 100_000;

/// As a number, which rises. What is flushed is what a standby is sent.
const FLUSHED: &str = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint AS wal, \
    ('x' || lpad(left(pg_walfile_name(pg_current_wal_flush_lsn()), 8), 16, '0'))::bit(64)::bigint AS timeline";
/// How far a standby has got. The timeline is that of its last restart point, or of what it has written since: one that
/// follows a new primary shows it a little late.
const REPLAYED: &str = "SELECT (pg_last_wal_replay_lsn() - '0/0')::bigint AS wal, greatest( \
        (SELECT timeline_id FROM pg_control_checkpoint()), \
        (SELECT min_recovery_end_timeline FROM pg_control_recovery()))::bigint AS timeline";

/// The standbys of one database.
pub(super) struct Standbys {
    all: Vec<Standby>,
    staleness: Duration,
    /// Whose turn it is.
    turn: AtomicUsize,
    state: Mutex<State>,
}

struct Standby {
    store: Store,
    place: String,
}

#[derive(Default)]
struct State {
    /// How far the primary's WAL was, and when it was asked; the latest last.
    samples: VecDeque<(i64, Instant)>,
    /// Of each standby: the moment of which it has everything.
    complete_at: Vec<Option<Instant>>,
    /// In which tenure of the primary all that was found.
    tenure: u64,
    /// When this server last learnt something of each user.
    learnt: HashMap<String, Instant>,
    /// It was of too many users at this moment.
    is_crowded: Option<Instant>,
}

impl Standbys {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that has everything of a moment that is not too long ago, and what this server learnt last of the user.
    fn fresh(&self, user_id: Option<&str>, tenure: u64) -> Option<&Standby> {
        let state = self.state();
        if state.tenure != tenure {
            return None;
        }
        let learnt = user_id.and_then(|user_id| state.learnt.get(user_id)).copied().max(state.is_crowded);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (0..self.all.len()).map(|offset| turn.wrapping_add(offset) % self.all.len()).find_map(|index| {
            let complete_at = state.complete_at.get(index).copied().flatten()?;
            let is_fresh = complete_at.elapsed() <= self.staleness && learnt.is_none_or(|at| complete_at > at);
            is_fresh.then(|| &self.all[index])
        })
    }

    fn learnt<'a>(&self, users: impl Iterator<Item = &'a str>) {
        let now = Instant::now();
        let mut state = self.state();
        for user in users {
            if let Some(at) = state.learnt.get_mut(user) {
                *at = now;
            } else if state.learnt.len() < LEARNT {
                state.learnt.insert(user.to_owned(), now);
            } else {
                state.is_crowded = Some(now);
            }
        }
    }
}

impl Store {
    /// The same, which reads what may be so old from these standbys.
    #[must_use]
    pub fn reading_from(self, standbys: Vec<(DatabaseConnection, String)>, staleness: Duration) -> Self {
        if standbys.is_empty() {
            return self;
        }
        let settings = StoreSettings { command_timeout: ANSWER.min(self.settings.command_timeout), ..self.settings };
        let standby = |(db, place)| {
            let store = Store::new(db, settings, Arc::new(|_| ())).counting(&self.telemetry);
            Standby { store, place }
        };
        let all: Vec<_> = standbys.into_iter().map(standby).collect();
        let state = Mutex::new(State { complete_at: vec![None; all.len()], ..State::default() });
        let standbys = Standbys { all, staleness, turn: AtomicUsize::new(0), state };
        Self { standbys: Some(Arc::new(standbys)), ..self }
    }

    /// The same, which notes for `other` what it learns.
    #[must_use]
    pub fn noting_for(self, other: &Self) -> Self {
        Self { standbys: other.standbys.clone(), ..self }
    }

    /// This server has written something of these users, or read it in the primary, and has told nobody yet: whoever is
    /// told may ask for it.
    pub(super) fn learnt<'a>(&self, users: impl Iterator<Item = &'a str>) {
        if let Some(standbys) = &self.standbys {
            standbys.learnt(users);
        }
    }

    /// Reads from a standby, if one will do for this user (none: for everybody), gives an answer, and it `suffices`; else
    /// from the primary.
    pub async fn near<T, F>(
        &self,
        user_id: Option<&str>,
        read: impl Fn(Self) -> F,
        suffices: impl Fn(&T) -> bool,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let Some(standbys) = &self.standbys else { return read(self.clone()).await };
        let count = |from| self.telemetry.standby_reads.get_or_create(&[("from", from)]).inc();
        if let Some(Standby { store, place }) = standbys.fresh(user_id, self.tenure()) {
            match read(store.clone()).await {
                Ok(found) if suffices(&found) => {
                    count("standby");
                    return Ok(found);
                }
                Ok(_) => tracing::debug!(place, "a standby has not got so far; the primary is read"),
                Err(error) => tracing::debug!(place, %error, "a standby does not answer; the primary is read"),
            }
        }
        count("primary");
        read(self.clone()).await
    }

    /// Looks how far the standbys are; returns after how long to look again. None where there are none.
    pub async fn look_at_standbys(&self) -> Option<Duration> {
        let standbys = self.standbys.as_ref()?;
        let (tenure, asked_at) = (self.tenure(), Instant::now());
        let primary = wal_of(self, FLUSHED).await;
        {
            let mut state = standbys.state();
            if state.tenure != tenure {
                // What was learnt holds in any tenure.
                state.samples.clear();
                state.complete_at.fill(None);
                state.tenure = tenure;
            }
            if let Ok((wal, _)) = primary {
                state.samples.push_back((wal, asked_at));
            }
            let kept = standbys.staleness;
            while state.samples.front().is_some_and(|(_, at)| at.elapsed() > kept) {
                state.samples.pop_front();
            }
            let is_old = |at: &Instant| at.elapsed() > kept;
            state.learnt.retain(|_, at| !is_old(at));
            state.is_crowded = state.is_crowded.filter(|at| !is_old(at));
        }
        if let Ok((_, timeline)) = primary {
            let looks = standbys.all.iter().enumerate().map(|(index, standby)| async move {
                let complete_at = wal_of(&standby.store, REPLAYED).await;
                (index, complete_at.inspect_err(|error| tracing::debug!(standby.place, %error, "a standby is away")))
            });
            for (index, found) in futures_util::future::join_all(looks).await {
                let mut state = standbys.state();
                let reached = found.ok().filter(|(_, of)| *of == timeline).and_then(|(wal, _)| {
                    state.samples.iter().rev().find(|(sample, _)| *sample <= wal).map(|(_, at)| *at)
                });
                let known = &mut state.complete_at[index];
                if known.is_some() != reached.is_some() {
                    let place = &standbys.all[index].place;
                    tracing::info!(place, is_used = reached.is_some(), "a standby to read from");
                }
                *known = reached;
            }
        }
        Some((standbys.staleness / 8).clamp(Duration::from_millis(25), Duration::from_secs(1)))
    }
}

async fn wal_of(store: &Store, sql: &str) -> Result<(i64, i64), StoreError> {
    let read = store.within_time(store.db.query_one_raw(statement(sql, []))).await??;
    let row = read.ok_or_else(no_row)?;
    Ok((row.try_get("", "wal")?, row.try_get("", "timeline")?))
}
