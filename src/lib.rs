//! clerk-lake copies a Clerk application's users, organizations, sessions and more into Delta tables on local disk or S3,
//! and keeps them up to date run after run. It records on which days each user was active. You query the tables with SQL,
//! or read the metrics as a report.
//!
//! ```
//! use std::sync::Arc;
//!
//! use clerk_lake::api::{Client, ClientConfig, SecretKey, parse_api_url};
//! use clerk_lake::clock::Clock;
//! use clerk_lake::lake::{Lake, Location};
//! use clerk_lake::query::{self, Parameters, Query};
//! use clerk_lake::simulator::{Simulator, SimulatorConfig};
//! use clerk_lake::sync::{CancellationToken, Silent, Status, SyncJob, SyncOptions};
//!
//! # fn main() -> clerk_lake::Result<()> {
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
//! # runtime.block_on(async {
//! // A simulated instance stands in for https://api.clerk.com.
//! let clerk = Simulator::start(SimulatorConfig { users: 100, ..Default::default() }).await.expect("a free port");
//! # let directory = tempfile::tempdir().expect("a directory");
//! # let path = directory.path().to_string_lossy().into_owned();
//! let lake = Lake::new(Location::parse(&path)?);
//! let sync = SyncJob {
//!     client: Client::new(ClientConfig::new(parse_api_url(&clerk.url())?, SecretKey::new(&clerk.key())?))?,
//!     lake: lake.clone(),
//!     clock: Clock::system(),
//!     options: SyncOptions::default(),
//!     progress: Arc::new(Silent),
//!     stop: CancellationToken::new(),
//! };
//! assert_eq!(sync.run().await.status, Status::Ok);
//!
//! let context = query::context(&lake).await?;
//! let count = Query::ad_hoc("SELECT count(*) AS users FROM clerk_user");
//! let batches = count.run(&context, &Parameters::at(Clock::system().now())).await?;
//! assert_eq!(batches[0].num_rows(), 1);
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # Data flow
//!
//! ```text
//! Clerk Backend API
//!    │  GET requests within a shared request budget, with retries
//!    ▼
//! api::pages        a stream of pages from one or more lanes; a failed page never looks like the end of the list
//!    ▼
//! resource          the bytes of a page become a RecordBatch; the schema is declared, not inferred
//!    ▼
//! lake::Writer      one open Parquet file per partition, streamed to disk or S3; nothing is visible yet
//!    ▼
//! lake::Table       the diff between the staged rows and the table, committed together with the watermark
//!    ▼
//! sync              after users and sessions: users by day, and the activity ledger
//!    ▼
//! query             SQL over snapshots (DataFusion): the tables, the built-in queries, and other files
//!    ▼
//! report            the metrics, as HTML or in a terminal
//! ```
//!
//! # Code map
//!
//! The modules in the order of the data flow:
//!
//! - [`api`] sends the requests to Clerk.
//! - [`table`] describes tables and their columns; [`resource`] describes the kinds of objects that Clerk lists.
//! - [`lake`] stores the tables. It also compacts and vacuums them, retains old versions and writes the change data feed
//!   if the settings say so.
//! - [`sync`] runs a sync, and maintains the activity ledger.
//! - [`query`] runs SQL over one or several lakes, over current rows, old versions or changes.
//! - [`report`] draws the metrics.
//! - [`error`] and [`clock`] are used by all of them. [`harmless`] escapes text that a terminal would act on. `network`
//!   has the rules for connections to Clerk and to the store.
//! - [`simulator`] is a simulated Clerk instance for the demo, the tests and the benchmarks.
//!
//! The `clerk-lake` command, with its shell and its output formats, is a layer above this library. Only the command
//! prints and exits.
//!
//! To add a resource, add a file to `resource/` and an entry to [`resource::ALL`] and [`resource::TABLES`]. To add a
//! metric, add a file to `queries/`.
//!
//! # Invariants
//!
//! 1. Only a commit changes what readers see. Rows, deletions and the watermark become visible together or not at all.
//!    There is no state file: the watermark is a Delta `txn` action in the same commit.
//! 2. A plain Parquet reader of a table's directory sees exactly the committed rows. Staged files lie outside of the
//!    directory, and superseded files are deleted directly after the commit. There are three exceptions: the moment of a
//!    commit, a crash in that moment, and a commit with an unknown outcome, whose files stay for at least 15 minutes.
//!    The change data feed, if enabled, lies in `_change_data/`, under names that no data file has.
//! 3. A failure never looks like the end of a list. A listing that may be incomplete is never committed as complete.
//! 4. A lake belongs to one Clerk instance. The first run writes the instance into `_instance`, which never changes, and
//!    each table names it too. A sync with the key of another instance is refused.
//! 5. Two runs at the same time neither lose nor duplicate rows. Commits are optimistic: a commit applies to exactly the
//!    version that it was computed from, and the loser returns `Conflict`.
//! 6. The activity ledger only grows. A day is marked exact only if no user can have been active unnoticed. The marks are
//!    a table of their own, committed after the ledger: a day counts as exact only if the ledger has as many users on
//!    that day as the mark says.
//!
//! After Clerk has been quiet, one incremental sync leaves the tables equal to what Clerk shows, row by row. See
//! [`sync`].
//!
//! # Crashes
//!
//! On local disk, a commit counts when its files, its log entry and their directories are synced to disk. If the response
//! of a commit is lost, its outcome is [unknown](lake::CommitOutcome::Unknown): the store may still apply it, so its files
//! stay. A later run takes the table version before it deletes them.
//!
//! If a run is killed at any point, every table is at its last commit. The next run resumes a long listing at its last
//! [resume point](lake::ResumePoint) and removes all other staged files. It also removes orphan files from the two places
//! where a crash can leave them in a table's directory: after files were moved into place but before the commit that names
//! them, and after a commit but before the superseded files were deleted. If a run died between the commits of the ledger
//! and of its days, the next run counts the days again.

pub mod api;
pub mod clock;
pub mod error;
pub mod harmless;
pub mod lake;
mod network;
pub mod query;
pub mod report;
pub mod resource;
pub mod simulator;
pub mod sync;
pub mod table;

pub use error::{Error, ErrorKind, Result};
