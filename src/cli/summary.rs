//! The text that `sync` and `demo` print after a run, and the text of `sync --plan`.

use std::io::{self, Write};
use std::time::Duration;

use clerk_lake::ErrorKind;
use clerk_lake::sync::{ResourcePlan, ResourceStatus, ResourceSummary, Status, Summary, SyncPlan};

use super::progress::count;

/// What the columns with signs mean.
pub const LEGEND: &str = "+ inserted, ~ updated, - deleted";

/// Prints the summary of a sync that took `elapsed`. `locating_flags` are the flags with which another command finds
/// the same lake.
pub fn print_summary(
    summary: &Summary,
    elapsed: Duration,
    locating_flags: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let what = match summary.status {
        Status::Ok => "Synced",
        Status::Partial => "Synced a part of",
        Status::Failed => "Could not sync",
    };
    let instance = summary.instance.as_deref().unwrap_or("an unknown instance");
    writeln!(out, "{what} {instance} into {} in {}\n", summary.lake, duration(elapsed))?;
    print_rows(summary, out)?;
    writeln!(out, "\nRows: {LEGEND}")?;
    if summary.status == Status::Ok {
        writeln!(out, "Next: clerk-lake status{locating_flags}, or clerk-lake query{locating_flags}")?;
    }
    Ok(())
}

/// Prints a line for each resource of a run.
pub fn print_rows(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    let width = name_width(summary.resources.iter().map(|resource| resource.name.as_str()));
    summary.resources.iter().try_for_each(|resource| writeln!(out, "{}", outcome(resource, width)))
}

/// Returns the width of a column that holds these names of resources or tables.
pub fn name_width<'n>(names: impl Iterator<Item = &'n str>) -> usize {
    names.map(str::len).max().unwrap_or(0).max(20)
}

/// Returns the line of the summary for one resource, whose name takes `width` columns.
fn outcome(summary: &ResourceSummary, width: usize) -> String {
    let name = &summary.name;
    let why = summary.error.as_deref().unwrap_or_default();
    let stopped = summary.failure.as_ref().is_some_and(|error| error.kind() == ErrorKind::Interrupted);
    match summary.status {
        ResourceStatus::Failed if stopped && summary.requests == 0 => format!("{name:<width$} not started"),
        ResourceStatus::Failed if stopped => format!("{name:<width$} stopped"),
        ResourceStatus::Failed => format!("{name:<width$} failed   {why}"),
        ResourceStatus::Skipped if summary.requests == 0 => format!("{name:<width$} skipped  {why}"),
        ResourceStatus::Skipped => format!("{name:<width$} skipped  not available on this instance"),
        ResourceStatus::Ok => {
            let rejected = match summary.rows_rejected {
                0 => String::new(),
                rows => format!("  {} rejected", count(rows)),
            };
            #[expect(clippy::cast_precision_loss, reason = "approximate seconds are enough")]
            let seconds = summary.elapsed_ms as f64 / 1000.0;
            format!(
                "{name:<width$} ok       {:>10} rows  +{} ~{} -{}{rejected}  {}  {seconds:.1} s",
                count(summary.rows_total),
                count(summary.rows_inserted),
                count(summary.rows_updated),
                count(summary.rows_deleted),
                requests(summary.requests),
            )
        }
    }
}

fn requests(number: u64) -> String {
    format!("{} {}", count(number), if number == 1 { "request" } else { "requests" })
}

/// Prints what a sync would do.
pub fn print_plan(plan: &SyncPlan, out: &mut impl Write) -> io::Result<()> {
    let instance = plan.instance.as_deref().unwrap_or("an unknown instance");
    writeln!(out, "A sync of {instance} into {} would do this. Nothing was written.\n", plan.lake)?;
    let width = name_width(plan.resources.iter().map(|resource| resource.name));
    writeln!(out, "{:<width$} {:<11} {:>12} {:>12}  {:<9} why", "resource", "mode", "rows", "requests", "time")?;
    for ResourcePlan { name, mode, rows, requests, minutes, why } in &plan.resources {
        let (rows, requests, time) = (about(*rows), about(*requests), minutes_text(*minutes));
        writeln!(out, "{name:<width$} {mode:<11} {rows:>12} {requests:>12}  {time:<9} {why}")?;
    }
    let within = match plan.requests_per_second {
        Some(rate) => format!("within the request budget of {rate:.0} requests per second"),
        None => "without a limit on requests".to_owned(),
    };
    writeln!(out, "\nIn all about {}: {} {within}", requests(plan.requests), minutes_text(plan.minutes))
}

/// Formats an estimated number.
pub fn about(number: u64) -> String {
    if number == 0 { "0".to_owned() } else { format!("~{}", count(number)) }
}

/// Formats an estimated number of minutes.
pub fn minutes_text(minutes: f64) -> String {
    duration(Duration::try_from_secs_f64((minutes * 60.0).max(0.0)).unwrap_or(Duration::MAX))
}

/// Formats a duration: in seconds below a minute, then in minutes, then in hours.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_secs() {
        0..60 => format!("{seconds:.1} s"),
        60..6000 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shown_in_the_unit_that_suits_it() {
        for (seconds, text) in [(0.04, "0.0 s"), (59.9, "59.9 s"), (90.0, "1.5 min"), (7200.0, "2.0 h")] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
    }
}
