//! Numbers, days and names as people read them, and text from the data made harmless to look at.
//!
//! Names in a lake are written by the people who sign up: whatever is shown goes through [`clean`] first.

use chrono::{DateTime, Days, NaiveDate, Utc};

/// What stands where there is no value.
pub(super) const NOTHING: &str = "–";

/// The words that are written in capitals where they are a column's whole name.
const CAPITALS: [&str; 8] = ["dau", "wau", "mau", "id", "url", "api", "ip", "utc"];

/// A number with its thousands apart.
pub(super) fn whole(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        out.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number to at most two places after the point, or four where it is less than one.
pub(super) fn number(value: f64) -> String {
    let places = if value.abs() < 1.0 { 4 } else { 2 };
    let text = format!("{value:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let (before, after) = text.split_once('.').map_or((text, None), |(before, after)| (before, Some(after)));
    let Ok(before) = before.parse::<i64>().map(whole) else { return text.to_owned() };
    let sign = if value < 0.0 && !before.starts_with('-') && after.is_some() { "-" } else { "" };
    after.map_or_else(|| before.clone(), |after| format!("{sign}{before}.{after}"))
}

/// A number as short as an axis needs it: 12,000 as 12k.
pub(super) fn compact(value: f64) -> String {
    let units = [(1e9, "B"), (1e6, "M"), (1e3, "k")];
    let unit = units.into_iter().find(|(size, _)| value.abs() >= 1e4 && value.abs() >= *size);
    unit.map_or_else(|| number(value), |(size, unit)| format!("{}{unit}", number(value / size)))
}

/// A share as percent: 0.432 as 43.2 %.
pub(super) fn percent(share: f64) -> String {
    let places = if share.abs() > 0.0 && share.abs() < 0.001 { 2 } else { 1 };
    format!("{:.places$} %", share * 100.0)
}

/// A share as short as an axis needs it: 0.2 as 20 %.
pub(super) fn round_percent(share: f64) -> String {
    format!("{} %", number((share * 1e6).round() / 1e4))
}

/// A column's name in words: `sign_ups` as Sign ups.
pub(super) fn label(name: &str) -> String {
    let name = clean(name);
    if CAPITALS.contains(&name.as_str()) {
        return name.to_uppercase();
    }
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A day as an axis shows it.
pub(super) fn short_day(day: NaiveDate) -> String {
    day.format("%-d %b").to_string()
}

/// A month as an axis shows it.
pub(super) fn month(day: NaiveDate) -> String {
    day.format("%b %Y").to_string()
}

/// A moment to the second; all moments of a report are UTC.
pub(super) fn moment(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The day that is so many days after 1970-01-01.
pub(super) fn day(since_1970: i64) -> NaiveDate {
    let start = NaiveDate::default();
    let days = Days::new(since_1970.unsigned_abs());
    let day = if since_1970 < 0 { start.checked_sub_days(days) } else { start.checked_add_days(days) };
    day.unwrap_or(start)
}

/// How long ago something was.
pub(super) fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// `text` without what would move the cursor, end the line or turn the reading direction of its neighbours.
pub(super) fn clean(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let kept = text.chars().filter(|c| !turns(*c) && !matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{feff}'));
    kept.map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect()
}

/// `text` cut to at most so many characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A whole number as a place in a chart.
#[expect(clippy::cast_precision_loss, reason = "a chart is drawn to a few thousandths")]
pub(super) fn float(number: i64) -> f64 {
    number as f64
}

/// A count as a place in a chart.
#[expect(clippy::cast_precision_loss, reason = "a chart is drawn to a few thousandths")]
pub(super) fn float_of(count: usize) -> f64 {
    count as f64
}

/// The whole part of a number that is known to be small.
#[expect(clippy::cast_possible_truncation, reason = "days and steps of a chart are small")]
pub(super) fn floor(value: f64) -> i64 {
    value.floor() as i64
}

/// A place that is known to be small and not negative, to the nearest whole number.
pub(super) fn nearest(value: f64) -> usize {
    usize::try_from(floor(value + 0.5)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{age, clean, compact, day, label, number, percent, round_percent, shortened, whole};

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([whole(0), whole(-1234), whole(1_000_000)].join(" "), "0 -1,234 1,000,000");
        assert_eq!([number(0.5), number(-0.25), number(1234.5), number(7.0)].join(" "), "0.5 -0.25 1,234.5 7");
        assert_eq!([number(0.1234), number(2.005), number(100.0)].join(" "), "0.1234 2 100");
        assert_eq!([compact(9000.0), compact(12_500.0), compact(3e6)].join(" "), "9,000 12.5k 3M");
        assert_eq!([percent(0.4321), percent(1.0), percent(0.0004)].join(" "), "43.2 % 100.0 % 0.04 %");
        assert_eq!([round_percent(0.2), round_percent(0.025)].join(" "), "20 % 2.5 %");
        assert_eq!([age(5), age(120), age(7200), age(200_000)].join(" "), "5 s 2 min 2 h 2 d");
    }

    #[test]
    fn names_of_columns_become_words() {
        assert_eq!([label("sign_ups"), label("dau"), label("Plan")].join(" "), "Sign ups DAU Plan");
        assert_eq!(day(20_000).to_string(), "2024-10-04");
        assert_eq!(day(-1).to_string(), "1969-12-31");
    }

    #[test]
    fn text_cannot_move_the_cursor_or_turn_its_neighbours() {
        assert_eq!(clean("a\u{1b}[31mb\r\nc\u{202e}d\u{2028}e"), "a [31mb  cd e");
        assert_eq!(shortened("Grüße", 5), "Grüße");
        assert_eq!(shortened("Grüße!", 5), "Grüß…");
    }
}
