//! Panels and grids in block characters.

use super::paper::{Ink, Paper, bar, cell, columns, filled, fit, spark, upright, wide};
use crate::query::Chart;
use crate::report::describe;
use crate::report::figure::Kind;
use crate::report::heat::{Heat, cell as number};
use crate::report::panel::{Panel, Series, place_shown};
use crate::report::scale::Scale;
use crate::report::words::{float_of, nearest};

/// How many lines the bars of a panel's first series take.
const LINES: usize = 4;

/// The columns before the bars: the numbers of the axis, or a series' name.
const BEFORE: usize = 12;

/// How many rows of a stack, and how many lines of a grid, are shown: the newest.
const ROWS: usize = 10;

/// The most columns that one place takes.
const WIDEST: usize = 3;

/// The shades of a grid, the weakest first.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// The panels of a figure; those over days or numbers share the axis below the last.
pub(super) fn panels(paper: &mut Paper, chart: Chart, panels: &[Panel]) {
    for (number, panel) in panels.iter().enumerate() {
        if let Some(caption) = &panel.caption {
            paper.say(Ink::Faint, caption);
        }
        if panel.along.is_names() {
            names(paper, panel);
        } else if matches!(chart, Chart::Stacked) && !panel.share {
            stack(paper, panel);
        } else {
            along(paper, panel, number == 0, number + 1 == panels.len());
        }
        for note in &panel.notes {
            paper.wrap(Ink::Faint, 2, note);
        }
    }
}

/// The first series as bars, the others as one line each.
fn along(paper: &mut Paper, panel: &Panel, first: bool, last: bool) {
    let after = 16;
    let room = paper.width.saturating_sub(BEFORE + after).max(10);
    let shown = panel.along.len().min(room);
    let from = panel.along.len() - shown;
    let wide_columns = (room / shown.max(1)).clamp(1, WIDEST);
    let mut series = panel.series.iter();
    if first && let Some(main) = series.next() {
        bars(paper, panel, main, from, wide_columns);
    }
    for series in series {
        let line = spark(&series.values[from..], series.most(), wide_columns);
        let name = cell(&series.name, BEFORE - 2, false);
        let line = paper.inked(Ink::Drawn, &line);
        let newest = newest(panel, series);
        paper.line(&format!("{name}  {line}  {newest}"));
    }
    if last {
        axis(paper, panel, from, wide_columns);
    }
}

fn newest(panel: &Panel, series: &Series) -> String {
    let is_time = matches!(panel.along.kind, Kind::Day | Kind::Moment);
    let Some(value) = series.values.last().copied().flatten().filter(|_| is_time) else { return String::new() };
    let bound = match series.lower.last() {
        Some(true) if panel.share => "≈ ",
        Some(true) => "≥ ",
        _ => "",
    };
    format!("{bound}{}", describe::shown(value, panel.share))
}

fn bars(paper: &mut Paper, panel: &Panel, series: &Series, from: usize, columns: usize) {
    let (values, most) = (&series.values[from..], series.most());
    let lines = upright(values, most, LINES, columns);
    for (at, line) in lines.iter().enumerate() {
        let label = match at {
            0 => Scale::label(most, panel.share),
            at if at == LINES - 1 && panel.series.len() > 1 => series.name.clone(),
            _ => String::new(),
        };
        let line = paper.inked(Ink::Drawn, line);
        let newest = if at == LINES - 1 { newest(panel, series) } else { String::new() };
        let right = at == 0;
        paper.line(&format!("{}  {line}  {newest}", cell(&label, BEFORE - 2, right)));
    }
}

/// The first and the last place, and where the numbers are lower bounds.
fn axis(paper: &mut Paper, panel: &Panel, from: usize, columns: usize) {
    let count = panel.along.len() - from;
    let lower = |at: usize| panel.series.iter().any(|series| series.lower[at] && series.values[at].is_some());
    if (from..panel.along.len()).any(lower) {
        let marks: String =
            (from..panel.along.len()).map(|at| filled(if lower(at) { "░" } else { " " }, columns)).collect();
        let name = cell("", BEFORE - 2, false);
        let text = format!("{name}  {}  ░ lower bound", cell(&marks, count * columns, false));
        paper.say(Ink::Faint, &text);
    }
    let (first, last) =
        (place_shown(&panel.along, from), place_shown(&panel.along, panel.along.len().saturating_sub(1)));
    let width = (count * columns).max(wide(last));
    let line = match count {
        1 => last.to_owned(),
        _ if wide(first) + wide(last) < width => format!("{first}{}", cell(last, width - wide(first), true)),
        _ => format!("{first} to {last}"),
    };
    paper.say(Ink::Faint, &format!("{}{line}", " ".repeat(BEFORE)));
}

/// A level bar for each name.
fn names(paper: &mut Paper, panel: &Panel) {
    let total = |at: usize| panel.series.iter().filter_map(|series| series.values[at]).map(f64::abs).sum::<f64>();
    let shown = panel.along.len().min(ROWS);
    let most = (0..shown).map(total).fold(0.0, f64::max);
    let longest = panel.along.shown.iter().take(shown).map(|name| wide(name)).max().unwrap_or(0);
    let before = longest.min(paper.width / 3);
    let value = |at: usize| {
        let values = panel.series.iter().filter_map(|series| series.values[at]);
        if panel.share && panel.series.len() > 1 {
            values.map(|value| describe::shown(value, true)).collect::<Vec<_>>().join(" · ")
        } else {
            describe::shown(values.map(f64::abs).sum(), panel.share)
        }
    };
    let numbers = (0..shown).map(|at| wide(&value(at))).max().unwrap_or(0);
    let room = paper.width.saturating_sub(before + numbers + 4).max(5);
    for at in 0..shown {
        let drawn = paper.inked(Ink::Drawn, &bar(total(at), most, room));
        let name = cell(place_shown(&panel.along, at), before, false);
        paper.line(&format!("{name}  {}  {drawn}", cell(&value(at), numbers, true)));
    }
    if panel.along.len() > shown {
        paper.say(Ink::Faint, &format!("and {} more", panel.along.len() - shown));
    }
}

/// The newest places of a stack as a table, with a bar of what lies above zero where there is room.
fn stack(paper: &mut Paper, panel: &Panel) {
    let from = panel.along.len().saturating_sub(ROWS);
    let mut head = vec![panel.along.name.clone()];
    head.extend(panel.series.iter().map(|series| series.name.clone()));
    let mut cells = vec![head];
    for at in from..panel.along.len() {
        let mut line = vec![place_shown(&panel.along, at).to_owned()];
        line.extend(panel.series.iter().map(|series| match series.values[at] {
            None => "–".to_owned(),
            Some(value) => {
                format!("{}{}", if series.lower[at] { "≥ " } else { "" }, describe::shown(value.abs(), panel.share))
            }
        }));
        cells.push(line);
    }
    let right: Vec<bool> = (0..=panel.series.len()).map(|at| at > 0).collect();
    let (lines, left_out) = columns(&cells, &right, 14, paper.width);
    let above =
        |at: usize| panel.series.iter().filter_map(|series| series.values[at]).map(|value| value.max(0.0)).sum::<f64>();
    let most = (from..panel.along.len()).map(above).fold(0.0, f64::max);
    let room = paper.width.saturating_sub(lines.first().map_or(0, |line| wide(line)) + 2);
    for (at, line) in lines.iter().enumerate() {
        match at.checked_sub(1) {
            None if room >= 10 => {
                let total = panel.total.as_deref().unwrap_or_default();
                paper.say(Ink::Faint, &format!("{line}  {total}"));
            }
            None => paper.say(Ink::Faint, line),
            Some(at) if room >= 10 => {
                let drawn = paper.inked(Ink::Drawn, &bar(above(from + at), most, room));
                paper.line(&format!("{line}  {drawn}"));
            }
            Some(_) => paper.line(line),
        }
    }
    left(paper, left_out, from, "earlier row");
}

/// A grid with a shade and, where there is room, a number in each cell.
pub(super) fn grid(paper: &mut Paper, heat: &Heat) {
    let from = heat.lines.len().saturating_sub(ROWS);
    let lines = &heat.lines[from..];
    let mut cells = vec![std::iter::once(heat.names[0].clone()).chain(heat.beside.iter().cloned()).collect::<Vec<_>>()];
    cells.extend(
        lines.iter().map(|line| std::iter::once(line.label.clone()).chain(line.beside.iter().cloned()).collect()),
    );
    let right: Vec<bool> = (0..=heat.beside.len()).map(|at| at > 0).collect();
    let (before, _) = columns(&cells, &right, 14, paper.width / 2);
    let widest = lines.iter().flat_map(|line| line.cells.iter().flatten());
    let widest = widest.map(|(value, _)| wide(&number(*value, heat.share))).max().unwrap_or(1);
    let (own, room) = (widest + 3, paper.width.saturating_sub(before.first().map_or(0, |line| wide(line)) + 2));
    let shown = heat.columns.len().min(room / own);
    let names: String = heat.columns.iter().take(shown).map(|name| cell(name, own - 1, true) + " ").collect();
    let mut before = before.iter();
    if let Some(first) = before.next() {
        paper.say(Ink::Faint, &format!("{first}  {names}"));
    }
    for (line, before) in lines.iter().zip(before) {
        let cells: String = line.cells.iter().take(shown).map(|value| grid_cell(paper, heat, *value, widest)).collect();
        paper.line(&format!("{before}  {cells}"));
    }
    let unit = if heat.share { " in percent" } else { "" };
    let bound = if heat.has_lower_bounds() { "; + at least" } else { "" };
    let about = format!("{}{unit} by {}{bound}", heat.names[2], heat.names[1].to_lowercase());
    paper.say(Ink::Faint, &about);
    left(paper, heat.columns.len() - shown, from, "earlier row");
}

fn grid_cell(paper: &Paper, heat: &Heat, value: Option<(f64, bool)>, widest: usize) -> String {
    let Some((value, lower)) = value else { return " ".repeat(widest + 3) };
    let part = if heat.most > 0.0 { (value.max(0.0) / heat.most).sqrt() } else { 0.0 };
    let shade = SHADES[nearest(part * float_of(SHADES.len() - 1)).min(SHADES.len() - 1)];
    let shade = paper.inked(Ink::Drawn, &shade.to_string());
    let bound = if lower { '+' } else { ' ' };
    format!("{shade}{}{bound} ", cell(&number(value, heat.share), widest, true))
}

/// What there was no room for.
pub(super) fn left(paper: &mut Paper, columns: usize, rows: usize, row: &str) {
    let told = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    };
    let words: Vec<String> = [told(columns, "more column"), told(rows, row)].into_iter().flatten().collect();
    if !words.is_empty() {
        paper.say(Ink::Faint, &fit(&format!("and {}", words.join(", ")), 60));
    }
}
