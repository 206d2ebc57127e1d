//! How often a viewer may ask, and for how much: by the second, with as much in one go. Off until the operator sets it.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, MonotonicClock};
use governor::state::keyed::HashMapStateStore;
use governor::{NotUntil, Quota, RateLimiter};

use super::ServiceError;
use super::error::Met;
use crate::auth::Viewer;
use crate::config::GraphqlConfig;

type Limiter = RateLimiter<String, HashMapStateStore<String>, MonotonicClock>;

/// After so many questions those are forgotten who have not asked lately.
const FORGET_EVERY: u32 = 10_000;

/// The limits by viewer.
pub struct Rates {
    operations: Option<(Limiter, NonZeroU32)>,
    cost: Option<(Limiter, NonZeroU32)>,
    asked: AtomicU32,
}

impl Rates {
    /// As the operator has set them.
    #[must_use]
    pub fn new(config: &GraphqlConfig) -> Self {
        let limiter =
            |most| (RateLimiter::new(Quota::per_second(most), HashMapStateStore::default(), MonotonicClock), most);
        Self {
            operations: config.max_operations_per_second.map(limiter),
            cost: config.max_cost_per_second.map(limiter),
            asked: AtomicU32::new(0),
        }
    }

    /// Whether this viewer may have an operation now: asked before anything is done for it, so that what is refused later
    /// counts too.
    pub fn admit_operation(&self, viewer: &Viewer) -> Result<(), ServiceError> {
        let Some((limiter, most)) = &self.operations else { return Ok(()) };
        self.forget();
        limiter.check_key(&key(viewer)).map_err(|until| {
            let max = u64::from(most.get());
            // This one would have been one more than a second's.
            let met = Met { limit: "operationsPerSecond", max, value: max + 1 };
            ServiceError::rate_limited("You ask too often", met, wait(&until))
        })
    }

    /// Whether this viewer may have an operation of this cost now. Who is refused has not used up anything of the cost.
    pub fn admit_cost(&self, viewer: &Viewer, cost: u64) -> Result<(), ServiceError> {
        let Some((limiter, most)) = &self.cost else { return Ok(()) };
        self.forget();
        let key = key(viewer);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let Some(cost) = NonZeroU32::new(cost) else { return Ok(()) };
        // What costs more than a second's worth is let through once a whole second's worth is there.
        let asked = cost.min(*most);
        match limiter.check_key_n(&key, asked) {
            Ok(Err(until)) => {
                let met = Met { limit: "costPerSecond", max: most.get().into(), value: cost.get().into() };
                let message = format!("You ask for too much at once: this costs {cost}");
                Err(ServiceError::rate_limited(&message, met, wait(&until)))
            }
            // That more is asked for than there ever is cannot be.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    fn forget(&self) {
        if self.asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.operations.iter().chain(&self.cost).for_each(|(limiter, _)| limiter.retain_recent());
        }
    }
}

/// Whoever is not signed in is one viewer.
fn key(viewer: &Viewer) -> String {
    format!("{}:{}", viewer.role, viewer.user_id.as_deref().unwrap_or_default())
}

fn wait(until: &NotUntil<<MonotonicClock as governor::clock::Clock>::Instant>) -> Duration {
    // A millisecond more: a client that waits exactly this long is let in.
    until.wait_time_from(MonotonicClock.now()) + Duration::from_millis(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(operations: u32, cost: u32) -> Rates {
        Rates::new(&GraphqlConfig {
            max_operations_per_second: NonZeroU32::new(operations),
            max_cost_per_second: NonZeroU32::new(cost),
            ..GraphqlConfig::default()
        })
    }

    #[test]
    fn each_viewer_has_a_rate_of_its_own() {
        let rates = rates(2, 0);
        let (anna, ben) = (Viewer::user("anna"), Viewer::user("ben"));
        for viewer in [&anna, &anna, &ben, &ben, &Viewer::worker("anna"), &Viewer::admin()] {
            rates.admit_operation(viewer).unwrap();
        }
        let refused = rates.admit_operation(&anna).unwrap_err();
        assert_eq!(refused.code(), "RATE_LIMITED");
        assert!(refused.is_retryable());
    }

    #[test]
    fn cost_is_counted_and_what_costs_more_than_all_is_let_through_alone() {
        let (rates, anna) = (rates(0, 100), Viewer::user("anna"));
        rates.admit_cost(&anna, 60).unwrap();
        assert!(rates.admit_cost(&anna, 60).is_err());
        rates.admit_cost(&Viewer::user("ben"), u64::MAX).unwrap();
        assert!(rates.admit_cost(&Viewer::user("ben"), 10).is_err());
        assert!(super::Rates::new(&GraphqlConfig::default()).admit_cost(&anna, u64::MAX).is_ok());
    }
}
