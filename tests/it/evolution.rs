//! Lakes written by another version of the program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clerk_lake::lake::{CommitDetails, Coverage, Lake, Location, RunArea, Table};
use clerk_lake::simulator::ChangeKind;
use clerk_lake::simulator::model::DAY;
use clerk_lake::sync::{Extent, Status};
use clerk_lake::table::{Column, Shape, TableSpec, columns};

use crate::support::{World, expected, files, stderr, stdout};

/// Returns the path of a lake that version 0.1.0 wrote from [`world`]'s instance.
fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lake-0.1.0")
}

/// Returns a world with the instance that the fixture was synced from.
async fn world() -> World {
    let mut world = expected::fixed_clock_world(|config| {
        config.users = 40;
        config.organizations = 4;
        config.activity_days = 430;
    })
    .await;
    world.options.extent = Extent::Changes;
    world
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        let target = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            std::fs::copy(&entry, &target).expect("a copy");
        }
    }
}

/// Returns the instance in the state after the fixture's last sync, with a copy of the fixture as its lake.
pub async fn older() -> World {
    let world = world().await;
    world.simulator.with_model(|model| model.change(ChangeKind::Ban));
    copy(&fixture(), &world.path());
    world
}

/// A column that the [`fixture`] lacks.
const NEW_COLUMN: &str = NEW_COLUMNS[0];

/// All of these columns.
const NEW_COLUMNS: [&str; 8] = [
    "bypass_client_trust",
    "web3_wallets",
    "passkeys",
    "saml_accounts",
    "enterprise_accounts",
    "scim",
    "lockout_expires_in_seconds",
    "verification_attempts_remaining",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_of_an_earlier_version_can_be_queried_without_migration() {
    let world = older().await;
    assert_eq!(world.number("SELECT count(*) FROM clerk_user").await, 40);
    let output = world.run(&["status"]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let sql = format!("SELECT count(*), count({NEW_COLUMN}), count(id) FROM clerk_user");
    let all = world.run(&["query", "--format", "csv", &sql]).await;
    assert_eq!(stdout(&all).lines().last(), Some("40,0,40"), "a column added later must be null: {}", stderr(&all));
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_continues_a_lake_of_an_earlier_version_without_rewriting_it() {
    let mut world = older().await;
    let before = data_files(&world);
    let changed = world.simulator.with_model(|model| {
        let user = model.users.iter().find(|user| user.created_at < expected::NOW - 400 * DAY).expect("an old user");
        let id = user.id.clone();
        let user = model.users.get_mut(&id).expect("the user");
        user.banned = !user.banned;
        user.updated_at = expected::NOW;
        id
    });
    let summary = world.sync().await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    let untouched = data_files(&world).intersection(&before).count();
    assert!(untouched > 0, "{untouched} of {} files are unchanged", before.len());
    let nulls = world.number(&format!("SELECT count(*) FROM clerk_user WHERE {NEW_COLUMN} IS NULL")).await;
    assert!(nulls > 0, "rows that were not read again must have no value yet");
    let read = format!("SELECT count(*) FROM clerk_user WHERE id = '{changed}' AND NOT {NEW_COLUMN}");
    assert_eq!(world.number(&read).await, 1, "a row that was read again must have a value");
    let mut rows = expected::stored(&world, "users").await;
    let mut wanted = expected::wanted(&world, "users");
    for row in rows.values_mut().chain(wanted.values_mut()).filter_map(serde_json::Value::as_object_mut) {
        for column in NEW_COLUMNS {
            row.remove(column);
        }
        // Version 0.1.0 stored providers with Clerk's prefix `oauth_`. Its rows stay unchanged until they are read
        // again.
        for account in row["external_accounts"].as_array_mut().into_iter().flatten() {
            let provider = account["provider"].as_str().map(|name| name.trim_start_matches("oauth_").to_owned());
            account["provider"] = provider.into();
        }
    }
    expected::assert_same("the other columns", &rows, &wanted);
    world.options.extent = Extent::Full;
    assert_eq!(world.sync().await.status, Status::Ok);
    expected::assert_tables_equal(&world).await;
}

fn data_files(world: &World) -> BTreeSet<PathBuf> {
    let paths = files(&world.path().join("clerk_user")).into_iter().map(|(path, _)| path);
    paths.filter(|path| path.extension().is_some_and(|it| it == "parquet") && !path.starts_with("_delta_log")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_of_a_newer_version_can_be_read_but_not_written() {
    let world = older().await;
    // A commit of a future version, which adds a column.
    let log = world.path().join("clerk_user/_delta_log");
    let first = std::fs::read_to_string(log.join("00000000000000000000.json")).expect("the first commit");
    let metadata = first.lines().find(|line| line.contains("\"metaData\"")).expect("the table's metadata");
    let column = r#"\"fields\":[{\"name\":\"from_the_future\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}},"#;
    let metadata = metadata.replacen(r#"\"fields\":["#, column, 1);
    assert!(metadata.contains("from_the_future"), "{metadata}");
    std::fs::write(log.join("00000000000000000002.json"), metadata).expect("a commit");
    let before = data_files(&world);
    let output = world.run(&["sync", "--resource", "users"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("from_the_future"), "{}", stderr(&output));
    assert!(stderr(&output).contains("update clerk-lake"), "{}", stderr(&output));
    assert_eq!(data_files(&world), before);
    assert_eq!(world.number("SELECT count(*) FROM clerk_user WHERE from_the_future IS NULL").await, 40);
}

/// Writes the fixture. Rewrite it only when lakes of the version that wrote it need no longer be supported.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the fixture"]
async fn write_the_fixture() {
    let world = world().await;
    assert_eq!(world.sync().await.status, Status::Ok);
    world.simulator.with_model(|model| model.change(ChangeKind::Ban));
    assert_eq!(world.sync().await.status, Status::Ok);
    copy(&world.path(), &fixture());
}

/// Returns the columns of a table with a list of structs. The structs have the field `b` if `has_b` is set.
fn nested(ids: &[&str], has_b: bool) -> Vec<Column> {
    let texts = |name, text: &'static str| Column::text(name, "A field.", ids.iter().map(move |_| Some(text)));
    let mut fields = vec![texts("a", "old")];
    fields.extend(has_b.then(|| texts("b", "new")));
    let id = Column::text("id", "The key.", ids.iter().map(|id| Some(*id)));
    vec![id, Column::list("entries", "Entries.", ids.iter().map(|_| Some(1)), &fields)]
}

const WITHOUT_B: TableSpec = TableSpec {
    name: "clerk_nested",
    meaning: "A table with nested fields.",
    shape: Shape::Entity,
    key: &["id"],
    partition: None,
    row_group_rows: 100,
    repetitive: &[],
    source: "a test",
    columns: || nested(&[], false),
};

static BEFORE: TableSpec = WITHOUT_B;
static AFTER: TableSpec = TableSpec { columns: || nested(&[], true), ..WITHOUT_B };

/// Adds rows to a table of a lake, as the version of the program does that declares the table as `spec`.
async fn add(lake: &Lake, spec: &'static TableSpec, ids: &[&str], has_b: bool) -> clerk_lake::Result<()> {
    let area = RunArea::open(lake).await?;
    let mut table = Table::open(lake, spec, Some(&area)).await?;
    table.make_ready().await?;
    let mut writer = table.writer()?;
    writer.write(&columns::batch(&nested(ids, has_b), ids.len()).expect("a batch"), 0).await?;
    let diff = table.diff(writer.finish().await?, Coverage::Partial).await?;
    let info = serde_json::Map::new();
    let change = CommitDetails { watermark: None, instance: None, unreadable: None, positions: Vec::new(), info };
    table.commit_diff(diff, change).await?.committed(spec.name)?;
    area.remove().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_nested_structs_are_added_to_an_existing_table() {
    let directory = tempfile::tempdir().expect("a directory");
    let lake = Lake::new(Location::parse(&directory.path().to_string_lossy()).expect("a location"));
    add(&lake, &BEFORE, &["one", "two"], false).await.expect("rows of the earlier version");
    add(&lake, &AFTER, &["two", "three"], true).await.expect("rows of the newer version");
    let table = lake.table(&AFTER).await.expect("the table");
    let context = lake.context();
    context.register_table("nested", table.provider().await.expect("rows")).expect("a table");
    let sql = "SELECT id, entries[1]['a'] AS a, entries[1]['b'] AS b FROM nested ORDER BY id";
    let rows = context.sql(sql).await.expect("a plan").collect().await.expect("rows");
    let rows = crate::support::as_json(&rows);
    let row = |id: &str, b: Option<&str>| serde_json::json!({"id": id, "a": "old", "b": b});
    assert_eq!(rows, [row("one", None), row("three", Some("new")), row("two", Some("new"))]);
    let refused = add(&lake, &BEFORE, &["four"], false).await.expect_err("the table has a field that is not known");
    assert!(refused.to_string().contains("the column entries.b"), "{refused}");
}
