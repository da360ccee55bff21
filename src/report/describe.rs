//! Descriptions of charts in sentences, for people who do not see them.

use super::format::{number, percent};
use super::heat::Heat;
use super::panel::{Panel, Series};
use crate::query::Chart;

/// Label of a day, week or month that is not over.
pub(super) const IN_PROGRESS: &str = "in progress";

/// Formats a number of a panel.
pub(super) fn formatted(value: f64, share: bool) -> String {
    if share { percent(value) } else { number(value) }
}

/// Formats a number that may be a lower bound. The ratio of two lower bounds is not a lower bound, but it is incomplete.
pub(super) fn bounded(value: &str, lower: bool, share: bool) -> String {
    match (lower, share) {
        (false, _) => value.to_owned(),
        (true, false) => format!("at least {value}"),
        (true, true) => format!("{value} (incomplete)"),
    }
}

/// Returns the label of lower bounds in a legend.
pub(super) const fn lower_bound(share: bool) -> &'static str {
    if share { "incomplete" } else { "lower bound" }
}

/// Formats a position: its label, and whether it is in progress.
pub(super) fn position(panel: &Panel, at: usize) -> String {
    let label = panel.axis.label(at);
    if panel.axis.is_in_progress(at) { format!("{label}, {IN_PROGRESS}") } else { label.to_owned() }
}

fn kind(panel: &Panel) -> &'static str {
    match panel.chart {
        Chart::Line if panel.is_lines() => "Line chart",
        Chart::Stacked => "Stacked bar chart",
        _ => "Bar chart",
    }
}

/// Describes a panel.
pub(super) fn panel(panel: &Panel) -> String {
    let axis = &panel.axis;
    let (first, last) = (axis.label(0), axis.label(axis.len().saturating_sub(1)));
    let extent = match axis.len() {
        1 => format!("one value, at {first}"),
        _ if axis.is_categorical() => format!("{} values by {}", axis.len(), axis.name.to_lowercase()),
        count => format!("{count} values, from {first} to {last}"),
    };
    let mut sentences = vec![format!("{}: {extent}.", kind(panel))];
    sentences.extend(panel.series.iter().filter_map(|series| self::series(series, panel)));
    let lower = panel.series.iter().map(lower_bounds).max().unwrap_or(0);
    match (lower, panel.share) {
        (0, _) => {}
        (lower, true) => sentences.push(format!("{lower} of the values are incomplete.")),
        (1, false) => sentences.push("1 of the values is a lower bound.".to_owned()),
        (lower, false) => sentences.push(format!("{lower} of the values are lower bounds.")),
    }
    sentences.join(" ")
}

fn lower_bounds(series: &Series) -> usize {
    (0..series.values.len()).filter(|at| series.is_lower(*at)).count()
}

/// Describes a series: its lowest and highest value, without periods in progress, and its newest.
fn series(series: &Series, panel: &Panel) -> Option<String> {
    let value = |at: usize| series.values[at].map(f64::abs);
    let known: Vec<usize> = (0..series.values.len()).filter(|at| value(*at).is_some()).collect();
    let newest = *known.last()?;
    let complete: Vec<usize> = known.iter().copied().filter(|at| !panel.axis.is_in_progress(*at)).collect();
    let compared = if complete.is_empty() { &known } else { &complete };
    let by_value =
        |left: &&usize, right: &&usize| value(**left).unwrap_or(0.0).total_cmp(&value(**right).unwrap_or(0.0));
    let (least, most) = (compared.iter().min_by(by_value)?, compared.iter().max_by(by_value)?);
    let described = |at: usize| {
        let number = formatted(value(at).unwrap_or(0.0), panel.share);
        format!("{number} ({})", position(panel, at))
    };
    let newest = if panel.axis.is_time() { format!(", newest {}", described(newest)) } else { String::new() };
    Some(format!("{}: lowest {}, highest {}{newest}.", series.name, described(*least), described(*most)))
}

/// Returns a line with the newest values of the panels of a metric; `None` if their axis is not a time.
pub(super) fn newest(panels: &[Panel]) -> Option<String> {
    let first = panels.first()?;
    let last = first.axis.len().checked_sub(1).filter(|_| first.axis.is_time())?;
    let panels = panels.iter().filter(|panel| panel.caption.is_none());
    let values: Vec<String> = panels.flat_map(|panel| values_at(panel, last)).collect();
    Some(format!("{}: {}", position(first, last), values.join(", "))).filter(|_| !values.is_empty())
}

/// Returns the values of all series at a position, each with its name.
pub(super) fn values_at(panel: &Panel, at: usize) -> Vec<String> {
    let format = |value: f64| formatted(value.abs(), panel.share);
    let described = |series: &Series| {
        let value = format(series.values.get(at).copied().flatten()?);
        Some(match series.upper_bound(at) {
            Some(upper) => format!("{} {value} to {}", series.name, format(upper)),
            None => format!("{} {}", series.name, bounded(&value, series.is_lower(at), panel.share)),
        })
    };
    panel.series.iter().filter_map(described).collect()
}

/// Describes a heat map.
pub(super) fn heat(heat: &Heat) -> String {
    let [lines, columns, value] = &heat.names;
    let (lines, columns) = (lines.to_lowercase(), columns.to_lowercase());
    let percent = if heat.share { ", in percent" } else { "" };
    format!("{value} by {lines} and {columns}{percent}. A stronger color is a larger value.")
}
