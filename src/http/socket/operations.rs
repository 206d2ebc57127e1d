//! What runs on a socket: each operation a stream of answers, served in turn.
//!
//! An operation that has answered goes to the end of the queue, so one that always has something to say keeps no other one
//! waiting; and only those are asked that have said they have something.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use futures_util::stream::{BoxStream, FuturesUnordered};
use futures_util::{Stream as _, StreamExt as _};

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
    by_id: HashMap<Arc<str>, Arc<Slot>>,
    running: FuturesUnordered<Turn>,
    /// What their messages took together.
    bytes: usize,
}

/// An operation's stream, where it can be taken away: what it holds is given back at once when the client ends it.
struct Slot(Mutex<Inside>);

struct Inside {
    stream: Option<BoxStream<'static, Answer>>,
    /// Of the socket's task.
    waker: Option<Waker>,
}

impl Slot {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        let (stream, waker) = {
            let mut inside = self.inside();
            (inside.stream.take(), inside.waker.take())
        };
        drop(stream);
        // So that its place is cleared away.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Running {
    id: Arc<str>,
    slot: Arc<Slot>,
    bytes: usize,
    is_subscription: bool,
    is_first: bool,
}

/// One operation until its next answer.
struct Turn(Option<Running>);

/// What came of a turn.
enum Came {
    Answer(Answer),
    End,
    /// The client had ended it.
    Stopped,
}

impl Future for Turn {
    type Output = Option<(Running, Came)>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(running) = &self.0 else { return Poll::Ready(None) };
        let came = {
            let mut inside = running.slot.inside();
            match inside.stream.as_mut().map(|stream| stream.poll_next_unpin(context)) {
                None => Came::Stopped,
                Some(Poll::Ready(Some(answer))) => Came::Answer(answer),
                Some(Poll::Ready(None)) => Came::End,
                Some(Poll::Pending) => {
                    inside.waker = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
        };
        Poll::Ready(self.0.take().map(|running| (running, came)))
    }
}

impl Operations {
    /// How many there are, together with those whose place is not cleared away yet.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether none is running.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// What their messages took together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Begins one. Its id must be free.
    pub(super) fn start(&mut self, id: &str, bytes: usize, is_subscription: bool, stream: BoxStream<'static, Answer>) {
        let id: Arc<str> = Arc::from(id);
        let slot = Arc::new(Slot(Mutex::new(Inside { stream: Some(stream), waker: None })));
        self.by_id.insert(Arc::clone(&id), Arc::clone(&slot));
        self.bytes += bytes;
        self.running.push(Turn(Some(Running { id, slot, bytes, is_subscription, is_first: true })));
    }

    /// Ends one, if it is still running: nothing more comes of it.
    pub(super) fn stop(&mut self, id: &str) {
        if let Some(slot) = self.by_id.remove(id) {
            slot.stop();
        }
    }

    /// The next that has something to say. Pending, too, while there is none.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Told> {
        loop {
            let turn = ready!(Pin::new(&mut self.running).poll_next(context));
            let Some(turn) = turn else { return Poll::Pending };
            let Some((mut running, came)) = turn else { continue };
            let id = Arc::clone(&running.id);
            match came {
                Came::Answer(answer) => {
                    let is_first = std::mem::replace(&mut running.is_first, false);
                    self.running.push(Turn(Some(running)));
                    return Poll::Ready(Told::Answer { id, answer, is_first });
                }
                Came::End => {
                    self.bytes -= running.bytes;
                    self.by_id.remove(&id);
                    return Poll::Ready(Told::Complete { id, is_subscription: running.is_subscription });
                }
                Came::Stopped => self.bytes -= running.bytes,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{Response, Value};
    use futures_util::{FutureExt as _, future::poll_fn, stream};

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
        // Its id is free, before its place is cleared away.
        operations.start("a", 5, true, answers(0));
        assert_eq!(next(&mut operations), Some(("a".to_owned(), true)));
        assert_eq!((operations.len(), operations.bytes()), (0, 0));
    }
}
