//! Charts as inline SVG.
//!
//! A chart has no view box. Horizontal positions are percentages, so a chart fills any width, and its text keeps its
//! size. The title and the description of a chart say what it shows. All colors are classes, so they follow the light or
//! dark scheme.

mod across;
mod bars;
mod line;

use maud::{Markup, html};

use super::describe;
use super::format::number;
use super::html::UntrustedText;
use super::panel::{Bound, Panel};
use super::scale::{Scale, Slots, labels};

/// Space above the highest grid line.
const TOP: f64 = 12.0;

/// Space below the lowest grid line, for the labels of the horizontal axis.
const BOTTOM: f64 = 30.0;

/// Space below these labels, for the name of a horizontal axis of numbers.
const AXIS_NAME: f64 = 20.0;

/// Height of the vertical axis.
const HEIGHT: f64 = 216.0;

/// Number of grid lines.
const LINES: f64 = 5.0;

/// How a chart is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style<'a> {
    /// Title of the metric.
    pub title: &'a str,
    /// Prefix of the ids.
    pub id: &'a str,
    /// Whether the chart shows its numbers on hover.
    pub hover: bool,
}

/// Renders the patterns that all charts use: the hatching of lower bounds.
pub(super) fn patterns() -> Markup {
    html! {
        svg.patterns width="0" height="0" aria-hidden="true" focusable="false" {
            defs {
                pattern #hatch width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect width="2.5" height="6" {}
                }
                pattern #strip width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect width="2" height="5" {}
                }
            }
        }
    }
}

/// Renders a panel.
pub(super) fn draw(panel: &Panel, style: Style<'_>) -> Markup {
    match panel {
        _ if panel.axis.is_categorical() => across::draw(panel, style),
        _ if panel.is_lines() => line::draw(panel, style),
        _ => bars::draw(panel, style),
    }
}

/// Renders the outermost element of a chart, with its description.
fn plot(panel: &Panel, style: Style<'_>, kind: &str, height: f64, content: &Markup) -> Markup {
    let id = style.id;
    html! {
        div class={ "plot " (kind) } {
            svg role="img" aria-labelledby={ (id) "-t " (id) "-d" } width="100%" height=(height) {
                title id={ (id) "-t" } {
                    (UntrustedText(style.title))
                    @if let Some(caption) = &panel.caption { ", " (UntrustedText(caption)) }
                    ": " (UntrustedText(&panel.series_names().join(", ")))
                }
                desc id={ (id) "-d" } { (UntrustedText(&describe::panel(panel))) }
                (content)
            }
        }
    }
}

/// A vertical axis of numbers and a horizontal axis of positions.
struct Frame<'a> {
    panel: &'a Panel,
    scale: Scale,
    slots: Slots,
}

impl<'a> Frame<'a> {
    fn new(panel: &'a Panel, low: f64, high: f64, bars: bool) -> Self {
        let integers = !panel.share && values(panel).all(|value| value.fract() == 0.0);
        Self { panel, scale: Scale::new(low, high, LINES, integers), slots: Slots::new(&panel.axis, bars) }
    }

    /// Returns the height of the whole chart.
    fn height(&self) -> f64 {
        TOP + HEIGHT + BOTTOM + if self.is_named() { AXIS_NAME } else { 0.0 }
    }

    /// Whether the horizontal axis needs its name. Dates explain themselves.
    fn is_named(&self) -> bool {
        !self.panel.axis.is_time()
    }

    /// Returns the vertical position of a number, in pixels from the top.
    fn y(&self, value: f64) -> f64 {
        TOP + (1.0 - self.scale.position(value)) * HEIGHT
    }

    /// Returns the horizontal position at the index `at`: 0 is the left edge, 1 is the right edge.
    fn x(&self, at: usize) -> f64 {
        self.slots.offset(self.panel.axis.positions[at])
    }

    /// Renders the grid lines, the labels of both axes, and a band behind a period in progress.
    fn draw(&self) -> Markup {
        let labels = labels(&self.panel.axis);
        // On narrow screens, every other label is hidden. The last one stays.
        let class = |index: usize| if (labels.len() - 1 - index).is_multiple_of(2) { "x" } else { "x m" };
        let running = (0..self.panel.axis.len()).filter(|at| self.panel.axis.is_in_progress(*at));
        html! {
            @for at in running {
                rect.band x=(percent(self.x(at) - self.slots.slot / 2.0)) y=(TOP) width=(percent(self.slots.slot))
                    height=(HEIGHT) {}
            }
            @for tick in &self.scale.ticks {
                @let y = pixels(self.y(*tick));
                line class=(if tick.abs() > 0.0 { "g" } else { "g zero" }) x2="100%" y1=(y) y2=(y) {}
                text.y dx="-8" y=(y) { (Scale::label(*tick, self.panel.share)) }
            }
            @for (index, (position, label)) in labels.iter().enumerate() {
                text class=(class(index)) x=(percent(self.slots.offset(*position))) y=(pixels(TOP + HEIGHT + 22.0)) {
                    (label)
                }
            }
            @if self.is_named() {
                text.x x="50%" y=(pixels(TOP + HEIGHT + BOTTOM + 12.0)) { (UntrustedText(&self.panel.axis.name)) }
            }
        }
    }

    /// Renders the range from a lower bound to its upper bound at the horizontal position `x`.
    fn bound(&self, bound: Bound, x: f64) -> Markup {
        let (x, color) = (percent(x), self.panel.series.get(bound.series).map_or(0, |series| series.color));
        html! {
            line class={ "most c" (color) } x1=(x) x2=(x) y1=(pixels(self.y(bound.upper)))
                y2=(pixels(self.y(bound.lower))) {}
        }
    }

    /// Renders invisible areas that show the numbers of a position on hover.
    fn hover(&self, style: Style<'_>) -> Markup {
        let count = if style.hover { self.panel.axis.len() } else { 0 };
        html! {
            @for at in 0..count {
                rect.h x=(percent(self.x(at) - self.slots.slot / 2.0)) y=(TOP) width=(percent(self.slots.slot))
                    height=(HEIGHT) { title { (UntrustedText(&tooltip(self.panel, at))) } }
            }
        }
    }
}

/// Returns the numbers of a position in one line.
fn tooltip(panel: &Panel, at: usize) -> String {
    format!("{}: {}", describe::position(panel, at), describe::values_at(panel, at).join(", "))
}

fn values(panel: &Panel) -> impl Iterator<Item = f64> {
    panel.series.iter().flat_map(|series| series.values.iter().flatten().copied())
}

/// Formats a share of the width.
fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Formats a length in pixels.
fn pixels(length: f64) -> String {
    number((length * 10.0).round() / 10.0).replace(',', "")
}
