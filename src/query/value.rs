//! Values of query parameters: whole numbers, days and text.

use std::fmt;

use chrono::{DateTime, NaiveDate};
use datafusion::common::ScalarValue;

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd)]
pub enum ParameterValue {
    /// A whole number.
    Integer(i64),
    /// A day.
    Date(NaiveDate),
    /// Text.
    Text(String),
}

impl ParameterValue {
    /// Parses a value as a header declares it: `30`, `2026-11-24` or `'text'`.
    pub(super) fn declared(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_bare = || Self::number_or_day(text);
        unquoted(text).map(Self::Text).or_else(is_bare)
    }

    /// Reads a value that was given for a parameter. It has the type of `default`. Without one, a number is a number, a
    /// day is a day, and all else is text; quotes turn a number into text: `'007'`.
    ///
    /// # Errors
    /// What was expected, if `text` does not have the type of `default`.
    pub(super) fn given(text: &str, default: Option<&Self>) -> Result<Self, &'static str> {
        match default {
            None => Ok(Self::declared(text).unwrap_or_else(|| Self::Text(text.to_owned()))),
            Some(Self::Integer(_)) => text.trim().parse().map(Self::Integer).map_err(|_| "a whole number, such as 7"),
            Some(Self::Date(_)) => text.trim().parse().map(Self::Date).map_err(|_| "a day, such as 2026-11-24"),
            Some(Self::Text(_)) => Ok(Self::Text(unquoted(text).unwrap_or_else(|| text.to_owned()))),
        }
    }

    fn number_or_day(text: &str) -> Option<Self> {
        let number = text.parse().map(Self::Integer).ok();
        let is_day = text.len() == 10;
        number.or_else(|| is_day.then(|| text.parse().map(Self::Date).ok()).flatten())
    }

    /// Returns the value as SQL uses it.
    pub(super) fn scalar(&self) -> ScalarValue {
        match self {
            Self::Integer(number) => ScalarValue::Int64(Some(*number)),
            Self::Text(text) => ScalarValue::Utf8(Some(text.clone())),
            Self::Date(day) => {
                let days = day.signed_duration_since(DateTime::UNIX_EPOCH.date_naive()).num_days();
                ScalarValue::Date32(i32::try_from(days).ok())
            }
        }
    }
}

impl fmt::Display for ParameterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Date(day) => write!(f, "{day}"),
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
        }
    }
}

impl From<i64> for ParameterValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

/// Returns the text between single quotes, with `''` as one quote.
fn unquoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let single = inner.replace("''", "");
    (!single.contains('\'')).then(|| inner.replace("''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_the_type_of_its_default() {
        let (text, day) = (ParameterValue::Text(String::new()), "2026-11-24".parse().expect("a day"));
        let given = |value: &str, default: Option<&ParameterValue>| ParameterValue::given(value, default);
        assert_eq!(given("007", None), Ok(7.into()));
        assert_eq!(given("'007'", None), Ok(ParameterValue::Text("007".to_owned())));
        assert_eq!(given("007", Some(&text)), Ok(ParameterValue::Text("007".to_owned())));
        assert_eq!(given("pro", None), Ok(ParameterValue::Text("pro".to_owned())));
        assert_eq!(given("2026-11-24", None), Ok(ParameterValue::Date(day)));
        assert_eq!(given("it's", None), Ok(ParameterValue::Text("it's".to_owned())));
        assert!(given("pro", Some(&30.into())).is_err_and(|why| why.contains("whole number")));
        assert!(given("30", Some(&ParameterValue::Date(day))).is_err_and(|why| why.contains("day")));
    }

    #[test]
    fn a_default_is_a_number_a_day_or_quoted_text() {
        assert_eq!(ParameterValue::declared(" 'o''clock' "), Some(ParameterValue::Text("o'clock".to_owned())));
        assert_eq!(ParameterValue::declared("many"), None);
        assert_eq!(ParameterValue::declared("'a' b'"), None);
        assert_eq!(ParameterValue::declared("2026-02-30"), None);
    }
}
