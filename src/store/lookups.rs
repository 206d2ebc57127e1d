//! Look-ups by key, shared across requests: while some are under way, whoever comes waits, and the next one is for all of
//! them. No timer: one that comes alone goes at once.
//!
//! A shared look-up begins after everybody in it has asked, so each sees whatever was committed before. It is given up when
//! all of them have gone away. Where it finds the database away or too slow, that is told to those who wait for the next one
//! as well: one after the other they would wait for the same again.
//!
//! To share another read: a statement over arrays of keys, in whose answers `place` says where the key stands, and a field of
//! `SharedLookups`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sea_orm::DbErr;
use tokio::sync::oneshot;
use tracing::{Instrument as _, Span};

use super::StoreError;

/// So many are under way at once: enough to keep two cores of PostgreSQL busy, few enough that many share one.
const AT_ONCE: usize = 2;

type Answer<V> = oneshot::Sender<Result<V, StoreError>>;

/// Those who look up one kind of thing. Cheap to clone.
pub(super) struct Lookups<K, V> {
    shared: Arc<Mutex<Waiting<K, V>>>,
    /// Keys in one look-up, at most.
    most: usize,
}

struct Waiting<K, V> {
    queue: VecDeque<(K, Answer<V>, Span)>,
    under_way: usize,
}

impl<K, V> Clone for Lookups<K, V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), most: self.most }
    }
}

impl<K: Send + 'static, V: Send + 'static> Lookups<K, V> {
    /// With so many keys in one look-up at most.
    pub(super) fn of(most: usize) -> Self {
        Self { shared: Arc::new(Mutex::new(Waiting { queue: VecDeque::new(), under_way: 0 })), most }
    }

    /// What `read` finds for this key in the store. It gives an answer for each of its keys, in their order.
    pub(super) async fn find<S, R>(
        &self,
        store: &S,
        key: K,
        read: impl Fn(S, Vec<K>) -> R + Send + 'static,
    ) -> Result<V, StoreError>
    where
        S: Clone + Send + 'static,
        R: Future<Output = Result<Vec<V>, StoreError>> + Send + 'static,
    {
        let (answer, found) = oneshot::channel();
        let seat = {
            let mut waiting = self.waiting();
            waiting.queue.push_back((key, answer, Span::current()));
            (waiting.under_way < AT_ONCE).then(|| {
                waiting.under_way += 1;
                Seat { lookups: self.clone(), is_left: false }
            })
        };
        if let Some(seat) = seat {
            // By itself: whoever begins it may go away before the others have their answers.
            tokio::spawn(seat.serve(store.clone(), read));
        }
        found.await.unwrap_or_else(|_| Err(broke_off()))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<K, V>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those that may be under way at once.
struct Seat<K: Send + 'static, V: Send + 'static> {
    lookups: Lookups<K, V>,
    is_left: bool,
}

impl<K: Send + 'static, V: Send + 'static> Seat<K, V> {
    /// Looks up for all who wait, until nobody does.
    async fn serve<S, R>(mut self, store: S, read: impl Fn(S, Vec<K>) -> R)
    where
        S: Clone,
        R: Future<Output = Result<Vec<V>, StoreError>>,
    {
        while let Some((keys, mut answers, span)) = self.next() {
            let found = tokio::select! {
                // In the trace of the first of them.
                found = read(store.clone(), keys).instrument(span) => found,
                () = all_gone(&mut answers) => continue,
            };
            match found {
                // Who has gone away needs no answer.
                Ok(values) => answers.into_iter().zip(values).for_each(|(answer, value)| _ = answer.send(Ok(value))),
                Err(error) => {
                    if matches!(error, StoreError::Unavailable(_) | StoreError::Timeout) {
                        let waiting = std::mem::take(&mut self.lookups.waiting().queue);
                        answers.extend(waiting.into_iter().map(|(_, answer, _)| answer));
                    }
                    for answer in answers {
                        let _ = answer.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// The next ones that still wait. When nobody does the seat is left, under the same lock: whoever comes then takes it.
    fn next(&mut self) -> Option<(Vec<K>, Vec<Answer<V>>, Span)> {
        let mut waiting = self.lookups.waiting();
        let (mut keys, mut answers, mut first) = (Vec::new(), Vec::new(), Span::none());
        while keys.len() < self.lookups.most
            && let Some((key, answer, span)) = waiting.queue.pop_front()
        {
            if !answer.is_closed() {
                if keys.is_empty() {
                    first = span;
                }
                keys.push(key);
                answers.push(answer);
            }
        }
        if keys.is_empty() {
            waiting.under_way -= 1;
            self.is_left = true;
            return None;
        }
        Some((keys, answers, first))
    }
}

impl<K: Send + 'static, V: Send + 'static> Drop for Seat<K, V> {
    /// Broken off, it leaves nobody waiting for it.
    fn drop(&mut self) {
        if !self.is_left {
            let mut waiting = self.lookups.waiting();
            waiting.under_way -= 1;
            waiting.queue.clear();
        }
    }
}

async fn all_gone<V>(answers: &mut [Answer<V>]) {
    for answer in answers {
        answer.closed().await;
    }
}

fn broke_off() -> StoreError {
    StoreError::Database(DbErr::Custom("a look-up was broken off".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    type Read = (Vec<u32>, oneshot::Sender<Result<Vec<u32>, StoreError>>);

    /// Each read is handed to the test, which answers it.
    struct Bench {
        lookups: Lookups<u32, u32>,
        reads: mpsc::UnboundedReceiver<Read>,
        reader: mpsc::UnboundedSender<Read>,
    }

    impl Bench {
        fn new(most: usize) -> Self {
            let (reader, reads) = mpsc::unbounded_channel();
            Self { lookups: Lookups::of(most), reads, reader }
        }

        /// Has asked when this returns.
        async fn find(&self, key: u32) -> JoinHandle<Result<u32, StoreError>> {
            let (lookups, reader, waiting) = (self.lookups.clone(), self.reader.clone(), self.waiting());
            let read = move |(), keys| {
                let (sender, answer) = oneshot::channel();
                reader.send((keys, sender)).unwrap();
                async move { answer.await.unwrap() }
            };
            let finding = tokio::spawn(async move { lookups.find(&(), key, read).await });
            let asked = async {
                while self.waiting() == waiting && self.reads.is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(Duration::from_secs(10), asked).await.expect("asked in time");
            finding
        }

        fn waiting(&self) -> usize {
            self.lookups.waiting().queue.len()
        }

        async fn read(&mut self) -> Read {
            timeout(Duration::from_secs(10), self.reads.recv()).await.unwrap().unwrap()
        }
    }

    /// In time, so that a fault ends the test.
    async fn outcome(finding: JoinHandle<Result<u32, StoreError>>) -> Result<u32, StoreError> {
        timeout(Duration::from_secs(10), finding).await.expect("an outcome in time").unwrap()
    }

    fn answer((keys, sender): Read) {
        sender.send(Ok(keys.iter().map(|key| key * 10).collect())).unwrap();
    }

    #[tokio::test]
    async fn who_comes_while_as_many_as_may_be_are_under_way_shares_the_next() {
        let mut bench = Bench::new(3);
        let mut all = Vec::new();
        let mut under_way = Vec::new();
        for key in 0..2 {
            all.push(bench.find(key).await);
            under_way.push(bench.read().await);
        }
        assert_eq!(under_way.iter().map(|read| read.0.clone()).collect::<Vec<_>>(), [[0], [1]]);
        for key in 2..6 {
            all.push(bench.find(key).await);
        }
        assert_eq!(bench.waiting(), 4);
        answer(under_way.remove(0));
        let third = bench.read().await;
        assert_eq!(third.0, [2, 3, 4], "no more than three");
        answer(third);
        let last = bench.read().await;
        assert_eq!(last.0, [5]);
        answer(last);
        answer(under_way.remove(0));
        for (key, one) in all.into_iter().enumerate() {
            assert_eq!(outcome(one).await.unwrap(), u32::try_from(key).unwrap() * 10);
        }
        assert_eq!(bench.lookups.waiting().under_way, 0);
    }

    #[tokio::test]
    async fn a_failure_is_everybodys_and_the_next_one_is_tried_anew() {
        let mut bench = Bench::new(9);
        let first = [bench.find(1).await, bench.find(2).await];
        let (one, two) = (bench.read().await, bench.read().await);
        let shared = [bench.find(3).await, bench.find(4).await];
        answer(one);
        let (keys, sender) = bench.read().await;
        assert_eq!(keys, [3, 4]);
        let next = bench.find(5).await;
        sender.send(Err(StoreError::Timeout)).unwrap();
        for finding in shared.into_iter().chain([next]) {
            assert!(matches!(outcome(finding).await, Err(StoreError::Timeout)));
        }
        answer(two);
        for finding in first {
            outcome(finding).await.unwrap();
        }
        let again = bench.find(3).await;
        answer(bench.read().await);
        assert_eq!(outcome(again).await.unwrap(), 30);
    }

    #[tokio::test]
    async fn it_is_given_up_when_all_have_gone_and_not_before() {
        let mut bench = Bench::new(9);
        let (one, two) = (bench.find(1).await, bench.find(2).await);
        let (first, second) = (bench.read().await, bench.read().await);
        let (three, four) = (bench.find(3).await, bench.find(4).await);
        answer(first);
        let (_, mut sender) = bench.read().await;
        three.abort();
        assert!(timeout(Duration::from_millis(50), sender.closed()).await.is_err(), "one still waits");
        four.abort();
        timeout(Duration::from_secs(10), sender.closed()).await.unwrap();
        answer(second);
        assert_eq!((outcome(one).await.unwrap(), outcome(two).await.unwrap()), (10, 20));
        let ended = async {
            while bench.lookups.waiting().under_way > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), ended).await.unwrap();
    }

    #[tokio::test]
    async fn one_that_breaks_off_leaves_nobody_waiting() {
        let mut bench = Bench::new(9);
        let (one, two) = (bench.find(1).await, bench.find(2).await);
        let (first, second) = (bench.read().await, bench.read().await);
        let waiting = bench.find(3).await;
        // The reader panics.
        drop(first);
        assert!(outcome(one).await.is_err());
        assert!(outcome(waiting).await.is_err());
        answer(second);
        assert_eq!(outcome(two).await.unwrap(), 20);
        let again = bench.find(4).await;
        answer(bench.read().await);
        assert_eq!(outcome(again).await.unwrap(), 40);
    }
}
