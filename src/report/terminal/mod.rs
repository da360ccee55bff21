//! The report in a terminal: the metrics in block characters, in lines of a given width.

mod canvas;
mod chart;

use chrono::NaiveDate;

use super::arrange::{compared, panels};
use super::format::{MISSING, age, count, timestamp};
use super::heat::Heat;
use super::labels;
use super::metric::{Metric, ResultColumn, ResultRows};
use super::outcome::{NO_ORGANIZATIONS, QueryOutcome};
use super::sections::sections;
use super::stat::{Trend, stat};
use super::{LakeState, Report};
use crate::error::Error;
use crate::query::Chart;
use canvas::{TextCanvas, TextStyle, cell, columns, columns_of, fit};

/// Width of a single number.
const TILE: usize = 38;

/// Maximum number of single numbers in a row.
const MAX_TILES: usize = 4;

/// Maximum number of rows of a table.
const MAX_ROWS: usize = 10;

/// Maximum width of a table cell.
const MAX_CELL: usize = 28;

/// Returns the report in lines of at most `width` columns.
pub(super) fn text(report: &Report, width: usize, color: bool) -> String {
    let mut canvas = TextCanvas::new(width, color);
    header(&mut canvas, report);
    for section in sections(&report.metrics) {
        heading(&mut canvas, &section.title);
        if section.is_glance {
            tiles(&mut canvas, report, &section.metrics);
            continue;
        }
        for (index, drawn) in section.metrics.iter().enumerate() {
            if index > 0 {
                canvas.line("");
            }
            metric(&mut canvas, report, drawn);
        }
    }
    heading(&mut canvas, "Freshness");
    freshness(&mut canvas, report);
    canvas.into_text()
}

fn header(canvas: &mut TextCanvas, report: &Report) {
    let names: Vec<&str> = report.lakes.iter().map(|lake| lake.instance.as_str()).collect();
    canvas.styled_line(TextStyle::Strong, &format!("Report of {}", names.join(", ")));
    canvas.styled_line(TextStyle::Faint, &format!("made on {} UTC", timestamp(report.made_at)));
    for lake in &report.lakes {
        let complete = match lake.complete_up_to() {
            Some(watermark) => {
                let age = age((report.made_at - watermark).num_seconds());
                format!("complete up to {}, {age} ago", timestamp(watermark))
            }
            None => "the age of the data is unknown".to_owned(),
        };
        canvas.wrap(TextStyle::Faint, 0, &format!("{}: {complete}", lake.location));
    }
}

fn heading(canvas: &mut TextCanvas, title: &str) {
    let title = fit(title, canvas.width - 6);
    let rest = "─".repeat(canvas.width.saturating_sub(columns_of(&title) + 4));
    let (title, before, rest) = (
        canvas.styled(TextStyle::Strong, &title),
        canvas.styled(TextStyle::Faint, "──"),
        canvas.styled(TextStyle::Faint, &rest),
    );
    canvas.line("");
    canvas.line(&format!("{before} {title} {rest}"));
}

/// Draws single numbers side by side: the title, the number and its change.
fn tiles(canvas: &mut TextCanvas, report: &Report, metrics: &[&Metric]) {
    let mut tiles: Vec<[(TextStyle, String); 3]> = Vec::new();
    for metric in metrics {
        for (instance, outcome) in report.outcomes(metric) {
            let title = &metric.query.title;
            let title = if metric.is_compared() { format!("{title} · {instance}") } else { title.clone() };
            tiles.push(tile(title, outcome, metric.unit()));
        }
    }
    let in_row = (canvas.width / TILE).clamp(1, MAX_TILES);
    let width = canvas.width / in_row;
    for (index, row) in tiles.chunks(in_row).enumerate() {
        if index > 0 {
            canvas.line("");
        }
        for part in 0..3 {
            let styled = |tile: &[(TextStyle, String); 3]| {
                canvas.styled(tile[part].0, &cell(&tile[part].1, width - 2, false)) + "  "
            };
            let line: String = row.iter().map(styled).collect();
            if !row.iter().all(|tile| tile[part].1.is_empty()) {
                canvas.line(&line);
            }
        }
    }
}

fn tile(title: String, outcome: QueryOutcome<'_>, unit: Option<&str>) -> [(TextStyle, String); 3] {
    let title = (TextStyle::Faint, title);
    let missing = || (TextStyle::Strong, MISSING.to_owned());
    let stat = match outcome {
        QueryOutcome::Rows(rows) => stat(rows, unit),
        QueryOutcome::NoOrganizations => return [title, missing(), (TextStyle::Faint, NO_ORGANIZATIONS.to_owned())],
        QueryOutcome::Failed(error) => return [title, missing(), (TextStyle::Down, error.message().to_owned())],
    };
    let Some(stat) = stat else {
        return [title, missing(), (TextStyle::Faint, "no rows yet".to_owned())];
    };
    let change = match stat.change {
        None => (TextStyle::Faint, String::new()),
        Some(change) => {
            let style = match change.trend {
                Trend::Up => TextStyle::Up,
                Trend::Down => TextStyle::Down,
                Trend::Flat => TextStyle::Faint,
            };
            (style, format!("{} {}", change.trend.symbol(), change.words))
        }
    };
    let bound = if stat.is_lower { "at least " } else { "" };
    [title, (TextStyle::Strong, format!("{bound}{} {}", stat.value, stat.unit)), change]
}

fn metric(canvas: &mut TextCanvas, report: &Report, metric: &Metric) {
    let today = report.made_at.date_naive();
    canvas.styled_line(TextStyle::Strong, &metric.query.title);
    let compared = compared(metric, today);
    if compared.is_some() || matches!(metric.query.chart, Chart::Table) {
        for (_, outcome) in report.outcomes(metric) {
            problem(canvas, outcome);
        }
        match compared {
            Some(panels) => chart::panels(canvas, &panels),
            None if metric.parts.iter().any(|part| part.rows.is_ok()) => table(canvas, &metric.rows()),
            None => {}
        }
        return;
    }
    for (instance, outcome) in report.outcomes(metric) {
        if metric.is_compared() {
            canvas.styled_line(TextStyle::Faint, instance);
        }
        problem(canvas, outcome);
        if let QueryOutcome::Rows(rows) = outcome {
            part(canvas, metric, rows, today);
        }
    }
}

/// Draws the metric over one lake.
fn part(canvas: &mut TextCanvas, metric: &Metric, rows: &ResultRows, today: NaiveDate) {
    if rows.is_empty() {
        canvas.styled_line(TextStyle::Faint, "no rows yet");
        return;
    }
    let heat = if matches!(metric.query.chart, Chart::Heatmap) { Heat::of(rows, today) } else { None };
    let panels = if heat.is_none() { panels(metric.query.chart, rows, today) } else { Vec::new() };
    match heat {
        Some(heat) => chart::grid(canvas, &heat),
        None if panels.is_empty() => table(canvas, rows),
        None => chart::panels(canvas, &panels),
    }
}

/// Says why there are no rows.
fn problem(canvas: &mut TextCanvas, outcome: QueryOutcome<'_>) {
    match outcome {
        QueryOutcome::Rows(_) => {}
        QueryOutcome::NoOrganizations => canvas.wrap(TextStyle::Faint, 0, NO_ORGANIZATIONS),
        QueryOutcome::Failed(error) => failure(canvas, error),
    }
}

fn failure(canvas: &mut TextCanvas, error: &Error) {
    canvas.wrap(TextStyle::Down, 2, &format!("The query failed: {}", error.message()));
}

fn table(canvas: &mut TextCanvas, rows: &ResultRows) {
    if rows.is_empty() {
        canvas.styled_line(TextStyle::Faint, "no rows yet");
        return;
    }
    let shares: Vec<bool> = rows.columns.iter().map(ResultColumn::is_share).collect();
    let mut cells: Vec<Vec<String>> = vec![rows.columns.iter().map(|column| labels::column(&column.name)).collect()];
    for row in 0..rows.len().min(MAX_ROWS) {
        cells.push(rows.columns.iter().zip(&shares).map(|(column, share)| column.display(row, *share)).collect());
    }
    let right: Vec<bool> = rows.columns.iter().map(ResultColumn::is_numeric).collect();
    let omitted = aligned(canvas, &cells, &right);
    chart::omitted(canvas, omitted, rows.len() - rows.len().min(MAX_ROWS), "more row");
}

fn freshness(canvas: &mut TextCanvas, report: &Report) {
    for lake in &report.lakes {
        if report.lakes.len() > 1 {
            canvas.styled_line(TextStyle::Faint, &lake.instance);
        }
        tables(canvas, report, lake);
    }
}

fn tables(canvas: &mut TextCanvas, report: &Report, lake: &LakeState) {
    let heading = ["Table", "Rows", "Age", "Complete up to", "Version"].map(str::to_owned).to_vec();
    let mut cells = vec![heading];
    for table in &lake.tables {
        let missing = || MISSING.to_owned();
        cells.push(vec![
            table.name.clone(),
            count(usize::try_from(table.rows).unwrap_or(usize::MAX)),
            table.watermark.map_or_else(missing, |watermark| age((report.made_at - watermark).num_seconds())),
            table.watermark.map_or_else(missing, timestamp),
            table.version.to_string(),
        ]);
    }
    aligned(canvas, &cells, &[false, true, true, false, true]);
}

/// Draws cells in columns. Returns the number of columns that do not fit.
fn aligned(canvas: &mut TextCanvas, cells: &[Vec<String>], right: &[bool]) -> usize {
    let (lines, omitted) = columns(cells, right, MAX_CELL, canvas.width);
    for (index, line) in lines.iter().enumerate() {
        if index == 0 { canvas.styled_line(TextStyle::Faint, line) } else { canvas.line(line) }
    }
    omitted
}
