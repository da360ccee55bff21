//! clerk-lake brings a Clerk application's users, organizations and sessions into Delta tables on local disk or
//! S3, keeps them right run after run, and remembers on which days each user was active. It answers product questions
//! over all of it in SQL, and draws the answers as a report.
//!
//! ```
//! use std::sync::Arc;
//!
//! use clerk_lake::api::{Client, ClientConfig, SecretKey, parse_api_url};
//! use clerk_lake::clock::Clock;
//! use clerk_lake::lake::{Lake, Location};
//! use clerk_lake::query::{self, Parameters, Query};
//! use clerk_lake::simulator::{Simulator, SimulatorConfig};
//! use clerk_lake::sync::{CancellationToken, Silent, Status, Sync, SyncOptions};
//!
//! # fn main() -> clerk_lake::Result<()> {
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
//! # runtime.block_on(async {
//! // A simulated instance stands in for https://api.clerk.com.
//! let clerk = Simulator::start(SimulatorConfig { users: 100, ..Default::default() }).await.expect("a free port");
//! # let directory = tempfile::tempdir().expect("a directory");
//! # let path = directory.path().to_string_lossy().into_owned();
//! let lake = Lake::new(Location::parse(&path)?);
//! let sync = Sync {
//!     client: Client::new(ClientConfig::new(parse_api_url(&clerk.url())?, SecretKey::new(&clerk.key())?))?,
//!     lake: lake.clone(),
//!     clock: Clock::system(),
//!     options: SyncOptions::default(),
//!     progress: Arc::new(Silent),
//!     stop: CancellationToken::new(),
//! };
//! assert_eq!(sync.run().await.status, Status::Ok);
//!
//! let session = query::session(&lake).await?;
//! let count = Query::ad_hoc("SELECT count(*) AS users FROM clerk_user");
//! let batches = count.run(&session, &Parameters::at(Clock::system().now())).await?;
//! assert_eq!(batches[0].num_rows(), 1);
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # The way of the data
//!
//! ```text
//! Clerk Backend API
//!    │  GET, within a shared request budget, retried
//!    ▼
//! api::pages        a stream of pages, from one lane or several; a failed page is never the end of the stream
//!    ▼
//! resource          a page's bytes become a RecordBatch; the schema is declared, not inferred
//!    ▼
//! lake::Writer      one open Parquet file per partition, streamed to disk or S3; nothing visible yet
//!    ▼
//! lake::Table       data files and the watermark in one Delta commit: replace, upsert, insert; with a record of the
//!    │              rows that it changes, where that is asked for
//!    ▼
//! sync              once users and sessions are committed: the users by day, and the ledger of activity, from them
//!    ▼
//! query             SQL over snapshots, by DataFusion; the catalogue of queries, files beside the lake
//!    ▼
//! report            the catalogue's figures, as HTML or in a terminal
//! ```
//!
//! # Code map
//!
//! In the order in which the data meet it: [`api`] asks Clerk; [`resource`] says what Clerk has, on top of
//! [`table`], which says what a table is; [`lake`] stores, keeps old versions and the record of changes as long as it
//! is told to, and puts small files together; [`sync`] runs the whole, and fills the ledger of activity; [`query`]
//! asks one lake or several, also what has changed since a version, and [`report`] draws what the catalogue answers.
//! [`error`] and [`clock`] serve them all. [`simulator`] is a Clerk instance for the demo, the tests and
//! the benches. The `clerk-lake` command, with its shell and its output formats, is a layer over this library: only it
//! prints and exits.
//!
//! Adding a resource is a file in `resource/` and an entry in [`resource::ALL`] and [`resource::TABLES`]; adding a
//! figure is a file in `queries/`.
//!
//! # What holds at every moment
//!
//! 1. One commit is the only visible act: rows, removals and the watermark become visible together or not at
//!    all. There is no state file; the watermark is a Delta `txn` action in the commit that makes it true.
//! 2. A plain Parquet reader of a table's directory sees exactly the committed rows: what is staged lies outside
//!    of it, what was superseded is deleted right after the commit. The exceptions are the instant of a commit, a
//!    crash in that instant, and a commit whose outcome is unknown: its files stay for at least 15 minutes. Recorded
//!    changes, if they are enabled, lie in `_change_data/` under names that no data file has.
//! 3. A failure never looks like the end of a list, and a listing that may be incomplete is never committed.
//! 4. A lake belongs to one Clerk instance. The first run claims it (`_instance`, created once and never changed), and
//!    each table names the instance; another instance's key is refused.
//! 5. Two runs at once lose and double nothing: a commit is made on exactly the version that it was computed
//!    from, and whoever finds another one there has lost and says so.
//! 6. The ledger of activity only grows, and a day is called complete only where nobody can have been active unseen.
//!    What is known of the days is a table of its own, committed after the ledger: a day counts as complete only
//!    if the ledger has as many users on it as that table says.
//!
//! After Clerk has been quiet, one incremental sync leaves the tables equal to what it shows, row by row; how is
//! said in [`sync`].
//!
//! # After a crash
//!
//! On local disk a commit counts once its files, its log entry and their directories are synced. A commit whose answer
//! is lost is [unknown](lake::CommitOutcome::Unknown): the store may carry it out late, so its files stay, and the run
//! that sweeps them takes the version first.
//!
//! Killed at any point, every table is at its last commit. The next run goes on with a long listing from its last
//! [checkpoint](lake::Checkpoint), removes whatever else was staged, and sweeps the two places where a crash can
//! leave data files, or recorded changes, beside a table's own: between moving files into place and the commit that
//! names them, and between a commit and the deletion of what it superseded. Where a run died between the commits of
//! the days and of the ledger, the next one counts the days anew.

pub mod api;
pub mod clock;
pub mod error;
pub mod lake;
pub mod query;
pub mod report;
pub mod resource;
pub mod simulator;
pub mod sync;
pub mod table;

pub use error::{Error, ErrorKind, Result};
