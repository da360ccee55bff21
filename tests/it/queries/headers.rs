//! What every file of `queries/` must say of itself: a file that does not is no figure of the dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::RecordBatch;
use clerk_lake::query::catalogue;

use super::tables::{NOON, Tables, at};

const CHARTS: [&str; 6] = ["stat", "line", "bar", "stacked", "heatmap", "table"];

/// What METRICS defines, and the figures that stand at the head of a dashboard.
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

/// A parameter as its header has it: `lookback_days = 30 (1 to 90)`.
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
    /// What its header says, by key, in the order of the file.
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

    /// The one value of `key`.
    fn value(&self, key: &str) -> &str {
        let values = self.values(key);
        assert_eq!(values.len(), 1, "{} must have one {key} in its header, not {values:?}", self.name);
        values[0]
    }

    fn parameters(&self) -> Vec<Parameter> {
        let parsed = |text: &&str| Parameter::parse(text).ok_or_else(|| format!("{}: {text}", self.name));
        self.values("parameter").iter().map(|text| parsed(text).expect("a name, a default and a range")).collect()
    }

    /// The query without its comments.
    fn sql(&self) -> String {
        let lines = self.text.lines().filter(|line| !line.trim_start().starts_with("--"));
        lines.flat_map(|line| [line, "\n"]).collect()
    }

    /// The `$name`s that it uses.
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
fn every_query_says_what_it_is_and_how_it_is_drawn() {
    for file in files() {
        let (title, description) = (file.value("title"), file.value("description"));
        assert!(!title.trim().is_empty() && !title.ends_with('.'), "{}: {title}", file.name);
        assert!(description.len() > 20 && description.ends_with('.'), "{}: {description}", file.name);
        assert!(CHARTS.contains(&file.value("chart")), "{} is a {}", file.name, file.value("chart"));
        assert!(!file.value("section").is_empty() && !file.value("unit").is_empty(), "{}", file.name);
    }
}

#[test]
fn every_query_has_a_place_and_no_two_have_the_same() {
    let mut places = BTreeMap::new();
    let mut sections: Vec<(u32, String)> = Vec::new();
    for file in files() {
        let place: u32 = file.value("order").parse().expect("a number");
        sections.push((place, file.value("section").to_owned()));
        assert_eq!(places.insert(place, file.name.clone()), None, "{} has the place of another", file.name);
    }
    // A section is one run of places.
    sections.sort();
    sections.dedup_by(|next, before| next.1 == before.1);
    let names: BTreeSet<_> = sections.iter().map(|(_, name)| name).collect();
    assert_eq!(names.len(), sections.len(), "{sections:?}");
}

#[test]
fn every_figure_has_its_query_and_every_query_is_in_the_catalogue() {
    let files: BTreeSet<String> = files().into_iter().map(|file| file.name).collect();
    let missing: Vec<_> = DEFINED.iter().filter(|name| !files.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let catalogue: BTreeSet<String> = catalogue::all().expect("a catalogue").into_iter().map(|it| it.name).collect();
    assert_eq!(catalogue, files);
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

/// Whoever declares a range must answer at both of its ends; a day or a week is a row.
#[tokio::test]
async fn parameters_may_have_any_value_of_their_range() {
    let mut tables = Tables::default();
    tables.active("ada", &["2028-02-29"]);
    for file in files() {
        for it in file.parameters() {
            for value in [it.least, it.most] {
                let rows = tables.rows(&file.name, NOON, &[(it.name.as_str(), value)]).await.len();
                let rows = i64::try_from(rows).expect("a count");
                let wanted = match (file.name.as_str(), it.name.as_str()) {
                    ("retention", "lookback_weeks") => value * value,
                    // There are no users, so no providers; no sessions, so no devices.
                    ("sign_ups_by_provider" | "devices", _) => 0,
                    _ => value,
                };
                assert_eq!(rows, wanted, "{} with {} = {value}", file.name, it.name);
            }
        }
    }
}

/// A stat is one row: the figure, under the query's name, that of the period before, and whether it is exact.
#[tokio::test]
async fn a_stat_is_a_figure_and_the_one_before() {
    let session = Tables::default().session();
    for file in files().into_iter().filter(|file| file.value("chart") == "stat") {
        let query = catalogue::builtin(&file.name).expect("a query of the catalogue");
        let batches = query.run(&session, &at(NOON, &[])).await.expect("an answer");
        let schema = batches[0].schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let name = file.name.as_str();
        assert!([name, "previous", "complete"].starts_with(&columns), "{name}: {columns:?}");
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1, "{name}");
    }
}
