//! Ctrl-C while a statement runs.

use futures::FutureExt;

/// Requests to stop what is running.
pub struct Interrupts {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Interrupts {
    /// From now on, Ctrl-C ends no longer the program but what it is doing.
    pub fn listen() -> Self {
        #[cfg(unix)]
        use tokio::signal::unix::{SignalKind, signal};
        Self {
            #[cfg(unix)]
            signal: signal(SignalKind::interrupt()).ok(),
        }
    }

    /// There are none.
    #[cfg(test)]
    pub fn none() -> Self {
        Self {
            #[cfg(unix)]
            signal: None,
        }
    }

    /// Forgets those that have come before what they could have stopped.
    pub fn forget(&mut self) {
        while self.next().now_or_never().is_some() {}
    }

    /// The next one.
    #[cfg(unix)]
    pub async fn next(&mut self) {
        let received = match &mut self.signal {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if received.is_none() {
            std::future::pending::<()>().await;
        }
    }

    #[cfg(not(unix))]
    pub async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
