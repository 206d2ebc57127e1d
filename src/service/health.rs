//! Whether the server can do its work.

use std::time::{Duration, Instant};

use super::Service;
use crate::store::{HealthState, SLOW_ANSWER};

/// Who asks wants to know now.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the server does.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Whether the database answers, soon.
    pub database: HealthState,
    /// Whether changes are heard of at once.
    pub feed: HealthState,
    /// What is the matter; none where nothing is.
    pub detail: Option<String>,
    /// What the database took to answer; none where it did not.
    pub round_trip: Option<Duration>,
}

impl Health {
    fn of(round_trip: Option<Duration>, is_listening: bool) -> Self {
        let (database, of_database) = match round_trip {
            Some(took) if took < SLOW_ANSWER => (HealthState::Healthy, None),
            Some(took) => {
                (HealthState::Degraded, Some(format!("The database took {} ms to answer.", took.as_millis())))
            }
            None => (HealthState::Unhealthy, Some(format!("The database gave no answer in {} s.", PATIENCE.as_secs()))),
        };
        let (feed, of_feed) = match (is_listening, round_trip) {
            (true, _) => (HealthState::Healthy, None),
            (false, Some(_)) => {
                let why = "The listener is not connected: changes are found by the check alone, a little later.";
                (HealthState::Degraded, Some(why.to_owned()))
            }
            (false, None) => (HealthState::Unhealthy, Some("The listener is not connected.".to_owned())),
        };
        let details: Vec<String> = of_database.into_iter().chain(of_feed).collect();
        let detail = (!details.is_empty()).then(|| details.join(" "));
        Self { database, feed, detail, round_trip }
    }

    /// All of it together: as well as the worst.
    #[must_use]
    pub fn state(&self) -> HealthState {
        self.database.max(self.feed)
    }
}

/// Why requests are better sent to another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It has been told to end.
    #[error("the server ends")]
    Ending,
    /// No answer within two seconds.
    #[error("no database")]
    NoDatabase,
    /// It is not the one that this server has started on, or somebody has taken it back.
    #[error("the database lacks a migration: restart the server, or run taskwire migrate")]
    NotMigrated,
    /// Subscriptions hear of changes a little late.
    #[error("the feed's listener is not connected")]
    NotListening,
}

impl Service {
    /// Whether it can do all of its work.
    pub async fn readiness(&self) -> Result<(), NotReady> {
        match tokio::time::timeout(PATIENCE, self.store.is_migrated()).await {
            Ok(Ok(true)) if self.hub.is_connected() => Ok(()),
            Ok(Ok(true)) => Err(NotReady::NotListening),
            Ok(Ok(false)) => Err(NotReady::NotMigrated),
            _ => Err(NotReady::NoDatabase),
        }
    }

    /// Whether the database answers, soon.
    pub async fn is_healthy(&self) -> bool {
        self.round_trip().await.is_some()
    }

    /// How the server does; never fails.
    pub(super) async fn health(&self) -> Health {
        Health::of(self.round_trip().await, self.hub.is_connected())
    }

    async fn round_trip(&self) -> Option<Duration> {
        let begun = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, self.store.connection().ping()).await;
        matches!(answer, Ok(Ok(()))).then(|| begun.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use HealthState::{Degraded, Healthy, Unhealthy};

    use super::*;

    #[test]
    fn all_is_as_well_as_the_worst_of_it_and_what_is_wrong_is_said() {
        let (soon, late) = (Some(Duration::from_millis(1)), Some(Duration::from_millis(1_234)));
        for (round_trip, is_listening, states, said) in [
            (soon, true, [Healthy, Healthy, Healthy], None),
            (soon, false, [Degraded, Healthy, Degraded], Some("The listener")),
            (late, true, [Degraded, Degraded, Healthy], Some("The database took 1234 ms")),
            (late, false, [Degraded, Degraded, Degraded], Some("The database took 1234 ms to answer. The listener")),
            (None, true, [Unhealthy, Unhealthy, Healthy], Some("The database gave no answer in 2 s.")),
            (None, false, [Unhealthy, Unhealthy, Unhealthy], Some("The database gave no answer in 2 s. The listener")),
        ] {
            let health = Health::of(round_trip, is_listening);
            assert_eq!([health.state(), health.database, health.feed], states);
            assert_eq!(health.detail.is_some(), said.is_some());
            assert!(health.detail.unwrap_or_default().starts_with(said.unwrap_or_default()));
        }
    }
}
