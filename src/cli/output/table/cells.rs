//! The cells of a table: values as text of one line.

use arrow::array::{Array, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clerk_lake::harmless::harmless;
use clerk_lake::{Error, ErrorKind, Result};
use unicode_width::UnicodeWidthStr;

/// A value as text without control characters; `None` for NULL.
pub type CellText = Option<String>;

/// Returns the rows of `batch`, each value on one line.
///
/// # Errors
/// [`Query`](ErrorKind::Query) if a value cannot be shown as text.
pub fn rows(batch: &RecordBatch) -> Result<Vec<Vec<CellText>>> {
    values(batch, |text| harmless(text).into_owned())
}

/// Returns the rows of `batch`, with values that `clean` makes harmless.
///
/// # Errors
/// As [`rows`].
pub fn values(batch: &RecordBatch, clean: impl Fn(&str) -> String) -> Result<Vec<Vec<CellText>>> {
    let options = FormatOptions::default().with_display_error(true).with_null("NULL");
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let columns: Vec<_> = columns.collect::<Result<_, _>>().map_err(|error| not_shown(&error))?;
    // Also those of a dictionary's values, and of a column that is NULL alone.
    let nulls: Vec<_> = batch.columns().iter().map(Array::logical_nulls).collect();
    let cell = |row: usize, (formatter, nulls): (&ArrayFormatter<'_>, &Option<NullBuffer>)| {
        let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        (!is_null).then(|| clean(&formatter.value(row).to_string()))
    };
    let row = |row| columns.iter().zip(&nulls).map(|column| cell(row, column)).collect();
    Ok((0..batch.num_rows()).map(row).collect())
}

fn not_shown(error: &ArrowError) -> Error {
    Error::new(ErrorKind::Query, format!("the result cannot be shown as a table: {error}"))
        .with_hint("choose another --format, or cast the column to text")
}

/// Whether values of this type are numbers, which are aligned to the right.
pub fn is_number(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_number(values),
        other => other.is_numeric(),
    }
}

/// Whether values of this type can be cut and still be understood. A number or a time that is cut would be another
/// one.
pub fn is_cuttable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_cuttable(values),
        other => !(other.is_numeric() || other.is_temporal() || matches!(other, DataType::Boolean | DataType::Null)),
    }
}

/// Cuts `text` to `width` columns of a terminal, and ends it with `…` if anything is missing.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    // One look at each character: a text can be a megabyte.
    let mut end = 0;
    let mut used = 0;
    for (at, c) in text.char_indices() {
        let character = &text[at..at + c.len_utf8()];
        used += character.width();
        if used + 1 > width {
            break;
        }
        end = at + c.len_utf8();
    }
    if width == 0 { String::new() } else { format!("{}…", &text[..end]) }
}

/// Pads `text`, which `shown` displays, to `width` columns of a terminal.
pub fn padded(text: &str, shown: &str, width: usize, is_right: bool) -> String {
    let room = " ".repeat(width.saturating_sub(text.width()));
    if is_right { format!("{room}{shown}") } else { format!("{shown}{room}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_has_the_width_it_may_have() {
        for (text, width, result) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("日本語", 1, "…"),
            ("abc", 0, ""),
        ] {
            assert_eq!(cut(text, width), result, "{text} {width}");
        }
        assert_eq!(padded("日", "日", 4, true), "  日");
    }
}
