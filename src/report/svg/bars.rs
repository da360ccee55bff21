//! Vertical bars over dates or numbers: side by side, or stacked with losses below zero.

use maud::{Markup, html};

use super::{Frame, Style, percent, pixels, plot, values};
use crate::report::format::float_of;
use crate::report::panel::Panel;

/// Share of a slot that the bars fill.
const FILLED: f64 = 0.8;

/// If there are more positions, bars fill their slots.
const DENSE: usize = 120;

/// Bars that are lower than this are not drawn, in pixels.
const MIN_HEIGHT: f64 = 0.05;

pub(super) fn draw(panel: &Panel, style: Style<'_>) -> Markup {
    let stacked = panel.is_stack();
    let (low, high) = if stacked { stack_extent(panel) } else { extent(panel) };
    let frame = Frame::new(panel, low, high, true);
    let kind = if stacked && panel.axis.len() <= DENSE { "bars stack" } else { "bars" };
    let content = html! {
        (frame.draw())
        @for at in 0..panel.axis.len() {
            @if stacked { (stack(&frame, at)) } @else { (side_by_side(&frame, at)) }
        }
        (bounds(&frame))
        (frame.hover(style))
    };
    plot(panel, style, kind, frame.height(), &content)
}

fn extent(panel: &Panel) -> (f64, f64) {
    let upper = (0..panel.axis.len()).flat_map(|at| panel.series.iter().filter_map(move |it| it.upper_bound(at)));
    values(panel).chain(upper).fold((0.0, 0.0), |(low, high), value| (low.min(value), high.max(value)))
}

fn stack_extent(panel: &Panel) -> (f64, f64) {
    (0..panel.axis.len())
        .map(|at| sums(panel, at))
        .fold((0.0, 0.0), |(low, high), (below, above)| (low.min(below), high.max(above)))
}

/// Returns the sums of the negative and of the positive numbers of a position.
fn sums(panel: &Panel, at: usize) -> (f64, f64) {
    let values = panel.series.iter().filter_map(|series| series.values[at]);
    values.fold((0.0, 0.0), |(below, above), value| (below + value.min(0.0), above + value.max(0.0)))
}

/// Returns the left edge and the width of the bars of a position.
fn slot(frame: &Frame<'_>, at: usize) -> (f64, f64) {
    let filled = if frame.panel.axis.len() > DENSE { 1.0 } else { FILLED };
    let width = frame.slots.slot * filled;
    (frame.x(at) - width / 2.0, width)
}

/// Returns the class of a bar. A bar in progress is lighter.
fn class(frame: &Frame<'_>, at: usize, color: usize) -> String {
    if frame.panel.axis.is_in_progress(at) { format!("b open c{color}") } else { format!("b c{color}") }
}

fn side_by_side(frame: &Frame<'_>, at: usize) -> Markup {
    let (left, width) = slot(frame, at);
    let width = width / float_of(frame.panel.series.len());
    html! {
        @for (index, series) in frame.panel.series.iter().enumerate() {
            @let left = left + width * float_of(index);
            @if let Some(value) = series.values[at] {
                (rect(frame, &class(frame, at, series.color), (left, width), (value, 0.0)))
                @if series.is_lower(at) && !frame.panel.axis.is_in_progress(at) {
                    (rect(frame, "hatch", (left, width), (value, 0.0)))
                }
            }
        }
    }
}

/// Renders the ranges from lower bounds to upper bounds, each above the middle of its bar.
fn bounds(frame: &Frame<'_>) -> Markup {
    html! {
        @for bound in frame.panel.bounds() {
            @let (left, width) = slot(frame, bound.at);
            @let width = width / float_of(frame.panel.series.len());
            (frame.bound(bound, left + width * (float_of(bound.series) + 0.5)))
        }
    }
}

fn stack(frame: &Frame<'_>, at: usize) -> Markup {
    let slot = slot(frame, at);
    let (mut below, mut above) = (0.0, 0.0);
    let mut parts = Vec::new();
    for series in &frame.panel.series {
        let Some(value) = series.values[at] else { continue };
        let from = if value < 0.0 { &mut below } else { &mut above };
        parts.push((series.color, (*from + value, *from)));
        *from += value;
    }
    html! {
        @for (color, ends) in parts { (rect(frame, &class(frame, at, color), slot, ends)) }
        @if frame.panel.is_lower(at) && !frame.panel.axis.is_in_progress(at) {
            (rect(frame, "hatch", slot, (above, below)))
        }
    }
}

/// Renders a bar from one number to another; empty if they are the same.
fn rect(frame: &Frame<'_>, class: &str, (left, width): (f64, f64), (one, other): (f64, f64)) -> Markup {
    let (top, bottom) = (frame.y(one.max(other)), frame.y(one.min(other)));
    html! {
        @if bottom - top >= MIN_HEIGHT {
            rect class=(class) x=(percent(left)) y=(pixels(top)) width=(percent(width)) height=(pixels(bottom - top)) {}
        }
    }
}
