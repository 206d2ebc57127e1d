//! What runs on a socket: each operation a stream of answers, served in turn.
//!
//! An operation that has answered goes to the end of the queue, so one that always has something to say keeps no other one
//! waiting; and only those are asked that have said they have something. While the client does not read, each still goes on
//! up to its next answer, which waits with it: an operation that stood still in the middle of a read would keep a connection
//! of the pool for as long.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, Peekable};
use futures_util::task::AtomicWaker;

use crate::graphql::Answer;

/// What an operation has to say.
pub(super) enum Told {
    /// An answer; `first` says that there was none before.
    Answer { id: Arc<str>, answer: Answer, is_first: bool },
    /// It is over, and its id free again.
    Complete { id: Arc<str>, is_subscription: bool },
}

/// The operations of one socket.
#[derive(Default)]
pub(super) struct Operations {
    /// By number, which only rises.
    running: Vec<Running>,
    last: u64,
    turns: Arc<Turns>,
    /// What their messages took together.
    bytes: usize,
}

struct Running {
    number: u64,
    id: Arc<str>,
    /// With the answer that came while the client did not read.
    stream: Peekable<BoxStream<'static, Answer>>,
    bell: Arc<Bell>,
    /// Rings it.
    waker: Waker,
    bytes: usize,
    is_subscription: bool,
    is_first: bool,
}

/// Whose turn it is: the numbers of those that have something to say. Some may be gone.
#[derive(Default)]
struct Turns {
    queue: Mutex<VecDeque<u64>>,
    /// The socket's.
    task: AtomicWaker,
}

impl Turns {
    fn queue(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By which an operation says that it has something to say.
struct Bell {
    number: u64,
    is_queued: AtomicBool,
    turns: Arc<Turns>,
}

impl Bell {
    fn queue(&self) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            self.turns.queue().push_back(self.number);
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue();
        self.turns.task.wake();
    }
}

impl Operations {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether none is running.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// What their messages took together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.running.iter().any(|running| *running.id == *id)
    }

    /// Begins one. Its id must be free.
    pub(super) fn start(&mut self, id: &str, bytes: usize, is_subscription: bool, stream: BoxStream<'static, Answer>) {
        self.last += 1;
        let number = self.last;
        let bell = Arc::new(Bell { number, is_queued: AtomicBool::new(false), turns: Arc::clone(&self.turns) });
        bell.queue();
        self.bytes += bytes;
        let (id, waker) = (Arc::from(id), Arc::clone(&bell).into());
        // Most sockets have one.
        self.running.reserve_exact(1);
        let stream = stream.peekable();
        self.running.push(Running { number, id, stream, bell, waker, bytes, is_subscription, is_first: true });
    }

    /// Ends one, if it is still running: what it holds is given back at once, and nothing more comes of it.
    pub(super) fn stop(&mut self, id: &str) {
        if let Some(place) = self.running.iter().position(|running| *running.id == *id) {
            self.remove(place);
        }
    }

    fn remove(&mut self, place: usize) -> Running {
        let running = self.running.remove(place);
        self.bytes -= running.bytes;
        running
    }

    /// The next that has something to say. Pending, too, while there is none.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Told> {
        // First: who rings from now on wakes the task.
        self.turns.task.register(context.waker());
        // Each once: one that only steps aside for others must not be asked again before they had their turn.
        let due = self.turns.queue().len();
        for _ in 0..due {
            let Some(number) = self.turns.queue().pop_front() else { break };
            let Ok(place) = self.running.binary_search_by_key(&number, |running| running.number) else { continue };
            let Some(running) = self.running.get_mut(place) else { continue };
            running.bell.is_queued.store(false, Ordering::Release);
            match running.stream.poll_next_unpin(&mut Context::from_waker(&running.waker)) {
                Poll::Pending => {}
                Poll::Ready(Some(answer)) => {
                    running.bell.queue();
                    let is_first = std::mem::replace(&mut running.is_first, false);
                    return Poll::Ready(Told::Answer { id: Arc::clone(&running.id), answer, is_first });
                }
                Poll::Ready(None) => {
                    let Running { id, is_subscription, .. } = self.remove(place);
                    return Poll::Ready(Told::Complete { id, is_subscription });
                }
            }
        }
        if !self.turns.queue().is_empty() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// While nothing can be told: lets each go on up to its next answer.
    pub(super) fn go_on(&mut self, context: &mut Context<'_>) {
        self.turns.task.register(context.waker());
        let due = self.turns.queue().len();
        for _ in 0..due {
            let Some(number) = self.turns.queue().pop_front() else { break };
            let Ok(place) = self.running.binary_search_by_key(&number, |running| running.number) else { continue };
            let Some(running) = self.running.get_mut(place) else { continue };
            running.bell.is_queued.store(false, Ordering::Release);
            if Pin::new(&mut running.stream).poll_peek(&mut Context::from_waker(&running.waker)).is_ready() {
                running.bell.queue();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use async_graphql::{Response, Value};
    use futures_util::{FutureExt as _, future::poll_fn, stream};
    use tokio::sync::oneshot;

    use super::*;

    fn answers(many: usize) -> BoxStream<'static, Answer> {
        stream::repeat_with(|| Answer::Own(Box::new(Response::new(Value::Null)))).take(many).boxed()
    }

    fn next(operations: &mut Operations) -> Option<(String, bool)> {
        let told = poll_fn(|context| operations.poll_next(context)).now_or_never()?;
        Some(match told {
            Told::Answer { id, .. } => (id.to_string(), false),
            Told::Complete { id, .. } => (id.to_string(), true),
        })
    }

    #[test]
    fn they_take_turns() {
        let mut operations = Operations::default();
        operations.start("busy", 1, true, answers(usize::MAX));
        operations.start("also", 1, true, answers(usize::MAX));
        operations.start("once", 1, false, answers(1));
        let told: Vec<_> = (0..9).filter_map(|_| next(&mut operations)).collect();
        let of = |wanted: &str| told.iter().filter(|(id, _)| id == wanted).count();
        assert_eq!((of("once"), told.len()), (2, 9));
        assert!(of("busy").abs_diff(of("also")) <= 1, "{told:?}");
        assert_eq!((operations.len(), operations.bytes()), (2, 2));
    }

    #[test]
    fn one_that_steps_aside_lets_the_task_go_on() {
        let mut operations = Operations::default();
        let aside = stream::poll_fn(|context: &mut Context<'_>| {
            context.waker().wake_by_ref();
            Poll::<Option<Answer>>::Pending
        });
        operations.start("aside", 1, true, aside.boxed());
        assert_eq!(next(&mut operations), None);
        operations.start("once", 1, false, answers(1));
        assert_eq!(next(&mut operations), Some(("once".to_owned(), false)));
    }

    #[test]
    fn while_nothing_can_be_told_each_goes_on_up_to_its_next_answer() {
        let mut operations = Operations::default();
        let (arrive, arrives) = oneshot::channel::<()>();
        let asked = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&asked);
        let read = stream::once(arrives).flat_map(|_| answers(1)).chain(answers(2));
        operations.start("reads", 1, true, read.inspect(move |_| _ = counts.fetch_add(1, Ordering::Relaxed)).boxed());
        let mut context = Context::from_waker(Waker::noop());
        operations.go_on(&mut context);
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        arrive.send(()).unwrap();
        for _ in 0..3 {
            operations.go_on(&mut context);
            assert_eq!(asked.load(Ordering::Relaxed), 1, "one answer, and no more");
        }
        let told: Vec<_> = (0..4).filter_map(|_| next(&mut operations)).collect();
        assert_eq!(told.iter().map(|(_, is_over)| *is_over).collect::<Vec<_>>(), [false, false, false, true]);
        // One that is over says so later.
        operations.start("over", 1, true, answers(0));
        operations.go_on(&mut context);
        assert_eq!(next(&mut operations), Some(("over".to_owned(), true)));
    }

    #[test]
    fn what_is_stopped_is_dropped_at_once_and_says_nothing_more() {
        let mut operations = Operations::default();
        let held = Arc::new(());
        let holds = Arc::clone(&held);
        let stream = stream::pending::<Answer>().map(move |answer| {
            let _ = &holds;
            answer
        });
        operations.start("a", 7, true, stream.boxed());
        assert_eq!(next(&mut operations), None);
        operations.stop("a");
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(operations.is_empty());
        // Its id is free.
        operations.start("a", 5, true, answers(0));
        assert_eq!(next(&mut operations), Some(("a".to_owned(), true)));
        assert_eq!((operations.len(), operations.bytes()), (0, 0));
    }
}
