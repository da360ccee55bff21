//! The measured lakes: empty lakes, a lake filled by a real sync, and copies of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use arrow::array::RecordBatch;
use clerk_lake::api::RateLimit;
use clerk_lake::clock::Clock;
use clerk_lake::lake::{CommitDetails, Lake, Location, RunArea, StagedRows, Table};
use clerk_lake::resource::USERS;
use clerk_lake::sync::{CancellationToken, Silent, Status, SyncJob, SyncOptions};
use tempfile::TempDir;

use crate::clerk::{Simulator, size};
use crate::support::{client, now, runtime};

/// A lake in a temporary directory, with the users table open for writing.
pub struct OpenLake {
    /// The users table.
    pub table: Table,
    _area: RunArea,
    directory: TempDir,
}

impl OpenLake {
    /// Creates an empty lake.
    pub fn empty() -> Self {
        Self::in_directory(tempfile::tempdir().expect("a directory"))
    }

    /// Creates a copy of the [`synced`] lake.
    pub fn synced() -> Self {
        Self::in_directory(copy_of_synced())
    }

    fn in_directory(directory: TempDir) -> Self {
        let lake = at(directory.path());
        let (area, table) = runtime().block_on(async {
            let area = RunArea::open(&lake).await.expect("a run area");
            let table = Table::open(&lake, &USERS.table, Some(&area)).await.expect("the users table");
            (area, table)
        });
        Self { table, _area: area, directory }
    }

    /// Stages `batches`, which must have the complete schema of the table.
    pub fn stage(&self, batches: &[RecordBatch]) -> StagedRows {
        runtime().block_on(async {
            let mut writer = self.table.writer().expect("a writer");
            for batch in batches {
                writer.write_stamped(batch.clone()).await.expect("rows are staged");
            }
            writer.finish().await.expect("the files are closed")
        })
    }

    /// Keeps the lake until the process ends, and returns its path.
    pub fn keep(self) -> PathBuf {
        let path = self.directory.path().to_path_buf();
        KEPT.lock().expect("no bench has panicked").push(self.directory);
        path
    }
}

/// Returns the lake in `directory`.
pub fn at(directory: &Path) -> Lake {
    Lake::new(Location::parse(&directory.to_string_lossy()).expect("a lake location"))
}

/// Returns the metadata of a commit: only a watermark.
pub fn change() -> CommitDetails {
    CommitDetails {
        watermark: Some(now()),
        instance: None,
        unreadable: None,
        positions: Vec::new(),
        info: serde_json::Map::new(),
    }
}

/// Returns the path of a lake with `CLERK_LAKE_BENCH_USERS` users, filled by a real sync once per process.
///
/// Benches must not change this lake.
pub fn synced() -> &'static Path {
    static SYNCED: LazyLock<PathBuf> = LazyLock::new(|| {
        let simulator = Simulator::start(size("CLERK_LAKE_BENCH_USERS", 250_000), &[]);
        let directory = tempfile::tempdir().expect("a directory");
        let sync = SyncJob {
            client: client(&simulator.url, RateLimit::Unlimited),
            lake: at(directory.path()),
            clock: Clock::system(),
            options: SyncOptions { resources: vec![&USERS], ..SyncOptions::default() },
            progress: Arc::new(Silent),
            stop: CancellationToken::new(),
        };
        let summary = runtime().block_on(sync.run());
        assert_eq!(summary.status, Status::Ok, "{summary:?}");
        let path = directory.path().to_path_buf();
        KEPT.lock().expect("no bench has panicked").push(directory);
        path
    });
    &SYNCED
}

/// Copies the [`synced`] lake to a new temporary directory.
pub fn copy_of_synced() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    copy(synced(), directory.path());
    directory
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry")) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).expect("a copy");
        }
    }
}

/// Directories that stay until the process ends, since several benches use them.
static KEPT: Mutex<Vec<TempDir>> = Mutex::new(Vec::new());

/// Removes the kept lakes when dropped. A guard is needed because statics are never dropped.
pub struct KeptLakesGuard;

impl Drop for KeptLakesGuard {
    fn drop(&mut self) {
        if let Ok(mut kept) = KEPT.lock() {
            kept.clear();
        }
    }
}

/// Returns a guard that removes the kept lakes after the benches.
pub fn remove_kept_on_drop() -> KeptLakesGuard {
    KeptLakesGuard
}
