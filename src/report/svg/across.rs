//! Horizontal bars with names. The name and the number are above each bar, so long names have space.

use maud::{Markup, html};

use super::{Style, percent, pixels, plot, tooltip, values};
use crate::report::describe;
use crate::report::format::{float_of, shortened};
use crate::report::html::UntrustedText;
use crate::report::panel::{Panel, Series};

/// Height of the line with the name.
const NAME: f64 = 20.0;

/// Height of a single bar.
const BAR: f64 = 12.0;

/// Height of each of several bars of a name.
const THIN: f64 = 8.0;

/// Space between a bar and the next name.
const GAP: f64 = 10.0;

/// Maximum number of characters of a name. That many fit on a phone.
const MAX_NAME: usize = 32;

pub(super) fn draw(panel: &Panel, style: Style<'_>) -> Markup {
    let stacked = panel.is_stack();
    let bars = if stacked { 1 } else { panel.series.len() };
    let thickness = if bars > 1 { THIN } else { BAR };
    let height = NAME + thickness * float_of(bars) + GAP;
    let max = if stacked { largest_sum(panel) } else { values(panel).fold(0.0, f64::max) };
    let max = if max > 0.0 { max } else { 1.0 };
    let content = html! {
        @for at in 0..panel.axis.len() {
            @let top = height * float_of(at);
            g {
                @if style.hover { title { (UntrustedText(&tooltip(panel, at))) } }
                (heading(panel, at, top))
                @for (index, series) in panel.series.iter().enumerate() {
                    @let width = |series: &Series| series.values[at].unwrap_or(0.0).abs() / max;
                    @let left = if stacked { panel.series[..index].iter().map(width).sum() } else { 0.0 };
                    @let offset = if stacked { 0.0 } else { thickness * float_of(index) };
                    (bar(series, at, (left, top + NAME + offset), (width(series), thickness)))
                }
            }
        }
    };
    plot(panel, style, "across", height * float_of(panel.axis.len()), &content)
}

fn heading(panel: &Panel, at: usize, top: f64) -> Markup {
    let y = pixels(top + 14.0);
    let known: Vec<f64> = panel.series.iter().filter_map(|series| series.values[at]).collect();
    let bound = if panel.is_lower(at) { "at least " } else { "" };
    let value = match known.as_slice() {
        [] => String::new(),
        [value] => format!("{bound}{}", describe::formatted(*value, panel.share)),
        values if panel.share => {
            values.iter().map(|value| describe::formatted(*value, true)).collect::<Vec<_>>().join(" · ")
        }
        values => format!("{bound}{}", describe::formatted(values.iter().map(|value| value.abs()).sum(), false)),
    };
    html! {
        text.name y=(y) { (UntrustedText(&shortened(panel.axis.label(at), MAX_NAME))) }
        text.value x="100%" y=(y) { (value) }
    }
}

fn bar(series: &Series, at: usize, (left, top): (f64, f64), (width, height): (f64, f64)) -> Markup {
    let rect = |class: &str| {
        html! { rect class=(class) x=(percent(left)) y=(pixels(top)) width=(percent(width)) height=(height) {} }
    };
    html! {
        @if width > 0.0 {
            (rect(&format!("b c{}", series.color)))
            @if series.is_lower(at) { (rect("hatch")) }
        }
    }
}

fn largest_sum(panel: &Panel) -> f64 {
    let sum = |at: usize| panel.series.iter().filter_map(|series| series.values[at]).map(f64::abs).sum::<f64>();
    (0..panel.axis.len()).map(sum).fold(0.0, f64::max)
}
