//! Panels and heat maps in block characters.

use super::canvas::{TextCanvas, TextStyle, bar, cell, columns, columns_of, filled, fit, sparkline, vertical_bars};
use crate::report::describe::{self, IN_PROGRESS};
use crate::report::format::{float_of, nearest};
use crate::report::heat::{Heat, cell as number};
use crate::report::panel::{Panel, Series};
use crate::report::scale::Scale;

/// Height of the bars of the first series of a panel, in lines.
const LINES: usize = 4;

/// Width of the numbers of the axis and of the names of series, in columns.
const BEFORE: usize = 12;

/// Width of the newest numbers, in columns.
const AFTER: usize = 16;

/// Maximum number of positions of a stack, and of lines of a heat map. The newest are shown.
const MAX_ROWS: usize = 10;

/// Maximum width of a position, in columns.
const MAX_WIDTH: usize = 3;

/// Maximum width of a table cell.
const MAX_CELL: usize = 14;

/// The shades of a heat map, the weakest first.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// Marks a date that is in progress.
const MARK: &str = "*";

/// Draws the panels of a metric. Panels over dates or numbers share the axis below the last one.
pub(super) fn panels(canvas: &mut TextCanvas, panels: &[Panel]) {
    for (index, panel) in panels.iter().enumerate() {
        if let Some(caption) = &panel.caption {
            canvas.styled_line(TextStyle::Faint, caption);
        }
        if panel.axis.is_categorical() {
            names(canvas, panel);
        } else if panel.is_stack() {
            stack(canvas, panel);
        } else {
            series(canvas, panel, index == 0, index + 1 == panels.len());
        }
        for note in &panel.notes {
            canvas.wrap(TextStyle::Faint, 2, note);
        }
    }
    if panels.iter().any(|panel| panel.axis.has_progress()) {
        legend(canvas);
    }
}

/// Explains the mark of a date that is in progress.
fn legend(canvas: &mut TextCanvas) {
    canvas.styled_line(TextStyle::Faint, &format!("{MARK} {IN_PROGRESS}"));
}

/// Returns the label of a position, with a mark if it is in progress.
fn label(panel: &Panel, at: usize) -> String {
    let mark = if panel.axis.is_in_progress(at) { MARK } else { "" };
    format!("{}{mark}", panel.axis.label(at))
}

/// Draws the first series as bars, and each other series as one line.
fn series(canvas: &mut TextCanvas, panel: &Panel, first: bool, last: bool) {
    let room = canvas.width.saturating_sub(BEFORE + AFTER).max(10);
    let shown = panel.axis.len().min(room);
    let from = panel.axis.len() - shown;
    let width = (room / shown.max(1)).clamp(1, MAX_WIDTH);
    let mut series = panel.series.iter();
    if first && let Some(main) = series.next() {
        bars(canvas, panel, main, from, width);
    }
    for series in series {
        let line = sparkline(&series.values[from..], series.max(), width);
        let name = cell(&series.name, BEFORE - 2, false);
        let line = canvas.styled(TextStyle::Drawn, &line);
        let newest = newest(panel, series);
        canvas.line(&format!("{name}  {line}  {newest}"));
    }
    if last {
        axis(canvas, panel, from, width);
    }
}

fn newest(panel: &Panel, series: &Series) -> String {
    let last = panel.axis.len().saturating_sub(1);
    let Some(value) = series.values.last().copied().flatten().filter(|_| panel.axis.is_time()) else {
        return String::new();
    };
    let bound = match series.is_lower(last) {
        true if panel.share => "≈ ",
        true => "≥ ",
        false => "",
    };
    let mark = if panel.axis.is_in_progress(last) { MARK } else { "" };
    format!("{bound}{}{mark}", describe::formatted(value, panel.share))
}

fn bars(canvas: &mut TextCanvas, panel: &Panel, series: &Series, from: usize, width: usize) {
    let (values, max) = (&series.values[from..], series.max());
    let lines = vertical_bars(values, max, LINES, width);
    for (index, line) in lines.iter().enumerate() {
        let label = match index {
            0 => Scale::label(max, panel.share),
            index if index == LINES - 1 && panel.series.len() > 1 => series.name.clone(),
            _ => String::new(),
        };
        let line = canvas.styled(TextStyle::Drawn, line);
        let newest = if index == LINES - 1 { newest(panel, series) } else { String::new() };
        canvas.line(&format!("{}  {line}  {newest}", cell(&label, BEFORE - 2, index == 0)));
    }
}

/// Draws the first and the last position, and marks the lower bounds.
fn axis(canvas: &mut TextCanvas, panel: &Panel, from: usize, width: usize) {
    let count = panel.axis.len() - from;
    if (from..panel.axis.len()).any(|at| panel.is_lower(at)) {
        let mark = |at: usize| filled(if panel.is_lower(at) { "░" } else { " " }, width);
        let marks: String = (from..panel.axis.len()).map(mark).collect();
        let name = cell("", BEFORE - 2, false);
        let text = format!("{name}  {}  ░ lower bound", cell(&marks, count * width, false));
        canvas.styled_line(TextStyle::Faint, &text);
    }
    let (first, last) = (label(panel, from), label(panel, panel.axis.len().saturating_sub(1)));
    let room = (count * width).max(columns_of(&last));
    let line = match count {
        1 => last,
        _ if columns_of(&first) + columns_of(&last) < room => {
            format!("{first}{}", cell(&last, room - columns_of(&first), true))
        }
        _ => format!("{first} to {last}"),
    };
    canvas.styled_line(TextStyle::Faint, &format!("{}{line}", " ".repeat(BEFORE)));
}

/// Draws a horizontal bar for each name.
fn names(canvas: &mut TextCanvas, panel: &Panel) {
    let total = |at: usize| panel.series.iter().filter_map(|series| series.values[at]).map(f64::abs).sum::<f64>();
    let shown = panel.axis.len().min(MAX_ROWS);
    let max = (0..shown).map(total).fold(0.0, f64::max);
    let longest = panel.axis.labels.iter().take(shown).map(|name| columns_of(name)).max().unwrap_or(0);
    let before = longest.min(canvas.width / 3);
    let value = |at: usize| {
        let values = panel.series.iter().filter_map(|series| series.values[at]);
        if panel.share && panel.series.len() > 1 {
            values.map(|value| describe::formatted(value, true)).collect::<Vec<_>>().join(" · ")
        } else {
            describe::formatted(values.map(f64::abs).sum(), panel.share)
        }
    };
    let numbers = (0..shown).map(|at| columns_of(&value(at))).max().unwrap_or(0);
    let room = canvas.width.saturating_sub(before + numbers + 4).max(5);
    for at in 0..shown {
        let drawn = canvas.styled(TextStyle::Drawn, &bar(total(at), max, room));
        let name = cell(panel.axis.label(at), before, false);
        canvas.line(&format!("{name}  {}  {drawn}", cell(&value(at), numbers, true)));
    }
    if panel.axis.len() > shown {
        canvas.styled_line(TextStyle::Faint, &format!("and {} more", panel.axis.len() - shown));
    }
}

/// Draws the newest positions of a stack as a table. If there is space, a bar shows the sum of the positive numbers.
fn stack(canvas: &mut TextCanvas, panel: &Panel) {
    let from = panel.axis.len().saturating_sub(MAX_ROWS);
    let mut heading = vec![panel.axis.name.clone()];
    heading.extend(panel.series.iter().map(|series| series.name.clone()));
    let mut cells = vec![heading];
    for at in from..panel.axis.len() {
        let mut line = vec![label(panel, at)];
        line.extend(panel.series.iter().map(|series| match series.values[at] {
            None => "–".to_owned(),
            Some(value) => {
                let bound = if series.is_lower(at) { "≥ " } else { "" };
                format!("{bound}{}", describe::formatted(value.abs(), panel.share))
            }
        }));
        cells.push(line);
    }
    let right: Vec<bool> = (0..=panel.series.len()).map(|index| index > 0).collect();
    let (lines, hidden) = columns(&cells, &right, MAX_CELL, canvas.width);
    let above =
        |at: usize| panel.series.iter().filter_map(|series| series.values[at]).map(|value| value.max(0.0)).sum::<f64>();
    let max = (from..panel.axis.len()).map(above).fold(0.0, f64::max);
    let room = canvas.width.saturating_sub(lines.first().map_or(0, |line| columns_of(line)) + 2);
    for (index, line) in lines.iter().enumerate() {
        match index.checked_sub(1) {
            None if room >= 10 => {
                let total = panel.total.as_deref().unwrap_or_default();
                canvas.styled_line(TextStyle::Faint, &format!("{line}  {total}"));
            }
            None => canvas.styled_line(TextStyle::Faint, line),
            Some(at) if room >= 10 => {
                let drawn = canvas.styled(TextStyle::Drawn, &bar(above(from + at), max, room));
                canvas.line(&format!("{line}  {drawn}"));
            }
            Some(_) => canvas.line(line),
        }
    }
    omitted(canvas, hidden, from, "earlier row");
}

/// Draws a heat map: a shade and a number in each cell.
pub(super) fn grid(canvas: &mut TextCanvas, heat: &Heat) {
    let from = heat.lines.len().saturating_sub(MAX_ROWS);
    let lines = &heat.lines[from..];
    let heading = std::iter::once(heat.names[0].clone()).chain(heat.details.iter().cloned());
    let mut cells = vec![heading.collect::<Vec<_>>()];
    cells.extend(lines.iter().map(|line| {
        let mark = if line.in_progress { MARK } else { "" };
        std::iter::once(format!("{}{mark}", line.label)).chain(line.details.iter().cloned()).collect()
    }));
    let right: Vec<bool> = (0..=heat.details.len()).map(|index| index > 0).collect();
    let (before, _) = columns(&cells, &right, MAX_CELL, canvas.width / 2);
    let widest = lines.iter().flat_map(|line| line.cells.iter().flatten());
    let widest = widest.map(|(value, _)| columns_of(&number(*value, heat.share))).max().unwrap_or(1);
    let width = widest + 3;
    let room = canvas.width.saturating_sub(before.first().map_or(0, |line| columns_of(line)) + 2);
    let shown = heat.columns.len().min(room / width);
    let names: String = heat.columns.iter().take(shown).map(|name| cell(name, width - 1, true) + " ").collect();
    let mut before = before.iter();
    if let Some(first) = before.next() {
        canvas.styled_line(TextStyle::Faint, &format!("{first}  {names}"));
    }
    for (line, before) in lines.iter().zip(before) {
        let cells = line.cells.iter().take(shown).map(|value| grid_cell(canvas, heat, *value, widest));
        let cells: String = cells.collect();
        canvas.line(&format!("{before}  {cells}"));
    }
    let unit = if heat.share { " in percent" } else { "" };
    let bound = if heat.has_lower_bounds() { "; + at least" } else { "" };
    let about = format!("{}{unit} by {}{bound}", heat.names[2], heat.names[1].to_lowercase());
    canvas.styled_line(TextStyle::Faint, &about);
    omitted(canvas, heat.columns.len() - shown, from, "earlier row");
    if lines.iter().any(|line| line.in_progress) {
        legend(canvas);
    }
}

fn grid_cell(canvas: &TextCanvas, heat: &Heat, value: Option<(f64, bool)>, widest: usize) -> String {
    let Some((value, lower)) = value else { return " ".repeat(widest + 3) };
    let ratio = if heat.max > 0.0 { (value.max(0.0) / heat.max).sqrt() } else { 0.0 };
    let shade = SHADES[nearest(ratio * float_of(SHADES.len() - 1)).min(SHADES.len() - 1)];
    let shade = canvas.styled(TextStyle::Drawn, &shade.to_string());
    let bound = if lower { '+' } else { ' ' };
    format!("{shade}{}{bound} ", cell(&number(value, heat.share), widest, true))
}

/// Says how many columns and rows are omitted.
pub(super) fn omitted(canvas: &mut TextCanvas, columns: usize, rows: usize, row: &str) {
    let counted = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    };
    let words: Vec<String> = [counted(columns, "more column"), counted(rows, row)].into_iter().flatten().collect();
    if !words.is_empty() {
        canvas.styled_line(TextStyle::Faint, &fit(&format!("and {}", words.join(", ")), 60));
    }
}
