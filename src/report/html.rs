//! The little of HTML that the page is made of: text that cannot be markup, and tables.

use super::figure::{Column, Rows, Value};
use super::words::{clean, label, shortened};

/// The longest text that a cell shows, in characters.
const LONGEST: usize = 160;

/// Writes formatted text at the end of a `String`, which cannot fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => {{
        use std::fmt::Write as _;
        let _ = write!($out, $($text)*);
    }};
}
pub(super) use put;

/// `text` as the text of an element or of a quoted attribute: nothing in it is markup.
pub(super) fn escape(text: &str) -> String {
    let text = clean(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // A line does not end between a number and its sign.
            ' ' if rest.peek() == Some(&'%') => out.push_str("&nbsp;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// `text` as an element's id or a link's target: lower-case letters, digits, `-` and `_`.
pub(super) fn identifier(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
    format!("f-{}", text.chars().map(plain).take(60).collect::<String>())
}

/// Which rows a table shows: the newest where its first ordered column goes up, else the first.
pub(super) fn shown_rows(rows: &Rows, most: usize) -> (std::ops::Range<usize>, &'static str) {
    let all = rows.len();
    if all <= most {
        return (0..all, "all");
    }
    if goes_up(rows) { (all - most..all, "newest") } else { (0..most, "first") }
}

/// Whether the rows are in the order of time.
fn goes_up(rows: &Rows) -> bool {
    let time = rows.columns.iter().find(|column| column.name != "instance");
    let Some(time) = time.filter(|column| column.is_ordered() && !column.is_numeric()) else { return false };
    let places = || time.values.iter().filter_map(Value::place);
    places().zip(places().skip(1)).all(|(before, after)| before <= after)
}

/// A table of these rows, with a bar behind each number of the column at `bars`.
pub(super) fn table(out: &mut String, caption: &str, rows: &Rows, shown: std::ops::Range<usize>, bars: Option<usize>) {
    put!(out, "<table><caption>{}</caption>\n<thead><tr>", escape(caption));
    for column in &rows.columns {
        let class = if column.is_numeric() { " class=\"n\"" } else { "" };
        put!(out, "<th scope=\"col\"{class}>{}</th>", escape(&label(&column.name)));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    let shares: Vec<bool> = rows.columns.iter().map(Column::is_share).collect();
    let heads = rows.columns.first().is_some_and(|column| !column.is_numeric() || rows.columns.len() > 1);
    let largest = bars.and_then(|at| rows.columns.get(at)).map_or(0.0, largest);
    for row in shown {
        out.push_str("<tr>");
        for (at, column) in rows.columns.iter().enumerate() {
            let value = column.values.get(row).unwrap_or(&Value::Nothing);
            let text = escape(&shortened(&value.shown(shares[at]), LONGEST));
            let bar = if bars == Some(at) { bar(value, largest) } else { String::new() };
            match (at, column.is_numeric()) {
                (0, numeric) if heads => {
                    put!(out, "<th scope=\"row\"{}>{text}</th>", if numeric { " class=\"n\"" } else { "" });
                }
                (_, true) => put!(out, "<td class=\"n\"{bar}>{text}</td>"),
                (_, false) => put!(out, "<td>{text}</td>"),
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
}

fn largest(column: &Column) -> f64 {
    column.values.iter().filter_map(Value::number).fold(0.0, f64::max)
}

fn bar(value: &Value, largest: f64) -> String {
    let share = value.number().filter(|_| largest > 0.0).map_or(0.0, |value| (value / largest).clamp(0.0, 1.0));
    format!(" style=\"--bar:{:.1}%\"", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::{escape, identifier};

    #[test]
    fn text_cannot_be_markup() {
        assert_eq!(escape("<script>alert(\"1\")</script>"), "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;");
        assert_eq!(escape("' onload='x & y\u{0}\n"), "&#39; onload=&#39;x &amp; y  ");
        assert_eq!(identifier("../Sign ups\"><"), "f----sign-ups---");
    }
}
