//! The real program, killed at any moment: the tables are what was committed, and the next sync needs no repair.
#![cfg(unix)]

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clerk_lake::resource;
use clerk_lake::simulator::{ChangeKind, Changes};

use crate::histories::check::{assert_current, stored};
use crate::histories::draw::{Dice, STIRRING, change};
use crate::histories::{Seen, note};
use crate::support::{World, expected, one_in, plain_rows, stderr};

/// What the moments of death and the changes are drawn from.
const SEED: u64 = 20_261_124;

/// So many rounds there are in an exhaustive test.
const ROUNDS: u64 = 10;

/// So many runs are killed in a round before one is left alone.
const KILLS: u32 = 8;

/// The signal that nobody can catch.
const SIGKILL: i32 = 9;

const INCREMENTAL: [&str; 7] = ["sync", "--max-shrink", "1", "--session-lookback-days", "3650", "--rate-limit", "off"];

const FULL: [&str; 8] =
    ["sync", "--max-shrink", "1", "--session-lookback-days", "3650", "--rate-limit", "off", "--full"];

/// Lets a run end by itself; gives how long it took.
async fn undisturbed(world: &World, arguments: &[&str], case: &str) -> Duration {
    let start = Instant::now();
    let done = world.run(arguments).await;
    assert_eq!(done.status.code(), Some(0), "{case}: {}", stderr(&done));
    start.elapsed()
}

/// Begins a run and kills it after `delay`; whether it was still running.
async fn is_killed(world: &World, arguments: &[&str], delay: Duration) -> bool {
    let mut command = world.command(arguments);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs");
    tokio::time::sleep(delay).await;
    run.kill().expect("a signal");
    let ended = tokio::task::spawn_blocking(move || run.wait().expect("the program ends"));
    ended.await.expect("the thread ends").signal() == Some(SIGKILL)
}

/// Every file in a table's directory is whole, and the table's newest version can be read and has no row twice. More
/// files than it names may be there: those of a commit that was not made, or that it superseded.
async fn assert_readable(world: &World) {
    for resource in resource::ALL {
        plain_rows(&world.path(), resource.table.name);
        stored(&world.lake(), resource).await;
    }
}

/// Kills runs at moments within `usual`, which is how long an incremental and a full one take, until enough have died.
async fn kill_many(world: &World, dice: &mut Dice, seen: &mut Seen, usual: [Duration; 2]) {
    let mut killed = 0;
    while killed < KILLS {
        stir(world, dice, seen);
        let (arguments, usual) = if dice.percent(50) { (&INCREMENTAL[..], usual[0]) } else { (&FULL[..], usual[1]) };
        let delay = usual.mul_f64(f64::from(dice.within(0_u32..=1000)) / 1000.0);
        killed += u32::from(is_killed(world, arguments, delay).await);
        world.simulator.with_model(|model| note(model, seen));
        assert_readable(world).await;
    }
}

/// Some changes before a run, and more before every third list that it reads.
fn stir(world: &World, dice: &mut Dice, seen: &mut Seen) {
    world.simulator.with_model(|model| {
        for _ in 0..dice.within(0..=6) {
            let kind = dice.of(&ChangeKind::ALL);
            change(model, kind, dice);
            note(model, seen);
        }
    });
    let changes = Changes { every: 3, per_step: 1, kinds: STIRRING.to_vec(), most: None };
    world.simulator.set(|config| config.changes = Some(changes));
}

/// One undisturbed incremental sync makes everything right.
async fn assert_needs_no_repair(world: &World, seen: &Seen, case: &str) {
    world.simulator.set(|config| config.changes = None);
    undisturbed(world, &INCREMENTAL, case).await;
    for resource in resource::ALL {
        let lake = world.lake();
        assert_current(world, &lake, resource.name, seen).await;
        let table = lake.table(&resource.table).await.expect("a table");
        let plain = plain_rows(&world.path(), resource.table.name) as u64;
        assert_eq!(plain, table.rows(), "{case}: {} as a plain Parquet reader counts", resource.name);
    }
    expected::assert_nothing_staged(world, case);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_killed_at_any_moment_leaves_what_was_committed_and_the_next_one_needs_no_repair() {
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
    let full = undisturbed(&world, &FULL, "the first sync").await;
    let incremental = undisturbed(&world, &INCREMENTAL, "the second sync").await;
    for round in 0..ROUNDS / one_in(3) {
        let case = format!("round {round}, seed {SEED}");
        // First syncs are killed, too.
        if round % 3 == 0 {
            std::fs::remove_dir_all(world.path()).expect("the lake goes");
        }
        world.simulator.set(|config| config.plain_session_listing = dice.percent(50));
        kill_many(&world, &mut dice, &mut seen, [incremental, full]).await;
        assert_needs_no_repair(&world, &seen, &case).await;
    }
}
