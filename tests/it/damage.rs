//! Damaged files: errors name the damaged file, only operations on the damaged table fail, and the table can be
//! repaired from what is still readable.

use std::path::{Path, PathBuf};
use std::process::Output;

use clerk_lake::resource::USERS;
use clerk_lake::simulator::ChangeKind;

use crate::incremental::set_clock;
use crate::support::expected::NOW;
use crate::support::{World, every_second, expected, files, stderr, stdout};

/// Damage to a file of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    DataFileMissing,
    DataFileTruncated,
    EntryGarbled,
    FirstEntryGarbled,
    EntryEmpty,
    EntryMissing,
}

impl Damage {
    const ALL: [Self; 6] = [
        Self::DataFileMissing,
        Self::DataFileTruncated,
        Self::EntryGarbled,
        Self::FirstEntryGarbled,
        Self::EntryEmpty,
        Self::EntryMissing,
    ];

    /// Returns the number of syncs that write the table. The third commit writes a checkpoint, after which older log
    /// entries are no longer needed.
    fn syncs(self) -> usize {
        if self == Self::FirstEntryGarbled { 2 } else { 5 }
    }

    /// Applies the damage to `table`. Returns the name of the damaged file.
    fn apply(self, table: &Path) -> String {
        let file = match self {
            Self::DataFileMissing | Self::DataFileTruncated => data_file(table),
            Self::FirstEntryGarbled => entry(table, 0),
            Self::EntryGarbled | Self::EntryEmpty | Self::EntryMissing => entry(table, 3),
        };
        match self {
            Self::DataFileMissing | Self::EntryMissing => std::fs::remove_file(&file).expect("a file"),
            Self::DataFileTruncated => truncate(&file),
            Self::EntryGarbled | Self::FirstEntryGarbled => std::fs::write(&file, "{\"add\":{\"pa").expect("a file"),
            Self::EntryEmpty => std::fs::write(&file, "").expect("a file"),
        }
        file.file_name().expect("a name").to_string_lossy().into_owned()
    }
}

fn data_file(table: &Path) -> PathBuf {
    let found = files(table).into_iter().map(|(path, _)| path);
    let is_data = |path: &PathBuf| !path.starts_with("_delta_log") && path.to_string_lossy().ends_with(".parquet");
    table.join(found.filter(is_data).min().expect("a data file"))
}

fn entry(table: &Path, version: u64) -> PathBuf {
    table.join(format!("_delta_log/{version:020}.json"))
}

fn truncate(file: &Path) {
    let content = std::fs::read(file).expect("a file");
    std::fs::write(file, &content[..content.len() / 2]).expect("a file");
}

const SYNC: [&str; 7] = ["sync", "--rate-limit", "off", "--session-lookback-days", "3650", "--max-shrink", "1"];

/// Returns a world whose lake was written by `syncs` syncs.
async fn synced(syncs: usize) -> World {
    let world = World::with(|config| {
        config.users = 60;
        config.organizations = 3;
    })
    .await;
    for _ in 0..syncs {
        succeeds(&world, &SYNC, "a sync").await;
        world.simulator.with_model(|model| {
            for kind in [ChangeKind::CreateUser, ChangeKind::Ban, ChangeKind::UpdateProfile] {
                model.change(kind);
            }
        });
    }
    world
}

async fn succeeds(world: &World, arguments: &[&str], case: &str) -> Output {
    let done = world.run(arguments).await;
    assert_eq!(done.status.code(), Some(0), "{case}: {}", stderr(&done));
    done
}

/// Asserts that a query of the damaged table names the file and exits with 5, and that other commands still work.
async fn assert_damage_reported(world: &World, file: &str, case: &str) {
    let query = world.run(&["query", "SELECT count(DISTINCT email) FROM clerk_user"]).await;
    assert_eq!(query.status.code(), Some(5), "{case}: {}", stderr(&query));
    let message = stderr(&query);
    assert!(message.contains(file) && message.contains("clerk_user"), "{case}: {message}");
    assert!(message.contains("sync --full") && message.contains("maintain --repair"), "{case}: {message}");
    succeeds(world, &["query", "SELECT count(*) FROM clerk_organization"], case).await;
    succeeds(world, &["status"], case).await;
    let out = world.path().join("report.html");
    succeeds(world, &["report", "--out", out.to_str().expect("a path")], case).await;
    std::fs::remove_file(out).expect("a report");
}

async fn assert_exact(world: &World, case: &str) {
    for name in ["users", "organizations", "sessions"] {
        expected::assert_resource_equals(world, name, case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_repairs_a_damaged_table() {
    for damage in every_second(&Damage::ALL, 0) {
        let case = format!("{damage:?}");
        let world = synced(damage.syncs()).await;
        let file = damage.apply(&world.path().join("clerk_user"));
        assert_damage_reported(&world, &file, &case).await;
        world.simulator.with_model(|model| model.change(ChangeKind::CreateOrganization));
        if damage != Damage::DataFileMissing && damage != Damage::DataFileTruncated {
            let sync = world.run(&SYNC).await;
            assert_eq!(sync.status.code(), Some(5), "{case}: {}", stderr(&sync));
            assert!(stderr(&sync).contains(&file), "{case}: {}", stderr(&sync));
            expected::assert_resource_equals(&world, "organizations", &case).await;
        }
        succeeds(&world, &[&SYNC[..], &["--full"]].concat(), &case).await;
        assert_exact(&world, &case).await;
        succeeds(&world, &SYNC, &case).await;
        assert_exact(&world, &case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn maintain_repair_makes_a_damaged_table_readable_and_the_next_sync_makes_it_exact() {
    for damage in every_second(&Damage::ALL, 1) {
        let case = format!("{damage:?}");
        let world = synced(damage.syncs()).await;
        damage.apply(&world.path().join("clerk_user"));
        let maintain = world.run(&["maintain"]).await;
        if damage != Damage::DataFileMissing && damage != Damage::DataFileTruncated {
            assert_eq!(maintain.status.code(), Some(5), "{case}: {}", stderr(&maintain));
        }
        let repaired = succeeds(&world, &["maintain", "--repair"], &case).await;
        assert!(stdout(&repaired).contains("repaired: "), "{case}: {}", stdout(&repaired));
        succeeds(&world, &["query", "SELECT * FROM clerk_user"], &case).await;
        succeeds(&world, &SYNC, &case).await;
        assert_exact(&world, &case).await;
        let again = succeeds(&world, &["maintain", "--repair"], &case).await;
        assert!(!stdout(&again).contains("repaired: "), "{case}: {}", stdout(&again));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_clerk_no_longer_shows_survive_a_lost_log_entry() {
    let world = synced(5).await;
    let before = expected::stored(&world, "sessions").await;
    world.simulator.with_model(|model| (0..20).for_each(|_| model.change(ChangeKind::CleanUpSession)));
    Damage::EntryGarbled.apply(&world.path().join("clerk_session"));
    succeeds(&world, &[&SYNC[..], &["--full"]].concat(), "a full sync").await;
    let after = expected::stored(&world, "sessions").await;
    let lost: Vec<_> = before.keys().filter(|id| !after.contains_key(*id)).collect();
    assert!(lost.is_empty(), "these sessions, which Clerk no longer shows, were lost: {lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watermark_survives_damage_to_a_log_entry_that_a_checkpoint_covers() {
    let world = synced(3).await;
    set_clock(&world, NOW);
    succeeds(&world, &SYNC, "a sync at another time").await;
    succeeds(&world, &["maintain"], "a checkpoint").await;
    let table = world.path().join("clerk_user");
    let lake = world.lake();
    let before = lake.table(&USERS.table).await.expect("a table");
    let watermark = before.watermark().await.expect("a position");
    for damaged in ["", "{\"commitInfo\":{}}\n{\"add\":{\"pa"] {
        // The sync's own entry, and that of the maintenance if it has committed one.
        let newest = before.version().expect("a version");
        for version in [newest - 1, newest] {
            std::fs::write(entry(&table, version), damaged).expect("an entry");
        }
        let after = lake.table(&USERS.table).await.expect("a table");
        assert_eq!(after.watermark().await.expect("a position"), watermark, "{damaged:?}");
    }
}

/// Damage to the Delta checkpoint of the users table.
#[derive(Clone, Copy, Debug)]
enum CheckpointDamage {
    Missing,
    Truncated,
    HintToNothing,
    HintGarbled,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_a_damaged_checkpoint_is_readable_and_can_be_synced() {
    use CheckpointDamage::{HintGarbled, HintToNothing, Missing, Truncated};
    let world = synced(5).await;
    for damage in [Missing, Truncated, HintToNothing, HintGarbled] {
        let case = format!("{damage:?}");
        succeeds(&world, &["maintain"], &case).await;
        let log = world.path().join("clerk_user/_delta_log");
        let checkpoints = || -> Vec<PathBuf> {
            let found = files(&log).into_iter().map(|(path, _)| log.join(path));
            found.filter(|path| path.to_string_lossy().ends_with(".checkpoint.parquet")).collect()
        };
        let newest = checkpoints().into_iter().max().expect("a checkpoint");
        match damage {
            Missing => checkpoints().iter().for_each(|path| std::fs::remove_file(path).expect("a file")),
            Truncated => truncate(&newest),
            HintToNothing => {
                let hint = "{\"version\":4711,\"size\":3}";
                std::fs::write(log.join("_last_checkpoint"), hint).expect("a hint");
            }
            HintGarbled => std::fs::write(log.join("_last_checkpoint"), "{\"ver").expect("a hint"),
        }
        let query = succeeds(&world, &["query", "SELECT count(*) FROM clerk_user", "--format", "csv"], &case).await;
        let wanted = expected::wanted(&world, "users").len();
        assert!(
            stdout(&query)
                .trim()
                .lines()
                .last()
                .is_some_and(|it| it.parse::<usize>().is_ok_and(|it| it + 1 >= wanted - 1)),
            "{case}: {}",
            stdout(&query)
        );
        succeeds(&world, &SYNC, &case).await;
        assert_exact(&world, &case).await;
    }
}
