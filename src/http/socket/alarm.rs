//! What is looked at only when it has called: with each event of thousands of sockets to ask what hardly ever has something
//! to say (the client, the clock, the server's end) costs more than the event, and what all sockets wait for makes them
//! wait for each other.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Whether somebody has called since it was last looked at.
pub(super) struct Call {
    bell: Arc<Bell>,
    waker: Waker,
}

struct Bell {
    has_rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Call {
    /// One that is to be looked at first.
    pub(super) fn new() -> Self {
        let bell = Arc::new(Bell { has_rung: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { waker: Arc::clone(&bell).into(), bell }
    }

    /// Whether it has called. Whoever is asked now is given [`Call::context`], or [`Call::again`] is said.
    pub(super) fn has_come(&self, context: &Context<'_>) -> bool {
        // First: a call that comes from now on wakes the task.
        self.bell.task.register(context.waker());
        self.bell.has_rung.load(Ordering::Relaxed) && self.bell.has_rung.swap(false, Ordering::Acquire)
    }

    /// With which it calls.
    pub(super) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// There may be more: it is to be asked again.
    pub(super) fn again(&self) {
        self.bell.has_rung.store(true, Ordering::Release);
    }
}

/// A future that is asked when it has called.
pub(super) struct Alarm<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    call: Call,
}

impl<T> Alarm<T> {
    pub(super) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self { future: Box::pin(future), call: Call::new() }
    }

    /// What has come of it. Not to be asked again after that.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<T> {
        if self.call.has_come(context) { self.future.as_mut().poll(&mut self.call.context()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_is_asked_once_and_when_it_calls() {
        let (sender, mut receiver) = oneshot::channel();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let mut alarm = Alarm::new(poll_fn(move |context| {
            counted.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut receiver).poll(context)
        }));
        for _ in 0..9 {
            assert!(poll_fn(|context| Poll::Ready(alarm.poll(context))).await.is_pending());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let called = tokio::spawn(async move { poll_fn(|context| alarm.poll(context)).await });
        tokio::task::yield_now().await;
        sender.send(7).unwrap();
        assert_eq!(called.await.unwrap(), Ok(7));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
