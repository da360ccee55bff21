//! The lists of Clerk other than users and sessions. Each property holds for every resource of the registry.

mod bucket;
mod changes;
mod disturbances;
mod odd_rows;
mod old_lakes;
mod private;
mod refusals;
mod tombstones;
mod tracks;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clerk_lake::api::Client;
use clerk_lake::resource::{self, Reading, Resource};
use clerk_lake::simulator::{List, Model, SimulatorConfig};
use clerk_lake::sync::{CancellationToken, Extent, ResourceSummary, Status, Summary, SyncJob, SyncOptions};

use crate::histories::check;
use crate::incremental::{HOUR, set_clock};
use crate::support::expected::{self, Rows};
use crate::support::warnings::Warnings;
use crate::support::{World, files, plain_row_count};

/// Number of rows of each list at the start.
const ROWS: usize = 12;

/// The payment attempts. A sync reads the attempts of closed statements in turns only, so tests that change them ask for
/// a full sync.
const IN_TURNS: &str = "payment_attempts";

/// Returns the resources that Clerk lists by offset, by parent, or as a single object, in the order of the registry.
fn listed() -> Vec<&'static Resource> {
    let is_listed =
        |it: &&Resource| matches!(it.reading, Reading::Offset(_) | Reading::PerParent(_) | Reading::Single(_));
    resource::ALL.into_iter().filter(is_listed).collect()
}

/// Returns the resources of [`listed`] that an instance can lack.
fn optional() -> Vec<&'static Resource> {
    listed().into_iter().filter(|it| !matches!(it.reading, Reading::Single(_))).collect()
}

fn list_of(resource: &Resource) -> List {
    resource.name.parse().expect("a list of the simulator")
}

/// Sets the number of rows of each list, and few users and organizations.
fn small(config: &mut SimulatorConfig) {
    config.users = 40;
    config.organizations = 8;
    config.activity_days = 20;
    config.counts = List::ALL.into_iter().map(|list| (list, ROWS)).collect();
}

/// Returns a world with a few rows in each list, whose syncs read all lists. Its clock stands still.
async fn world(change: impl FnOnce(&mut SimulatorConfig)) -> World {
    let mut world = expected::fixed_clock_world(|config| {
        small(config);
        change(config);
    })
    .await;
    world.options.resources = listed();
    world.options.extent = Extent::Changes;
    world.options.max_shrink = 1.0;
    world
}

/// Like [`world`], after the first sync.
async fn synced(change: impl FnOnce(&mut SimulatorConfig)) -> World {
    let world = world(change).await;
    sync_ok(&world, "first").await;
    world
}

/// Advances the clock of the instance by an hour, and then changes the model.
fn an_hour_later(world: &World, change: impl FnOnce(&mut Model)) {
    let now = world.simulator.standing_clock().expect("a clock that stands still");
    set_clock(world, now + HOUR);
    world.simulator.with_model(change);
}

/// Syncs the selected resources, which must succeed.
async fn sync_ok(world: &World, case: &str) -> Summary {
    let summary = Box::pin(world.sync()).await;
    assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
    summary
}

/// Syncs with this client and these options, and returns the warnings too.
async fn sync_warned(world: &World, client: Client, options: SyncOptions) -> (Summary, Vec<String>) {
    let warnings = Arc::new(Warnings::default());
    let job = SyncJob {
        client,
        lake: world.lake(),
        clock: world.clock(),
        options,
        progress: warnings.clone(),
        stop: CancellationToken::new(),
    };
    let summary = Box::pin(job.run()).await;
    let texts = warnings.texts();
    (summary, texts)
}

/// Returns what the tables of the lists must hold.
fn wanted(world: &World) -> BTreeMap<&'static str, Rows> {
    listed().into_iter().map(|resource| (resource.name, expected::wanted(world, resource.name))).collect()
}

/// Returns the rows of the table of a resource. Opens no other table.
async fn stored(world: &World, resource: &'static Resource) -> Rows {
    let rows = check::stored(&world.lake(), resource).await;
    rows.unwrap_or_else(|| panic!("{} has no table", resource.name))
}

/// Asserts that the tables of all lists equal the instance, row by row, also as a plain Parquet reader counts.
async fn assert_exact(world: &World, case: &str) {
    for resource in listed() {
        let (rows, wanted) = (stored(world, resource).await, expected::wanted(world, resource.name));
        expected::assert_same(&format!("{case}: {}", resource.name), &rows, &wanted);
        let plain = plain_row_count(&world.path(), resource.table.name);
        assert_eq!(plain, wanted.len(), "{case}: {} as a plain Parquet reader counts", resource.name);
    }
    expected::assert_nothing_staged(world, case);
}

/// Returns how many rows differ between two states of a table: inserted, updated and deleted ones.
fn counts_between(before: &Rows, after: &Rows) -> [u64; 3] {
    let mut counts = [0; 3];
    for (id, row) in after {
        match before.get(id) {
            None => counts[0] += 1,
            Some(old) => counts[1] += u64::from(old != row),
        }
    }
    counts[2] = before.keys().filter(|id| !after.contains_key(*id)).count() as u64;
    counts
}

/// Returns the rows that a sync inserted, updated and deleted.
fn written(summary: &ResourceSummary) -> [u64; 3] {
    [summary.rows_inserted, summary.rows_updated, summary.rows_deleted]
}

/// Returns the data files of the table of a resource.
fn data_files(world: &World, resource: &Resource) -> Vec<PathBuf> {
    let paths = files(&world.path().join(resource.table.name)).into_iter().map(|(path, _)| path);
    paths.filter(|path| path.extension().is_some_and(|it| it == "parquet") && !path.starts_with("_delta_log")).collect()
}
