//! Parameter values of a query, which SQL uses as `$name`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::limits::tokens;
use super::suggest::suggestion;
use super::value::ParameterValue;
use crate::error::{Error, Result};

/// Parameter values of a query, which SQL uses as `$name`.
#[derive(Clone, Debug)]
pub struct Parameters {
    now: DateTime<Utc>,
    /// Names and values, as they were given.
    pub(super) given: Vec<(String, String)>,
}

impl Parameters {
    /// Sets `$today` and `$now` to `now`. All other parameters have their default values.
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Self {
        Self { now, given: Vec::new() }
    }

    /// Sets the parameter `name` to `value`: a number, a day such as `2026-11-24`, or text. The parameter's default
    /// decides which; without one, quotes mark text that looks like a number or a day.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a number or a text literal is passed as it is")]
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.given.push((name.into(), value.to_string()));
        self
    }

    /// Returns only the values that `sql` uses. This selects the values for one of several statements.
    #[must_use]
    pub fn used_in(&self, sql: &str) -> Self {
        let used = names_in(sql);
        let given = self.given.iter().filter(|(name, _)| used.contains(name)).cloned().collect();
        Self { now: self.now, given }
    }

    /// Refuses a value that `sql` does not use, because its name is most likely misspelled. `known` are the query's
    /// parameters.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if there is such a value. The error names it.
    pub fn check_used_in(&self, sql: &str, known: &[(String, ParameterValue)]) -> Result<()> {
        let used = names_in(sql);
        let Some((unknown, _)) = self.given.iter().find(|(name, _)| !used.contains(name)) else {
            return Ok(());
        };
        let error = Error::settings(format!("the query has no parameter {unknown:?}"));
        let names: BTreeSet<&str> =
            known.iter().map(|(name, _)| name.as_str()).chain(used.iter().map(String::as_str)).collect();
        if let Some(suggestion) = suggestion(unknown, names.iter().copied()) {
            return Err(error.with_hint(suggestion));
        }
        let names: Vec<&str> = names.into_iter().collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(error.with_hint(format!("its parameters: {names}")))
    }

    /// Returns the values that were given, each with the type of its default.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if a value does not have that type.
    pub(super) fn typed(&self, defaults: &[(String, ParameterValue)]) -> Result<Vec<(String, ParameterValue)>> {
        let typed = |(name, text): &(String, String)| {
            let default = defaults.iter().find(|(known, _)| known == name).map(|(_, default)| default);
            let value = ParameterValue::given(text, default).map_err(|expected| {
                Error::settings(format!("parameter {name} cannot be {text}")).with_hint(format!("give {expected}"))
            })?;
            Ok((name.clone(), value))
        };
        self.given.iter().map(typed).collect()
    }

    /// Returns all values, including `defaults`, in DataFusion's form.
    ///
    /// # Errors
    /// As [`Parameters::typed`].
    pub(super) fn values(&self, defaults: &[(String, ParameterValue)]) -> Result<Vec<(String, ScalarValue)>> {
        let days = self.now.timestamp().div_euclid(86_400);
        let today = ScalarValue::Date32(i32::try_from(days).ok());
        let now = ScalarValue::TimestampMicrosecond(Some(self.now.timestamp_micros()), Some("UTC".into()));
        let fixed = [("today".to_owned(), today), ("now".to_owned(), now)];
        // If a name occurs twice, the later value wins.
        let values = defaults.iter().cloned().chain(self.typed(defaults)?);
        Ok(fixed.into_iter().chain(values.map(|(name, value)| (name, value.scalar()))).collect())
    }
}

/// Returns the names of the parameters `$name` in `sql`, without the `$`. A `$` in text or in a comment is none.
fn names_in(sql: &str) -> BTreeSet<String> {
    let names = tokens(sql).unwrap_or_default().into_iter().filter_map(|token| match token.token {
        Token::Placeholder(name) => name.strip_prefix('$').map(str::to_owned),
        _ => None,
    });
    names.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_to_their_end_outside_of_text_and_comments() {
        let names =
            names_in("SELECT $days + $days_more, $today FROM t WHERE cost = '5$a' -- $b\n AND \"$c\" = 1 /* $d */");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["days", "days_more", "today"]);
    }
}
