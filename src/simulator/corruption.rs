//! Corrupted rows, as after a format change or a bug on the server.

use serde_json::{Value, json};

/// How a row is corrupted. Its other fields stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corruption {
    /// `created_at` is text.
    NumberAsText,
    /// `id` is null.
    NoId,
}

impl Corruption {
    /// Returns the JSON object `row`, corrupted.
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

/// Writes a row with `write`, and corrupts it if `corruption` is given.
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
    fn a_corrupted_row_keeps_its_other_fields() {
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
