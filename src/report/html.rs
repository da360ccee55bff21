//! HTML building blocks: sanitized text, ids, disclosures and tables.

use std::ops::{Range, RangeInclusive};

use chrono::NaiveDate;
use maud::{Markup, Render, html};

use super::describe::IN_PROGRESS;
use super::format::{capitalized, clean, count, shortened};
use super::labels;
use super::metric::{Kind, ResultColumn, ResultRows, ResultValue};
use super::period::{date, in_progress};

/// Maximum number of characters of a table cell.
const MAX_CELL: usize = 160;

/// Text from outside the program. It is sanitized and escaped when it is rendered.
pub(super) struct UntrustedText<'a>(pub &'a str);

impl Render for UntrustedText<'_> {
    fn render_to(&self, buffer: &mut String) {
        clean(self.0).render_to(buffer);
    }
}

/// Returns `text` as the id of an element: lower-case letters, digits, `-` and `_`.
pub(super) fn identifier(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
    format!("f-{}", text.chars().map(plain).take(60).collect::<String>())
}

/// Wraps a table that can be wider than the screen. A fading edge shows that it scrolls.
pub(super) fn scrollable(label: &str, table: &Markup) -> Markup {
    html! { div.scroll role="region" aria-label=(UntrustedText(label)) tabindex="0" { (table) } }
}

/// The rows of a table that are shown, and what is special about them.
#[derive(Clone, Debug)]
pub(super) struct HtmlTable<'a> {
    rows: &'a ResultRows,
    shown: Range<usize>,
    /// Which of the rows are shown, in a word.
    which: &'static str,
    /// Column with bars behind its numbers.
    bars: Option<usize>,
    /// Column of dates, and which of them are in progress.
    running: Option<(usize, RangeInclusive<NaiveDate>)>,
}

impl<'a> HtmlTable<'a> {
    /// Creates a table of the first `max` rows, with bars behind the last number.
    pub(super) fn first(rows: &'a ResultRows, max: usize) -> Self {
        let bars = rows.columns.iter().rposition(ResultColumn::is_numeric).filter(|index| *index > 0);
        Self { rows, shown: 0..rows.len().min(max), which: "first", bars, running: None }
    }

    /// Creates the table behind a chart: the newest `max` rows if the rows are in the order of time, or else the first.
    pub(super) fn behind(rows: &'a ResultRows, max: usize, today: NaiveDate) -> Self {
        let all = rows.len();
        let (shown, which) = match all.checked_sub(max) {
            Some(hidden) if is_by_time(rows) => (hidden..all, "newest"),
            Some(_) => (0..max, "first"),
            None => (0..all, "first"),
        };
        let axis = rows.columns.iter().position(|column| column.name != "instance");
        let running = axis.and_then(|index| Some((index, in_progress(&rows.columns[index], today)?)));
        Self { rows, shown, which, bars: None, running }
    }

    /// Removes the bars.
    pub(super) fn without_bars(self) -> Self {
        Self { bars: None, ..self }
    }

    /// Whether all rows are shown.
    pub(super) fn is_complete(&self) -> bool {
        self.shown.len() == self.rows.len()
    }

    /// Returns how many rows are shown, in words.
    pub(super) fn extent(&self) -> String {
        match (self.shown.len(), self.rows.len()) {
            (1, 1) => "1 row".to_owned(),
            (shown, all) if shown == all => format!("{} rows", count(all)),
            (shown, all) => format!("the {} {} of {} rows", self.which, count(shown), count(all)),
        }
    }

    /// Renders the table in a region that scrolls.
    pub(super) fn render(&self, title: &str) -> Markup {
        let shares: Vec<bool> = self.rows.columns.iter().map(ResultColumn::is_share).collect();
        let max = self.bars.and_then(|index| self.rows.columns.get(index)).map_or(0.0, max);
        let table = html! {
            table.ranked[self.bars.is_some()] {
                caption { (capitalized(&self.extent())) }
                thead { tr {
                    @for column in &self.rows.columns {
                        th scope="col" class=[class(column)] { (labels::column(&column.name)) }
                    }
                } }
                tbody {
                    @for row in self.shown.clone() {
                        tr {
                            @for (index, column) in self.rows.columns.iter().enumerate() {
                                (self.cell(index, column, row, shares[index], max))
                            }
                        }
                    }
                }
            }
        };
        scrollable(&format!("{title}, table"), &table)
    }

    fn cell(&self, index: usize, column: &ResultColumn, row: usize, share: bool, max: f64) -> Markup {
        let text = shortened(&column.display(row, share), MAX_CELL);
        let class = class(column);
        let bar = (self.bars == Some(index)).then(|| bar(column.number(row), max));
        let is_heading = index == 0 && (!column.is_numeric() || self.rows.columns.len() > 1);
        html! {
            @if is_heading {
                th scope="row" class=[class] { (text) (self.progress(index, column, row)) }
            } @else {
                td class=[class] style=[bar] { (text) (self.progress(index, column, row)) }
            }
        }
    }

    fn progress(&self, index: usize, column: &ResultColumn, row: usize) -> Markup {
        let date = column.values.get(row).and_then(date);
        let running = self.running.as_ref().filter(|(own, _)| *own == index).map(|(_, dates)| dates);
        let is_running = running.zip(date).is_some_and(|(dates, date)| dates.contains(&date));
        html! { @if is_running { " " small { (IN_PROGRESS) } } }
    }
}

/// Returns the class of the cells of a column: numbers are aligned to the right, and times are not wrapped.
fn class(column: &ResultColumn) -> Option<&'static str> {
    match column.kind {
        Kind::Integer | Kind::Float => Some("n"),
        Kind::Date | Kind::Timestamp => Some("t"),
        Kind::Text | Kind::Boolean => None,
    }
}

/// Whether the rows are in the order of time.
fn is_by_time(rows: &ResultRows) -> bool {
    let time = rows.columns.iter().find(|column| column.name != "instance");
    let Some(time) = time.filter(|column| column.is_ordered() && !column.is_numeric()) else { return false };
    let positions = || time.values.iter().filter_map(ResultValue::position);
    positions().zip(positions().skip(1)).all(|(before, after)| before <= after)
}

fn max(column: &ResultColumn) -> f64 {
    column.values.iter().filter_map(ResultValue::number).fold(0.0, f64::max)
}

/// Returns the style of a cell with a bar behind its number.
fn bar(value: Option<f64>, max: f64) -> String {
    let share = value.filter(|_| max > 0.0).map_or(0.0, |value| (value / max).clamp(0.0, 1.0));
    format!("--bar:{:.1}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::{UntrustedText, identifier};

    #[test]
    fn text_cannot_be_markup() {
        let markup = html! { p title=(UntrustedText("\" onload='x\u{202e}")) { (UntrustedText("<script>&\u{0}")) } };
        assert_eq!(markup.into_string(), "<p title=\"&quot; onload='x\">&lt;script&gt;&amp; </p>");
        assert_eq!(identifier("../Sign ups\"><"), "f----sign-ups---");
    }
}
