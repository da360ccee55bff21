//! `clerk-lake status`.

use std::collections::BTreeMap;
use std::io::Write;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clerk_lake::clock::Clock;
use clerk_lake::harmless::harmless_lines;
use clerk_lake::lake::{CommitRecord, FailedResource, FailedRun, Lake, Table};
use clerk_lake::resource::{self, Reading};
use clerk_lake::sync::{SESSIONS_READ, VERIFIED_TO};
use clerk_lake::table::TableSpec;
use clerk_lake::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use super::arguments::StatusArguments;
use super::progress::count;
use super::summary::name_width;
use super::terminal::{Terminal, check_write};

/// The number of last runs shown for each table.
const SHOWN_RUNS: usize = 3;

/// The number of failed runs shown.
const SHOWN_FAILED_RUNS: usize = 5;

#[derive(Serialize)]
struct Document {
    lake: String,
    instance: Option<String>,
    tables: Vec<TableStatus>,
    /// The last runs that failed, newest first.
    failed_runs: Vec<FailedRun>,
    /// Tables that cannot be opened, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<Damaged>,
}

#[derive(Serialize)]
struct Damaged {
    name: &'static str,
    damage: String,
}

#[derive(Serialize)]
struct TableStatus {
    name: &'static str,
    rows: u64,
    files: usize,
    bytes: u64,
    version: u64,
    watermark: Option<String>,
    age_seconds: Option<i64>,
    /// The creation time up to which the current round of verification has read all rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_to: Option<String>,
    /// Every row that may have changed was read at this time or later. Set if a sync does not read all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    read_since: Option<String>,
    /// How long old versions are kept, in the format of `--history`.
    history: String,
    /// Whether commits record the rows that they change.
    change_data_feed: bool,
    /// The version since which changes are recorded; `None` if unknown or if they are not recorded.
    feed_begins: Option<u64>,
    runs: Vec<RunStatus>,
}

#[derive(Serialize)]
struct RunStatus {
    at: Option<String>,
    #[serde(flatten)]
    metrics: Map<String, Value>,
}

/// A table as it was opened.
enum Opened {
    Absent,
    Whole { instance: Option<String>, status: TableStatus },
    Damaged(Damaged),
}

pub async fn run(terminal: &mut Terminal, lake: &Lake, arguments: &StatusArguments) -> Result<()> {
    let now = Clock::system().now();
    let present = lake.present(&resource::TABLES).await?;
    let opened = futures::future::try_join_all(present.into_iter().map(|spec| open(lake, spec, now)));
    let (opened, failed_runs) = tokio::try_join!(opened, lake.failed_runs(SHOWN_FAILED_RUNS, now))?;
    let lake_name = lake.location().to_string();
    let mut document =
        Document { lake: lake_name, instance: None, tables: Vec::new(), failed_runs, damaged: Vec::new() };
    for table in opened {
        match table {
            Opened::Absent => {}
            Opened::Damaged(damaged) => document.damaged.push(damaged),
            Opened::Whole { instance, status } => {
                document.instance = document.instance.or(instance);
                document.tables.push(status);
            }
        }
    }
    if document.tables.is_empty() && document.damaged.is_empty() {
        return Err(lake.without_tables());
    }
    let out = terminal.out();
    if arguments.json {
        let text = serde_json::to_string(&document).map_err(|error| Error::bug(error.to_string()))?;
        check_write(writeln!(out, "{text}"))?;
    } else {
        check_write(print(&document, out))?;
    }
    terminal.try_flush()
}

async fn open(lake: &Lake, spec: &'static TableSpec, now: DateTime<Utc>) -> Result<Opened> {
    let table = lake.table_to_query(spec, None).await?;
    if table.is_damaged() {
        let damage = table.damage().await.map(|error| error.to_string()).unwrap_or_default();
        return Ok(Opened::Damaged(Damaged { name: spec.name, damage }));
    }
    match table.version() {
        None => Ok(Opened::Absent),
        Some(version) => {
            let status = status(&table, version, now).await?;
            Ok(Opened::Whole { instance: table.instance(), status })
        }
    }
}

async fn status(table: &Table, version: u64, now: DateTime<Utc>) -> Result<TableStatus> {
    let spec = table.spec();
    let reading = resource::ALL.iter().find(|resource| resource.table.name == spec.name).map(|it| it.reading);
    let verified_to = matches!(reading, Some(Reading::Cursor(_))).then_some(VERIFIED_TO);
    let read_since = matches!(reading, Some(Reading::PerUser(_))).then_some(SESSIONS_READ);
    // Each of these reads the log.
    let watermark = async { if resource::has_watermark(spec) { table.watermark().await } else { Ok(None) } };
    let position = async |name: Option<&str>| match name {
        Some(name) => table.position(name).await,
        None => Ok(None),
    };
    let (watermark, verified_to, read_since, runs) =
        tokio::try_join!(watermark, position(verified_to), position(read_since), table.history(SHOWN_RUNS))?;
    let timestamp = |millis: Option<i64>| millis.and_then(DateTime::from_timestamp_millis).map(rfc3339);
    let (verified_to, read_since) = (timestamp(verified_to), timestamp(read_since));
    Ok(TableStatus {
        name: table.spec().name,
        rows: table.rows(),
        files: table.file_count(),
        bytes: table.bytes(),
        version,
        watermark: watermark.map(rfc3339),
        age_seconds: watermark.map(|watermark| (now - watermark).num_seconds()),
        verified_to,
        read_since,
        history: period(table.own_history().unwrap_or_default()),
        change_data_feed: table.records_changes(),
        feed_begins: table.feed_begins(),
        runs: runs.into_iter().map(run_status).collect(),
    })
}

/// Returns what a commit records about its run. The log's names are in camel case; here they are those of `sync --json`.
fn run_status(record: CommitRecord) -> RunStatus {
    let metrics = match record.info {
        Value::Object(metrics) => metrics,
        _ => Map::new(),
    };
    let metrics = metrics.into_iter().map(|(name, value)| (snake_case(&name), value)).collect();
    RunStatus { at: record.at.map(rfc3339), metrics }
}

fn snake_case(name: &str) -> String {
    let parts =
        name.chars().flat_map(|c| c.is_ascii_uppercase().then_some('_').into_iter().chain([c.to_ascii_lowercase()]));
    parts.collect()
}

fn print(document: &Document, out: &mut impl Write) -> std::io::Result<()> {
    for table in &document.damaged {
        writeln!(
            out,
            "{}\n  run clerk-lake sync --full to read it again, or clerk-lake maintain --repair to repair it without Clerk\n",
            harmless_lines(&table.damage)
        )?;
    }
    if !document.tables.is_empty() {
        print_tables(document, out)?;
        print_runs(document, out)?;
    }
    print_failed_runs(&document.failed_runs, out)
}

/// Returns the width of the column with the names of the tables.
fn width(tables: &[TableStatus]) -> usize {
    name_width(tables.iter().map(|table| table.name))
}

fn print_tables(document: &Document, out: &mut impl Write) -> std::io::Result<()> {
    let width = width(&document.tables);
    let instance = document.instance.as_deref().map_or("an unknown instance".into(), harmless_lines);
    writeln!(out, "{} holds {instance}\n", document.lake)?;
    writeln!(
        out,
        "{:<width$} {:>12} {:>6} {:>10} {:>8}  {:<20} age",
        "table", "rows", "files", "bytes", "version", "watermark"
    )?;
    for table in &document.tables {
        writeln!(
            out,
            "{:<width$} {:>12} {:>6} {:>10} {:>8}  {:<20} {}",
            table.name,
            count(table.rows),
            table.files,
            indicatif::HumanBytes(table.bytes).to_string(),
            table.version,
            table.watermark.as_deref().unwrap_or("-"),
            table.age_seconds.map(age).unwrap_or_default(),
        )?;
    }
    writeln!(out)?;
    let feed = |table: &TableStatus| if table.change_data_feed { "on" } else { "off" }.to_owned();
    print_setting(out, "history", &document.tables, |table| table.history.clone())?;
    print_setting(out, "change_data_feed", &document.tables, feed)?;
    for table in &document.tables {
        if let Some(verified_to) = &table.verified_to {
            writeln!(out, "{:<width$} verified_to {verified_to}: rows created until then were read again", table.name)?;
        }
        if let Some(read_since) = &table.read_since {
            writeln!(
                out,
                "{:<width$} read_since {read_since}: all that may have ended were read then or later",
                table.name
            )?;
        }
    }
    Ok(())
}

/// Prints a setting of the tables, and which tables have which value if they differ.
fn print_setting(
    out: &mut impl Write,
    name: &str,
    tables: &[TableStatus],
    value: impl Fn(&TableStatus) -> String,
) -> std::io::Result<()> {
    let mut names_by_value: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for table in tables {
        names_by_value.entry(value(table)).or_default().push(table.name);
    }
    let (has_one_value, width) = (names_by_value.len() == 1, width(tables));
    for (value, names) in names_by_value {
        let of_tables = if has_one_value { String::new() } else { format!(" ({})", names.join(", ")) };
        writeln!(out, "{name:<width$} {value}{of_tables}")?;
    }
    Ok(())
}

fn print_runs(document: &Document, out: &mut impl Write) -> std::io::Result<()> {
    let width = width(&document.tables);
    writeln!(
        out,
        "\n{:<width$} {:<20}  {:<11} {:>10} {:>10} {:>10} {:>10}",
        "last runs", "at", "mode", "read", "inserted", "updated", "deleted"
    )?;
    for table in &document.tables {
        for run in &table.runs {
            let number = |name: &str| count(run.metrics.get(name).and_then(Value::as_u64).unwrap_or(0));
            writeln!(
                out,
                "{:<width$} {:<20}  {:<11} {:>10} {:>10} {:>10} {:>10}",
                table.name,
                run.at.as_deref().unwrap_or("-"),
                harmless_lines(run.metrics.get("mode").and_then(Value::as_str).unwrap_or("-")),
                number("rows_read"),
                number("rows_inserted"),
                number("rows_updated"),
                number("rows_deleted"),
            )?;
        }
    }
    Ok(())
}

/// Prints the failed runs. Resources that failed for the same reason share a line.
fn print_failed_runs(runs: &[FailedRun], out: &mut impl Write) -> std::io::Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nfailed runs")?;
    for run in runs {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for FailedResource { resource, error } in &run.failures {
            match groups.iter_mut().find(|(known, _)| known == error) {
                Some((_, names)) => names.push(resource),
                None => groups.push((error, vec![resource])),
            }
        }
        for (error, names) in groups {
            let names = names.join(", ");
            writeln!(out, "{}  {}: {}", rfc3339(run.finished_at), harmless_lines(&names), harmless_lines(error))?;
        }
    }
    Ok(())
}

/// Formats a duration like the value of `--history`.
fn period(span: TimeDelta) -> String {
    let seconds = span.num_seconds();
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let unit = units.into_iter().find(|(length, _)| seconds % length == 0).filter(|_| seconds > 0);
    unit.map_or_else(|| "0".to_owned(), |(length, unit)| format!("{}{unit}", seconds / length))
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn age(seconds: i64) -> String {
    let age = TimeDelta::seconds(seconds.max(0));
    match (age.num_days(), age.num_hours(), age.num_minutes()) {
        (0, 0, 0) => format!("{} s", age.num_seconds()),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, _) => format!("{hours} h"),
        (days, ..) => format!("{days} d"),
    }
}
