//! The headers of the files in `queries/`. Every built-in query needs a complete header to appear in the report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::RecordBatch;
use clerk_lake::query::queries;

use super::tables::{NOON, Tables, at};

const CHARTS: [&str; 6] = ["stat", "line", "bar", "stacked", "heatmap", "table"];

/// The metrics that must exist.
const DEFINED: [&str; 17] = [
    "active_organizations",
    "active_sessions",
    "active_users",
    "activity_days",
    "daily_active_users",
    "devices",
    "growth",
    "monthly_active_users",
    "new_users",
    "organizations",
    "retention",
    "sessions_by_status",
    "sign_ups",
    "sign_ups_by_provider",
    "stickiness",
    "users",
    "weekly_active_users",
];

/// A parameter as written in the header: `lookback_days = 30 (1 to 90)`.
struct Parameter {
    name: String,
    default: i64,
    least: i64,
    most: i64,
}

impl Parameter {
    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once(" = ")?;
        let (default, range) = rest.strip_suffix(')')?.split_once(" (")?;
        let (least, most) = range.split_once(" to ")?;
        let number = |text: &str| text.parse::<i64>().ok();
        Some(Self { name: name.to_owned(), default: number(default)?, least: number(least)?, most: number(most)? })
    }
}

/// A file of `queries/`.
struct File {
    name: String,
    text: String,
    /// Keys and values of the header, in the order of the file.
    header: Vec<(String, String)>,
}

impl File {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a query");
        let header = text.lines().map_while(|line| line.strip_prefix("-- "));
        let entry = |line: &str| line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned()));
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        Self { header: header.filter_map(entry).collect(), name, text }
    }

    fn values(&self, key: &str) -> Vec<&str> {
        self.header.iter().filter(|(found, _)| found == key).map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the single value of `key`.
    fn value(&self, key: &str) -> &str {
        let values = self.values(key);
        assert_eq!(values.len(), 1, "{}: expected one {key} in the header, found {values:?}", self.name);
        values[0]
    }

    fn parameters(&self) -> Vec<Parameter> {
        let parsed = |text: &&str| Parameter::parse(text).ok_or_else(|| format!("{}: {text}", self.name));
        self.values("parameter").iter().map(|text| parsed(text).expect("a name, a default and a range")).collect()
    }

    /// Returns the query without comments.
    fn sql(&self) -> String {
        let lines = self.text.lines().filter(|line| !line.trim_start().starts_with("--"));
        lines.flat_map(|line| [line, "\n"]).collect()
    }

    /// Returns the names of the `$name` parameters that the query uses.
    fn used(&self) -> BTreeSet<String> {
        let sql = self.sql();
        let name = |rest: &str| rest.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect::<String>();
        sql.split('$').skip(1).map(name).collect()
    }
}

fn files() -> Vec<File> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    entries.map(|path| File::read(&path)).collect()
}

#[test]
fn every_query_has_a_complete_header() {
    for file in files() {
        let (title, description) = (file.value("title"), file.value("description"));
        assert!(!title.trim().is_empty() && !title.ends_with('.'), "{}: {title}", file.name);
        assert!(description.len() > 20 && description.ends_with('.'), "{}: {description}", file.name);
        assert!(CHARTS.contains(&file.value("chart")), "{}: unknown chart {}", file.name, file.value("chart"));
        assert!(!file.value("section").is_empty() && !file.value("unit").is_empty(), "{}", file.name);
    }
}

#[test]
fn every_query_has_a_unique_order_number() {
    let mut places = BTreeMap::new();
    let mut sections: Vec<(u32, String)> = Vec::new();
    for file in files() {
        let place: u32 = file.value("order").parse().expect("a number");
        sections.push((place, file.value("section").to_owned()));
        assert_eq!(
            places.insert(place, file.name.clone()),
            None,
            "{} has the order number of another query",
            file.name
        );
    }
    // The queries of a section are consecutive.
    sections.sort();
    sections.dedup_by(|next, before| next.1 == before.1);
    let names: BTreeSet<_> = sections.iter().map(|(_, name)| name).collect();
    assert_eq!(names.len(), sections.len(), "{sections:?}");
}

#[test]
fn every_metric_has_a_query_and_every_file_is_a_built_in_query() {
    let files: BTreeSet<String> = files().into_iter().map(|file| file.name).collect();
    let missing: Vec<_> = DEFINED.iter().filter(|name| !files.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let queries: BTreeSet<String> =
        queries::all().expect("the built-in queries").into_iter().map(|it| it.name).collect();
    assert_eq!(queries, files);
}

#[test]
fn parameters_have_a_default_within_their_range_and_are_used() {
    for file in files() {
        let parameters = file.parameters();
        for it in &parameters {
            assert!(it.least <= it.default && it.default <= it.most, "{}: {}", file.name, it.name);
        }
        let declared: BTreeSet<String> = parameters.into_iter().map(|it| it.name).collect();
        let given = |name: &String| name == "today" || name == "now";
        let used: BTreeSet<String> = file.used().into_iter().filter(|name| !given(name)).collect();
        assert_eq!(declared, used, "{}", file.name);
    }
}

/// A query must work at both ends of the range of a parameter. A row is a day or a week.
#[tokio::test]
async fn queries_work_at_both_ends_of_each_parameter_range() {
    let mut tables = Tables::default();
    tables.active("ada", &["2028-02-29"]);
    for file in files() {
        for it in file.parameters() {
            for value in [it.least, it.most] {
                let rows = tables.rows(&file.name, NOON, &[(it.name.as_str(), value)]).await.len();
                let rows = i64::try_from(rows).expect("a count");
                let wanted = match (file.name.as_str(), it.name.as_str()) {
                    ("retention", "lookback_weeks") => value * value,
                    // Without users there are no providers; without sessions there are no devices.
                    ("sign_ups_by_provider" | "devices", _) => 0,
                    _ => value,
                };
                assert_eq!(rows, wanted, "{} with {} = {value}", file.name, it.name);
            }
        }
    }
}

/// A stat has one row: the value, in a column with the name of the query, the value of the previous period, and whether
/// it is exact.
#[tokio::test]
async fn a_stat_has_one_row_with_a_value_and_its_previous_value() {
    let context = Tables::default().context();
    for file in files().into_iter().filter(|file| file.value("chart") == "stat") {
        let query = queries::builtin(&file.name).expect("a built-in query");
        let batches = query.run(&context, &at(NOON, &[])).await.expect("a result");
        let schema = batches[0].schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let name = file.name.as_str();
        assert!([name, "previous", "complete"].starts_with(&columns), "{name}: {columns:?}");
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1, "{name}");
    }
}
