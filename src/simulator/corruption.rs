//! Rows that no reader can read: what a format that has changed looks like, or a bug on the server's side.

use serde_json::{Value, json};

/// How a row is broken; whatever else is in it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corruption {
    /// `created_at` is text.
    NumberAsText,
    /// `id` is null.
    NoId,
}

impl Corruption {
    /// `row`, broken.
    fn apply(self, row: &str) -> String {
        let Ok(Value::Object(mut fields)) = serde_json::from_str(row) else { return row.to_owned() };
        let (field, value) = match self {
            Self::NumberAsText => ("created_at", json!("yesterday")),
            Self::NoId => ("id", Value::Null),
        };
        fields.insert(field.to_owned(), value);
        Value::Object(fields).to_string()
    }
}

/// Writes a row by `write`, broken where `corruption` says how.
pub(super) fn render(out: &mut String, corruption: Option<&Corruption>, write: impl FnOnce(&mut String)) {
    let start = out.len();
    write(out);
    if let Some(corruption) = corruption {
        let row = out.split_off(start);
        out.push_str(&corruption.apply(&row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_row_keeps_everything_else() {
        let row = r#"{"id":"user_1","private_metadata":{"note":"x"},"created_at":7}"#;
        for (corruption, broken) in [
            (None, row),
            (
                Some(&Corruption::NumberAsText),
                r#"{"created_at":"yesterday","id":"user_1","private_metadata":{"note":"x"}}"#,
            ),
            (Some(&Corruption::NoId), r#"{"created_at":7,"id":null,"private_metadata":{"note":"x"}}"#),
        ] {
            let mut out = "[".to_owned();
            render(&mut out, corruption, |out| out.push_str(row));
            assert_eq!(out, format!("[{broken}"));
        }
    }
}
