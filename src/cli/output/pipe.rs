//! Notices that the reader of standard output has gone away.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the reader of an output has gone away. Clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct BrokenPipe(Arc<AtomicBool>);

impl BrokenPipe {
    /// Whether a write found no reader.
    pub fn is_broken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns a writer that passes on what is written to `out`, and notices when its reader has gone away.
    pub fn watch<W: Write>(&self, out: W) -> WatchedPipe<W> {
        WatchedPipe { out, broken: self.clone() }
    }
}

/// A writer whose reader is watched: see [`BrokenPipe::watch`].
#[derive(Debug)]
pub struct WatchedPipe<W> {
    out: W,
    broken: BrokenPipe,
}

impl<W> WatchedPipe<W> {
    fn noticed<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            self.broken.0.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl<W: Write> Write for WatchedPipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.noticed(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.noticed(result)
    }
}
