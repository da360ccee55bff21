//! The HTML page: one file without scripts and without network access.

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::card::{Card, Detail, card, tile};
use super::format::{MISSING, age, count, timestamp};
use super::html::{UntrustedText, identifier};
use super::metric::{Metric, ResultValue};
use super::outcome::QueryOutcome;
use super::sections::{Section, sections};
use super::svg::patterns;
use super::{LakeState, Report};

const STYLE: &str = include_str!("style.css");

/// Maximum size of a page in bytes.
const MAX_SIZE: usize = 1_000_000;

/// Maximum number of single numbers in a row.
const MAX_TILES: usize = 5;

/// The content security policy: nothing may load except the style of the page itself.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// Levels of detail. The first that fits into [`MAX_SIZE`] is used.
const DETAILS: [Detail; 5] = [
    Detail { rows: 400, positions: 1500, hover: true },
    Detail { rows: 100, positions: 400, hover: true },
    Detail { rows: 100, positions: 200, hover: false },
    Detail { rows: 30, positions: 100, hover: false },
    Detail { rows: 10, positions: 40, hover: false },
];

/// Returns the page with as much detail as fits into [`MAX_SIZE`] bytes.
pub(super) fn html(report: &Report) -> String {
    let mut page = String::new();
    for detail in DETAILS {
        page = document(report, detail).into_string();
        if page.len() < MAX_SIZE {
            break;
        }
    }
    page
}

fn document(report: &Report, detail: Detail) -> Markup {
    let sections = sections(&report.metrics);
    let mut ids = ids(&sections).into_iter();
    let instances: Vec<&str> = report.lakes.iter().map(|lake| lake.instance.as_str()).collect();
    let title = format!("Report of {}", instances.join(", "));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                link rel="icon" href="data:,";
                title { (UntrustedText(&title)) ", " (report.made_at.date_naive().to_string()) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#metrics" { "Skip to the metrics" }
                (patterns())
                (header(report, &title))
                (navigation(&sections))
                main #metrics {
                    @for (number, own) in sections.iter().enumerate() {
                        @let own_ids: Vec<String> = ids.by_ref().take(own.metrics.len()).collect();
                        (section(report, own, number, &own_ids, detail))
                    }
                    (freshness(report))
                }
                footer {
                    p {
                        "Each metric is the result of a built-in query, or of one of your own queries. The report "
                        "contains these results and no other data from the tables."
                    }
                }
            }
        }
    }
}

/// Returns a unique id for each metric, in order.
fn ids(sections: &[Section<'_>]) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for metric in sections.iter().flat_map(|section| &section.metrics) {
        let id = identifier(&metric.query.name);
        let id = if ids.contains(&id) { format!("{id}-{}", ids.len()) } else { id };
        ids.push(id);
    }
    ids
}

fn section(report: &Report, section: &Section<'_>, number: usize, ids: &[String], detail: Detail) -> Markup {
    let metrics = || section.metrics.iter().zip(ids);
    let article = |class: &str, id: &str, title: &str, body: &Markup| {
        html! {
            article class=(class) id=(id) aria-labelledby={ (id) "-h" } {
                h3 id={ (id) "-h" } { (UntrustedText(title)) }
                (body)
            }
        }
    };
    let tiles = || {
        html! {
            div.tiles style={ "--columns:" (columns(section.metrics.len())) } {
                @for (metric, id) in metrics() { (article("tile", id, &metric.query.title, &tile(report, metric))) }
            }
        }
    };
    let cards = || {
        let cards: Vec<Card> = metrics().map(|(metric, id)| card(report, metric, id, detail)).collect();
        let wide = wide(&cards.iter().map(|card| card.is_wide).collect::<Vec<_>>());
        html! {
            div.metrics {
                @for ((card, (metric, id)), wide) in cards.iter().zip(metrics()).zip(wide) {
                    (article(if wide { "metric wide" } else { "metric" }, id, &metric.query.title, &card.body))
                }
            }
        }
    };
    html! {
        section aria-labelledby={ "s" (number) } {
            h2 id={ "s" (number) } { (UntrustedText(&section.title)) }
            @if section.is_glance { (tiles()) } @else { (cards()) }
        }
    }
}

/// Returns the number of columns for `count` single numbers, so that all rows are about equally full.
fn columns(count: usize) -> usize {
    let rows = count.div_ceil(MAX_TILES).max(1);
    count.div_ceil(rows).max(1)
}

/// Returns which of the metrics take a whole row of two: those that need it, and those that would be alone in a row.
fn wide(needed: &[bool]) -> Vec<bool> {
    let mut wide = needed.to_vec();
    // The first metric of a row that is not full yet.
    let mut alone: Option<usize> = None;
    for (index, needed) in needed.iter().enumerate() {
        alone = match alone {
            Some(first) if *needed => {
                wide[first] = true;
                None
            }
            None if !*needed => Some(index),
            _ => None,
        };
    }
    if let Some(last) = alone {
        wide[last] = true;
    }
    wide
}

fn header(report: &Report, title: &str) -> Markup {
    let is_failed = |metric: &&Metric| {
        report.outcomes(metric).iter().any(|(_, outcome)| matches!(outcome, QueryOutcome::Failed(_)))
    };
    let failures = report.metrics.iter().filter(is_failed).count();
    html! {
        header {
            h1 { (UntrustedText(title)) }
            p { "Made on " (timestamp(report.made_at)) " UTC by clerk-lake. All dates and times are UTC." }
            @for lake in &report.lakes {
                p.lake {
                    "Instance " b { (UntrustedText(&lake.instance)) } " in the lake " (UntrustedText(&lake.location)) ": "
                    @match lake.complete_up_to() {
                        Some(watermark) => {
                            "complete up to " b { (timestamp(watermark)) } ", "
                            (age((report.made_at - watermark).num_seconds())) " before the report."
                        }
                        None => "the age of the data is unknown.",
                    }
                }
            }
            @if failures > 0 {
                p.failure {
                    @if failures == 1 { "1 metric failed. Its place on the page shows the error." }
                    @else { (count(failures)) " metrics failed. Their places on the page show the errors." }
                }
            }
            @if report.metrics.iter().any(has_lower_bounds) {
                p { "A lower bound (≥ or “at least”) means that syncs may have missed some activity of that period." }
            }
        }
    }
}

fn has_lower_bounds(metric: &Metric) -> bool {
    let mut rows = metric.parts.iter().filter_map(|part| part.rows.as_ref().ok());
    rows.any(|rows| rows.column("complete").is_some_and(|column| column.values.contains(&ResultValue::Boolean(false))))
}

fn navigation(sections: &[Section<'_>]) -> Markup {
    html! {
        nav aria-label="Sections" {
            ul {
                @for (number, section) in sections.iter().enumerate() {
                    li { a href={ "#s" (number) } { (UntrustedText(&section.title)) } }
                }
                li { a href="#freshness" { "Freshness" } }
            }
        }
    }
}

fn freshness(report: &Report) -> Markup {
    let several = report.lakes.len() > 1;
    html! {
        section aria-labelledby="freshness" {
            h2 #freshness { "Freshness" }
            article.metric {
                p.about {
                    "Each table is complete up to its watermark, a time by Clerk's clock. "
                    "The age is the time between the watermark and the report."
                }
                div.scroll role="region" aria-labelledby="freshness" tabindex="0" {
                    table {
                        thead { tr {
                            @if several { th scope="col" { "Instance" } }
                            th scope="col" { "Table" }
                            th.n scope="col" { "Rows" }
                            th scope="col" { "Complete up to" }
                            th.n scope="col" { "Age" }
                            th.n scope="col" { "Version" }
                        } }
                        tbody {
                            @for lake in &report.lakes { (tables(lake, several, report.made_at)) }
                        }
                    }
                }
            }
        }
    }
}

fn tables(lake: &LakeState, several: bool, now: DateTime<Utc>) -> Markup {
    let or_missing = |text: Option<String>| text.unwrap_or_else(|| MISSING.to_owned());
    html! {
        @for table in &lake.tables {
            tr {
                @if several { td { (UntrustedText(&lake.instance)) } }
                th scope="row" { (UntrustedText(&table.name)) }
                td.n { (count(usize::try_from(table.rows).unwrap_or(usize::MAX))) }
                td.t { (or_missing(table.watermark.map(timestamp))) }
                td.n { (or_missing(table.watermark.map(|watermark| age((now - watermark).num_seconds())))) }
                td.n { (table.version) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{columns, wide};

    #[test]
    fn a_metric_that_would_be_alone_in_a_row_is_wide() {
        assert_eq!(wide(&[false, false]), [false, false]);
        assert_eq!(wide(&[false]), [true]);
        assert_eq!(wide(&[false, false, false]), [false, false, true]);
        assert_eq!(wide(&[false, true, false, false]), [true, true, false, false]);
        assert_eq!(wide(&[true, false, true]), [true, true, true]);
    }

    #[test]
    fn rows_of_single_numbers_are_about_equally_full() {
        assert_eq!([1, 4, 5, 6, 7, 8, 11].map(columns), [1, 4, 5, 3, 4, 4, 4]);
    }
}
