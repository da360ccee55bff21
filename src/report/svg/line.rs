//! Lines over days or numbers: one for each series, told apart by colour, dashes and a label at the end.

use super::{Frame, Style, TOP, begin, end, length, part, values};
use crate::query::Chart;
use crate::report::html::{escape, put};
use crate::report::panel::{Panel, Series};
use crate::report::words::{float_of, shortened};

/// Up to how many points each lower bound has a mark of its own; the strip below the axis always shows them.
const MARKED: usize = 100;

/// How far apart the labels at the lines' ends are at least.
const LABEL: f64 = 15.0;

/// How wide the drawing is inside, whatever it is on the screen.
const WIDTH: f64 = 1000.0;

pub(super) fn draw(out: &mut String, chart: Chart, panel: &Panel, style: Style<'_>) {
    let most = values(panel).fold(0.0, f64::max);
    let least = values(panel).fold(0.0, f64::min);
    let frame = Frame::new(panel, least, most, false, style.small);
    let kind = if style.named_ends { "lines several" } else { "lines" };
    begin(out, chart, panel, style, kind, frame.whole_height());
    frame.draw(out, panel);
    strip(out, &frame, panel);
    for series in &panel.series {
        bounds(out, &frame, panel, series);
    }
    paths(out, &frame, panel);
    for series in &panel.series {
        marks(out, &frame, panel, series);
    }
    ends(out, &frame, panel);
    if style.hover {
        frame.hover(out, panel);
    }
    end(out);
}

/// The lines themselves, drawn in a square that is stretched to the chart's width.
fn paths(out: &mut String, frame: &Frame, panel: &Panel) {
    let height = frame.height;
    put!(out, "<svg y=\"{TOP}\" width=\"100%\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" ");
    out.push_str("preserveAspectRatio=\"none\">");
    for series in &panel.series {
        put!(out, "<path class=\"l c{0} d{0}\" d=\"{1}\"/>", series.colour, path(frame, panel, series));
    }
    out.push_str("</svg>\n");
}

fn path(frame: &Frame, panel: &Panel, series: &Series) -> String {
    let mut path = String::new();
    let mut joined = false;
    for (place, value) in panel.along.at.iter().zip(&series.values) {
        let Some(value) = value else {
            joined = false;
            continue;
        };
        let (x, y) = (frame.span.share(*place) * WIDTH, frame.y(*value) - TOP);
        put!(path, "{}{} {}", if joined { 'L' } else { 'M' }, length(x), length(y));
        joined = true;
    }
    path
}

/// Below the axis, where the numbers are lower bounds.
fn strip(out: &mut String, frame: &Frame, panel: &Panel) {
    let is_lower = |at: usize| panel.series.iter().any(|series| series.lower[at] && series.values[at].is_some());
    let mut at = 0;
    while at < panel.along.len() {
        let length_of_run = (at..panel.along.len()).take_while(|at| is_lower(*at)).count();
        if length_of_run > 0 {
            let half = frame.span.slot / 2.0;
            let from = (frame.span.share(panel.along.at[at]) - half).max(0.0);
            let to = (frame.span.share(panel.along.at[at + length_of_run - 1]) + half).min(1.0);
            let y = length(TOP + frame.height + 2.0);
            put!(
                out,
                "<rect class=\"strip\" x=\"{}\" y=\"{y}\" width=\"{}\" height=\"6\"/>\n",
                part(from),
                part(to - from)
            );
        }
        at += length_of_run.max(1);
    }
}

/// From a lower bound up to what it can be at most.
fn bounds(out: &mut String, frame: &Frame, panel: &Panel, series: &Series) {
    for (at, most) in series.at_most.iter().enumerate() {
        let (Some(value), Some(most), true) = (series.values[at], most, series.lower[at]) else { continue };
        let (x, from, to) = (part(frame.span.share(panel.along.at[at])), frame.y(value), frame.y(*most));
        put!(out, "<line class=\"most c{}\" x1=\"{x}\" x2=\"{x}\" ", series.colour);
        put!(out, "y1=\"{}\" y2=\"{}\"/>\n", length(from), length(to));
    }
}

/// A hollow mark at each lower bound, and a full one where a point has no neighbour to draw a line to.
fn marks(out: &mut String, frame: &Frame, panel: &Panel, series: &Series) {
    let there = |at: Option<usize>| at.and_then(|at| series.values.get(at)).is_some_and(Option::is_some);
    for (at, value) in series.values.iter().enumerate() {
        let Some(value) = value else { continue };
        let alone = !there(at.checked_sub(1)) && !there(Some(at + 1));
        let hollow = series.lower[at] && panel.along.len() <= MARKED;
        if !alone && !hollow {
            continue;
        }
        let class = if series.lower[at] { "o" } else { "b" };
        let (x, y) = (part(frame.span.share(panel.along.at[at])), length(frame.y(*value)));
        put!(out, "<circle class=\"{class} c{}\" cx=\"{x}\" cy=\"{y}\" r=\"3\"/>\n", series.colour);
    }
}

/// Each line's name at its end, moved apart where lines end close together.
fn ends(out: &mut String, frame: &Frame, panel: &Panel) {
    if panel.series.len() < 2 {
        return;
    }
    let last = |series: &Series| series.values.iter().rev().find_map(|value| *value);
    let mut ends: Vec<(f64, &Series)> =
        panel.series.iter().filter_map(|series| Some((frame.y(last(series)?), series))).collect();
    ends.sort_by(|left, right| left.0.total_cmp(&right.0));
    let lowest = TOP + frame.height - LABEL * float_of(ends.len().saturating_sub(1));
    let mut next = f64::NEG_INFINITY;
    for (at, (y, series)) in ends.into_iter().enumerate() {
        // Never so low that the labels still to come would not fit above the axis.
        let y = y.min(lowest + LABEL * float_of(at)).max(next);
        next = y + LABEL;
        let name = escape(&shortened(&series.name, 14));
        put!(out, "<text class=\"end\" x=\"100%\" dx=\"8\" y=\"{}\">{name}</text>\n", length(y));
    }
}
