//! A future that is seldom ready, asked only when it has called: with each event of thousands of sockets to look at what
//! they all wait for would make them wait for each other.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// The future, and whether it has called.
pub(super) struct Alarm<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    call: Arc<Call>,
    waker: Waker,
}

struct Call {
    has_come: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_come.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<T> Alarm<T> {
    pub(super) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        let call = Arc::new(Call { has_come: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { future: Box::pin(future), waker: Arc::clone(&call).into(), call }
    }

    /// What has come of it. Not to be asked again after that.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<T> {
        // First: a call that comes from now on wakes the task.
        self.call.task.register(context.waker());
        if !self.call.has_come.swap(false, Ordering::Acquire) {
            return Poll::Pending;
        }
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker))
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
