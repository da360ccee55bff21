//! The report in a terminal: the same figures in block characters, on lines of a given width.

mod chart;
mod paper;

use super::arrange::{compared, panels};
use super::figure::{Column, Figure, Rows, Value};
use super::heat::Heat;
use super::panel::Panel;
use super::sections::sections;
use super::stat::{Way, stat};
use super::words::{age, moment, whole};
use super::{LakeState, Report};
use crate::error::Error;
use crate::query::Chart;
use paper::{Ink, Paper, cell, columns, fit, wide};

/// How wide the place of a single number is.
const TILE: usize = 38;

/// How many rows of a table are shown.
const ROWS: usize = 10;

/// The longest cell of a table.
const LONGEST: usize = 28;

/// The report on lines of at most `width` columns.
pub(super) fn text(report: &Report, width: usize, colour: bool) -> String {
    let mut paper = Paper::new(width, colour);
    header(&mut paper, report);
    for section in sections(&report.figures) {
        heading(&mut paper, &section.title);
        if section.is_glance {
            tiles(&mut paper, &section.figures);
            continue;
        }
        for (number, drawn) in section.figures.iter().enumerate() {
            if number > 0 {
                paper.line("");
            }
            figure(&mut paper, drawn);
        }
    }
    heading(&mut paper, "How fresh the tables are");
    freshness(&mut paper, report);
    paper.into_text()
}

fn header(paper: &mut Paper, report: &Report) {
    let names: Vec<&str> = report.lakes.iter().map(|lake| lake.instance.as_str()).collect();
    paper.say(Ink::Strong, &format!("Report of {}", names.join(", ")));
    paper.say(Ink::Faint, &format!("made on {} UTC", moment(report.made_at)));
    for lake in &report.lakes {
        let complete = match lake.complete_up_to() {
            Some(watermark) => {
                format!("complete up to {}, {} ago", moment(watermark), age((report.made_at - watermark).num_seconds()))
            }
            None => "how old it is is not known".to_owned(),
        };
        paper.wrap(Ink::Faint, 0, &format!("{}: {complete}", lake.location));
    }
}

fn heading(paper: &mut Paper, title: &str) {
    let title = fit(title, paper.width - 6);
    let rest = "─".repeat(paper.width.saturating_sub(wide(&title) + 4));
    let (title, before, rest) =
        (paper.inked(Ink::Strong, &title), paper.inked(Ink::Faint, "──"), paper.inked(Ink::Faint, &rest));
    paper.line("");
    paper.line(&format!("{before} {title} {rest}"));
}

/// Single numbers beside each other: what it is, the number, how it has changed.
fn tiles(paper: &mut Paper, figures: &[&Figure]) {
    let mut tiles: Vec<[(Ink, String); 3]> = Vec::new();
    for figure in figures {
        for part in &figure.parts {
            let title = if figure.is_compared() {
                format!("{} · {}", figure.query.title, part.instance)
            } else {
                figure.query.title.clone()
            };
            tiles.push(tile(title, part.rows.as_ref(), figure.unit()));
        }
    }
    let beside = (paper.width / TILE).clamp(1, 4);
    let room = paper.width / beside;
    for (number, row) in tiles.chunks(beside).enumerate() {
        if number > 0 {
            paper.line("");
        }
        for at in 0..3 {
            let line: String =
                row.iter().map(|tile| paper.inked(tile[at].0, &cell(&tile[at].1, room - 2, false)) + "  ").collect();
            if !row.iter().all(|tile| tile[at].1.is_empty()) {
                paper.line(&line);
            }
        }
    }
}

fn tile(title: String, rows: Result<&Rows, &Error>, unit: Option<&str>) -> [(Ink, String); 3] {
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => {
            return [(Ink::Faint, title), (Ink::Strong, "–".to_owned()), (Ink::Down, error.message().to_owned())];
        }
    };
    let Some(stat) = stat(rows, unit) else {
        return [(Ink::Faint, title), (Ink::Strong, "–".to_owned()), (Ink::Faint, "no rows yet".to_owned())];
    };
    let (ink, change) = match stat.change {
        None => (Ink::Faint, String::new()),
        Some(change) => {
            let ink = match change.way {
                Way::Up => Ink::Up,
                Way::Down => Ink::Down,
                Way::Level => Ink::Faint,
            };
            (ink, format!("{} {}", change.way.sign(), change.words))
        }
    };
    let bound = if stat.is_lower { "at least " } else { "" };
    [(Ink::Faint, title), (Ink::Strong, format!("{bound}{} {}", stat.value, stat.unit)), (ink, change)]
}

fn figure(paper: &mut Paper, figure: &Figure) {
    paper.say(Ink::Strong, &figure.query.title);
    if let Some(panels) = compared(figure) {
        figure.parts.iter().filter_map(|part| part.rows.as_ref().err()).for_each(|error| failure(paper, error));
        draw(paper, figure, &panels);
        return;
    }
    if matches!(figure.query.chart, Chart::Table) {
        figure.parts.iter().filter_map(|part| part.rows.as_ref().err()).for_each(|error| failure(paper, error));
        table(paper, &figure.rows());
        return;
    }
    for part in &figure.parts {
        if figure.is_compared() {
            paper.say(Ink::Faint, &part.instance);
        }
        match &part.rows {
            Ok(rows) => part_drawn(paper, figure, rows),
            Err(error) => failure(paper, error),
        }
    }
}

fn part_drawn(paper: &mut Paper, figure: &Figure, rows: &Rows) {
    if rows.is_empty() {
        paper.say(Ink::Faint, "no rows yet");
        return;
    }
    let heat = if matches!(figure.query.chart, Chart::Heatmap) { Heat::of(rows) } else { None };
    let panels = if heat.is_none() { panels(figure.query.chart, rows) } else { Vec::new() };
    match heat {
        Some(heat) => chart::grid(paper, &heat),
        None if panels.is_empty() => table(paper, rows),
        None => draw(paper, figure, &panels),
    }
}

fn draw(paper: &mut Paper, figure: &Figure, panels: &[Panel]) {
    chart::panels(paper, figure.query.chart, panels);
}

fn failure(paper: &mut Paper, error: &Error) {
    paper.wrap(Ink::Down, 2, &format!("could not be made: {}", error.message()));
}

fn table(paper: &mut Paper, rows: &Rows) {
    if rows.is_empty() {
        paper.say(Ink::Faint, "no rows yet");
        return;
    }
    let shares: Vec<bool> = rows.columns.iter().map(Column::is_share).collect();
    let names = rows.columns.iter().map(|column| super::words::label(&column.name)).collect();
    let mut cells: Vec<Vec<String>> = vec![names];
    for row in 0..rows.len().min(ROWS) {
        let shown = |(column, share): (&Column, &bool)| column.values.get(row).unwrap_or(&Value::Nothing).shown(*share);
        cells.push(rows.columns.iter().zip(&shares).map(shown).collect());
    }
    let right: Vec<bool> = rows.columns.iter().map(Column::is_numeric).collect();
    let (lines, left_out) = columns(&cells, &right, LONGEST, paper.width);
    for (at, line) in lines.iter().enumerate() {
        if at == 0 { paper.say(Ink::Faint, line) } else { paper.line(line) }
    }
    chart::left(paper, left_out, rows.len() - rows.len().min(ROWS), "more row");
}

fn freshness(paper: &mut Paper, report: &Report) {
    for lake in &report.lakes {
        if report.lakes.len() > 1 {
            paper.say(Ink::Faint, &lake.instance);
        }
        tables(paper, report, lake);
    }
}

fn tables(paper: &mut Paper, report: &Report, lake: &LakeState) {
    let head = ["Table", "Rows", "Age", "Complete up to", "Version"].map(str::to_owned).to_vec();
    let mut cells = vec![head];
    for table in &lake.tables {
        let nothing = || "–".to_owned();
        cells.push(vec![
            table.name.clone(),
            i64::try_from(table.rows).map_or_else(|_| table.rows.to_string(), whole),
            table.watermark.map_or_else(nothing, |watermark| age((report.made_at - watermark).num_seconds())),
            table.watermark.map_or_else(nothing, moment),
            table.version.to_string(),
        ]);
    }
    let (lines, _) = columns(&cells, &[false, true, true, false, true], LONGEST, paper.width);
    for (at, line) in lines.iter().enumerate() {
        if at == 0 { paper.say(Ink::Faint, line) } else { paper.line(line) }
    }
}
