//! What can be said on the command line. Every flag is also a key of `clerk-lake.toml` and a variable
//! `CLERK_LAKE_…`.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clerk_lake::api::{DEFAULT_API_URL, Lanes, RateLimit};
use clerk_lake::lake::{At, Keeping};
use clerk_lake::query::Since;

use super::values::{at, days, moment, parameter, period, resources, seconds, share, since};

/// The heading of what holds for every command.
const EVERYWHERE: &str = "Everywhere";

/// Own what Clerk knows about your users: users, organizations, sessions and activity as Delta tables on local
/// disk or S3, answered in SQL.
#[derive(Debug, Parser)]
#[command(name = "clerk-lake", version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Where the lake is: a path, or <s3://bucket/prefix>; may be given more than once where lakes are asked
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "CLERK_LAKE_LAKE", default_value = "./clerk-lake-data", value_name = "URL")]
    pub lake: Vec<String>,
    /// The settings file [default: clerk-lake.toml, if it is there, over your own in ~/.config/clerk-lake/config.toml]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "CLERK_LAKE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say more on stderr (-vv: also each request that is repeated)
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the lake up to date with Clerk
    Sync(Sync),
    /// Ask the lake in SQL; without a question, in a shell
    Query(Query),
    /// Show the catalogue's figures on one HTML page, or in the terminal
    Report(Report),
    /// Say what each table holds, and how old it is
    Status(Status),
    /// Compact small files, vacuum old versions, and repair damaged tables
    #[command(alias = "upkeep")]
    Maintain(Maintain),
    /// Describe the tables and their columns
    Schema(Schema),
    /// Run a simulated Clerk instance
    Simulate(Simulate),
    /// See it all work, without a key or a network
    Demo(Demo),
}

/// Arguments of `sync`.
#[derive(Debug, Args)]
pub struct Sync {
    /// A resource to sync; may be given more than once [default: all]
    #[arg(long, env = "CLERK_LAKE_RESOURCE", value_delimiter = ',', value_name = "NAME", value_parser = resources())]
    pub resource: Vec<String>,
    /// Read everything, not only what changed
    #[arg(long, env = "CLERK_LAKE_FULL", value_parser = BoolishValueParser::new(), conflicts_with = "since")]
    pub full: bool,
    /// How many lanes read a long list at a time: a number, or auto (as many as pay)
    #[arg(long, env = "CLERK_LAKE_LANES", default_value = "auto", value_name = "N")]
    pub lanes: Lanes,
    /// Forget what an interrupted sync had read, instead of going on with it
    #[arg(long, env = "CLERK_LAKE_FRESH", value_parser = BoolishValueParser::new())]
    pub fresh: bool,
    /// Read what changed since then, if that is before the table's watermark: 2026-11-24 or 2026-11-24T08:00:00Z
    #[arg(long, env = "CLERK_LAKE_SINCE", value_name = "TIME", value_parser = moment)]
    pub since: Option<DateTime<Utc>>,
    /// How many days `clerk_daily_active_users` covers, today included: 1 to 90
    #[arg(
        long,
        env = "CLERK_LAKE_DAU_LOOKBACK_DAYS",
        default_value_t = 30,
        value_name = "DAYS",
        value_parser = |text: &str| days(text, 90)
    )]
    pub dau_lookback_days: u32,
    /// At a first or full sync, ask for the sessions of users active in that many last days, where an instance
    /// lists sessions only by user
    #[arg(
        long,
        env = "CLERK_LAKE_SESSION_LOOKBACK_DAYS",
        default_value_t = 30,
        value_name = "DAYS",
        value_parser = |text: &str| days(text, 3650)
    )]
    pub session_lookback_days: u32,
    /// Read the sessions of active users again within this time, to see which have ended: 12h, 1d, …; 0: at each sync.
    /// New sessions are read at each sync
    #[arg(long, env = "CLERK_LAKE_SESSION_REFRESH", default_value = "24h", value_name = "TIME", value_parser = period)]
    pub session_refresh: TimeDelta,
    /// Read every user again within this time, whether or not it changed: 12h, 7d, …; 0: never
    #[arg(long, env = "CLERK_LAKE_VERIFY_EVERY", default_value = "7d", value_name = "TIME", value_parser = period)]
    pub verify_every: TimeDelta,
    /// The largest share of a table that a sync may remove, 0 to 1; 50 rows may always go
    #[arg(long, env = "CLERK_LAKE_MAX_SHRINK", default_value_t = 0.2, value_name = "SHARE", value_parser = share)]
    pub max_shrink: f64,
    /// The largest share of a list's rows that may be unreadable: 0 to 1
    #[arg(long, env = "CLERK_LAKE_MAX_REJECTED", default_value_t = 0.01, value_name = "SHARE", value_parser = share)]
    pub max_rejected: f64,
    /// Where Clerk's Backend API is
    #[arg(long, env = "CLERK_LAKE_API_URL", default_value = DEFAULT_API_URL, value_name = "URL")]
    pub api_url: String,
    /// The share of the instance's request budget to use: over 0, up to 1
    #[arg(long, env = "CLERK_LAKE_QUOTA_SHARE", default_value_t = 0.5, value_name = "SHARE")]
    pub quota_share: f64,
    /// Requests per 10 s that the instance allows: a number, auto (by kind of key), or off
    #[arg(long, env = "CLERK_LAKE_RATE_LIMIT", default_value = "auto", value_name = "N")]
    pub rate_limit: RateLimit,
    /// How long a request may fail, and a sync go without any answer, in seconds
    #[arg(long, env = "CLERK_LAKE_RETRY_BUDGET", default_value = "120", value_name = "SECONDS", value_parser = seconds)]
    pub retry_budget: Duration,
    /// Print one JSON document on stdout
    #[arg(long, env = "CLERK_LAKE_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
    /// How the lake is looked after
    #[command(flatten)]
    pub keep: Keep,
}

/// How the lake is looked after.
#[derive(Clone, Copy, Debug, Args)]
pub struct Keep {
    /// For how long replaced files stay, for `query --at` and slow readers: 12h, 7d, …; 0: not at all. Where nothing is
    /// said a table goes on as before, and a new one keeps none
    #[arg(long, env = "CLERK_LAKE_HISTORY", value_name = "TIME", value_parser = period)]
    pub history: Option<TimeDelta>,
    /// Put the small files of a partition together once there are so many; 0: never
    #[arg(long, env = "CLERK_LAKE_COMPACT_FILES", default_value_t = Keeping::default().compact_files, value_name = "N")]
    pub compact_files: usize,
    /// Record which rows each commit changes, for `query --changes-since` and other readers of Delta's change data
    /// feed; --change-data-feed=false ends that, and where nothing is said a table goes on as before
    #[arg(
        long,
        env = "CLERK_LAKE_CHANGE_DATA_FEED",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new()
    )]
    pub change_data_feed: Option<bool>,
}

impl From<Keep> for Keeping {
    fn from(keep: Keep) -> Self {
        let Keep { history, compact_files, change_data_feed } = keep;
        Self { history, compact_files, change_data_feed }
    }
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON array
    Json,
    /// One JSON object per line
    Ndjson,
    /// Parquet, compressed with zstd
    Parquet,
    /// Arrow IPC: a file with --output, else a stream
    Arrow,
}

/// Arguments of `query`.
#[derive(Debug, Args)]
pub struct Query {
    /// The query; more than one are separated by `;`
    #[arg(value_name = "SQL", conflicts_with_all = ["name", "file", "list"])]
    pub sql: Option<String>,
    /// A query of the catalogue
    #[arg(long, value_name = "QUERY", conflicts_with_all = ["file", "list"])]
    pub name: Option<String>,
    /// A file that holds the query; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    pub file: Option<PathBuf>,
    /// List the catalogue
    #[arg(long, conflicts_with = "output")]
    pub list: bool,
    /// A folder of your own queries, NAME.sql: added to the catalogue, in place of those of the same name
    #[arg(long, env = "CLERK_LAKE_QUERIES", value_name = "DIR")]
    pub queries: Option<PathBuf>,
    /// Ask the lake as it was then: a version of the tables, a moment, or a day (as it began, UTC); a moment is what
    /// $now and $today are too (needs a lake with --history)
    #[arg(long, value_name = "VERSION|TIME", value_parser = at)]
    pub at: Option<At>,
    /// Ask about the rows that have been inserted, updated and deleted since this version of the table that the query
    /// names; may be given more than once (needs a lake with --change-data-feed)
    #[arg(long, value_name = "[TABLE=]VERSION", value_parser = since, conflicts_with_all = ["at", "name", "list"])]
    pub changes_since: Vec<Since>,
    /// Where the query runs: local, or <ballista://host:port> (where this program was built with Ballista)
    #[arg(long, env = "CLERK_LAKE_ENGINE", default_value = "local", value_name = "ENGINE")]
    pub engine: String,
    /// A value for one of the query's parameters, which --list shows; may be given more than once
    #[arg(long, value_name = "NAME=NUMBER", value_parser = parameter)]
    pub param: Vec<(String, i64)>,
    /// How to print the rows [default: as the file's ending says, else table]
    #[arg(long, env = "CLERK_LAKE_FORMAT", value_enum)]
    pub format: Option<Format>,
    /// Write the rows to a file, which is there once all of them are; - for standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// The file that the page is written to; - for standard output [default: clerk-lake-report.html]
    #[arg(long, visible_alias = "output", env = "CLERK_LAKE_OUT", value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Show the figures here; a page is then written only with --out
    #[arg(long, env = "CLERK_LAKE_TERMINAL", value_parser = BoolishValueParser::new())]
    pub terminal: bool,
    /// A folder of your own queries, NAME.sql: added to the catalogue, in place of those of the same name
    #[arg(long, env = "CLERK_LAKE_QUERIES", value_name = "DIR")]
    pub queries: Option<PathBuf>,
    /// Where the queries run: here, or on a Ballista cluster, ballista://host:port
    #[arg(long, env = "CLERK_LAKE_ENGINE", default_value = "local", value_name = "ENGINE")]
    pub engine: String,
    /// A value for a parameter, in all queries that have it; may be given more than once
    #[arg(long, value_name = "NAME=NUMBER", value_parser = parameter)]
    pub param: Vec<(String, i64)>,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Print one JSON document on stdout
    #[arg(long, env = "CLERK_LAKE_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// Arguments of `maintain`.
#[derive(Debug, Args)]
pub struct Maintain {
    /// Repair damaged tables with what can still be read
    #[arg(long, env = "CLERK_LAKE_REPAIR", value_parser = BoolishValueParser::new())]
    pub repair: bool,
    /// How the lake is looked after
    #[command(flatten)]
    pub keep: Keep,
}

/// How the tables are described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaFormat {
    /// For people
    Text,
    /// CREATE TABLE statements
    Sql,
    /// One JSON document
    Json,
    /// Tables for a README
    Markdown,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// How to describe the tables [default: text]
    #[arg(long = "format", value_name = "FORMAT", value_enum)]
    pub schema_format: Option<SchemaFormat>,
    /// The same as --format json
    #[arg(long, env = "CLERK_LAKE_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// How many users the simulated instance has
    #[arg(long, default_value_t = 25_000)]
    pub users: usize,
    /// How many organizations it has
    #[arg(long, default_value_t = 500)]
    pub organizations: usize,
    /// Where to write; what a demo before has left there is replaced
    #[arg(long, default_value = "./clerk-lake-demo", value_name = "DIRECTORY")]
    pub directory: PathBuf,
}

/// Arguments of `simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8787")]
    pub address: std::net::SocketAddr,
    /// How many users there are
    #[arg(long, default_value_t = 1000)]
    pub users: usize,
    /// How many organizations there are
    #[arg(long, default_value_t = 50)]
    pub organizations: usize,
    /// What everything is drawn from
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// The key that it takes
    #[arg(long, env = "CLERK_LAKE_SIMULATED_KEY", default_value = "sk_live_simulated")]
    pub simulated_key: String,
    /// The instance's id
    #[arg(long, default_value = "ins_simulated")]
    pub instance: String,
    /// Requests allowed per window of 10 s; more get 429
    #[arg(long, value_name = "REQUESTS")]
    pub limit: Option<u32>,
    /// Milliseconds before each answer
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub latency: u64,
    /// Microseconds more for each row that an offset skips: deep offsets are slow
    #[arg(long, default_value_t = 0, value_name = "US")]
    pub offset_cost: u64,
    /// Let requests that skip more rows than this time out
    #[arg(long, value_name = "ROWS")]
    pub offset_limit: Option<usize>,
    /// Refuse to list sessions without a user, as live instances do
    #[arg(long)]
    pub no_plain_sessions: bool,
    /// Answer organization lists with this status, as an instance without them does
    #[arg(long, value_name = "STATUS")]
    pub organizations_status: Option<u16>,
    /// Silently send pages of at most so many rows
    #[arg(long, value_name = "ROWS")]
    pub clamp: Option<usize>,
    /// Inject these faults, in turn; `all` for every kind
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    pub fault: Vec<String>,
    /// Inject a fault at every n-th request
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub fault_every: u64,
    /// Change the data before every n-th list request
    #[arg(long, value_name = "N")]
    pub change_every: Option<u64>,
    /// How many changes at a time
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub changes: usize,
}
