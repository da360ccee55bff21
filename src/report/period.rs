//! The day, week or month that is in progress when the report is made.

use std::ops::RangeInclusive;

use chrono::{Datelike, Days, NaiveDate};

use super::metric::{Kind, ResultColumn, ResultValue};

/// Days of a week.
const WEEK: u64 = 7;

/// Returns the dates of `column` whose period is in progress on the UTC day `today`; `None` if the column has no dates.
///
/// The distance between the dates determines the period: weeks if all distances are multiples of seven days, months if
/// all dates are the first of a month, days otherwise. For a single date, the name of the column decides.
pub(super) fn in_progress(column: &ResultColumn, today: NaiveDate) -> Option<RangeInclusive<NaiveDate>> {
    if column.kind != Kind::Date {
        return None;
    }
    let dates = || column.values.iter().filter_map(date);
    let first = dates().next()?;
    let (mut weekly, mut monthly, mut several) = (true, true, false);
    for date in dates() {
        weekly &= date.signed_duration_since(first).num_days() % 7 == 0;
        monthly &= date.day() == 1;
        several |= date != first;
    }
    let named = |word: &str| column.name.to_lowercase().split('_').any(|part| part == word);
    let start = if several && weekly || !several && (named("week") || named("cohort")) {
        today.checked_sub_days(Days::new(WEEK - 1))?
    } else if monthly && (several || named("month")) {
        today.with_day(1)?
    } else {
        today
    };
    Some(start..=today)
}

/// Returns the date of `value`; `None` if it is not a date.
pub(super) fn date(value: &ResultValue) -> Option<NaiveDate> {
    match value {
        ResultValue::Date(date) => Some(*date),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::in_progress;
    use crate::report::metric::{Kind, ResultColumn, ResultValue};

    fn found(name: &str, dates: &[&str]) -> Vec<bool> {
        let parsed: Vec<NaiveDate> = dates.iter().map(|date| date.parse().expect("a date")).collect();
        let column = ResultColumn::new(name, Kind::Date, parsed.iter().copied().map(ResultValue::Date).collect());
        let today = "2026-11-25".parse().expect("a date");
        let range = in_progress(&column, today).expect("dates");
        parsed.iter().map(|date| range.contains(date)).collect()
    }

    #[test]
    fn only_the_current_day_of_daily_dates_is_in_progress() {
        assert_eq!(found("date", &["2026-11-24", "2026-11-25", "2026-11-26"]), [false, true, false]);
        assert_eq!(found("date", &["2026-11-25"]), [true]);
    }

    #[test]
    fn the_current_week_and_the_current_month_are_in_progress() {
        assert_eq!(found("week", &["2026-11-09", "2026-11-16", "2026-11-23"]), [false, false, true]);
        assert_eq!(found("week", &["2026-11-23"]), [true]);
        assert_eq!(found("since", &["2026-09-01", "2026-10-01", "2026-11-01"]), [false, false, true]);
    }

    #[test]
    fn a_column_without_dates_has_no_period() {
        let today = "2026-11-25".parse().expect("a date");
        assert_eq!(in_progress(&ResultColumn::new("x", Kind::Integer, vec![ResultValue::Integer(1)]), today), None);
        assert_eq!(in_progress(&ResultColumn::new("x", Kind::Date, vec![ResultValue::Null]), today), None);
    }
}
