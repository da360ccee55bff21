//! Charts as inline SVG.
//!
//! There is no view box around a whole chart: across, everything is placed in percent, so that a chart fills the
//! width it is given, on a phone as on a wide screen, and its text keeps its size. What is drawn is also told in
//! the chart's title and description. Every colour is a class, so that it follows the light or dark scheme.

mod across;
mod bars;
mod line;

use super::describe;
use super::html::{escape, put};
use super::panel::{Panel, place_shown};
use super::scale::{Scale, Span, labels};
use super::words::number;
use crate::query::Chart;

/// The room above the highest line of the upright axis.
const TOP: f64 = 12.0;

/// The room below the lowest one, for the labels of the level axis.
const BOTTOM: f64 = 30.0;

/// How a chart is to be drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style<'a> {
    /// What it is called.
    pub title: &'a str,
    /// The id that its parts' ids begin with.
    pub id: &'a str,
    /// Whether it is a small one beside another.
    pub small: bool,
    /// Whether lines of the figure have their names at their ends: all of its charts then leave room for them.
    pub named_ends: bool,
    /// Whether numbers appear where the pointer rests.
    pub hover: bool,
}

/// What all charts of the page refer to: the hatching of lower bounds.
pub(super) const PATTERNS: &str = "<svg class=\"patterns\" width=\"0\" height=\"0\" aria-hidden=\"true\" focusable=\"false\"><defs>\
<pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect width=\"3\" height=\"6\"/></pattern>\
<pattern id=\"strip\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect width=\"2\" height=\"5\"/></pattern></defs></svg>\n";

/// Draws a panel.
pub(super) fn draw(out: &mut String, chart: Chart, panel: &Panel, style: Style<'_>) {
    match chart {
        _ if panel.along.is_names() => across::draw(out, chart, panel, style),
        Chart::Line => line::draw(out, chart, panel, style),
        Chart::Stacked if !panel.share => bars::draw(out, chart, panel, style, true),
        _ => bars::draw(out, chart, panel, style, false),
    }
}

/// Whether a panel is drawn as lines.
pub(super) fn is_lines(chart: Chart, panel: &Panel) -> bool {
    matches!(chart, Chart::Line) && !panel.along.is_names()
}

/// The chart's outermost element, with what it is in words.
fn begin(out: &mut String, chart: Chart, panel: &Panel, style: Style<'_>, kind: &str, height: f64) {
    let (id, title) = (style.id, escape(style.title));
    let names: Vec<&str> = panel.series.iter().map(|series| series.name.as_str()).collect();
    put!(out, "<div class=\"plot {kind}\"><svg role=\"img\" aria-labelledby=\"{id}-t {id}-d\" width=\"100%\" ");
    let caption = panel.caption.as_ref().map(|caption| format!(", {}", escape(caption))).unwrap_or_default();
    put!(out, "height=\"{height}\"><title id=\"{id}-t\">{title}{caption}: {}</title>", escape(&names.join(", ")));
    put!(out, "<desc id=\"{id}-d\">{}</desc>\n", escape(&describe::panel(chart, panel)));
}

fn end(out: &mut String) {
    out.push_str("</svg></div>\n");
}

/// Axes: an upright one of numbers and a level one of places.
struct Frame {
    scale: Scale,
    span: Span,
    height: f64,
}

impl Frame {
    fn new(panel: &Panel, low: f64, high: f64, bars: bool, small: bool) -> Self {
        let whole = !panel.share && values(panel).all(|value| value.fract() == 0.0);
        let (height, lines) = if small { (96.0, 2.0) } else { (216.0, 5.0) };
        Self { scale: Scale::new(low, high, lines, whole), span: Span::new(&panel.along, bars), height }
    }

    fn whole_height(&self) -> f64 {
        TOP + self.height + BOTTOM
    }

    /// The place of a number, in pixels from the top.
    fn y(&self, value: f64) -> f64 {
        TOP + (1.0 - self.scale.share(value)) * self.height
    }

    /// The lines of the upright axis and the labels of both.
    fn draw(&self, out: &mut String, panel: &Panel) {
        for tick in &self.scale.ticks {
            let y = length(self.y(*tick));
            let class = if tick.abs() > 0.0 { "g" } else { "g zero" };
            put!(out, "<line class=\"{class}\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>");
            put!(out, "<text class=\"y\" dx=\"-8\" y=\"{y}\">{}</text>\n", Scale::label(*tick, panel.share));
        }
        let y = length(TOP + self.height + 22.0);
        let labels = labels(&panel.along);
        for (at, (place, label)) in labels.iter().enumerate() {
            // On a phone every other label goes; the last one stays.
            let class = if (labels.len() - 1 - at).is_multiple_of(2) { "x" } else { "x m" };
            put!(
                out,
                "<text class=\"{class}\" x=\"{}\" y=\"{y}\">{}</text>\n",
                part(self.span.share(*place)),
                escape(label)
            );
        }
    }

    /// Invisible areas that tell a place's numbers where the pointer rests.
    fn hover(&self, out: &mut String, panel: &Panel) {
        for (at, place) in panel.along.at.iter().enumerate() {
            let (x, width) = (part(self.span.share(*place) - self.span.slot / 2.0), part(self.span.slot));
            put!(out, "<rect class=\"h\" x=\"{x}\" y=\"{TOP}\" width=\"{width}\" height=\"{}\">", self.height);
            put!(out, "<title>{}</title></rect>\n", escape(&told(panel, at)));
        }
    }
}

/// The numbers of a place, in a line.
fn told(panel: &Panel, at: usize) -> String {
    let number = |value: f64| describe::shown(value.abs(), panel.share);
    let series = panel.series.iter().filter_map(|series| {
        let value = number(series.values[at]?);
        let most = series.at_most.get(at).copied().flatten().filter(|_| series.lower[at]);
        Some(match most {
            Some(most) => format!("{} {value} to {}", series.name, number(most)),
            None => format!("{} {}", series.name, describe::bounded(&value, series.lower[at], panel.share)),
        })
    });
    format!("{}: {}", place_shown(&panel.along, at), series.collect::<Vec<_>>().join(", "))
}

fn values(panel: &Panel) -> impl Iterator<Item = f64> {
    panel.series.iter().flat_map(|series| series.values.iter().flatten().copied())
}

/// A share of the width.
fn part(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A length in pixels.
fn length(pixels: f64) -> String {
    number((pixels * 10.0).round() / 10.0).replace(',', "")
}
