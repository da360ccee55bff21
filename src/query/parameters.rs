//! Values for the `$name`s of a query.

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;

use super::header::names_in;
use crate::error::{Error, Result};

/// Values for the `$name`s of a query.
#[derive(Clone, Debug)]
pub struct Parameters {
    now: DateTime<Utc>,
    pub(super) given: Vec<(String, i64)>,
}

impl Parameters {
    /// `$today` and `$now` as of `now`, every other parameter at its default.
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Self {
        Self { now, given: Vec::new() }
    }

    /// The same with `name` set to `value`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: i64) -> Self {
        self.given.push((name.into(), value));
        self
    }

    /// The same without what `sql` does not use: for one statement of several.
    #[must_use]
    pub fn used_in(&self, sql: &str) -> Self {
        let used = names_in(sql);
        let given = self.given.iter().filter(|(name, _)| used.contains(name.as_str())).cloned().collect();
        Self { now: self.now, given }
    }

    /// Refuses a value that `sql` does not use: its name is most likely misspelt. `known` are those that it has.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) that names it.
    pub fn check_used_in(&self, sql: &str, known: &[(String, i64)]) -> Result<()> {
        let used = names_in(sql);
        let Some((unknown, _)) = self.given.iter().find(|(name, _)| !used.contains(name.as_str())) else {
            return Ok(());
        };
        let known: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
        let known = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
        Err(Error::settings(format!("the query has no parameter {unknown:?}"))
            .with_hint(format!("its parameters: {known}")))
    }

    /// All values, the defaults included, as DataFusion takes them.
    pub(super) fn values(&self, defaults: &[(String, i64)]) -> Vec<(String, ScalarValue)> {
        let days = self.now.timestamp().div_euclid(86_400);
        let today = ScalarValue::Date32(i32::try_from(days).ok());
        let now = ScalarValue::TimestampMicrosecond(Some(self.now.timestamp_micros()), Some("UTC".into()));
        let fixed = [("today".to_owned(), today), ("now".to_owned(), now)];
        // What comes later counts.
        let numbers = defaults.iter().chain(&self.given);
        let numbers = numbers.map(|(name, value)| (name.clone(), ScalarValue::Int64(Some(*value))));
        fixed.into_iter().chain(numbers).collect()
    }
}
