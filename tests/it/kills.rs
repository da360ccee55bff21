//! Kills the program at random times. The tables contain what was committed, and the next sync needs no repair.
#![cfg(unix)]

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clerk_lake::resource;
use clerk_lake::simulator::{ChangeKind, Changes};

use crate::histories::check::{assert_current, stored};
use crate::histories::draw::{CHANGES_DURING_SYNC, Dice, change};
use crate::histories::{Seen, note};
use crate::support::{World, expected, plain_row_count, sample_step, stderr};

/// The random seed of the kill times and the changes.
const SEED: u64 = 20_261_124;

/// Number of rounds if the test is exhaustive.
const ROUNDS: u64 = 10;

/// Number of runs that are killed in a round before a run is left to finish.
const KILLS: u32 = 8;

/// The signal that a process cannot catch.
const SIGKILL: i32 = 9;

const INCREMENTAL: [&str; 7] = ["sync", "--max-shrink", "1", "--session-lookback-days", "3650", "--rate-limit", "off"];

const FULL: [&str; 8] =
    ["sync", "--max-shrink", "1", "--session-lookback-days", "3650", "--rate-limit", "off", "--full"];

/// Runs a sync to its end and returns how long it took.
async fn run_to_end(world: &World, arguments: &[&str], case: &str) -> Duration {
    let start = Instant::now();
    let done = world.run(arguments).await;
    assert_eq!(done.status.code(), Some(0), "{case}: {}", stderr(&done));
    start.elapsed()
}

/// Starts a run and kills it after `delay`. Returns whether it was still running.
async fn start_and_kill(world: &World, arguments: &[&str], delay: Duration) -> bool {
    let mut command = world.command(arguments);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs");
    tokio::time::sleep(delay).await;
    run.kill().expect("a signal");
    let ended = tokio::task::spawn_blocking(move || run.wait().expect("the program ends"));
    ended.await.expect("the thread ends").signal() == Some(SIGKILL)
}

/// Asserts that every data file in the tables' directories is complete, and that the newest version of each table can
/// be read and has no duplicate row. The directory may have other files: those of a commit that was not made, or
/// superseded files.
async fn assert_readable(world: &World) {
    for resource in resource::defaults() {
        plain_row_count(&world.path(), resource.table.name);
        stored(&world.lake(), resource).await;
    }
}

/// Kills runs at random times until [`KILLS`] runs have been killed. `durations` are the usual durations of an
/// incremental and a full sync.
async fn kill_many(world: &World, dice: &mut Dice, seen: &mut Seen, durations: [Duration; 2]) {
    let mut killed = 0;
    while killed < KILLS {
        make_changes(world, dice, seen);
        let (arguments, duration) =
            if dice.percent(50) { (&INCREMENTAL[..], durations[0]) } else { (&FULL[..], durations[1]) };
        let delay = duration.mul_f64(f64::from(dice.within(0_u32..=1000)) / 1000.0);
        killed += u32::from(start_and_kill(world, arguments, delay).await);
        world.simulator.with_model(|model| note(model, seen));
        assert_readable(world).await;
    }
}

/// Makes changes before a run, and lets the simulator make more before every third list request.
fn make_changes(world: &World, dice: &mut Dice, seen: &mut Seen) {
    world.simulator.with_model(|model| {
        for _ in 0..dice.within(0..=6) {
            let kind = dice.of(&ChangeKind::ALL);
            change(model, kind, dice);
            note(model, seen);
        }
    });
    let changes = Changes { every: 3, per_step: 1, kinds: CHANGES_DURING_SYNC.to_vec(), most: None };
    world.simulator.set(|config| config.changes = Some(changes));
}

/// Asserts that one incremental sync without interruption makes all tables exact.
async fn assert_needs_no_repair(world: &World, seen: &Seen, case: &str) {
    world.simulator.set(|config| config.changes = None);
    run_to_end(world, &INCREMENTAL, case).await;
    for resource in resource::defaults() {
        let lake = world.lake();
        assert_current(world, &lake, resource.name, seen).await;
        let table = lake.table(&resource.table).await.expect("a table");
        let plain = plain_row_count(&world.path(), resource.table.name) as u64;
        assert_eq!(plain, table.rows(), "{case}: {} as a plain Parquet reader counts", resource.name);
    }
    expected::assert_nothing_staged(world, case);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_sync_leaves_only_committed_rows_and_the_next_sync_needs_no_repair() {
    let world = World::with(|config| {
        config.users = 300;
        config.organizations = 8;
        config.clamp = Some(50);
        config.latency = Duration::from_millis(1);
        config.plain_session_listing = false;
    })
    .await;
    let (mut dice, mut seen) = (Dice::new(SEED), Seen::new());
    world.simulator.with_model(|model| note(model, &mut seen));
    let full = run_to_end(&world, &FULL, "the first sync").await;
    let incremental = run_to_end(&world, &INCREMENTAL, "the second sync").await;
    for round in 0..ROUNDS / sample_step(3) {
        let case = format!("round {round}, seed {SEED}");
        // Also kill first syncs.
        if round % 3 == 0 {
            std::fs::remove_dir_all(world.path()).expect("the lake is deleted");
        }
        world.simulator.set(|config| config.plain_session_listing = dice.percent(50));
        kill_many(&world, &mut dice, &mut seen, [incremental, full]).await;
        assert_needs_no_repair(&world, &seen, &case).await;
    }
}
