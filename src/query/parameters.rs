//! Parameter values of a query, which SQL uses as `$name`.

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;

use super::header::names_in;
use crate::error::{Error, Result};

/// Parameter values of a query, which SQL uses as `$name`.
#[derive(Clone, Debug)]
pub struct Parameters {
    now: DateTime<Utc>,
    pub(super) given: Vec<(String, i64)>,
}

impl Parameters {
    /// Sets `$today` and `$now` to `now`. All other parameters have their default values.
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Self {
        Self { now, given: Vec::new() }
    }

    /// Sets the parameter `name` to `value`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: i64) -> Self {
        self.given.push((name.into(), value));
        self
    }

    /// Returns only the values that `sql` uses. This selects the values for one of several statements.
    #[must_use]
    pub fn used_in(&self, sql: &str) -> Self {
        let used = names_in(sql);
        let given = self.given.iter().filter(|(name, _)| used.contains(name.as_str())).cloned().collect();
        Self { now: self.now, given }
    }

    /// Refuses a value that `sql` does not use, because its name is most likely misspelled. `known` are the query's
    /// parameters.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if there is such a value. The error names it.
    pub fn check_used_in(&self, sql: &str, known: &[(String, i64)]) -> Result<()> {
        let used = names_in(sql);
        let Some((unknown, _)) = self.given.iter().find(|(name, _)| !used.contains(name.as_str())) else {
            return Ok(());
        };
        let known: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(Error::settings(format!("the query has no parameter {unknown:?}"))
            .with_hint(format!("its parameters: {known}")))
    }

    /// Returns all values, including `defaults`, in DataFusion's form.
    pub(super) fn values(&self, defaults: &[(String, i64)]) -> Vec<(String, ScalarValue)> {
        let days = self.now.timestamp().div_euclid(86_400);
        let today = ScalarValue::Date32(i32::try_from(days).ok());
        let now = ScalarValue::TimestampMicrosecond(Some(self.now.timestamp_micros()), Some("UTC".into()));
        let fixed = [("today".to_owned(), today), ("now".to_owned(), now)];
        // If a name occurs twice, the later value wins.
        let numbers = defaults.iter().chain(&self.given);
        let numbers = numbers.map(|(name, value)| (name.clone(), ScalarValue::Int64(Some(*value))));
        fixed.into_iter().chain(numbers).collect()
    }
}
