//! What is too old is removed by the schedule, by one server at a time. A time that nobody was there for is made up for
//! when somebody is; what fails is tried again with growing pauses, by whichever server comes first.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::cleanup::{Cleaned, Cleanup, clean_under};
use crate::clock::Clock;
use crate::config::RetentionConfig;
use crate::store::{Lease, Store, StoreError, Upkeep};
use crate::telemetry::Telemetry;

/// How often it is looked whether something is due, at least: clocks jump.
const LOOK: Duration = Duration::from_mins(1);
/// The same where another server is at it, or the database is away.
const SOON: Duration = Duration::from_secs(5);
/// What one run may take before the next look.
const RUN: Duration = Duration::from_hours(1);

/// What was written down for a moment further ahead than this was so by a clock that has been put back since.
const AHEAD: TimeDelta = TimeDelta::hours(2);

/// When the next try is due, after what is known now.
#[must_use]
pub fn due_at(retention: &RetentionConfig, upkeep: &Upkeep, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if upkeep.scheduled_for > now + AHEAD {
        return Some(now);
    }
    let retry = upkeep.retry_at.map(|at| if at > now + AHEAD { now } else { at });
    retry.or_else(|| retention.schedule.after(upkeep.scheduled_for))
}

pub(super) struct Job {
    pub(super) store: Store,
    pub(super) retention: RetentionConfig,
    /// This server, as it calls itself.
    pub(super) holder: String,
    pub(super) telemetry: Telemetry,
}

impl Job {
    pub(super) async fn run(self, token: CancellationToken) {
        if self.retention.keep_days == 0 {
            return;
        }
        let clock = Clock::system();
        loop {
            let turn = async {
                let pause = self.turn(&clock).await.unwrap_or_else(|error| {
                    tracing::debug!(%error, "not looked whether retention is due");
                    SOON
                });
                sleep(pause).await;
            };
            if token.run_until_cancelled(turn).await.is_none() {
                return;
            }
        }
    }

    /// Does it where it is due; returns when to look again.
    async fn turn(&self, clock: &Clock) -> Result<Duration, StoreError> {
        if let Some(wait) = self.wait(clock, &self.store.upkeep().await?) {
            return Ok(wait);
        }
        let Some(lease) = Lease::take(&self.store, &self.holder).await? else { return Ok(SOON) };
        // Somebody may have done it meanwhile.
        if let Some(wait) = self.wait(clock, &self.store.upkeep().await?) {
            lease.release().await;
            return Ok(wait);
        }
        let outcome = self.clean(clock.now(), lease).await;
        let retention = &self.telemetry.retention;
        let Some(failure) = failure(&outcome) else {
            retention.runs.inc();
            retention.failing.set(0);
            return Ok(Duration::ZERO);
        };
        retention.failures.inc();
        retention.failing.set(1);
        tracing::error!(failure, "retention did not come to its end; tried again after a pause");
        self.store.retention_failed(&failure).await?;
        Ok(Duration::ZERO)
    }

    async fn clean(&self, now: DateTime<Utc>, lease: Lease) -> Result<Cleaned, StoreError> {
        let cleanup = Cleanup {
            cutoff: self.store.cutoff(self.retention.keep_days).await?,
            keep_unfinished: self.retention.keep_unfinished,
            inside: false,
            until: Instant::now() + RUN,
            scheduled_for: Some(now),
        };
        clean_under(&self.store, lease, &cleanup).await
    }

    /// How long to wait until it is due; none where it is.
    fn wait(&self, clock: &Clock, upkeep: &Upkeep) -> Option<Duration> {
        let now = clock.now();
        // What never comes is not due either.
        let due = due_at(&self.retention, upkeep, now).unwrap_or(now + AHEAD);
        (due - now).to_std().ok().filter(|wait| !wait.is_zero()).map(|wait| wait.min(LOOK))
    }
}

fn failure(outcome: &Result<Cleaned, StoreError>) -> Option<String> {
    match outcome {
        Err(error) => Some(error.to_string()),
        Ok(Cleaned { held: Some(held), .. }) => Some(held.clone()),
        Ok(Cleaned { has_more: true, .. }) => Some(format!("not through within {RUN:?}")),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn it_is_due_by_the_schedule_after_a_failure_and_after_a_clock_was_put_back() {
        let retention = RetentionConfig::default();
        let now = at("2026-11-28T12:00:00Z");
        let upkeep = |scheduled_for: &str, retry_at: Option<&str>| Upkeep {
            scheduled_for: at(scheduled_for),
            last_run_at: None,
            last_deleted_records: None,
            failure: None,
            retry_at: retry_at.map(at),
        };
        let due = |upkeep: &Upkeep| due_at(&retention, upkeep, now);
        assert_eq!(due(&upkeep("2026-11-28T02:00:01Z", None)), Some(at("2026-11-29T02:00:00Z")));
        assert_eq!(due(&upkeep("2026-11-20T00:00:00Z", None)), Some(at("2026-11-20T02:00:00Z")), "missed");
        let retry = "2026-11-28T12:20:00Z";
        assert_eq!(due(&upkeep("2026-11-27T02:00:00Z", Some(retry))), Some(at(retry)));
        assert_eq!(due(&upkeep("2027-11-28T02:00:00Z", None)), Some(now), "by a clock that was ahead");
        assert_eq!(due(&upkeep("2026-11-27T02:00:00Z", Some("2027-11-28T12:00:00Z"))), Some(now));
    }
}
