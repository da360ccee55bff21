//! The place of an error in a statement: the line, with a caret below.

use std::fmt::Write;

use datafusion::sql::sqlparser::tokenizer::{Location, Span};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The largest number of characters of a line that are shown.
const MAX_WIDTH: usize = 90;

/// How many characters are shown before the place, if the line is cut there.
const BEFORE: usize = 40;

/// Returns two lines that show `span` in `sql`, each after a line break. Empty if the place does not exist.
pub(super) fn excerpt(sql: &str, span: Span) -> String {
    let Location { line: number, column } = span.start;
    let Some(line) = index(number).and_then(|index| sql.lines().nth(index)) else { return String::new() };
    let characters: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let at = index(column).unwrap_or(0).min(characters.len());
    let length = if span.end.line == number {
        index(span.end.column).unwrap_or(0).saturating_sub(at).max(1)
    } else {
        characters.len().saturating_sub(at).max(1)
    };
    let start = if characters.len() <= MAX_WIDTH { 0 } else { at.saturating_sub(BEFORE) };
    let end = characters.len().min(start + MAX_WIDTH);
    let cut =
        |from: usize, to: usize| characters.get(from..to.max(from)).unwrap_or_default().iter().collect::<String>();
    let left = if start > 0 { "…" } else { "" };
    let right = if end < characters.len() { "…" } else { "" };
    let label = format!("  line {number}: {left}");
    let before = label.width() + cut(start, at).width();
    let marked = cut(at, (at + length).min(end)).chars().filter_map(UnicodeWidthChar::width).sum::<usize>().max(1);
    let mut text = String::new();
    let _ = write!(text, "\n{label}{}{right}\n{}{}", cut(start, end), " ".repeat(before), "^".repeat(marked));
    text
}

/// Returns the place directly after the last character of `sql`.
pub(super) fn end_of(sql: &str) -> Span {
    let text = sql.trim_end();
    let line = text.lines().count().max(1);
    let column = text.lines().last().map_or(0, |line| line.chars().count()) + 1;
    let at = Location { line: line as u64, column: column as u64 };
    Span::new(at, at)
}

/// Returns a number that counts from 1 as an index.
fn index(number: u64) -> Option<usize> {
    usize::try_from(number.checked_sub(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(line: u64, from: u64, to: u64) -> Span {
        Span::new(Location { line, column: from }, Location { line, column: to })
    }

    #[test]
    fn a_caret_stands_below_the_place() {
        assert_eq!(excerpt("SELECT\n a,\tb", span(2, 5, 6)), "\n  line 2:  a, b\n              ^");
        assert_eq!(
            excerpt("SELECT '日本', abc", span(1, 14, 17)),
            "\n  line 1: SELECT '日本', abc\n                         ^^^"
        );
        assert_eq!(excerpt("SELECT 1", span(7, 1, 2)), "");
        assert_eq!(excerpt("SELECT", end_of("SELECT \n")), "\n  line 1: SELECT\n                ^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let sql = format!("SELECT {}, x FROM t WHERE {}", "a".repeat(200), "b".repeat(200));
        let shown = excerpt(&sql, span(1, 210, 211));
        let lines: Vec<&str> = shown.lines().skip(1).collect();
        let caret = lines[1].chars().position(|c| c == '^').expect("a caret");
        assert_eq!(lines[0].chars().nth(caret), Some('x'), "{shown}");
        assert!(lines[0].chars().count() < 110, "{shown}");
    }
}
