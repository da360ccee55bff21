//! The one public error: what went wrong, what to do about it, and the exit code that says so.
//!
//! A kind stands for what the *user* must do, not for where in the code the failure arose. Modules keep
//! private error types with their own detail and convert them here, once.

use std::fmt;
use std::sync::Arc;

/// What the user must do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Wrong arguments or settings: correct them and run again.
    Settings,
    /// Clerk refused the key: use a valid one.
    KeyRefused,
    /// Clerk or the store could not be reached, or failed, past the retry budget: run again later.
    Unreachable,
    /// An answer that cannot be understood, or a replacement that was refused to protect the lake.
    Answer,
    /// A table of the lake is damaged: repair it with `sync --full` or `maintain --repair`.
    Damaged,
    /// Another run changed the same table first: run again.
    Conflict,
    /// A query failed: correct the SQL.
    Query,
    /// The run was interrupted; what was finished is committed.
    Interrupted,
    /// A bug in this program: please report it.
    Bug,
}

impl ErrorKind {
    /// The process exit code for this kind.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Settings => 2,
            Self::KeyRefused => 3,
            Self::Unreachable => 4,
            Self::Answer | Self::Damaged => 5,
            Self::Conflict => 6,
            Self::Query => 7,
            Self::Interrupted => 130,
            Self::Bug => 70,
        }
    }

    /// How bad this kind is when several resources fail in one run: the largest is reported.
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

/// An error with its kind, a message for people and, where one is known, a hint about what to do.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message`.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    /// The same error with a hint: one sentence that says what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with what caused it, by which it can be told from others of its kind.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The same error with `context` before its message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Wrong settings or arguments.
    #[must_use]
    pub fn settings(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Settings, message)
    }

    /// An answer that cannot be understood, or a refused replacement.
    #[must_use]
    pub fn answer(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Answer, message)
    }

    /// The run was told to stop.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
            .with_hint("what was finished is committed; run the same command again to go on")
    }

    /// A bug in this program.
    #[must_use]
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bug, message)
    }

    /// What the user must do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// One sentence that says what to do, where one is known.
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

/// The result of everything that can fail in a way that concerns the user.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The chain of an error's causes as one line: delta-rs and `DataFusion` nest deeply and repeat themselves,
/// so a cause whose text the line already contains is left out.
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
