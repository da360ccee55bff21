//! `clerk-lake status`.

use std::io::Write;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clerk_lake::clock::Clock;
use clerk_lake::lake::{CommitRecord, Lake, Table};
use clerk_lake::resource::{self, Reading};
use clerk_lake::sync::{SESSIONS_READ, VERIFIED_TO};
use clerk_lake::{Error, Result};
use serde::Serialize;

use super::arguments::StatusArguments;
use super::progress::count;
use super::terminal::{Terminal, check_write};

/// The number of last runs shown for each table.
const SHOWN_RUNS: usize = 3;

#[derive(Serialize)]
struct Document {
    lake: String,
    instance: Option<String>,
    tables: Vec<TableStatus>,
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
    /// The version since which changes are recorded; `None` if unknown or if they are not recorded.
    feed_begins: Option<u64>,
    runs: Vec<RunStatus>,
}

#[derive(Serialize)]
struct RunStatus {
    at: Option<String>,
    #[serde(flatten)]
    metrics: serde_json::Value,
}

pub async fn run(terminal: &mut Terminal, lake: &Lake, arguments: &StatusArguments) -> Result<()> {
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
        check_write(writeln!(out, "{text}"))?;
    } else {
        check_write(print(&document, out))?;
    }
    terminal.try_flush()
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
        feed_begins: table.feed_begins(),
        runs: runs.into_iter().map(run_status).collect(),
    })
}

fn run_status(record: CommitRecord) -> RunStatus {
    RunStatus { at: record.at.map(rfc3339), metrics: record.info }
}

fn print(document: &Document, out: &mut impl Write) -> std::io::Result<()> {
    for table in &document.damaged {
        writeln!(
            out,
            "{}\n  run clerk-lake sync --full to read it again, or clerk-lake maintain --repair to repair it without Clerk\n",
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
            writeln!(out, "\n{}: verified for rows created up to {verified_to}", table.name)?;
        }
        if let Some(read_since) = &table.read_since {
            writeln!(out, "\n{}: every session that may have ended was read at {read_since} or later", table.name)?;
        }
    }
    writeln!(out, "\nlast runs")?;
    for table in &document.tables {
        for run in &table.runs {
            let number = |name: &str| count(run.metrics.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0));
            writeln!(
                out,
                "{:<26} {:<20}  {:<11} {} read  +{} ~{} -{}",
                table.name,
                run.at.as_deref().unwrap_or("-"),
                run.metrics.get("mode").and_then(serde_json::Value::as_str).unwrap_or("-"),
                number("rowsRead"),
                number("rowsInserted"),
                number("rowsUpdated"),
                number("rowsDeleted"),
            )?;
        }
    }
    Ok(())
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
