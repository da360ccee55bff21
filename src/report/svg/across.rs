//! Level bars for what has names: the name and the number above each bar, so that long names have room.

use super::{Style, begin, end, length, part, told, values};
use crate::query::Chart;
use crate::report::describe;
use crate::report::html::{escape, put};
use crate::report::panel::{Panel, Series};
use crate::report::words::{float_of, shortened};

/// The height of a name's line.
const NAME: f64 = 20.0;

/// The height of a bar that is alone below its name.
const BAR: f64 = 12.0;

/// The height of each of several bars below one name.
const THIN: f64 = 8.0;

/// The room between a bar and the next name.
const GAP: f64 = 10.0;

/// The longest name, in characters: what a phone is wide enough for.
const LONGEST: usize = 32;

pub(super) fn draw(out: &mut String, chart: Chart, panel: &Panel, style: Style<'_>) {
    let stacked = matches!(chart, Chart::Stacked) && !panel.share;
    let bars = if stacked { 1 } else { panel.series.len() };
    let thickness = if bars > 1 { THIN } else { BAR };
    let room = NAME + thickness * float_of(bars) + GAP;
    begin(out, chart, panel, style, "across", room * float_of(panel.along.len()));
    let most = if stacked { largest_sum(panel) } else { values(panel).fold(0.0, f64::max) };
    let most = if most > 0.0 { most } else { 1.0 };
    for at in 0..panel.along.len() {
        let top = room * float_of(at);
        out.push_str("<g>");
        if style.hover {
            put!(out, "<title>{}</title>", escape(&told(panel, at)));
        }
        heading(out, panel, at, top);
        let mut left = 0.0;
        for (number, series) in panel.series.iter().enumerate() {
            let width = series.values[at].unwrap_or(0.0).abs() / most;
            let row = if stacked { 0.0 } else { thickness * float_of(number) };
            bar(out, series, at, (left, top + NAME + row), (width, thickness));
            left += if stacked { width } else { 0.0 };
        }
        out.push_str("</g>\n");
    }
    end(out);
}

fn heading(out: &mut String, panel: &Panel, at: usize, top: f64) {
    let y = length(top + 14.0);
    let name = panel.along.shown.get(at).map_or("", String::as_str);
    put!(out, "<text class=\"name\" y=\"{y}\">{}</text>", escape(&shortened(name, LONGEST)));
    let known: Vec<f64> = panel.series.iter().filter_map(|series| series.values[at]).collect();
    let bound = if panel.series.iter().any(|series| series.lower[at]) { "at least " } else { "" };
    let value = match known.as_slice() {
        [] => String::new(),
        [value] => format!("{bound}{}", describe::shown(*value, panel.share)),
        values if panel.share => {
            values.iter().map(|value| describe::shown(*value, true)).collect::<Vec<_>>().join(" · ")
        }
        values => format!("{bound}{}", describe::shown(values.iter().map(|value| value.abs()).sum(), false)),
    };
    put!(out, "<text class=\"value\" x=\"100%\" y=\"{y}\">{value}</text>");
}

fn bar(out: &mut String, series: &Series, at: usize, (left, top): (f64, f64), (width, height): (f64, f64)) {
    if width <= 0.0 {
        return;
    }
    let mut rect = |class: &str| {
        put!(out, "<rect class=\"{class}\" x=\"{}\" y=\"{}\" ", part(left), length(top));
        put!(out, "width=\"{}\" height=\"{height}\"/>", part(width));
    };
    rect(&format!("b c{}", series.colour));
    if series.lower[at] {
        rect("hatch");
    }
}

fn largest_sum(panel: &Panel) -> f64 {
    let sum = |at: usize| panel.series.iter().filter_map(|series| series.values[at]).map(f64::abs).sum::<f64>();
    (0..panel.along.len()).map(sum).fold(0.0, f64::max)
}
