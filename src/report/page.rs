//! The report as one HTML page that needs nothing else: no network, no script.

use chrono::{DateTime, Utc};

use super::drawing::{Detail, figure as draw_figure, tile as draw_tile};
use super::figure::Figure;
use super::html::{escape, identifier, put};
use super::sections::{Section, sections};
use super::svg::PATTERNS;
use super::words::{age, moment, whole};
use super::{LakeState, Report};

const STYLE: &str = include_str!("style.css");

/// How large a page may be, in bytes.
pub(super) const LARGEST: usize = 1_000_000;

/// What may load: nothing, but the style that the page itself holds.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// What is tried in turn until the page is small enough.
const DETAILS: [Detail; 5] = [
    Detail { rows: 400, places: 1500, hover: true },
    Detail { rows: 100, places: 400, hover: true },
    Detail { rows: 100, places: 200, hover: false },
    Detail { rows: 30, places: 100, hover: false },
    Detail { rows: 10, places: 40, hover: false },
];

/// The page with as much detail as fits into [`LARGEST`] bytes.
pub(super) fn html(report: &Report) -> String {
    let mut page = String::new();
    for detail in DETAILS {
        page = with_detail(report, detail);
        if page.len() < LARGEST {
            break;
        }
    }
    page
}

fn with_detail(report: &Report, detail: Detail) -> String {
    let mut out = String::new();
    let sections = sections(&report.figures);
    let ids = ids(&sections);
    head(&mut out, report);
    header(&mut out, report);
    navigation(&mut out, &sections);
    out.push_str("<main id=\"figures\">\n");
    let mut ids = ids.iter();
    for (number, section) in sections.iter().enumerate() {
        let (class, title) = (if section.is_glance { "tiles" } else { "figures" }, escape(&section.title));
        put!(
            out,
            "<section aria-labelledby=\"s{number}\"><h2 id=\"s{number}\">{title}</h2>\n<div class=\"{class}\">\n"
        );
        for (figure, id) in section.figures.iter().zip(ids.by_ref()) {
            if section.is_glance {
                draw_tile(&mut out, figure, id);
            } else {
                draw_figure(&mut out, figure, id, detail);
            }
        }
        out.push_str("</div></section>\n");
    }
    freshness(&mut out, report);
    out.push_str("</main>\n");
    footer(&mut out);
    out
}

/// An id for each figure, in order; two queries whose names differ only in odd characters get two.
fn ids(sections: &[Section<'_>]) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for figure in sections.iter().flat_map(|section| &section.figures) {
        let id = identifier(&figure.query.name);
        let id = if ids.contains(&id) { format!("{id}-{}", ids.len()) } else { id };
        ids.push(id);
    }
    ids
}

fn head(out: &mut String, report: &Report) {
    let instances: Vec<&str> = report.lakes.iter().map(|lake| lake.instance.as_str()).collect();
    put!(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    put!(out, "<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.push_str(
        "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n",
    );
    out.push_str("<link rel=\"icon\" href=\"data:,\">\n");
    let day = report.made_at.date_naive();
    put!(out, "<title>Report of {}, {day}</title>\n", escape(&instances.join(", ")));
    put!(out, "<style>\n{STYLE}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#figures\">To the figures</a>\n");
    out.push_str(PATTERNS);
}

fn header(out: &mut String, report: &Report) {
    let names: Vec<String> = report.lakes.iter().map(|lake| escape(&lake.instance)).collect();
    put!(out, "<header><h1>Report of {}</h1>\n", names.join(", "));
    put!(out, "<p>Made on {} UTC by clerk-lake. All days and times are UTC.</p>\n", moment(report.made_at));
    for lake in &report.lakes {
        let (instance, location) = (escape(&lake.instance), escape(&lake.location));
        let complete = match lake.complete_up_to() {
            Some(watermark) => format!(
                "complete up to <b>{}</b>, {} before the report was made",
                moment(watermark),
                age((report.made_at - watermark).num_seconds())
            ),
            None => "how old it is is not known".to_owned(),
        };
        put!(out, "<p class=\"lake\">Instance <b>{instance}</b>, read from the lake {location}: {complete}.</p>\n");
    }
    let failures = report.figures.iter().filter(|figure| figure.parts.iter().any(|part| part.rows.is_err())).count();
    if failures > 0 {
        let figures = if failures == 1 { "1 figure" } else { &format!("{failures} figures") };
        put!(out, "<p class=\"failure\">{figures} could not be made; each says why in its place.</p>\n");
    }
    if report.figures.iter().any(has_lower_bounds) {
        out.push_str(
            "<p>A number that is marked as a lower bound may in truth be larger: activity is known only as far as \
             syncs have seen it.</p>\n",
        );
    }
    out.push_str("</header>\n");
}

fn has_lower_bounds(figure: &Figure) -> bool {
    let rows = figure.parts.iter().filter_map(|part| part.rows.as_ref().ok());
    rows.filter_map(|rows| rows.column("complete"))
        .any(|column| column.values.contains(&super::figure::Value::Flag(false)))
}

fn navigation(out: &mut String, sections: &[Section<'_>]) {
    out.push_str("<nav aria-label=\"Sections\"><ul>\n");
    for (number, section) in sections.iter().enumerate() {
        put!(out, "<li><a href=\"#s{number}\">{}</a></li>\n", escape(&section.title));
    }
    out.push_str("<li><a href=\"#freshness\">How fresh the tables are</a></li>\n</ul></nav>\n");
}

fn freshness(out: &mut String, report: &Report) {
    out.push_str("<section aria-labelledby=\"freshness\"><h2 id=\"freshness\">How fresh the tables are</h2>\n");
    out.push_str(
        "<article class=\"figure\"><p class=\"about\">Each table is complete up to its watermark, by Clerk's clock; ",
    );
    out.push_str("the age is the time from there to the making of the report.</p>\n");
    out.push_str(
        "<div class=\"scroll\" role=\"region\" aria-labelledby=\"freshness\" tabindex=\"0\"><table>\n<thead><tr>",
    );
    let several = report.lakes.len() > 1;
    if several {
        out.push_str("<th scope=\"col\">Instance</th>");
    }
    out.push_str(
        "<th scope=\"col\">Table</th><th scope=\"col\" class=\"n\">Rows</th><th scope=\"col\">Complete up to</th>",
    );
    out.push_str(
        "<th scope=\"col\" class=\"n\">Age</th><th scope=\"col\" class=\"n\">Version</th></tr></thead>\n<tbody>\n",
    );
    for lake in &report.lakes {
        tables(out, lake, several, report.made_at);
    }
    out.push_str("</tbody></table></div></article></section>\n");
}

fn tables(out: &mut String, lake: &LakeState, several: bool, now: DateTime<Utc>) {
    for table in &lake.tables {
        out.push_str("<tr>");
        if several {
            put!(out, "<td>{}</td>", escape(&lake.instance));
        }
        let watermark = table.watermark.map_or_else(|| "–".to_owned(), moment);
        let age = table.watermark.map_or_else(|| "–".to_owned(), |watermark| age((now - watermark).num_seconds()));
        let rows = i64::try_from(table.rows).map_or_else(|_| table.rows.to_string(), whole);
        put!(out, "<th scope=\"row\">{}</th><td class=\"n\">{rows}</td>", escape(&table.name));
        put!(out, "<td>{watermark}</td><td class=\"n\">{age}</td><td class=\"n\">{}</td></tr>\n", table.version);
    }
}

fn footer(out: &mut String) {
    out.push_str("<footer><p>The figures are the queries of clerk-lake's catalogue, asked with SQL over the lake; ");
    out.push_str("the report holds what they give and nothing else of the tables.</p></footer>\n</body>\n</html>\n");
}
