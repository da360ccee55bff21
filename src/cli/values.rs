//! Parsers for the values of flags. Each error says what the flag expects.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use clap::builder::PossibleValuesParser;
use clerk_lake::lake::At;
use clerk_lake::query::Since;
use clerk_lake::resource::{self, Resource};

/// The value of `--resource` that stands for every resource.
const ALL: &str = "all";

/// The value of `--resource` that stands for the resources that a sync reads if none are selected.
const DEFAULT: &str = "default";

/// Accepts the names of all resources, `all` and `default`.
pub fn resources() -> PossibleValuesParser {
    let names = resource::ALL.iter().map(|resource| resource.name);
    PossibleValuesParser::new(names.chain([ALL, DEFAULT]))
}

/// Returns the resources that these values of `--resource` select, in the order of the registry. Empty if there are no
/// values.
pub fn selected(values: &[String]) -> Vec<&'static Resource> {
    let has = |name: &str| values.iter().any(|value| value == name);
    let is_selected = |it: &&Resource| has(it.name) || has(ALL) || (it.default && has(DEFAULT));
    resource::ALL.into_iter().filter(is_selected).collect()
}

/// Parses a share, 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "expected 0 to 1".to_owned())
}

/// Parses a number of days, 1 to `max`.
pub fn days(text: &str, max: u32) -> Result<u32, String> {
    let days = text.parse().ok().filter(|days| (1..=max).contains(days));
    days.ok_or_else(|| format!("expected a whole number of days from 1 to {max}"))
}

/// Parses a timestamp (RFC 3339), or a date, which means its midnight in UTC.
pub fn timestamp(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(timestamp) = DateTime::parse_from_rfc3339(text) {
        return Ok(timestamp.with_timezone(&Utc));
    }
    let date =
        text.parse::<NaiveDate>().map_err(|_| "expected a date (2026-11-24) or a timestamp (RFC 3339)".to_owned())?;
    Ok(date.and_time(NaiveTime::MIN).and_utc())
}

/// Parses a table version, a timestamp or a date.
pub fn at(text: &str) -> Result<At, String> {
    match text.parse() {
        Ok(version) => Ok(At::Version(version)),
        Err(_) => timestamp(text).map(At::Moment).map_err(|error| error.replacen("expected", "expected a version,", 1)),
    }
}

/// Parses `VERSION` or `TABLE=VERSION`.
pub fn since(text: &str) -> Result<Since, String> {
    let (table, version) = match text.split_once('=') {
        Some((table, version)) => (Some(table.trim().to_owned()), version),
        None => (None, text),
    };
    let version = version.trim().parse();
    let version =
        version.map_err(|_| "expected a version such as 12, or a table and its version: clerk_user=12".to_owned())?;
    Ok(Since { table, version })
}

/// Parses a duration in days, hours or minutes, or 0.
pub fn period(text: &str) -> Result<TimeDelta, String> {
    let invalid = || "expected 0, or a number of minutes, hours or days such as 30m, 12h or 7d".to_owned();
    if text.trim() == "0" {
        return Ok(TimeDelta::zero());
    }
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(invalid)?;
    let seconds = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(invalid()),
    };
    let number: u32 = number.trim().parse().map_err(|_| invalid())?;
    TimeDelta::try_seconds(i64::from(number) * seconds).ok_or_else(invalid)
}

/// Parses a number of seconds.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number of seconds".to_owned())
}

/// Parses the name and value of a query parameter. The query decides which type the value has.
pub fn parameter(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| "expected NAME=VALUE, such as lookback_days=7".to_owned())
}

/// Parses an amount of memory, such as `512MB` or `2GB`, and returns its number of bytes.
pub fn bytes(text: &str) -> Result<usize, String> {
    let invalid = || "expected an amount of memory of at least 16MB, such as 512MB or 2GB".to_owned();
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "kib" => 1 << 10,
        "m" | "mb" => 1_000_000,
        "mib" => 1 << 20,
        "g" | "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        "t" | "tb" => 1_000_000_000_000,
        "tib" => 1 << 40,
        _ => return Err(invalid()),
    };
    let digits = u32::try_from(fraction.len()).map_err(|_| invalid())?;
    let scale = 10_u64.checked_pow(digits).ok_or_else(invalid)?;
    let number: u64 = format!("{whole}{fraction}").parse().map_err(|_| invalid())?;
    let bytes = number.checked_mul(unit).map(|bytes| bytes / scale).ok_or_else(invalid)?;
    usize::try_from(bytes).ok().filter(|bytes| *bytes >= 16_000_000).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::{bytes, selected};

    #[test]
    fn all_and_default_stand_for_several_resources() {
        let count = |values: &[&str]| selected(&values.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()).len();
        let (all, default) = (clerk_lake::resource::ALL.len(), clerk_lake::resource::defaults().len());
        for (values, expected) in [
            (&[][..], 0),
            (&["users"], 1),
            (&["users", "users", "sessions"], 2),
            (&["default"], default),
            (&["default", "users", "machines"], default + 1),
            (&["machines", "all"], all),
        ] {
            assert_eq!(count(values), expected, "{values:?}");
        }
    }

    #[test]
    fn an_amount_of_memory_has_a_unit() {
        for (text, expected) in [
            ("512MB", 512_000_000),
            ("2GB", 2_000_000_000),
            ("1.5 GiB", 1_610_612_736),
            ("20000000", 20_000_000),
            ("64mib", 67_108_864),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "GB", "2 apples", "-1GB", "1MB", "1.2.3GB", "99999999TB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
