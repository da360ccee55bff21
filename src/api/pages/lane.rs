//! Requests that run beside each other, each in a task of its own, so that pages are decoded on several cores.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use tokio::task::JoinHandle;

/// A request that is sent and decoded in a task of its own. Dropping it aborts the task.
pub(super) struct Lane<O>(JoinHandle<O>);

impl<O: Send + 'static> Lane<O> {
    pub(super) fn spawn(work: impl Future<Output = O> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<O> Future for Lane<O> {
    type Output = O;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<O> {
        match self.0.poll_unpin(context) {
            Poll::Ready(Ok(outcome)) => Poll::Ready(outcome),
            // A panic in a lane is resumed here. An aborted lane is never polled again.
            Poll::Ready(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<O> Drop for Lane<O> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
