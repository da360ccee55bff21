//! The report: every metric with its numbers, on a page that is safe, small and readable, and in a terminal.
//!
//! `CLERK_LAKE_BLESS=1 cargo test --test it report` rewrites `report/terminal-*.txt`; read their diff. The page is
//! opened in the Chromium that `CLERK_LAKE_CHROMIUM` names, or in one on the path.

mod browser;
mod metrics;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;

use clerk_lake::query::{self, Chart, Engine, Parameters, Queries, Query};
use clerk_lake::report::{Kind, Metric, Report, ResultValue as Cell, collect};
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::evolution;
use crate::support::{World, as_json, is_blessing, output, program, stderr, stdout};
use browser::Browser;
use metrics::{HOSTILE, days, failed, metric, of_each_kind, over_two, report, texts, whole};
use page::{article, cells, plain, tags};

/// The elements that a page can contain.
const ELEMENTS: &str = "!DOCTYPE a article b body caption circle defs desc details div footer h1 h2 h3 h4 head header \
    html li line link main meta nav p path pattern rect section small span strong style summary svg table tbody td text \
    th thead title tr ul g";

/// Maximum size of a page in bytes.
const LARGEST: usize = 1_000_000;

async fn succeeds(world: &World, arguments: &[&str]) -> Output {
    let done = world.run(arguments).await;
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
    done
}

/// Returns a world with a complete lake.
async fn synced() -> World {
    let world = World::with(|config| config.users = 300).await;
    succeeds(&world, &["sync"]).await;
    world
}

/// Writes queries to a folder.
fn folder(world: &World, queries: &[(&str, &str)]) -> PathBuf {
    let folder = world.directory.path().join("queries");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, text) in queries {
        std::fs::write(folder.join(format!("{name}.sql")), text).expect("a file");
    }
    folder
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a cell of the page shows `value`, as precisely as cells are formatted.
fn shows(cell: &str, value: &Value) -> bool {
    let number = |text: &str| text.replace(',', "").trim_end_matches('%').parse::<f64>().ok();
    let cell = cell.trim_end_matches(" in progress");
    // Identifiers are shown as labels.
    let is_label = |text: &str| {
        let identifier = cell.to_lowercase().replace(' ', "_");
        identifier == text.trim_start_matches("oauth_")
            || (cell, text) == ("E-mail", "email")
            || (cell, text) == ("Web3 wallet", "web3")
    };
    match value {
        Value::Null => cell == "–",
        Value::Bool(flag) => cell == if *flag { "yes" } else { "no" },
        Value::String(text) => cell == text || is_label(text) || text.starts_with(&cell.replace(' ', "T")),
        Value::Number(value) => {
            let (shown, value) = (number(cell), value.as_f64().expect("a number"));
            let share = if cell.ends_with('%') { 100.0 } else { 1.0 };
            shown.is_some_and(|shown| (shown - value * share).abs() <= 0.0501_f64.min(value.abs() * share + 1e-4))
        }
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_built_in_query_has_a_metric_with_its_numbers() {
    let world = synced().await;
    let queries = Queries::builtin().expect("the built-in queries");
    let report = collect(&[world.lake()], &Engine::Local, &queries, &[], metrics::now()).await.expect("a report");
    let page = report.html();
    assert!(page.len() < LARGEST, "{} bytes", page.len());
    let context = query::context(&world.lake()).await.expect("a lake with tables");
    let mut numbers = 0;
    for query in queries.iter() {
        let article = article(&page, &query.name);
        assert!(plain(article).contains(&query.title), "{}", query.name);
        assert!(plain(article).contains(&query.description), "{}", query.name);
        let batches = match query.run(&context, &Parameters::at(metrics::now())).await {
            Ok(batches) => batches,
            Err(error) => {
                assert!(plain(article).contains(&error.message().replace('\n', " ")), "{}: {error}", query.name);
                continue;
            }
        };
        let rows = as_json(&batches);
        let shown = cells(article);
        if query.chart == Chart::Stat && shown.is_empty() && rows.len() == 1 {
            let value = rows[0].as_object().and_then(|row| row.values().next()).expect("a number");
            let cell = article.split("class=\"value\">").nth(1).and_then(|it| it.split('<').next()).unwrap_or("");
            assert!(shows(cell.trim(), value), "{}: {cell:?} is not {value}", query.name);
            numbers += 1;
            continue;
        }
        numbers += shown.len();
        compare(query, &batches, &rows, &shown);
    }
    assert!(numbers > 100, "{numbers} rows were compared");
}

/// Compares the rows of the table of a metric with those of the query: all of them, or the last or first of many.
fn compare(query: &Query, batches: &[arrow::array::RecordBatch], rows: &[Value], shown: &[Vec<String>]) {
    assert_eq!(shown.len(), rows.len().min(400), "{}", query.name);
    let columns: Vec<String> = batches
        .first()
        .map_or_else(Vec::new, |batch| batch.schema().fields().iter().map(|field| field.name().clone()).collect());
    let fits = |rows: &[Value]| {
        rows.iter().zip(shown).find_map(|(row, cells)| {
            if cells.len() != columns.len() {
                return Some(format!("{cells:?} are not {columns:?}"));
            }
            let wrong = columns.iter().zip(cells).find(|(column, cell)| !shows(cell, &row[column.as_str()]));
            wrong.map(|(column, cell)| format!("{column}: {cell:?} is not {}", row[column.as_str()]))
        })
    };
    let (last, first) = (fits(&rows[rows.len() - shown.len()..]), fits(&rows[..shown.len()]));
    assert!(last.is_none() || first.is_none(), "{}: {last:?}", query.name);
}

#[test]
fn names_from_the_data_cannot_be_markup() {
    let mut report = of_each_kind();
    for metric in &mut report.metrics {
        metric.query.title.push_str(HOSTILE);
        metric.query.description.push_str(HOSTILE);
        metric.query.unit = Some(HOSTILE.to_owned());
        metric.query.name.push_str(HOSTILE);
        for part in &mut metric.parts {
            HOSTILE.clone_into(&mut part.instance);
            for column in part.rows.iter_mut().flat_map(|rows| &mut rows.columns) {
                if column.kind == Kind::Text {
                    column.values.fill(Cell::Text(HOSTILE.to_owned()));
                } else if column.name == "wau" {
                    HOSTILE.clone_into(&mut column.name);
                }
            }
        }
    }
    for lake in &mut report.lakes {
        HOSTILE.clone_into(&mut lake.instance);
        HOSTILE.clone_into(&mut lake.location);
    }
    let two = Report { metrics: report.metrics.iter().map(over_two).collect(), ..report.clone() };
    let elements: BTreeSet<&str> = ELEMENTS.split_whitespace().collect();
    for page in [report.html(), two.html()] {
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        for tag in tags(&page) {
            assert!(elements.contains(tag.name.trim_start_matches('/')), "{tag:?}");
            assert!(tag.attributes.keys().all(|name| !name.starts_with("on")), "{tag:?}");
        }
        assert!(!page.contains(['\u{202e}', '\u{1b}']));
    }
    for text in [report.terminal(80, false), two.terminal(80, false)] {
        assert!(!text.contains(['\u{202e}', '\u{1b}', '\r']), "{text}");
    }
}

#[test]
fn the_page_loads_nothing() {
    let page = of_each_kind().html();
    for name in ["script", "img", "iframe", "object", "embed", "form", "base"] {
        assert!(tags(&page).iter().all(|tag| tag.name != name), "there is a {name}");
    }
    for address in ["http:", "https:", "@import", "file:"] {
        assert!(!page.contains(address), "there is {address}");
    }
    for tag in tags(&page) {
        let target = tag.attributes.get("href").copied().unwrap_or("#");
        assert!(target.starts_with('#') || target == "data:,", "{tag:?}");
        assert!(!tag.attributes.contains_key("src"), "{tag:?}");
    }
    let urls: Vec<&str> = page.match_indices("url(").map(|(at, _)| &page[at + 4..at + 5]).collect();
    assert!(urls.iter().all(|first| *first == "#"), "{urls:?}");
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn every_element_ends_ids_are_unique_and_references_lead_somewhere() {
    let report = of_each_kind();
    let two = Report { metrics: report.metrics.iter().map(over_two).collect(), ..report.clone() };
    for page in [report.html(), two.html()] {
        let tags = tags(&page);
        let mut open: Vec<&str> = Vec::new();
        for tag in &tags {
            let ends_itself = page[..tag.end].ends_with("/>") || matches!(tag.name, "!DOCTYPE" | "meta" | "link");
            match tag.name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "byte {} of {page}", tag.end),
                None if ends_itself => {}
                None => open.push(tag.name),
            }
        }
        assert_eq!(open, Vec::<&str>::new());
        let ids: Vec<&str> = tags.iter().filter_map(|tag| tag.attributes.get("id").copied()).collect();
        let known: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), known.len(), "{ids:?}");
        for tag in &tags {
            let named = tag.attributes.get("aria-labelledby").copied().unwrap_or_default().split_whitespace();
            let target = tag.attributes.get("href").and_then(|href| href.strip_prefix('#'));
            assert!(named.chain(target).all(|id| known.contains(id)), "{tag:?}");
        }
    }
}

#[test]
fn a_page_describes_its_charts_in_words() {
    let page = of_each_kind().html();
    let tags = tags(&page);
    let levels = tags.iter().filter_map(|tag| tag.name.strip_prefix('h')?.parse::<u32>().ok()).collect::<Vec<_>>();
    assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1);
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
    let charts: Vec<_> = tags.iter().filter(|tag| tag.attributes.get("role") == Some(&"img")).collect();
    assert!(charts.len() >= 6, "{charts:?}");
    let active = article(&page, "active_users");
    assert!(active.contains("Line chart: 30 values, from 2026-10-26 to 2026-11-24."), "{active}");
    assert!(active.contains("10 of the values are lower bounds."), "{active}");
    assert!(active.contains("<details><summary>Table: 30 rows</summary>"), "{active}");
    assert!(tags.iter().filter(|tag| tag.name == "th").all(|tag| tag.attributes.contains_key("scope")));
    let change = plain(article(&page, "new_users"));
    assert!(change.contains("up 6.2% from 388"), "{change}");
    let down = plain(article(&page, "stickiness"));
    assert!(down.contains("down 1.6 points from 20.5%"), "{down}");
}

/// Returns the colors of a scheme, by the names of their variables.
fn colors(block: &str) -> BTreeMap<&str, [f64; 3]> {
    let color = |text: &str| {
        let part = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok().map(f64::from);
        Some([part(1)?, part(3)?, part(5)?])
    };
    let pairs = block.split(';').filter_map(|line| line.split("--").nth(1)?.split_once(": "));
    pairs.filter_map(|(name, value)| Some((name, color(value.trim())?))).collect()
}

/// Returns the contrast ratio of two colors as WCAG 2 defines it.
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let light = |color: [f64; 3]| {
        let part = color.map(|part| part / 255.0);
        let [red, green, blue] =
            part.map(|part| if part <= 0.03928 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    };
    let (one, other) = (light(one), light(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn text_and_charts_have_enough_contrast_in_light_dark_and_print() {
    let page = of_each_kind().html();
    let schemes: Vec<_> = page.split(":root {").skip(1).map(|rest| rest.split('}').next().unwrap_or("")).collect();
    assert_eq!(schemes.len(), 3);
    let light = colors(schemes[0]);
    for (number, scheme) in schemes.iter().enumerate() {
        let mut known = light.clone();
        known.extend(colors(scheme));
        let apart = |one: &str, other: &str, least: f64| {
            let found = contrast(known[one], known[other]);
            assert!(found >= least, "scheme {number}: --{one} on --{other} has {found:.2}");
        };
        for text in ["text", "muted", "up", "down", "focus"] {
            apart(text, "card", 4.5);
            apart(text, "page", 4.5);
        }
        apart("text", "tint", 4.5);
        for series in 0..8 {
            apart(&format!("c{series}"), "card", 3.0);
        }
        for (shades, text) in [(1..=4, "on-weak"), (5..=5, "on-middle"), (6..=7, "on-strong")] {
            for shade in shades {
                apart(&format!("h{shade}"), text, 4.5);
            }
        }
    }
}

#[test]
fn a_page_of_many_rows_stays_below_its_maximum_size() {
    let rows: i64 = 5000;
    let names: Vec<String> = (0..rows).map(|row| format!("{row}-{}", "x".repeat(300))).collect();
    let many = |number: i64| {
        let query =
            metrics::query(&format!("many_{number}"), "Many", if number % 2 == 0 { Chart::Bar } else { Chart::Table });
        let series = (0..6).map(|series| whole(&format!("series_{series}"), (0..rows).map(move |row| row * series)));
        let first =
            if number % 2 == 0 { days("date", 5000, 1) } else { texts("name", names.iter().map(String::as_str)) };
        metric(query, std::iter::once(first).chain(series).collect())
    };
    let page = report((0..24).map(many).collect()).html();
    assert!(page.len() < LARGEST, "{} bytes", page.len());
    assert_eq!(page.matches("<article").count(), 25);
    assert!(page.contains("of 5,000 rows"));
}

#[test]
fn a_metric_without_rows_or_numbers_says_so() {
    let empty = metric(metrics::query("empty", "Empty", Chart::Line), vec![days("date", 0, 1), whole("n", [])]);
    let words = metric(metrics::query("words", "Words", Chart::Bar), vec![texts("name", ["only", "words"])]);
    let report = report(vec![empty, words, failed(metrics::query("broken", "Broken", Chart::Line), "no such thing")]);
    let page = report.html();
    assert!(article(&page, "empty").contains("No rows yet."));
    assert_eq!(cells(article(&page, "words")), [["only"], ["words"]]);
    let broken = article(&page, "broken");
    assert!(broken.contains("no such thing") && broken.contains("clerk-lake schema lists the tables"), "{broken}");
    let text = report.terminal(80, false);
    assert!(text.contains("no rows yet") && text.contains("The query failed: no such thing"), "{text}");
    assert_eq!(report.failures().len(), 1);
    assert!(report.if_any().is_ok());
}

#[test]
fn a_report_in_which_all_queries_fail_is_an_error() {
    let broken = failed(metrics::query("broken", "Broken", Chart::Line), "no such thing");
    let error = report(vec![broken]).if_any().expect_err("no metric");
    assert_eq!(error.kind(), clerk_lake::ErrorKind::Query);
    assert!(error.message().contains("broken: no such thing"), "{error}");
}

#[test]
fn every_metric_names_its_instances() {
    let one = of_each_kind();
    let line = metrics::query("one_line", "One line", Chart::Line);
    let line = metric(line, vec![days("date", 9, 1), whole("users", (0..9).map(|day| 2000 + day))]);
    let mut metrics: Vec<Metric> = one.metrics.iter().map(over_two).collect();
    metrics.push(over_two(&line));
    let page = report(metrics.clone()).html();
    for metric in metrics.iter().filter(|metric| metric.query.name != "nothing_yet") {
        let article = article(&page, &metric.query.name);
        for part in &metric.parts {
            assert!(article.contains(&part.instance), "{}", metric.query.name);
        }
        let Ok(rows) = &metric.parts[0].rows else { continue };
        let shown: BTreeSet<String> = cells(article).into_iter().filter_map(|line| line.into_iter().next()).collect();
        assert_eq!(shown, BTreeSet::from(["ins_invented".to_owned(), "ins_other".to_owned()]), "{}", metric.query.name);
        assert_eq!(cells(article).len(), rows.len() * 2, "{}", metric.query.name);
    }
    assert_eq!(article(&page, "one_line").matches("role=\"img\"").count(), 1);
    assert_eq!(article(&page, "activity_days").matches("role=\"img\"").count(), 2);
}

#[test]
fn the_terminal_report_matches_its_golden_text_at_three_widths() {
    for width in [60, 80, 120] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/report/terminal-{width}.txt"));
        let text = of_each_kind().terminal(width, false);
        if is_blessing() {
            std::fs::write(&path, &text).expect("the text can be written");
        }
        let golden = read(&path);
        let differing = golden.lines().zip(text.lines()).find(|(golden, found)| golden != found);
        assert!(golden == text, "{} differs, first in {differing:?}; if that is right, bless it", path.display());
    }
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let report = of_each_kind();
    let two = Report { metrics: report.metrics.iter().map(over_two).collect(), ..report.clone() };
    for width in 40..=160 {
        for line in report.terminal(width, false).lines().chain(two.terminal(width, false).lines()) {
            assert!(line.width() <= width, "{} columns of {width}: {line}", line.width());
        }
    }
    let colored = report.terminal(80, true);
    assert!(colored.contains("\u{1b}[1m"));
    let uncolored: String = colored
        .split('\u{1b}')
        .enumerate()
        .map(|(at, piece)| match at {
            0 => piece,
            _ => piece.split_once('m').map_or("", |(_, text)| text),
        })
        .collect();
    let trimmed: Vec<&str> = uncolored.lines().map(str::trim_end).collect();
    assert_eq!(trimmed, report.terminal(80, false).lines().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_a_page_shows_every_metric_at_every_width_and_logs_nothing() {
    let Some(browser) = Browser::find() else { return };
    let wrong = browser.file("wrong.html", "<script>console.error('seen')</script><img src='nowhere.png'>");
    assert!(browser.open(&wrong, &[]).1.contains("seen"), "the log of a page is not found");
    let wide = browser.file("wide.html", "<article id=a style='width:300px'><p style='width:900px'>x</p></article>");
    let (seen, _) = browser.look(&wide, &[390], &[]);
    assert!(seen[0]["scroll"].as_u64() > seen[0]["inner"].as_u64(), "content that is too wide is not found: {seen:?}");
    assert_ne!(seen[0]["wide"].as_array().map(Vec::len), Some(0), "{seen:?}");

    let one = of_each_kind();
    let two = report(one.metrics.iter().map(over_two).collect());
    let mut backgrounds = BTreeSet::new();
    for (report, scheme) in [(&one, "1"), (&one, "0"), (&two, "1")] {
        let page = browser.file("report.html", &report.html());
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        let (seen, logged) = browser.look(&page, &[390, 820, 1440], &[&scheme]);
        assert_eq!(logged, "");
        assert_eq!(seen.len(), 3);
        for seen in seen {
            assert_eq!(seen["scroll"], seen["inner"], "the page sticks out: {seen}");
            assert_eq!(seen["wide"], serde_json::json!([]), "at {}", seen["width"]);
            assert_eq!(seen["flat"], serde_json::json!([]), "at {}", seen["width"]);
            assert_eq!(seen["scripts"], 0);
            let headings: BTreeSet<&str> =
                seen["headings"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
            let missing: Vec<_> = report
                .metrics
                .iter()
                .filter(|it| !headings.contains(it.query.title.as_str()))
                .map(|it| &it.query.title)
                .collect();
            assert!(missing.is_empty(), "no heading for {missing:?}");
            backgrounds.insert(seen["background"].to_string());
        }
    }
    assert_eq!(backgrounds.len(), 2, "light and dark must differ: {backgrounds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_report_opens_in_a_browser_without_an_error() {
    let Some(browser) = Browser::find() else { return };
    let world = synced().await;
    succeeds(&world, &["report", "--out", "page.html"]).await;
    let (seen, logged) = browser.look(&world.directory.path().join("page.html"), &[390, 820, 1440], &[]);
    assert_eq!(logged, "");
    for seen in seen {
        assert_eq!(seen["scroll"], seen["inner"], "the page sticks out: {seen}");
        assert_eq!(seen["wide"], serde_json::json!([]), "at {}", seen["width"]);
        let headings: BTreeSet<&str> =
            seen["headings"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        for query in Queries::builtin().expect("the built-in queries").iter() {
            assert!(headings.contains(query.title.as_str()), "no heading for {}", query.title);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_the_user_becomes_a_metric_and_a_broken_one_shows_its_error() {
    let world = synced().await;
    let hostile = "SELECT * FROM (VALUES ('<script>alert(1)</script>', 3), ('b', 2)) AS t(name, members)";
    let folder = folder(
        &world,
        &[
            ("mine", &format!("-- title: Mine <own>\n-- chart: bar\n-- section: My section\n{hostile}")),
            ("broken", "-- title: Seats\n-- chart: line\nSELECT plan FROM clerk_user"),
        ],
    );
    let folder = folder.to_string_lossy();
    let done = succeeds(&world, &["report", "--queries", &folder, "--out", "page.html"]).await;
    assert_eq!(stdout(&done), "");
    assert!(stderr(&done).contains("wrote page.html"), "{}", stderr(&done));
    assert!(stderr(&done).contains("warning: query broken failed: "), "{}", stderr(&done));
    let page = read(&world.directory.path().join("page.html"));
    assert!(page.contains("Mine &lt;own&gt;") && page.contains("My section"));
    assert_eq!(cells(article(&page, "mine")), [["<script>alert(1)</script>", "3"], ["b", "2"]]);
    assert!(article(&page, "broken").contains("The query failed."));
    assert!(tags(&page).iter().all(|tag| tag.name != "script"));
}

#[tokio::test(flavor = "multi_thread")]
async fn if_all_queries_fail_the_old_page_stays() {
    let world = synced().await;
    let queries = Queries::builtin().expect("the built-in queries");
    let broken: Vec<(&str, &str)> = queries.iter().map(|query| (query.name.as_str(), "SELECT nothing")).collect();
    let folder = folder(&world, &broken);
    let page = world.directory.path().join("page.html");
    std::fs::write(&page, "old page").expect("a file");
    let failed = world.run(&["report", "--queries", &folder.to_string_lossy(), "--out", "page.html"]).await;
    assert_eq!(failed.status.code(), Some(7), "{}", stderr(&failed));
    assert!(stderr(&failed).contains("all queries of the report failed"), "{}", stderr(&failed));
    assert_eq!(read(&page), "old page");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_written_to_the_given_path_without_other_files() {
    let world = synced().await;
    let files = || -> BTreeSet<String> {
        let entries = std::fs::read_dir(world.directory.path()).expect("the directory");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    };
    succeeds(&world, &["report"]).await;
    assert_eq!(files(), BTreeSet::from(["lake".to_owned(), "clerk-lake-report.html".to_owned()]));
    let printed = succeeds(&world, &["report", "--out", "-"]).await;
    assert!(stdout(&printed).starts_with("<!DOCTYPE html>"), "{}", stdout(&printed));
    let missing = world.run(&["report", "--output", "no/such/folder/page.html"]).await;
    assert_eq!(missing.status.code(), Some(2), "{}", stderr(&missing));
    assert_eq!(files(), BTreeSet::from(["lake".to_owned(), "clerk-lake-report.html".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_report_has_the_width_of_the_terminal() {
    let world = synced().await;
    for width in [60, 80, 120] {
        let mut command = world.command(&["report", "--terminal"]);
        command.env("COLUMNS", width.to_string());
        let done = output(command).await;
        assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
        let text = stdout(&done);
        assert!(text.lines().all(|line| line.width() <= width), "{text}");
        assert!(text.lines().any(|line| line.width() == width), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        for query in Queries::builtin().expect("the built-in queries").iter() {
            assert!(text.contains(query.title.as_str()), "no {}: {text}", query.title);
        }
    }
    assert!(!world.directory.path().join("clerk-lake-report.html").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_reaches_its_queries_and_an_unknown_or_impossible_one_is_refused() {
    let world = synced().await;
    succeeds(&world, &["report", "--param", "lookback_days=3", "--out", "page.html"]).await;
    let page = read(&world.directory.path().join("page.html"));
    assert_eq!(cells(article(&page, "daily_active_users")).len(), 3);
    let refused = world.run(&["report", "--param", "loopback_days=3"]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("lookback_days"), "{}", stderr(&refused));
    // Some queries accept 120 days, but not all of them.
    let refused = world.run(&["report", "--param", "lookback_days=120", "--out", "none.html"]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("lookback_days cannot be 120"), "{}", stderr(&refused));
    assert!(!world.directory.path().join("none.html").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_lakes_share_one_report() {
    let one = synced().await;
    let other = World::with(|config| {
        config.users = 40;
        config.instance_id = "ins_second".to_owned();
    })
    .await;
    succeeds(&other, &["sync"]).await;
    let (first, second) = (one.path(), other.path());
    let mut command = program(one.directory.path());
    command.args(["report", "--lake"]).arg(&first).arg("--lake").arg(&second).args(["--out", "page.html"]);
    let done = output(command).await;
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let page = read(&one.directory.path().join("page.html"));
    let users = cells(article(&page, "users"));
    let of = |instance: &str| users.iter().find(|row| row[0] == instance).map(|row| row[1].clone());
    let count = |world: &World| world.simulator.truth(1).users_not_banned.to_string();
    assert_eq!((of("ins_simulated"), of("ins_second")), (Some(count(&one)), Some(count(&other))));
}

/// The earlier version had no activity ledger.
#[tokio::test(flavor = "multi_thread")]
async fn a_lake_of_an_earlier_version_has_a_report_that_says_which_tables_are_missing() {
    let world = evolution::older().await;
    let done = succeeds(&world, &["report", "--out", "page.html"]).await;
    let page = read(&world.directory.path().join("page.html"));
    assert!(article(&page, "active_users").contains("clerk_user_activity"), "{page}");
    assert!(stderr(&done).contains("warning: query active_users failed"), "{}", stderr(&done));
    for name in ["users", "sign_ups", "daily_active_users"] {
        assert!(!article(&page, name).contains("The query failed."), "{name}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_lake_is_an_error_with_a_hint() {
    let world = World::new().await;
    let failed = world.run(&["report"]).await;
    assert_eq!(failed.status.code(), Some(2), "{}", stderr(&failed));
    assert!(stderr(&failed).contains("clerk-lake sync"), "{}", stderr(&failed));
}

/// Metrics whose newest day or week is that of the report.
#[test]
fn the_current_day_and_week_are_marked_as_in_progress() {
    let page = of_each_kind().html();
    let active = article(&page, "active_users");
    assert!(active.contains("2026-11-24 <small>in progress</small>"), "{active}");
    assert!(active.contains("newest 1,773 (2026-11-24, in progress)"), "{active}");
    // One open point for each line, and one in the legend of each chart.
    assert_eq!(active.matches("<circle class=\"b open ").count(), 3 + 2, "{active}");
    assert!(active.contains("</svg>in progress</li>"), "{active}");
    let growth = article(&page, "growth");
    assert!(growth.contains("</svg>in progress</li>"), "{growth}");
    assert_eq!(growth.matches("<rect class=\"b open ").count(), 4 + 1, "{growth}");
    assert!(article(&page, "retention").contains("2026-11-24 <small>in progress</small>"));
    let text = of_each_kind().terminal(80, false);
    assert!(text.contains("2026-11-24*") && text.contains("* in progress"), "{text}");
    // A day later, every day of the rows is over.
    let mut later = of_each_kind();
    later.metrics.retain(|metric| metric.query.name == "active_users");
    later.made_at += chrono::TimeDelta::days(1);
    let page = later.html();
    assert!(!page.contains("in progress") && !page.contains("b open"), "{page}");
}

#[test]
fn many_daily_counts_become_weekly_bars_and_distinct_counts_a_line() {
    let counts = |name: &str, title: &str| {
        let columns = vec![days("date", 90, 1), whole(title, (0..90).map(|_| 10))];
        counted(name, columns)
    };
    let page = report(vec![counts("weekly", "sign_ups"), counts("daily", "active_users")]).html();
    let (weekly, daily) = (article(&page, "weekly"), article(&page, "daily"));
    assert!(weekly.contains("Summed by week, Monday to Sunday."), "{weekly}");
    assert!(weekly.contains("Bar chart: 13 values, from 2026-08-31 to 2026-11-23."), "{weekly}");
    assert!(weekly.contains("lowest 70 (2026-08-31), highest 70 (2026-11-16), newest 20"), "{weekly}");
    assert_eq!(cells(weekly).len(), 90);
    assert!(!daily.contains("Summed by week"), "{daily}");
    assert!(daily.contains("Line chart: 90 values, from 2026-08-27 to 2026-11-24."), "{daily}");
}

fn counted(name: &str, columns: Vec<clerk_lake::report::ResultColumn>) -> Metric {
    metric(metrics::query(name, name, Chart::Bar), columns)
}

#[test]
fn providers_and_identifiers_have_readable_labels() {
    let names = ["oauth_google", "github", "email", "web3", "my_idp"];
    let providers = metric(
        metrics::query("providers", "Providers", Chart::Bar),
        vec![texts("provider", names), whole("users", [5, 4, 3, 2, 1])],
    );
    let page = report(vec![providers]).html();
    let article = article(&page, "providers");
    let shown: Vec<String> = cells(article).into_iter().map(|mut row| row.remove(0)).collect();
    assert_eq!(shown, ["Google", "GitHub", "E-mail", "Web3 wallet", "My idp"]);
    assert!(!article.contains("oauth_google"), "{article}");
}

#[test]
fn a_metric_that_needs_organizations_is_no_failure_if_they_are_not_enabled() {
    let broken = |name: &str, chart: Chart, sql: &str| {
        let mut query = metrics::query(name, name, chart);
        sql.clone_into(&mut query.sql);
        failed(query, "table 'clerk_organization' not found")
    };
    let sql = "SELECT count(*) FROM clerk_organization";
    let users = metric(metrics::query("users", "Users", Chart::Stat), vec![whole("users", [3])]);
    let one = report(vec![
        broken("organizations", Chart::Table, sql),
        broken("active_organizations", Chart::Stat, sql),
        users,
    ]);
    let page = one.html();
    for name in ["organizations", "active_organizations"] {
        let article = article(&page, name);
        assert!(article.contains("Organizations are not enabled on this instance."), "{article}");
        assert!(!article.contains("The query failed."), "{article}");
    }
    assert!(!page.contains("class=\"failure\""), "{page}");
    assert!(one.terminal(120, false).contains("Organizations are not enabled on this instance."));
    assert!(one.failures().is_empty());
    // If the lake has the table, the same error is a failure.
    let mut two = one;
    for lake in &mut two.lakes {
        let mut table = lake.tables[0].clone();
        "clerk_organization".clone_into(&mut table.name);
        lake.tables.push(table);
    }
    assert_eq!(two.failures().len(), 2);
    assert!(two.html().contains("2 metrics failed."), "{}", two.html());
}

#[test]
fn a_single_number_shows_one_line_and_hides_its_definition() {
    let page = of_each_kind().html();
    let article = article(&page, "new_users");
    let (shown, hidden) = article.split_once("<details>").expect("a disclosure");
    assert!(!shown.contains("What new_users counts"), "{shown}");
    assert!(hidden.contains("<summary>Definition</summary>") && hidden.contains("What new_users counts"), "{hidden}");
    assert_eq!(shown.matches("<p ").count(), 2, "{shown}");
}
