//! Answers that are dear and may be a little old: who asks the same within a few seconds, or while it is being found out,
//! gets the same answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use super::{ServiceError, limits};

/// How many answers are kept; beyond, each finds out for itself.
const MOST: usize = 100;
/// The recent answers by their question. Cheap to clone.
pub(super) struct Recent<Q, A>(Arc<Inner<Q, A>>);

/// An answer, once there is one, and since when.
type Slot<A> = Arc<OnceCell<(Instant, A)>>;

struct Inner<Q, A> {
    kept_for: Duration,
    answers: Mutex<HashMap<Q, Slot<A>>>,
    /// For those that take long, and for the others: nobody's short one waits for a long one, and the rest of the pool is for
    /// everybody else.
    long: Semaphore,
    short: Semaphore,
}

impl<Q, A> Clone for Recent<Q, A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Q: Eq + Hash, A: Clone> Recent<Q, A> {
    /// Keeps each answer for so long.
    pub(super) fn new(kept_for: Duration) -> Self {
        let [long, short] = [limits::STATISTICS_AT_ONCE, limits::OWN_STATISTICS_AT_ONCE].map(Semaphore::new);
        Self(Arc::new(Inner { kept_for, answers: Mutex::default(), long, short }))
    }

    /// The answer to this question; `find_out` is asked where there is none. A failure is nobody else's: who waits tries
    /// for itself, and so it does where the one who was finding out went away.
    pub(super) async fn answer(
        &self,
        question: Q,
        is_long: bool,
        find_out: impl AsyncFnOnce() -> Result<A, ServiceError>,
    ) -> Result<A, ServiceError> {
        let slot = self.slot(question);
        let find_out = async || {
            // Never closed, so never refused.
            let seats = if is_long { &self.0.long } else { &self.0.short };
            let _seat = seats.acquire().await;
            let since = Instant::now();
            Ok::<_, ServiceError>((since, find_out().await?))
        };
        let (_, answer) = slot.get_or_try_init(find_out).await?;
        Ok(answer.clone())
    }

    fn slot(&self, question: Q) -> Slot<A> {
        let mut answers = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, slot| match slot.get() {
            Some((since, _)) => since.elapsed() < self.0.kept_for,
            // Somebody is finding out.
            None => Arc::strong_count(slot) > 1,
        });
        if answers.len() >= MOST && !answers.contains_key(&question) {
            return Slot::default();
        }
        Arc::clone(answers.entry(question).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    /// Answers with how often it was asked before.
    struct Oracle(AtomicUsize);

    impl Oracle {
        async fn ask(&self, recent: &Recent<usize, usize>, question: usize) -> Result<usize, ServiceError> {
            let find_out = async || {
                tokio::task::yield_now().await;
                Ok(self.0.fetch_add(1, Ordering::Relaxed))
            };
            recent.answer(question, true, find_out).await
        }
    }

    #[tokio::test]
    async fn who_asks_the_same_gets_the_same_answer_for_a_while() {
        let (recent, oracle) = (Recent::new(Duration::from_secs(1)), Oracle(AtomicUsize::new(0)));
        let began = Instant::now();
        let together = join_all((0..20).map(|_| oracle.ask(&recent, 1))).await;
        assert!(together.into_iter().all(|answer| answer.ok() == Some(0)));
        assert_eq!(oracle.ask(&recent, 2).await.ok(), Some(1));
        assert_eq!(oracle.ask(&recent, 1).await.ok(), Some(0));
        while oracle.ask(&recent, 1).await.ok() == Some(0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_failure_is_not_kept_and_nobody_waits_for_one_who_went_away() {
        let (recent, oracle) = (Recent::new(Duration::from_mins(1)), Oracle(AtomicUsize::new(0)));
        let fails = async || Err(ServiceError::forbidden());
        assert!(recent.answer(1, true, fails).await.is_err());
        let never =
            tokio::time::timeout(Duration::from_millis(5), recent.answer(1, true, std::future::pending::<Never>));
        assert!(never.await.is_err());
        assert_eq!(oracle.ask(&recent, 1).await.ok(), Some(0));
    }

    type Never = Result<usize, ServiceError>;

    #[tokio::test]
    async fn no_more_than_a_hundred_are_kept() {
        let (recent, oracle) = (Recent::new(Duration::from_mins(1)), Oracle(AtomicUsize::new(0)));
        for question in 0..150 {
            assert_eq!(oracle.ask(&recent, question).await.ok(), Some(question));
        }
        assert_eq!(oracle.ask(&recent, 99).await.ok(), Some(99));
        assert_eq!(oracle.ask(&recent, 100).await.ok(), Some(150));
        assert_eq!(recent.0.answers.lock().map(|answers| answers.len()).ok(), Some(100));
    }
}
