//! One figure of the page: its heading, what it means, its chart, and the table behind it.

use super::arrange::{compared, panels};
use super::describe;
use super::figure::{Figure, Part, Rows};
use super::grid::grid;
use super::heat::Heat;
use super::html::{escape, put, shown_rows, table};
use super::panel::Panel;
use super::stat::{Way, stat};
use super::svg::{self, Style};
use super::words::{NOTHING, whole};
use crate::error::Error;
use crate::query::Chart;

/// How many rows a figure that is itself a table shows at once; the others are behind it.
const FIRST_ROWS: usize = 12;

/// How much a page shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detail {
    /// How many rows a table shows.
    pub rows: usize,
    /// How many places along an axis a chart shows; kinds of charts have limits of their own.
    pub places: usize,
    /// Whether charts tell their numbers where the pointer rests.
    pub hover: bool,
}

/// A single number, with its change.
pub(super) fn tile(out: &mut String, figure: &Figure, id: &str) {
    let query = &figure.query;
    put!(out, "<article class=\"tile\" id=\"{id}\" aria-labelledby=\"{id}-h\">");
    put!(out, "<h3 id=\"{id}-h\">{}</h3>\n", escape(&query.title));
    for part in &figure.parts {
        if figure.is_compared() {
            put!(out, "<p class=\"instance\">{}</p>\n", escape(&part.instance));
        }
        match &part.rows {
            Ok(rows) => value(out, rows, figure.unit()),
            Err(error) => failure(out, error),
        }
    }
    put!(out, "<p class=\"about\">{}</p>\n", escape(&query.description));
    let rows = figure.rows();
    // One number needs no table behind it.
    if rows.columns.len() > 1 && !rows.is_empty() {
        behind(out, &query.title, &rows, Detail { rows: 10, places: 10, hover: false });
    }
    out.push_str("</article>\n");
}

fn value(out: &mut String, rows: &Rows, unit: Option<&str>) {
    let Some(stat) = stat(rows, unit) else {
        put!(out, "<p class=\"value\">{NOTHING}</p>\n<p class=\"change\">no rows yet</p>\n");
        return;
    };
    let bound = if stat.is_lower { "at least " } else { "" };
    put!(out, "<p class=\"value\">{bound}{}", escape(&stat.value));
    if !stat.unit.is_empty() {
        put!(out, " <small>{}</small>", escape(&stat.unit));
    }
    out.push_str("</p>\n");
    if let Some(change) = stat.change {
        let class = match change.way {
            Way::Up => " up",
            Way::Down => " down",
            Way::Level => "",
        };
        let (sign, words) = (change.way.sign(), escape(&change.words));
        put!(out, "<p class=\"change{class}\"><span aria-hidden=\"true\">{sign}</span> {words}</p>\n");
    }
}

/// A figure with its chart, and the table behind it.
pub(super) fn figure(out: &mut String, figure: &Figure, id: &str, detail: Detail) {
    let query = &figure.query;
    let class = if matches!(query.chart, Chart::Heatmap) { "figure wide" } else { "figure" };
    put!(out, "<article class=\"{class}\" id=\"{id}\" aria-labelledby=\"{id}-h\">");
    put!(
        out,
        "<h3 id=\"{id}-h\">{}</h3>\n<p class=\"about\">{}</p>\n",
        escape(&query.title),
        escape(&query.description)
    );
    let rows = figure.rows();
    if matches!(query.chart, Chart::Table) {
        failures(out, figure);
        first_rows(out, figure, &rows, detail);
    } else {
        let drawn = charts(out, figure, id, detail);
        match (drawn, rows.is_empty()) {
            (_, true) => {}
            (true, false) => behind(out, &query.title, &rows, detail),
            (false, false) => first_rows(out, figure, &rows, detail),
        }
    }
    out.push_str("</article>\n");
}

/// Draws what there is to draw; says whether there was anything.
fn charts(out: &mut String, figure: &Figure, id: &str, detail: Detail) -> bool {
    if let Some(panels) = compared(figure) {
        failures(out, figure);
        draw(out, figure, &panels, id, detail);
        return !panels.is_empty();
    }
    let mut drawn = false;
    for (number, part) in figure.parts.iter().enumerate() {
        if figure.is_compared() {
            put!(out, "<h4>{}</h4>\n", escape(&part.instance));
        }
        match &part.rows {
            Ok(rows) if rows.is_empty() => out.push_str("<p class=\"note\">No rows yet.</p>\n"),
            Ok(rows) => drawn |= chart(out, figure, rows, &format!("{id}-{number}"), detail),
            Err(error) => failure(out, error),
        }
    }
    drawn
}

fn chart(out: &mut String, figure: &Figure, rows: &Rows, id: &str, detail: Detail) -> bool {
    if matches!(figure.query.chart, Chart::Heatmap) {
        return Heat::of(rows).is_some_and(|heat| {
            grid(out, &figure.query.title, &heat);
            true
        });
    }
    let panels = panels(figure.query.chart, rows);
    draw(out, figure, &panels, id, detail);
    !panels.is_empty()
}

fn draw(out: &mut String, figure: &Figure, panels: &[Panel], id: &str, detail: Detail) {
    let (chart, query) = (figure.query.chart, &figure.query);
    let panels: Vec<Panel> = panels.iter().map(|panel| panel.clone().cut(detail.places)).collect();
    let named_ends = panels.iter().any(|panel| panel.series.len() > 1);
    for (number, panel) in panels.iter().enumerate() {
        let alone = panels.len() == 1 && panel.series.len() == 1;
        if let Some(caption) = &panel.caption {
            put!(out, "<h4>{}</h4>\n", escape(caption));
        }
        if number == 0 || panel.caption.is_none() {
            legend(out, chart, panel, alone);
        }
        if let Some(unit) = figure.unit().filter(|_| !panel.share && !panel.along.is_names()) {
            put!(out, "<p class=\"unit\" aria-hidden=\"true\">{}</p>\n", escape(unit));
        }
        let id = format!("{id}-{number}");
        let style = Style { title: &query.title, id: &id, small: number > 0, named_ends, hover: detail.hover };
        svg::draw(out, chart, panel, style);
        if let Some(total) = &panel.total {
            put!(out, "<p class=\"note\">What lies above zero adds up to: {}.</p>\n", escape(total));
        }
        for note in panel.extent().iter().filter(|_| number == 0).chain(&panel.notes) {
            put!(out, "<p class=\"note\">{}</p>\n", escape(note));
        }
    }
    if let Some(line) = describe::newest(&panels) {
        put!(out, "<p class=\"newest\">{}</p>\n", escape(&line));
    }
}

/// What the marks of a panel mean; nothing where there is nothing to tell apart.
fn legend(out: &mut String, chart: Chart, panel: &Panel, alone: bool) {
    let lower = panel.series.iter().any(super::panel::Series::has_lower_bounds);
    if alone && !lower {
        return;
    }
    let lines = svg::is_lines(chart, panel);
    out.push_str("<ul class=\"legend\">");
    for series in panel.series.iter().filter(|_| !alone) {
        let key = if lines {
            format!("<line class=\"l c{0} d{0}\" x2=\"26\" y1=\"6\" y2=\"6\"/>", series.colour)
        } else {
            format!("<rect class=\"b c{}\" width=\"26\" height=\"12\"/>", series.colour)
        };
        item(out, &key, &escape(&series.name));
    }
    let colour = panel.series.first().map_or(0, |series| series.colour);
    if lower {
        let key = if lines {
            format!(
                "<rect class=\"strip\" y=\"7\" width=\"26\" height=\"5\"/><circle class=\"o c{colour}\" cx=\"13\" cy=\"4\" r=\"3\"/>"
            )
        } else {
            format!(
                "<rect class=\"b c{colour}\" width=\"26\" height=\"12\"/><rect class=\"hatch\" width=\"26\" height=\"12\"/>"
            )
        };
        item(out, &key, describe::bound(panel.share));
    }
    let bounded = |series: &super::panel::Series| {
        series.at_most.iter().zip(&series.lower).any(|(most, lower)| *lower && most.is_some())
    };
    if lower && panel.series.iter().any(bounded) {
        item(out, &format!("<line class=\"most c{colour}\" x1=\"13\" x2=\"13\" y2=\"12\"/>"), "at most so many");
    }
    out.push_str("</ul>\n");
}

fn item(out: &mut String, key: &str, words: &str) {
    put!(out, "<li><svg class=\"key\" width=\"26\" height=\"12\" aria-hidden=\"true\">{key}</svg>{words}</li>");
}

/// The table behind a chart.
fn behind(out: &mut String, title: &str, rows: &Rows, detail: Detail) {
    let (shown, which) = shown_rows(rows, detail.rows);
    let title = escape(title);
    put!(out, "<details><summary>Table: {}</summary>\n", extent(shown.len(), rows.len(), which));
    put!(out, "<div class=\"scroll\" role=\"region\" aria-label=\"{title}, table\" tabindex=\"0\">");
    table(out, &caption(shown.len(), rows.len(), which), rows, shown, None);
    out.push_str("</div></details>\n");
}

/// The rows of a figure that is itself a table, with bars behind its last number.
fn first_rows(out: &mut String, figure: &Figure, rows: &Rows, detail: Detail) {
    let title = &figure.query.title;
    if rows.is_empty() {
        if figure.parts.iter().any(|part| part.rows.is_ok()) {
            out.push_str("<p class=\"note\">No rows yet.</p>\n");
        }
        return;
    }
    let bars = rows.columns.iter().rposition(super::figure::Column::is_numeric).filter(|at| *at > 0);
    let first = 0..rows.len().min(FIRST_ROWS);
    let count = first.len();
    put!(out, "<div class=\"scroll\" role=\"region\" aria-label=\"{}, table\" tabindex=\"0\">", escape(title));
    table(out, &caption(count, rows.len(), if count < rows.len() { "first" } else { "all" }), rows, first, bars);
    out.push_str("</div>\n");
    if rows.len() > FIRST_ROWS {
        behind(out, title, rows, detail);
    }
}

/// How many rows of how many, in words.
fn extent(shown: usize, all: usize, which: &str) -> String {
    let count = |count: usize| i64::try_from(count).map_or_else(|_| count.to_string(), whole);
    match (shown, all) {
        (1, 1) => "1 row".to_owned(),
        (shown, all) if shown == all => format!("{} rows", count(all)),
        (shown, all) => format!("the {which} {} of {} rows", count(shown), count(all)),
    }
}

fn caption(shown: usize, all: usize, which: &str) -> String {
    let extent = extent(shown, all, which);
    let mut letters = extent.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Why figures could not be made, where they are not drawn one by one.
fn failures(out: &mut String, figure: &Figure) {
    for part in &figure.parts {
        let Part { instance, rows: Err(error) } = part else { continue };
        if figure.is_compared() {
            put!(out, "<h4>{}</h4>\n", escape(instance));
        }
        failure(out, error);
    }
}

fn failure(out: &mut String, error: &Error) {
    put!(out, "<p class=\"failure\"><strong>This figure could not be made.</strong> {}", escape(error.message()));
    if let Some(hint) = error.hint() {
        put!(out, " ({})", escape(hint));
    }
    out.push_str("</p>\n");
}
