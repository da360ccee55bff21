//! The crate's public error type: what went wrong, what the user must do, and the process exit code.
//!
//! A kind stands for what the *user* must do, not for the place in the code where the failure arose. Modules keep
//! private, more detailed error types and convert them into this one at their boundary.

use std::fmt;
use std::sync::Arc;

use crate::harmless::harmless_lines;

/// What the user must do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Wrong arguments or settings: correct them and run again.
    Settings,
    /// Clerk refused the key: use a valid one.
    KeyRefused,
    /// Clerk or the store could not be reached, or failed, past the retry budget: run again later.
    Unreachable,
    /// A response that cannot be understood, or a table replacement that was refused to protect the lake.
    Answer,
    /// A table of the lake is damaged: repair it with `sync --full` or `maintain --repair`.
    Damaged,
    /// Another run changed the same table first: run again.
    Conflict,
    /// A query failed: correct the SQL.
    Query,
    /// The run was interrupted. Finished work is committed.
    Interrupted,
    /// A bug in this program: please report it.
    Bug,
}

impl ErrorKind {
    /// Returns how severe this kind is. If several resources fail in one run, the run reports the most severe kind.
    #[must_use]
    pub const fn severity(self) -> u8 {
        match self {
            Self::Query => 0,
            Self::Conflict => 1,
            Self::Unreachable => 2,
            Self::Answer | Self::Damaged => 3,
            Self::Settings => 4,
            Self::KeyRefused => 5,
            Self::Bug => 6,
            Self::Interrupted => 7,
        }
    }
}

/// An error: its kind, a message for people and, if known, a hint about what to do.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    is_transient: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Creates an error of `kind` with the message `message`. Control characters in it are escaped: a server, a file or
    /// a setting may have put them there to change what a terminal shows.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = harmless_lines(&message.into()).into_owned();
        Self { kind, message, hint: None, is_transient: false, source: None }
    }

    /// Adds a hint: one sentence that says what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(harmless_lines(&hint.into()).into_owned());
        self
    }

    /// Marks the error as one that may not occur if the same is tried again at once. Not for errors of requests: those
    /// have been retried for as long as that can help.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.is_transient = true;
        self
    }

    /// Adds the underlying error as the source. Callers can downcast the source to distinguish errors of the same kind.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Puts `context` and a colon before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{}: {}", harmless_lines(&context.to_string()), self.message);
        self
    }

    /// Creates a [`Settings`](ErrorKind::Settings) error: wrong arguments or settings.
    #[must_use]
    pub fn settings(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Settings, message)
    }

    /// Creates an [`Answer`](ErrorKind::Answer) error: a response that cannot be understood, or a refused table
    /// replacement.
    #[must_use]
    pub fn answer(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Answer, message)
    }

    /// Creates an [`Interrupted`](ErrorKind::Interrupted) error: the run was asked to stop.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
            .with_hint("finished work is committed; run the same command again to resume")
    }

    /// Creates a [`Bug`](ErrorKind::Bug) error: a bug in this program.
    #[must_use]
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bug, message)
    }

    /// Returns the kind, which says what the user must do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns whether the same may succeed if it is tried again at once.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.is_transient
    }

    /// Returns the message, which says what happened.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the hint, one sentence that says what to do; `None` if unknown.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The result type of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Returns an error and its chain of causes as one line. delta-rs and `DataFusion` nest errors deeply and repeat their
/// text, so a cause is left out if the line already contains its text.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_in_messages_are_escaped() {
        let error = Error::settings("a\u{1b}[31mred\r\u{9b}2J").with_hint("b\u{202e}c\u{7}").context("d\u{8}");
        assert_eq!(error.message(), r"d\u0008: a\u001b[31mred\r\u009b2J");
        assert_eq!(error.hint(), Some(r"b\u202ec\u0007"));
    }
}
