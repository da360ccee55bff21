//! Interrupts (Ctrl-C) while a statement runs.

use futures::FutureExt;

/// A stream of interrupts.
pub struct Interrupts {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Interrupts {
    /// Starts to listen. From now on, Ctrl-C no longer ends the program.
    pub fn listen() -> Self {
        #[cfg(unix)]
        use tokio::signal::unix::{SignalKind, signal};
        Self {
            #[cfg(unix)]
            signal: signal(SignalKind::interrupt()).ok(),
        }
    }

    /// Returns a stream that never yields an interrupt.
    #[cfg(test)]
    pub fn never() -> Self {
        Self {
            #[cfg(unix)]
            signal: None,
        }
    }

    /// Discards interrupts that arrived before the statement started.
    pub fn clear(&mut self) {
        while self.next().now_or_never().is_some() {}
    }

    /// Waits for the next interrupt.
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
