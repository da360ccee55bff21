//! What a drawing shows, in sentences: for those who do not see it.

use super::figure::Kind;
use super::heat::Heat;
use super::panel::{Panel, Series, place_shown};
use super::words::{number, percent};
use crate::query::Chart;

/// A number of a panel as it is shown.
pub(super) fn shown(value: f64, share: bool) -> String {
    if share { percent(value) } else { number(value) }
}

/// A number that may be a lower bound, in words. A share of two numbers that are lower bounds is none itself.
pub(super) fn bounded(value: &str, lower: bool, share: bool) -> String {
    match (lower, share) {
        (false, _) => value.to_owned(),
        (true, false) => format!("at least {value}"),
        (true, true) => format!("{value} (not complete)"),
    }
}

/// What the marks of lower bounds are called.
pub(super) const fn bound(share: bool) -> &'static str {
    if share { "not complete" } else { "lower bound" }
}

/// The kind of drawing, in words.
fn kind(chart: Chart) -> &'static str {
    match chart {
        Chart::Line => "Line chart",
        Chart::Stacked => "Stacked bar chart",
        Chart::Heatmap => "Heat map",
        _ => "Bar chart",
    }
}

/// What a panel shows.
pub(super) fn panel(chart: Chart, panel: &Panel) -> String {
    let along = &panel.along;
    let (first, last) = (place_shown(along, 0), place_shown(along, along.len().saturating_sub(1)));
    let extent = match along.len() {
        1 => format!("one value, at {first}"),
        _ if along.is_names() => format!("{} values by {}", along.len(), along.name.to_lowercase()),
        count => format!("{count} values, from {first} to {last}"),
    };
    let mut sentences = vec![format!("{}: {extent}.", kind(chart))];
    sentences.extend(panel.series.iter().filter_map(|series| self::series(series, panel)));
    let lower = panel.series.iter().map(lower_bounds).max().unwrap_or(0);
    match (lower, panel.share) {
        (0, _) => {}
        (lower, true) => sentences.push(format!("{lower} of them not complete.")),
        (1, false) => sentences.push("1 of them is a lower bound.".to_owned()),
        (lower, false) => sentences.push(format!("{lower} of them are lower bounds.")),
    }
    sentences.join(" ")
}

fn lower_bounds(series: &Series) -> usize {
    series.values.iter().zip(&series.lower).filter(|(value, lower)| value.is_some() && **lower).count()
}

fn series(series: &Series, panel: &Panel) -> Option<String> {
    let value = |at: usize| series.values[at].map(f64::abs);
    let known: Vec<usize> = (0..series.values.len()).filter(|at| value(*at).is_some()).collect();
    let compare =
        |left: &&usize, right: &&usize| value(**left).unwrap_or(0.0).total_cmp(&value(**right).unwrap_or(0.0));
    let (least, most) = (known.iter().min_by(compare)?, known.iter().max_by(compare)?);
    let told = |at: usize| {
        let number = shown(value(at).unwrap_or(0.0), panel.share);
        format!("{number} ({})", place_shown(&panel.along, at))
    };
    let newest = match known.last() {
        Some(newest) if matches!(panel.along.kind, Kind::Day | Kind::Moment) => format!(", newest {}", told(*newest)),
        _ => String::new(),
    };
    Some(format!("{}: lowest {}, highest {}{newest}.", series.name, told(*least), told(*most)))
}

/// What the newest place of the panels of a figure has, in a line; none where places have no time.
pub(super) fn newest(panels: &[Panel]) -> Option<String> {
    let along = &panels.first()?.along;
    let values: Vec<String> = panels.iter().filter(|panel| panel.caption.is_none()).flat_map(newest_values).collect();
    Some(format!("{}: {}", along.shown.last()?, values.join(", "))).filter(|_| !values.is_empty())
}

fn newest_values(panel: &Panel) -> Vec<String> {
    let along = &panel.along;
    let last = along.len().checked_sub(1).filter(|_| matches!(along.kind, Kind::Day | Kind::Moment));
    let Some(last) = last else { return Vec::new() };
    let told = |series: &Series| {
        let value = series.values[last]?;
        let value = bounded(&shown(value.abs(), panel.share), series.lower[last], panel.share);
        Some(format!("{} {value}", series.name))
    };
    panel.series.iter().filter_map(told).collect()
}

/// What a grid shows.
pub(super) fn heat(heat: &Heat) -> String {
    let [lines, columns, value] = &heat.names;
    let (lines, columns) = (lines.to_lowercase(), columns.to_lowercase());
    let percent = if heat.share { ", in percent" } else { "" };
    format!("{value} by {lines} and {columns}{percent}; the stronger the colour, the larger")
}
