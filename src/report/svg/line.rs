//! Lines over dates or numbers. Colors, dashes and names at the ends tell them apart.

use maud::{Markup, html};

use super::{Frame, HEIGHT, Style, TOP, percent, pixels, plot, values};
use crate::report::format::{float_of, shortened};
use crate::report::html::UntrustedText;
use crate::report::panel::{Panel, Series};

/// Minimum distance of the names at the ends of the lines.
const NAME: f64 = 15.0;

/// Maximum number of characters of a name at the end of a line.
const MAX_NAME: usize = 14;

/// Width of the coordinate system of the lines, whatever the width of the screen.
const WIDTH: f64 = 1000.0;

pub(super) fn draw(panel: &Panel, style: Style<'_>) -> Markup {
    let (least, most) = values(panel).fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let frame = Frame::new(panel, least, most, false);
    let kind = if panel.series.len() > 1 { "lines several" } else { "lines" };
    let content = html! {
        (frame.draw())
        (strip(&frame))
        (bounds(&frame))
        svg y=(TOP) width="100%" height=(HEIGHT) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" {
            @for series in &panel.series {
                path class={ "l c" (series.color) " d" (series.color) } d=(path(&frame, series)) {}
            }
        }
        @for series in &panel.series { (points(&frame, series)) }
        (names(&frame))
        (frame.hover(style))
    };
    plot(panel, style, kind, frame.height(), &content)
}

/// Returns the path of a line. It ends before a period in progress, which would look like a decline.
fn path(frame: &Frame<'_>, series: &Series) -> String {
    let mut path = String::new();
    let mut joined = false;
    for (at, value) in series.values.iter().enumerate() {
        let Some(value) = value.filter(|_| !frame.panel.axis.is_in_progress(at)) else {
            joined = false;
            continue;
        };
        let command = if joined { 'L' } else { 'M' };
        path.push(command);
        path.push_str(&pixels(frame.x(at) * WIDTH));
        path.push(' ');
        path.push_str(&pixels(frame.y(value) - TOP));
        joined = true;
    }
    path
}

/// Renders a strip below the axis where the numbers are lower bounds.
fn strip(frame: &Frame<'_>) -> Markup {
    let panel = frame.panel;
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for at in (0..panel.axis.len()).filter(|at| panel.is_lower(*at)) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == at => *last = at,
            _ => runs.push((at, at)),
        }
    }
    let half = frame.slots.slot / 2.0;
    html! {
        @for (first, last) in runs {
            @let (left, right) = ((frame.x(first) - half).max(0.0), (frame.x(last) + half).min(1.0));
            rect.strip x=(percent(left)) y=(pixels(TOP + HEIGHT + 2.0)) width=(percent(right - left)) height="6" {}
        }
    }
}

/// Renders the ranges from lower bounds to upper bounds.
fn bounds(frame: &Frame<'_>) -> Markup {
    html! {
        @for bound in frame.panel.bounds() { (frame.bound(bound, frame.x(bound.at))) }
    }
}

/// Renders a point where a line cannot: for a period in progress, and for a value without neighbors.
fn points(frame: &Frame<'_>, series: &Series) -> Markup {
    let is_joined = |at: Option<usize>| {
        let at = at.filter(|at| !frame.panel.axis.is_in_progress(*at));
        at.and_then(|at| series.values.get(at)).is_some_and(Option::is_some)
    };
    html! {
        @for (at, value) in series.values.iter().enumerate() {
            @let open = frame.panel.axis.is_in_progress(at);
            @let alone = !is_joined(at.checked_sub(1)) && !is_joined(Some(at + 1));
            @if let Some(value) = value.filter(|_| open || alone) {
                circle class={ @if open { "b open c" } @else { "b c" } (series.color) } cx=(percent(frame.x(at)))
                    cy=(pixels(frame.y(value))) r=(if open { "4" } else { "3" }) {}
            }
        }
    }
}

/// Renders the name of each line at its end. Names that are too close are moved apart.
fn names(frame: &Frame<'_>) -> Markup {
    if frame.panel.series.len() < 2 {
        return Markup::default();
    }
    let last = |series: &Series| series.values.iter().rev().find_map(|value| *value);
    let mut ends: Vec<(f64, &Series)> =
        frame.panel.series.iter().filter_map(|series| Some((frame.y(last(series)?), series))).collect();
    ends.sort_by(|left, right| left.0.total_cmp(&right.0));
    let lowest = TOP + HEIGHT - NAME * float_of(ends.len().saturating_sub(1));
    let mut next = f64::NEG_INFINITY;
    for (index, (y, _)) in ends.iter_mut().enumerate() {
        // A name leaves space above the axis for the names that follow.
        *y = y.min(lowest + NAME * float_of(index)).max(next);
        next = *y + NAME;
    }
    html! {
        @for (y, series) in ends {
            text.end x="100%" dx="10" y=(pixels(y)) { (UntrustedText(&shortened(&series.name, MAX_NAME))) }
        }
    }
}
