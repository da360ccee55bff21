//! Upright bars over days or numbers: beside each other, or stacked with losses below zero.

use super::{Frame, Style, begin, end, length, part, values};
use crate::query::Chart;
use crate::report::html::put;
use crate::report::panel::Panel;
use crate::report::words::float_of;

/// The share of its room that a bar fills, where there are few enough to need gaps between them.
const FILLED: f64 = 0.8;

/// From how many places on bars stand without gaps.
const DENSE: usize = 120;

pub(super) fn draw(out: &mut String, chart: Chart, panel: &Panel, style: Style<'_>, stacked: bool) {
    let (low, high) = if stacked { stack_extent(panel) } else { extent(panel) };
    let frame = Frame::new(panel, low, high, true, style.small);
    let kind = if stacked && panel.along.len() <= DENSE { "bars stack" } else { "bars" };
    begin(out, chart, panel, style, kind, frame.whole_height());
    frame.draw(out, panel);
    for at in 0..panel.along.len() {
        if stacked { stack(out, &frame, panel, at) } else { beside(out, &frame, panel, at) }
    }
    if style.hover {
        frame.hover(out, panel);
    }
    end(out);
}

fn extent(panel: &Panel) -> (f64, f64) {
    values(panel).fold((0.0, 0.0), |(low, high), value| (low.min(value), high.max(value)))
}

fn stack_extent(panel: &Panel) -> (f64, f64) {
    (0..panel.along.len())
        .map(|at| sums(panel, at))
        .fold((0.0, 0.0), |(low, high), (below, above)| (low.min(below), high.max(above)))
}

/// What a place's numbers below and above zero add up to.
fn sums(panel: &Panel, at: usize) -> (f64, f64) {
    let values = panel.series.iter().filter_map(|series| series.values[at]);
    values.fold((0.0, 0.0), |(below, above), value| (below + value.min(0.0), above + value.max(0.0)))
}

/// Where the bars of a place begin, and how wide they are together.
fn room(frame: &Frame, panel: &Panel, at: usize) -> (f64, f64) {
    let filled = if panel.along.len() > DENSE { 1.0 } else { FILLED };
    let width = frame.span.slot * filled;
    (frame.span.share(panel.along.at[at]) - width / 2.0, width)
}

fn beside(out: &mut String, frame: &Frame, panel: &Panel, at: usize) {
    let (left, width) = room(frame, panel, at);
    let width = width / float_of(panel.series.len());
    for (number, series) in panel.series.iter().enumerate() {
        let Some(value) = series.values[at] else { continue };
        let left = left + width * float_of(number);
        let class = format!("b c{}", series.colour);
        rect(out, frame, &class, (left, width), (value, 0.0));
        if series.lower[at] {
            rect(out, frame, "hatch", (left, width), (value, 0.0));
            let most = series.at_most.get(at).copied().flatten();
            if let Some(most) = most.filter(|most| *most > value) {
                let x = part(left + width / 2.0);
                let (from, to) = (length(frame.y(most)), length(frame.y(value)));
                put!(out, "<line class=\"most c{}\" x1=\"{x}\" x2=\"{x}\" y1=\"{from}\" y2=\"{to}\"/>", series.colour);
            }
        }
    }
    out.push('\n');
}

fn stack(out: &mut String, frame: &Frame, panel: &Panel, at: usize) {
    let room = room(frame, panel, at);
    let (mut below, mut above) = (0.0, 0.0);
    for series in &panel.series {
        let Some(value) = series.values[at] else { continue };
        let from = if value < 0.0 { &mut below } else { &mut above };
        rect(out, frame, &format!("b c{}", series.colour), room, (*from + value, *from));
        *from += value;
    }
    if panel.series.iter().any(|series| series.lower[at] && series.values[at].is_some()) {
        rect(out, frame, "hatch", room, (above, below));
    }
    out.push('\n');
}

/// A bar from one number to another; none where they are the same.
fn rect(out: &mut String, frame: &Frame, class: &str, (left, width): (f64, f64), (one, other): (f64, f64)) {
    let (top, bottom) = (frame.y(one.max(other)), frame.y(one.min(other)));
    if bottom - top < 0.05 {
        return;
    }
    put!(out, "<rect class=\"{class}\" x=\"{}\" y=\"{}\" ", part(left), length(top));
    put!(out, "width=\"{}\" height=\"{}\"/>", part(width), length(bottom - top));
}
