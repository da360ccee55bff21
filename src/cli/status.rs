//! `clerk-lake status`.

use std::io::Write;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clerk_lake::clock::Clock;
use clerk_lake::lake::{CommitRecord, Lake, Table};
use clerk_lake::sync::{SESSIONS_READ, VERIFIED_TO};
use clerk_lake::{Error, Result, resource};
use serde::Serialize;

use super::arguments::Status;
use super::progress::count;
use super::terminal::{Terminal, written};

/// How many of the last runs are shown for each table.
const RUNS: usize = 3;

#[derive(Serialize)]
struct Document {
    lake: String,
    instance: Option<String>,
    tables: Vec<TableStatus>,
    /// Tables that cannot be opened, and why.
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
    /// Up to which moment of creation rows have been verified in this round.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_to: Option<String>,
    /// Since when all rows have been read that may have changed, if not all are at each sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    read_since: Option<String>,
    /// The version since which changes are recorded.
    feed_begins: Option<u64>,
    runs: Vec<RunStatus>,
}

#[derive(Serialize)]
struct RunStatus {
    at: Option<String>,
    #[serde(flatten)]
    figures: serde_json::Value,
}

pub async fn run(terminal: &mut Terminal, lake: &Lake, arguments: &Status) -> Result<()> {
    let now = Clock::system().now();
    let mut document =
        Document { lake: lake.location().to_string(), instance: None, tables: Vec::new(), damaged: Vec::new() };
    for spec in resource::TABLES {
        let table = lake.table_to_query(spec, None).await?;
        if table.is_damaged() {
            let damage = table.damage().await.map(|error| error.to_string()).unwrap_or_default();
            document.damaged.push(Damaged { name: spec.name, damage });
        }
        if let Some(version) = table.version() {
            document.instance = document.instance.or(table.instance());
            document.tables.push(status(&table, version, now).await?);
        }
    }
    let out = terminal.out();
    if arguments.json {
        let text = serde_json::to_string(&document).map_err(|error| Error::bug(error.to_string()))?;
        written(writeln!(out, "{text}"))?;
    } else {
        written(print(&document, out))?;
    }
    terminal.flushed()
}

async fn status(table: &Table, version: u64, now: DateTime<Utc>) -> Result<TableStatus> {
    let watermark = if resource::has_watermark(table.spec()) { table.watermark().await? } else { None };
    let runs = table.history(RUNS).await?;
    let moment = |millis: Option<i64>| millis.and_then(DateTime::from_timestamp_millis).map(shown);
    let verified_to = moment(table.position(VERIFIED_TO).await?);
    let read_since = moment(table.position(SESSIONS_READ).await?);
    Ok(TableStatus {
        name: table.spec().name,
        rows: table.rows(),
        files: table.file_count(),
        bytes: table.bytes(),
        version,
        watermark: watermark.map(shown),
        age_seconds: watermark.map(|watermark| (now - watermark).num_seconds()),
        verified_to,
        read_since,
        feed_begins: table.feed_begins(),
        runs: runs.into_iter().map(run_status).collect(),
    })
}

fn run_status(record: CommitRecord) -> RunStatus {
    RunStatus { at: record.at.map(shown), figures: record.info }
}

fn print(document: &Document, out: &mut impl Write) -> std::io::Result<()> {
    for table in &document.damaged {
        writeln!(
            out,
            "{}\n  clerk-lake sync --full reads it anew; clerk-lake maintain --repair needs no Clerk\n",
            table.damage
        )?;
    }
    if document.tables.is_empty() && !document.damaged.is_empty() {
        return Ok(());
    }
    if document.tables.is_empty() {
        return writeln!(out, "{} has no tables yet: run clerk-lake sync", document.lake);
    }
    let instance = document.instance.as_deref().unwrap_or("an unknown instance");
    writeln!(out, "{} holds {instance}\n", document.lake)?;
    writeln!(
        out,
        "{:<26} {:>12} {:>6} {:>10} {:>8}  {:<20} age",
        "table", "rows", "files", "size", "version", "complete up to"
    )?;
    for table in &document.tables {
        writeln!(
            out,
            "{:<26} {:>12} {:>6} {:>10} {:>8}  {:<20} {}",
            table.name,
            count(table.rows),
            table.files,
            indicatif::HumanBytes(table.bytes).to_string(),
            table.version,
            table.watermark.as_deref().unwrap_or("-"),
            table.age_seconds.map(age).unwrap_or_default(),
        )?;
    }
    for table in &document.tables {
        if let Some(verified_to) = &table.verified_to {
            writeln!(out, "\n{}: verified up to rows created at {verified_to}", table.name)?;
        }
        if let Some(read_since) = &table.read_since {
            writeln!(out, "\n{}: all that may have ended were read at {read_since} or later", table.name)?;
        }
    }
    writeln!(out, "\nlast runs")?;
    for table in &document.tables {
        for run in &table.runs {
            let figure = |name: &str| count(run.figures.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0));
            writeln!(
                out,
                "{:<26} {:<20}  {:<11} {} read  +{} ~{} -{}",
                table.name,
                run.at.as_deref().unwrap_or("-"),
                run.figures.get("mode").and_then(serde_json::Value::as_str).unwrap_or("-"),
                figure("rowsRead"),
                figure("rowsInserted"),
                figure("rowsUpdated"),
                figure("rowsDeleted"),
            )?;
        }
    }
    Ok(())
}

fn shown(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
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
