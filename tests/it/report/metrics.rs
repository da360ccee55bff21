//! A report of invented metrics, one of each kind.

use chrono::{DateTime, Days, NaiveDate, Utc};
use clerk_lake::query::{Chart, Query};
use clerk_lake::report::{
    InstanceResult, Kind, LakeState, Metric, Report, ResultColumn, ResultRows, ResultValue, TableSummary,
};
use clerk_lake::{Error, ErrorKind};

/// Time of the report.
pub const NOW: &str = "2026-11-24T16:01:05Z";

/// A name with markup and control characters.
pub const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{202e}\u{1b}[2J";

pub fn now() -> DateTime<Utc> {
    timestamp(NOW)
}

fn timestamp(text: &str) -> DateTime<Utc> {
    text.parse().expect("a timestamp")
}

pub fn query(name: &str, title: &str, chart: Chart) -> Query {
    Query {
        name: name.to_owned(),
        title: title.to_owned(),
        description: format!("What {name} counts, and what not."),
        chart,
        ..Query::default()
    }
}

pub fn whole(name: &str, values: impl IntoIterator<Item = i64>) -> ResultColumn {
    ResultColumn::new(name, Kind::Integer, values.into_iter().map(ResultValue::Integer).collect())
}

pub fn numbers(name: &str, values: impl IntoIterator<Item = f64>) -> ResultColumn {
    ResultColumn::new(name, Kind::Float, values.into_iter().map(ResultValue::Float).collect())
}

pub fn texts<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> ResultColumn {
    ResultColumn::new(name, Kind::Text, values.into_iter().map(|value| ResultValue::Text(value.to_owned())).collect())
}

pub fn flags(name: &str, values: impl IntoIterator<Item = bool>) -> ResultColumn {
    ResultColumn::new(name, Kind::Boolean, values.into_iter().map(ResultValue::Boolean).collect())
}

/// Returns `count` dates that are `step` days apart. The last is the day of the report.
pub fn days(name: &str, count: u64, step: u64) -> ResultColumn {
    let last: NaiveDate = now().date_naive();
    let day = |ago: u64| ResultValue::Date(last - Days::new(ago * step));
    ResultColumn::new(name, Kind::Date, (0..count).rev().map(day).collect())
}

pub fn metric(query: Query, columns: Vec<ResultColumn>) -> Metric {
    Metric {
        query,
        parts: vec![InstanceResult { instance: "ins_invented".to_owned(), rows: Ok(ResultRows { columns }) }],
    }
}

pub fn failed(query: Query, message: &str) -> Metric {
    let error = Error::new(ErrorKind::Query, message).with_hint("clerk-lake schema lists the tables");
    Metric { query, parts: vec![InstanceResult { instance: "ins_invented".to_owned(), rows: Err(error) }] }
}

/// Returns the metric over two instances. The second has a hundredth of the users.
pub fn over_two(metric: &Metric) -> Metric {
    let mut parts = metric.parts.clone();
    let mut second = parts[0].clone();
    "ins_other".clone_into(&mut second.instance);
    if let Ok(rows) = &mut second.rows {
        for value in rows.columns.iter_mut().flat_map(|column| &mut column.values) {
            if let ResultValue::Integer(number) = value
                && *number > 1000
            {
                *number /= 100;
            }
        }
    }
    parts.push(second);
    Metric { query: metric.query.clone(), parts }
}

pub fn report(metrics: Vec<Metric>) -> Report {
    let instances: Vec<String> =
        metrics.first().map_or_else(Vec::new, |it| it.parts.iter().map(|part| part.instance.clone()).collect());
    let table = |name: &str, rows, version, watermark: Option<&str>| TableSummary {
        name: name.to_owned(),
        rows,
        version,
        watermark: watermark.map(timestamp),
    };
    let lakes = instances.into_iter().map(|instance| LakeState {
        instance,
        location: "s3://bucket/clerk".to_owned(),
        tables: vec![
            table("clerk_user", 25_311, 41, Some("2026-11-24T15:00:02Z")),
            table("clerk_session", 46_041, 38, Some("2026-11-24T15:00:04Z")),
            table("clerk_rejected_row", 2, 0, None),
        ],
    });
    Report { made_at: now(), lakes: lakes.collect(), metrics }
}

/// Returns a report with one metric of each kind.
pub fn of_each_kind() -> Report {
    let mut metrics = overview();
    metrics.extend(activity());
    metrics.extend(growth());
    metrics.extend(others());
    report(metrics)
}

fn placed(mut query: Query, section: &str, order: i64, unit: &str) -> Query {
    query.section = Some(section.to_owned());
    query.order = Some(order);
    query.unit = Some(unit.to_owned());
    query
}

fn overview() -> Vec<Metric> {
    let stat =
        |name: &str, title: &str, order, unit: &str| placed(query(name, title, Chart::Stat), "Overview", order, unit);
    vec![
        metric(stat("users", "Users", 10, "users"), vec![whole("users", [25_311])]),
        metric(stat("new_users", "New users", 11, "users"), vec![whole("new_users", [412]), whole("previous", [388])]),
        metric(
            stat("stickiness", "Stickiness", 12, "share"),
            vec![numbers("stickiness", [0.1893]), numbers("previous", [0.2051])],
        ),
        metric(stat("nothing_yet", "Nothing yet", 13, "users"), vec![whole("users", [])]),
    ]
}

fn activity() -> Vec<Metric> {
    let dau: Vec<i64> = (0..30).map(|day| 1000 + (day * 37) % 400 + if day % 7 < 5 { 500 } else { 0 }).collect();
    let wau: Vec<i64> = dau.iter().map(|users| users * 3).collect();
    let sticky: Vec<f64> = (0..30_u32).map(|day| 0.12 + f64::from(day % 9) / 100.0).collect();
    let complete = || flags("complete", (0..30).map(|day| (8..28).contains(&day)));
    let line = placed(query("active_users", "Active users", Chart::Line), "Activity", 20, "users");
    let bars = placed(query("activity_days", "Days of activity", Chart::Bar), "Activity", 21, "users");
    vec![
        metric(
            line,
            vec![
                days("date", 30, 1),
                whole("dau", dau.clone()),
                whole("wau", wau),
                numbers("stickiness", sticky),
                complete(),
                whole("at_most", dau.iter().map(|users| users + 300)),
            ],
        ),
        metric(bars, vec![whole("days", 1..=28), whole("users", (1..=28).map(|days| 9000 / days))]),
    ]
}

fn growth() -> Vec<Metric> {
    let new: Vec<i64> = (0..12).map(|week| 300 + week * 10).collect();
    let retained: Vec<i64> = (0..12).map(|week| 3000 + week * 50).collect();
    let active: Vec<i64> = new.iter().zip(&retained).map(|(new, retained)| new + retained + 80).collect();
    let stacked = placed(query("growth", "Growth", Chart::Stacked), "Growth", 30, "users");
    let by_provider =
        placed(query("sign_ups_by_provider", "Sign-ups by provider", Chart::Stacked), "Growth", 31, "users");
    let heat = placed(query("retention", "Retention", Chart::Heatmap), "Growth", 32, "share");
    let (mut cohort, mut week, mut size, mut share) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mondays = days("cohort", 6, 7);
    for (at, day) in (0_i64..).zip(&mondays.values) {
        for weeks in 0..6 - at {
            cohort.push(day.clone());
            week.push(weeks);
            size.push(400 + at * 10);
            share.push(if weeks == 0 { 1.0 } else { 0.5 / f64::from(i32::try_from(weeks).expect("small")) });
        }
    }
    let providers = ["google", "email", "github", "apple"];
    let (dates, names) =
        (days("week", 10, 7).values.into_iter().flat_map(|day| vec![day; 4]).collect(), providers.repeat(10));
    vec![
        metric(
            stacked,
            vec![
                days("week", 12, 7),
                whole("new", new),
                whole("retained", retained),
                whole("reactivated", [80; 12]),
                whole("churned", (0..12).map(|week| 200 + week * 5)),
                whole("active", active),
                flags("complete", (0..12).map(|week| week < 11)),
            ],
        ),
        metric(
            by_provider,
            vec![
                ResultColumn::new("week", Kind::Date, dates),
                texts("provider", names),
                whole("sign_ups", (0..40).map(|row| 10 + (row * 7) % 23)),
                whole("total", (0..40).map(|row| 1000 + row * 20)),
            ],
        ),
        metric(
            heat,
            vec![
                ResultColumn::new("cohort", Kind::Date, cohort),
                whole("week", week),
                whole("cohort_users", size),
                numbers("retention", share),
            ],
        ),
    ]
}

fn others() -> Vec<Metric> {
    let status = placed(query("sessions_by_status", "Sessions by status", Chart::Bar), "Sessions", 40, "sessions");
    let devices = placed(query("devices", "Devices", Chart::Table), "Sessions", 41, "sessions");
    let mut mine = query("largest_organizations", "Largest organizations", Chart::Bar);
    mine.section = Some(format!("My own {HOSTILE}"));
    vec![
        metric(
            status,
            vec![texts("status", ["ended", "active", "abandoned"]), whole("sessions", [20_000, 18_880, 310])],
        ),
        metric(
            devices,
            vec![
                texts("device", ["iPhone", "Macintosh", "(others)"]),
                texts("country", ["DE", "JP", "(others)"]),
                whole("sessions", [9000, 4500, 12]),
            ],
        ),
        metric(
            mine,
            vec![texts("name", [HOSTILE, "株式会社テスト", "Grüße & Söhne"]), whole("members", [400, 210, 7])],
        ),
        failed(query("broken", "Seats by plan", Chart::Bar), "column 'plan' not found"),
    ]
}
