//! One metric of the page: its heading, its number or chart, its definition, and the table behind it.

use chrono::NaiveDate;
use maud::{Markup, html};

use super::Report;
use super::arrange::{compared, panels};
use super::describe;
use super::format::MISSING;
use super::heat::Heat;
use super::heat_table::heat_table;
use super::html::{HtmlTable, UntrustedText};
use super::legend::legend;
use super::metric::Metric;
use super::outcome::{NO_ORGANIZATIONS, QueryOutcome};
use super::panel::Panel;
use super::stat::{Stat, Trend, stat};
use super::svg::{self, Style};
use crate::error::Error;
use crate::query::Chart;

/// Number of rows of a table metric that are shown at once. The others are behind a disclosure.
const FIRST_ROWS: usize = 12;

/// Number of rows of the table behind a single number.
const TILE_ROWS: usize = 10;

/// Level of detail of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detail {
    /// Maximum number of rows of a table.
    pub rows: usize,
    /// Maximum number of positions along an axis. Each kind of chart also has its own limit.
    pub positions: usize,
    /// Whether charts show their numbers on hover.
    pub hover: bool,
}

/// The content of a metric.
pub(super) struct Card {
    /// The content after the heading.
    pub body: Markup,
    /// Whether the content needs the full width of the page.
    pub is_wide: bool,
}

/// The charts of a metric.
struct Charts {
    body: Markup,
    /// Number of charts.
    count: usize,
    /// Whether the charts need the full width of the page.
    is_wide: bool,
}

/// Everything that a card is made of.
#[derive(Clone, Copy)]
struct CardSource<'a> {
    report: &'a Report,
    metric: &'a Metric,
    id: &'a str,
    detail: Detail,
}

/// Renders a single number with its change.
pub(super) fn tile(report: &Report, metric: &Metric) -> Markup {
    let (query, rows) = (&metric.query, metric.rows());
    html! {
        @for (instance, outcome) in report.outcomes(metric) {
            @if metric.is_compared() { p.instance { (UntrustedText(instance)) } }
            @match outcome {
                QueryOutcome::Rows(rows) => (number(stat(rows, metric.unit()), &query.title)),
                QueryOutcome::NoOrganizations => (missing(NO_ORGANIZATIONS)),
                QueryOutcome::Failed(error) => (failure(error)),
            }
        }
        details {
            summary { "Definition" }
            p.about { (UntrustedText(&query.description)) }
            // A single number without further columns needs no table.
            @if rows.columns.len() > 1 && !rows.is_empty() {
                (HtmlTable::first(&rows, TILE_ROWS).without_bars().render(&query.title))
            }
        }
    }
}

fn number(stat: Option<Stat>, title: &str) -> Markup {
    let Some(stat) = stat else { return missing("No rows yet.") };
    // A title such as “New users” already names the unit.
    let named = title.to_lowercase().ends_with(&stat.unit.to_lowercase()) && stat.change.is_some();
    let unit = Some(&stat.unit).filter(|unit| !unit.is_empty() && !named);
    html! {
        p.value {
            @if stat.is_lower { span title="at least" aria-label="at least" role="img" { "≥" } " " }
            (UntrustedText(&stat.value))
        }
        @match &stat.change {
            Some(change) => {
                @let class = match change.trend {
                    Trend::Up => "change up",
                    Trend::Down => "change down",
                    Trend::Flat => "change",
                };
                p class=(class) {
                    @if let Some(unit) = unit { (UntrustedText(unit)) ", " }
                    @if change.trend != Trend::Flat { span aria-hidden="true" { (change.trend.symbol()) } " " }
                    (UntrustedText(&change.words))
                }
            }
            None => p.change { @if let Some(unit) = unit { (UntrustedText(unit)) } },
        }
    }
}

fn missing(words: &str) -> Markup {
    html! {
        p.value { (MISSING) }
        p.change { (words) }
    }
}

/// Renders a metric with its chart and the table behind it.
pub(super) fn card(report: &Report, metric: &Metric, id: &str, detail: Detail) -> Card {
    let source = CardSource { report, metric, id, detail };
    let (rows, today) = (metric.rows(), report.made_at.date_naive());
    let title = &metric.query.title;
    let is_table = matches!(metric.query.chart, Chart::Table);
    let drawn =
        if is_table { Charts { body: problems(source), count: 0, is_wide: false } } else { charts(source, today) };
    let is_drawn = drawn.count > 0;
    let first = HtmlTable::first(&rows, FIRST_ROWS);
    let behind = HtmlTable::behind(&rows, detail.rows, today);
    let is_first = !is_drawn && !rows.is_empty();
    let has_rows = metric.parts.iter().any(|part| part.rows.is_ok());
    let body = html! {
        (drawn.body)
        @if is_first { (first.render(title)) }
        @if is_table && rows.is_empty() && has_rows { p.note { "No rows yet." } }
        div.behind {
            @if !metric.query.description.is_empty() {
                details { summary { "Definition" } p.about { (UntrustedText(&metric.query.description)) } }
            }
            @if !rows.is_empty() && (is_drawn || !first.is_complete()) {
                details { summary { "Table: " (behind.extent()) } (behind.render(title)) }
            }
        }
    };
    Card { body, is_wide: drawn.is_wide }
}

/// Renders the charts of all lakes.
fn charts(source: CardSource<'_>, today: NaiveDate) -> Charts {
    let CardSource { report, metric, .. } = source;
    if let Some(panels) = compared(metric, today) {
        let (count, newest) = (panels.len(), describe::newest(&panels).into_iter().collect());
        let body = html! { (problems(source)) (draw(source, panels, newest)) };
        return Charts { body, count, is_wide: count > 1 };
    }
    let mut heats = Vec::new();
    let mut all: Vec<Panel> = Vec::new();
    let (mut newest, mut empty) = (Vec::new(), Vec::new());
    for (instance, outcome) in report.outcomes(metric) {
        let QueryOutcome::Rows(rows) = outcome else { continue };
        if rows.is_empty() {
            empty.push(instance);
        } else if matches!(metric.query.chart, Chart::Heatmap) {
            heats.extend(Heat::of(rows, today).map(|heat| (instance, heat)));
        } else {
            let mut panels = panels(metric.query.chart, rows, today);
            let line = describe::newest(&panels);
            if metric.is_compared() {
                newest.extend(line.map(|line| format!("{instance}: {line}")));
                for panel in &mut panels {
                    name_instance(panel, instance);
                }
            } else {
                newest.extend(line);
            }
            all.append(&mut panels);
        }
    }
    let (count, is_wide) = (heats.len() + all.len(), !heats.is_empty() || all.len() > 1);
    let body = html! {
        (problems(source))
        @for instance in empty {
            @if metric.is_compared() { h4 { (UntrustedText(instance)) } }
            p.note { "No rows yet." }
        }
        @for (instance, heat) in &heats {
            @if metric.is_compared() { h4 { (UntrustedText(instance)) } }
            (heat_table(&metric.query.title, heat))
        }
        (draw(source, all, newest))
    };
    Charts { body, count, is_wide }
}

/// Adds the name of the instance to the caption of a panel.
fn name_instance(panel: &mut Panel, instance: &str) {
    let caption = panel.caption.take();
    panel.caption = Some(caption.map_or_else(|| instance.to_owned(), |caption| format!("{instance}: {caption}")));
}

/// Renders panels side by side. Their notes and newest values are below.
fn draw(source: CardSource<'_>, panels: Vec<Panel>, newest: Vec<String>) -> Markup {
    let CardSource { metric, id, detail, .. } = source;
    if panels.is_empty() {
        return Markup::default();
    }
    let panels: Vec<Panel> = panels.into_iter().map(|panel| panel.cut(detail.positions)).collect();
    let only_one = panels.len() == 1 && panels[0].series.len() == 1;
    html! {
        div.panels {
            @for (index, panel) in panels.iter().enumerate() {
                @let id = format!("{id}-{index}");
                div.panel {
                    div.head {
                        @if let Some(caption) = &panel.caption { h4 { (UntrustedText(caption)) } }
                        @if index == 0 || panels[index - 1].series_names() != panel.series_names() {
                            (legend(panel, only_one))
                        }
                        @if let Some(unit) = metric.unit().filter(|_| !panel.share && !panel.axis.is_categorical()) {
                            p.unit aria-hidden="true" { (UntrustedText(unit)) }
                        }
                    }
                    (svg::draw(panel, Style { title: &metric.query.title, id: &id, hover: detail.hover }))
                }
            }
        }
        @for note in notes(&panels) { p.note { (UntrustedText(&note)) } }
        @for line in newest { p.newest { (UntrustedText(&line)) } }
    }
}

/// Returns the notes of the panels, each once.
fn notes(panels: &[Panel]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for panel in panels {
        let total = panel.total.as_ref().map(|total| format!("The bars above zero add up to “{total}”."));
        for note in total.into_iter().chain(panel.extent()).chain(panel.notes.iter().cloned()) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    notes
}

/// Renders why there are no rows for some lakes.
fn problems(source: CardSource<'_>) -> Markup {
    let CardSource { report, metric, .. } = source;
    html! {
        @for (instance, outcome) in report.outcomes(metric) {
            @if metric.is_compared() && !matches!(outcome, QueryOutcome::Rows(_)) { h4 { (UntrustedText(instance)) } }
            @match outcome {
                QueryOutcome::Rows(_) => {},
                QueryOutcome::NoOrganizations => p.note { (NO_ORGANIZATIONS) },
                QueryOutcome::Failed(error) => (failure(error)),
            }
        }
    }
}

fn failure(error: &Error) -> Markup {
    html! {
        p.failure {
            strong { "The query failed." } " " (UntrustedText(error.message()))
            @if let Some(hint) = error.hint() { " (" (UntrustedText(hint)) ")" }
        }
    }
}
