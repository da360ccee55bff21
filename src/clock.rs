//! Injected time. This is the only place that reads the operating system's clock.
//!
//! Watermarks come from Clerk's `Date` header, not from this clock, unless Clerk sends no `Date`. See [`crate::sync`].

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

/// A source of the current time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// Returns the operating system's clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the only reader of the system clock")]
    pub fn system() -> Self {
        Self(Arc::new(Utc::now))
    }

    /// Returns a clock that always returns `now`.
    #[must_use]
    pub fn fixed(now: DateTime<Utc>) -> Self {
        Self(Arc::new(move || now))
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
