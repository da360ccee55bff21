//! Formatting of numbers, dates and durations, and sanitizing of text from the data.
//!
//! The people who sign up choose many of the names in a lake, so all text that is shown passes through [`clean`].

use chrono::{DateTime, Days, NaiveDate, Utc};

/// Placeholder for a missing value.
pub(super) const MISSING: &str = "–";

/// Formats an integer with thousands separators.
pub(super) fn integer(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value < 0 {
        out.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats a count with thousands separators.
pub(super) fn count(value: usize) -> String {
    i64::try_from(value).map_or_else(|_| value.to_string(), integer)
}

/// Formats a number with at most two decimal places, or four if it is smaller than 1.
pub(super) fn number(value: f64) -> String {
    let places = if value.abs() < 1.0 { 4 } else { 2 };
    let text = format!("{value:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let (whole, decimals) = text.split_once('.').map_or((text, None), |(whole, decimals)| (whole, Some(decimals)));
    let Ok(whole) = whole.parse::<i64>().map(integer) else { return text.to_owned() };
    let sign = if value < 0.0 && !whole.starts_with('-') && decimals.is_some() { "-" } else { "" };
    decimals.map_or_else(|| whole.clone(), |decimals| format!("{sign}{whole}.{decimals}"))
}

/// Formats a number for an axis: 12,000 as 12k.
pub(super) fn compact(value: f64) -> String {
    let units = [(1e9, "B"), (1e6, "M"), (1e3, "k")];
    let unit = units.into_iter().find(|(size, _)| value.abs() >= 1e4 && value.abs() >= *size);
    unit.map_or_else(|| number(value), |(size, unit)| format!("{}{unit}", number(value / size)))
}

/// Formats a share as a percentage: 0.432 as 43.2%.
pub(super) fn percent(share: f64) -> String {
    let places = if share.abs() > 0.0 && share.abs() < 0.001 { 2 } else { 1 };
    format!("{:.places$}%", share * 100.0)
}

/// Formats a share for an axis: 0.2 as 20%.
pub(super) fn round_percent(share: f64) -> String {
    format!("{}%", number((share * 1e6).round() / 1e4))
}

/// Formats a date for an axis.
pub(super) fn short_date(date: NaiveDate) -> String {
    date.format("%-d %b").to_string()
}

/// Formats a month for an axis.
pub(super) fn month(date: NaiveDate) -> String {
    date.format("%b %Y").to_string()
}

/// Formats a timestamp to the second. All timestamps of a report are UTC.
pub(super) fn timestamp(timestamp: DateTime<Utc>) -> String {
    timestamp.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Returns the date that is `days` days after 1970-01-01.
pub(super) fn date(days: i64) -> NaiveDate {
    let start = NaiveDate::default();
    let offset = Days::new(days.unsigned_abs());
    let date = if days < 0 { start.checked_sub_days(offset) } else { start.checked_add_days(offset) };
    date.unwrap_or(start)
}

/// Returns the number of days from 1970-01-01 to `date`.
pub(super) fn days_since_1970(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

/// Formats a duration in its largest unit.
pub(super) fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Returns `text` with an upper-case first letter.
pub(super) fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Removes the characters that move the cursor, end the line or change the direction of the text around them.
pub(super) fn clean(text: &str) -> String {
    let directional =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let kept = text.chars().filter(|c| !directional(*c) && !matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{feff}'));
    kept.map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect()
}

/// Cuts `text` to at most `max` characters. An ellipsis marks the cut.
pub(super) fn shortened(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Converts an integer to a coordinate.
#[expect(clippy::cast_precision_loss, reason = "a chart is drawn to a few thousandths")]
pub(super) fn float(value: i64) -> f64 {
    value as f64
}

/// Converts a count to a coordinate.
#[expect(clippy::cast_precision_loss, reason = "a chart is drawn to a few thousandths")]
pub(super) fn float_of(count: usize) -> f64 {
    count as f64
}

/// Rounds a small number down.
#[expect(clippy::cast_possible_truncation, reason = "days and steps of a chart are small")]
pub(super) fn floor(value: f64) -> i64 {
    value.floor() as i64
}

/// Rounds a small number to the nearest integer. Negative numbers become 0.
pub(super) fn nearest(value: f64) -> usize {
    usize::try_from(floor(value + 0.5)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{age, clean, compact, date, days_since_1970, integer, number, percent, round_percent, shortened};

    #[test]
    fn numbers_are_formatted_for_people() {
        assert_eq!([integer(0), integer(-1234), integer(1_000_000)].join(" "), "0 -1,234 1,000,000");
        assert_eq!([number(0.5), number(-0.25), number(1234.5), number(7.0)].join(" "), "0.5 -0.25 1,234.5 7");
        assert_eq!([number(0.1234), number(2.005), number(100.0)].join(" "), "0.1234 2 100");
        assert_eq!([compact(9000.0), compact(12_500.0), compact(3e6)].join(" "), "9,000 12.5k 3M");
        assert_eq!([percent(0.4321), percent(1.0), percent(0.0004)].join(" "), "43.2% 100.0% 0.04%");
        assert_eq!([round_percent(0.2), round_percent(0.025)].join(" "), "20% 2.5%");
        assert_eq!([age(5), age(120), age(7200), age(200_000)].join(" "), "5 s 2 min 2 h 2 d");
    }

    #[test]
    fn dates_are_counted_from_1970() {
        assert_eq!(date(20_000).to_string(), "2024-10-04");
        assert_eq!(date(-1).to_string(), "1969-12-31");
        assert_eq!(days_since_1970(date(20_000)), 20_000);
    }

    #[test]
    fn text_cannot_move_the_cursor_or_change_the_direction() {
        assert_eq!(clean("a\u{1b}[31mb\r\nc\u{202e}d\u{2028}e"), "a [31mb  cd e");
        assert_eq!(shortened("Grüße", 5), "Grüße");
        assert_eq!(shortened("Grüße!", 5), "Grüß…");
    }
}
