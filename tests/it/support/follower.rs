//! A consumer that loads the tables once and then follows them by the change data feed alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clerk_lake::clock::Clock;
use clerk_lake::lake::{Lake, Table};
use clerk_lake::query::{Parameters, Query};
use clerk_lake::resource;
use clerk_lake::table::{SYNCED_AT, TableSpec};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::Value;

use super::as_json;
use super::expected::{self, Rows};

/// A row of the change data feed.
#[derive(Clone, Debug)]
pub struct Change {
    pub version: u64,
    pub kind: String,
    pub key: String,
    pub row: Value,
}

/// Changes, by table.
pub type Changes = BTreeMap<&'static str, Vec<Change>>;

/// Changed rows, by key and change type.
pub type Difference = BTreeMap<(String, &'static str), Value>;

/// The state of the tables as a consumer of the change data feed knows it: version and rows.
#[derive(Debug, Default)]
pub struct Follower {
    tables: BTreeMap<&'static str, (u64, Rows)>,
}

impl Follower {
    /// Applies the changes since the last call, and loads new tables. Asserts that the result equals the current
    /// tables, row by row.
    pub async fn follow(&mut self, lake: &Lake, case: &str) -> Changes {
        let mut all = Changes::new();
        for spec in resource::TABLES {
            let table = lake.table(spec).await.expect("a table that can be opened");
            let Some(newest) = table.version() else { continue };
            let provider = table.provider().await.expect("a table that can be read");
            let now = keyed(spec, Box::pin(rows(lake, spec, provider)).await);
            let Some((version, known)) = self.tables.get_mut(spec.name) else {
                self.tables.insert(spec.name, (newest, now));
                continue;
            };
            let what = format!("{case}: {} followed from version {version} to {newest}", spec.name);
            let changes = Box::pin(changes(lake, &table, *version)).await;
            apply(&what, known, &changes);
            *version = newest;
            expected::assert_same(&what, known, &now);
            all.insert(spec.name, changes);
        }
        all
    }
}

/// Returns the recorded changes of a table since a version. Within a version, removed rows come before added rows.
pub async fn changes(lake: &Lake, table: &Table, since: u64) -> Vec<Change> {
    let spec = table.spec();
    let provider = table.changes_since(since).await.expect("changes since that version");
    let change = |mut row: Value| {
        let mut take = |column: &str| row.as_object_mut().and_then(|row| row.remove(column)).expect("a column");
        let (kind, version) = (take("_change_type"), take("_commit_version"));
        assert!(take("_commit_timestamp").is_string(), "a change has a commit timestamp");
        let (kind, version) = (kind.as_str().expect("text").to_owned(), version.as_u64().expect("a version"));
        let (key, row) = without_synced_at(spec, row);
        Change { version, kind, key, row }
    };
    let rows = Box::pin(rows(lake, spec, provider)).await;
    let mut changes: Vec<_> = rows.into_iter().map(change).collect();
    let is_added = |change: &Change| change.kind == "insert" || change.kind == "update_postimage";
    changes.sort_by_key(|change| (change.version, is_added(change)));
    changes
}

async fn rows(
    lake: &Lake,
    spec: &'static TableSpec,
    provider: Arc<dyn datafusion::catalog::TableProvider>,
) -> Vec<Value> {
    let context = lake.context();
    context.register_table(spec.name, provider).expect("a table of that name");
    let query = Query::ad_hoc(&format!("SELECT * FROM {}", spec.name));
    as_json(&query.run(&context, &Parameters::at(Clock::system().now())).await.expect("the rows"))
}

/// Returns rows by key, and asserts that there are no duplicates.
fn keyed(spec: &TableSpec, rows: Vec<Value>) -> Rows {
    let count = rows.len();
    let rows: Rows = rows.into_iter().map(|row| without_synced_at(spec, row)).collect();
    assert_eq!(rows.len(), count, "{} has a duplicate row", spec.name);
    rows
}

/// Returns the key of a row, and the row without `_synced_at`.
fn without_synced_at(spec: &TableSpec, mut row: Value) -> (String, Value) {
    let stamp = row.as_object_mut().and_then(|row| row.remove(SYNCED_AT));
    assert!(stamp.is_some_and(|at| at.is_string()), "a row without _synced_at: {row}");
    let key = spec.key.iter().map(|column| row[*column].as_str().expect("a key"));
    (key.collect::<Vec<_>>().join(" "), row)
}

/// Applies `changes` to `rows`, in order. Asserts that each change fits the current rows.
fn apply(what: &str, rows: &mut Rows, changes: &[Change]) {
    let mut kinds: BTreeMap<(u64, &str), Vec<(&str, &Value)>> = BTreeMap::new();
    for Change { version, kind, key, row } in changes {
        kinds.entry((*version, key.as_str())).or_default().push((kind.as_str(), row));
        let before = rows.remove(key);
        match kind.as_str() {
            "delete" | "update_preimage" => {
                assert_eq!(before.as_ref(), Some(row), "{what}: {kind} of {key} in version {version}");
            }
            "insert" | "update_postimage" => {
                assert!(before.is_none(), "{what}: {kind} of {key} in version {version}, but the row exists");
                rows.insert(key.clone(), row.clone());
            }
            other => panic!("{what}: {key} has the unknown change type {other:?}"),
        }
    }
    for ((version, key), changes) in kinds {
        let is_one = match changes.as_slice() {
            [("insert" | "delete", _)] => true,
            [("update_preimage", before), ("update_postimage", after)] => before != after,
            _ => false,
        };
        assert!(is_one, "{what}: version {version} has inconsistent changes of {key}: {changes:?}");
    }
}

/// Returns the changes that must be recorded between the states `before` and `after`.
pub fn difference(before: &Rows, after: &Rows) -> Difference {
    let mut difference = Difference::new();
    for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let words = match (before.get(key), after.get(key)) {
            (Some(before), Some(after)) if before == after => continue,
            (Some(_), Some(_)) => ["update_preimage", "update_postimage"],
            _ => ["delete", "insert"],
        };
        let rows = [before.get(key), after.get(key)];
        let changed = words.into_iter().zip(rows).filter_map(|(word, row)| Some(((key.clone(), word), row?.clone())));
        difference.extend(changed);
    }
    difference
}

/// Returns recorded changes in the form of [`difference`].
pub fn recorded(changes: &[Change]) -> Difference {
    let words = ["insert", "update_preimage", "update_postimage", "delete"];
    let word = |kind: &str| words.into_iter().find(|word| *word == kind).expect("a known change type");
    changes.iter().map(|change| ((change.key.clone(), word(&change.kind)), change.row.clone())).collect()
}

/// Asserts that the change data files of the lake at `lake` in `store` are exactly those that the Delta log names.
pub async fn assert_change_data_matches_log(store: &Arc<dyn ObjectStore>, lake: &str, case: &str) {
    for spec in resource::TABLES {
        let table = format!("{lake}/{}", spec.name);
        let mut named = BTreeSet::new();
        for path in paths(store, &format!("{table}/_delta_log")).await {
            if path.extension() != Some("json") {
                continue;
            }
            let entry = store.get(&path).await.expect("an entry").bytes().await.expect("its text");
            let actions = entry.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let actions = actions.map(|line| serde_json::from_slice::<Value>(line).expect("an action"));
            named.extend(actions.filter_map(|action| Some(format!("{table}/{}", action["cdc"]["path"].as_str()?))));
        }
        let there = paths(store, &format!("{table}/_change_data")).await;
        let there: BTreeSet<String> = there.into_iter().map(String::from).collect();
        assert_eq!(there, named, "{case}: change data of {}", spec.name);
    }
}

async fn paths(store: &Arc<dyn ObjectStore>, prefix: &str) -> Vec<Path> {
    let listed = store.list(Some(&Path::from(prefix))).map_ok(|object| object.location);
    listed.try_collect().await.expect("a list")
}
