//! The arguments of the command line. Every flag is also a key of `clerk-lake.toml`. Most flags can also be set by an
//! environment variable `CLERK_LAKE_…`.
//!
//! The doc comments of the fields and variants are the help texts.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::builder::BoolishValueParser;
use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};
use clerk_lake::api::{DEFAULT_API_URL, Lanes, RateLimit};
use clerk_lake::lake::{At, MaintenanceOptions};
use clerk_lake::query::Since;

use super::check::CheckArguments;
use super::demo_arguments::DemoArguments;
use super::simulate::SimulateArguments;
use super::values::{at, bytes, days, parameter, period, resources, seconds, share, since, timestamp};

/// The help heading of the flags that every command accepts.
const GLOBAL_OPTIONS: &str = "Global options";

/// What a newcomer tries first.
const EXAMPLES: &str = "\
Examples:
  clerk-lake demo                              try it, without a key
  CLERK_SECRET_KEY=sk_live_… clerk-lake sync   copy your instance
  clerk-lake query --name active_users         run a built-in query";

/// Copy users, organizations and sessions from Clerk into Delta tables
///
/// The tables are on local disk or S3. Query them with SQL, or read the metrics as a report.
#[derive(Debug, Parser)]
#[command(name = "clerk-lake", version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// Use the lake at this path or `s3://bucket/prefix`
    ///
    /// Repeatable for query and report.
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS, env = "CLERK_LAKE_LAKE", default_value = "./clerk-lake-data", value_name = "URL")]
    pub lake: Vec<String>,
    /// Read settings from this file [default: clerk-lake.toml]
    ///
    /// The default is read if it exists. Settings that the file does not have come from
    /// ~/.config/clerk-lake/config.toml.
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS, env = "CLERK_LAKE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Log more to stderr (-vv also logs retried requests)
    #[arg(short, long, global = true, help_heading = GLOBAL_OPTIONS, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print only errors, and the rows or JSON that you ask for
    #[arg(short, long, global = true, help_heading = GLOBAL_OPTIONS, env = "CLERK_LAKE_QUIET", value_parser = BoolishValueParser::new(), conflicts_with = "verbose")]
    pub quiet: bool,
    /// Choose when to color messages, help and reports
    ///
    /// `auto` colors what goes to a terminal, unless `NO_COLOR` is set.
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS, env = "CLERK_LAKE_COLOR", default_value = "auto", value_name = "WHEN")]
    pub color: ColorChoice,
    /// Do not show the progress of a sync
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS, env = "CLERK_LAKE_NO_PROGRESS", value_parser = BoolishValueParser::new())]
    pub no_progress: bool,
    /// The flags of this command line that another command needs to find the same lake.
    #[arg(skip)]
    pub locating_flags: String,
    /// The command to run
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the lake up to date with Clerk
    Sync(SyncArguments),
    /// Check the key, what it may read, the lake, and what syncs cost
    Check(CheckArguments),
    /// Run SQL, or open a shell if none is given
    Query(QueryArguments),
    /// Write all metrics to an HTML report, or show them in the terminal
    Report(ReportArguments),
    /// Show each table's rows, size, watermark, age and last runs
    Status(StatusArguments),
    /// Compact small files, vacuum old versions, and repair damaged tables
    #[command(alias = "upkeep")]
    Maintain(MaintainArguments),
    /// Describe the tables and their columns
    Schema(SchemaArguments),
    /// Run a simulated Clerk instance
    Simulate(SimulateArguments),
    /// Run a sync and a report on simulated data, without a key or network
    Demo(DemoArguments),
    /// Print a script for command completion in your shell
    Completions(CompletionsArguments),
    /// Print the manual pages of all commands
    Man,
}

/// Arguments of `sync`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct SyncArguments {
    /// Sync only this resource, or `all`; repeatable [default: default]
    ///
    /// `default` stands for the resources that a sync reads without this flag.
    #[arg(long, alias = "resources", env = "CLERK_LAKE_RESOURCE", value_delimiter = ',', value_name = "NAME", value_parser = resources())]
    pub resource: Vec<String>,
    /// Show what a sync would do and cost, without writing anything
    #[arg(long, env = "CLERK_LAKE_PLAN", value_parser = BoolishValueParser::new())]
    pub plan: bool,
    /// Do a full sync: read everything, not only what changed
    #[arg(long, env = "CLERK_LAKE_FULL", value_parser = BoolishValueParser::new(), conflicts_with = "since")]
    pub full: bool,
    /// Read a long list in this many lanes at a time: 1 to 16, or auto
    ///
    /// `auto` adds lanes while each new lane makes the sync faster.
    #[arg(long, env = "CLERK_LAKE_LANES", default_value = "auto", value_name = "N")]
    pub lanes: Lanes,
    /// Discard what an interrupted sync has read, instead of resuming it
    #[arg(long, env = "CLERK_LAKE_FRESH", value_parser = BoolishValueParser::new())]
    pub fresh: bool,
    /// Read changes since TIME, if that is before the watermark
    ///
    /// A date such as 2026-11-24 (it starts at midnight UTC) or a timestamp such as 2026-11-24T08:00:00Z.
    #[arg(long, env = "CLERK_LAKE_SINCE", value_name = "TIME", value_parser = timestamp)]
    pub since: Option<DateTime<Utc>>,
    /// Count daily active users of this many days, today included: 1 to 90
    #[arg(
        long,
        env = "CLERK_LAKE_DAU_LOOKBACK_DAYS",
        default_value_t = 30,
        value_name = "DAYS",
        value_parser = |text: &str| days(text, 90)
    )]
    pub dau_lookback_days: u32,
    /// At a first or full sync, read sessions of users active in these DAYS
    ///
    /// Applies to instances that cannot list all sessions at once.
    #[arg(
        long,
        env = "CLERK_LAKE_SESSION_LOOKBACK_DAYS",
        default_value_t = 30,
        value_name = "DAYS",
        value_parser = |text: &str| days(text, 3650)
    )]
    pub session_lookback_days: u32,
    /// Re-read active users' sessions this often, to see which have ended
    ///
    /// A duration such as 12h or 1d. 0 re-reads them at each sync. Each sync reads new sessions, whatever this setting.
    #[arg(long, env = "CLERK_LAKE_SESSION_REFRESH", default_value = "24h", value_name = "DURATION", value_parser = period)]
    pub session_refresh: TimeDelta,
    /// Re-read every user within this time, even if it has not changed
    ///
    /// A duration such as 12h or 7d. 0 turns this off.
    #[arg(long, env = "CLERK_LAKE_VERIFY_EVERY", default_value = "7d", value_name = "DURATION", value_parser = period)]
    pub verify_every: TimeDelta,
    /// Refuse to delete more than this share of a table's rows: 0 to 1
    ///
    /// A sync may always delete up to 50 rows.
    #[arg(long, env = "CLERK_LAKE_MAX_SHRINK", default_value_t = 0.2, value_name = "SHARE", value_parser = share)]
    pub max_shrink: f64,
    /// Refuse a list if more than this share cannot be read: 0 to 1
    #[arg(long, env = "CLERK_LAKE_MAX_REJECTED", default_value_t = 0.01, value_name = "SHARE", value_parser = share)]
    pub max_rejected: f64,
    /// Send requests to Clerk's Backend API at this URL
    #[arg(long, env = "CLERK_LAKE_API_URL", default_value = DEFAULT_API_URL, value_name = "URL")]
    pub api_url: String,
    /// Use this share of the instance's request budget: over 0, up to 1
    #[arg(long, env = "CLERK_LAKE_QUOTA_SHARE", default_value_t = 0.5, value_name = "SHARE")]
    pub quota_share: f64,
    /// Assume that the instance allows N requests per 10 s, or auto, or off
    ///
    /// `auto` uses the limit for the kind of key, or the one in Clerk's response headers. With `off`, only a 429
    /// response slows requests down.
    #[arg(long, env = "CLERK_LAKE_RATE_LIMIT", default_value = "auto", value_name = "N")]
    pub rate_limit: RateLimit,
    /// Retry a request that fails for this long
    ///
    /// A sync that gets no response at all for this long also stops.
    #[arg(long, env = "CLERK_LAKE_RETRY_BUDGET", default_value = "120", value_name = "SECONDS", value_parser = seconds)]
    pub retry_budget: Duration,
    /// Print one JSON document to stdout
    #[arg(long, env = "CLERK_LAKE_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
    /// How the lake is maintained
    #[command(flatten)]
    pub keep: KeepArguments,
}

/// How the lake is maintained.
#[derive(Clone, Copy, Debug, Args)]
pub struct KeepArguments {
    /// Keep replaced files this long, for `query --at` and slow readers
    ///
    /// A duration such as 12h or 7d. 0 removes replaced files right after a commit. Without this flag, an existing
    /// table keeps its setting, and a new table keeps no replaced files.
    #[arg(long, env = "CLERK_LAKE_HISTORY", value_name = "DURATION", value_parser = period)]
    pub history: Option<TimeDelta>,
    /// Compact a partition once it has this many small files; 0: never
    #[arg(long, env = "CLERK_LAKE_COMPACT_FILES", default_value_t = MaintenanceOptions::default().compact_files, value_name = "N")]
    pub compact_files: usize,
    /// Record which rows each commit changes, as Delta's change data feed
    ///
    /// Required by `query --changes-since` and other readers of the change data feed. --change-data-feed=false turns it
    /// off. Without this flag, an existing table keeps its setting, and a new table does not record changes.
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

impl From<KeepArguments> for MaintenanceOptions {
    fn from(keep: KeepArguments) -> Self {
        let KeepArguments { history, compact_files, change_data_feed } = keep;
        Self { history, compact_files, change_data_feed }
    }
}

/// The format of printed rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text table
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

/// What queries may use.
#[derive(Debug, Args)]
pub struct LimitArguments {
    /// Let SQL read only the lake: no other files, folders or buckets
    #[arg(long, env = "CLERK_LAKE_NO_FILES", value_parser = BoolishValueParser::new())]
    pub no_files: bool,
    /// Use at most this much memory for rows, such as 512MB or 2GB
    ///
    /// A sort or a grouping that needs more spills to disk, in the directory for temporary files. Other operations
    /// that need more fail.
    #[arg(long, env = "CLERK_LAKE_MEMORY_LIMIT", default_value = "1GB", value_name = "SIZE", value_parser = bytes)]
    pub memory_limit: usize,
}

/// Arguments of `query`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct QueryArguments {
    /// Run this SQL; separate several statements with `;`
    #[arg(value_name = "SQL", conflicts_with_all = ["name", "file", "list"])]
    pub sql: Option<String>,
    /// Run a built-in query, or one from --queries, by its name
    #[arg(long, value_name = "QUERY", conflicts_with_all = ["file", "list"])]
    pub name: Option<String>,
    /// Run the SQL in this file; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    pub file: Option<PathBuf>,
    /// List the built-in queries, and those from --queries
    #[arg(long, conflicts_with = "output")]
    pub list: bool,
    /// Print the SQL of a built-in query, or of one from --queries
    #[arg(long, value_name = "QUERY", conflicts_with_all = ["sql", "name", "file", "list", "output"])]
    pub show: Option<String>,
    /// Add the queries (NAME.sql) in this folder to the built-in queries
    ///
    /// A query replaces the built-in query of the same name.
    #[arg(long, env = "CLERK_LAKE_QUERIES", value_name = "DIR")]
    pub queries: Option<PathBuf>,
    /// Query the lake at an earlier table version, timestamp or date
    ///
    /// A date means its midnight, UTC. With a timestamp or date, $now and $today refer to that time. Needs a lake that
    /// is synced with --history.
    #[arg(long, value_name = "VERSION|TIME", value_parser = at)]
    pub at: Option<At>,
    /// Query only the rows that changed since this version; repeatable
    ///
    /// The query reads the rows inserted, updated and deleted since VERSION of the table that it names. Needs a lake
    /// that is synced with --change-data-feed.
    #[arg(long, value_name = "[TABLE=]VERSION", value_parser = since, conflicts_with_all = ["at", "name", "list"])]
    pub changes_since: Vec<Since>,
    /// Run the query here (local), or on a cluster (ballista://host:port)
    ///
    /// A cluster needs a build with the feature `ballista`.
    #[arg(long, env = "CLERK_LAKE_ENGINE", default_value = "local", value_name = "ENGINE")]
    pub engine: String,
    /// Set a parameter of the query, see --list; repeatable
    ///
    /// A value is a number, a date such as 2026-11-24, or text.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter)]
    pub param: Vec<(String, String)>,
    /// What queries may use
    #[command(flatten)]
    pub limits: LimitArguments,
    /// Print rows in this format [default: table on a terminal, else csv]
    ///
    /// With --output, the extension of the file decides.
    #[arg(long, env = "CLERK_LAKE_FORMAT", value_enum)]
    pub format: Option<Format>,
    /// Show at most this many rows of a table; 0 for all
    ///
    /// Rows in the middle are left out. Files and the other formats always contain all rows.
    #[arg(long, env = "CLERK_LAKE_MAX_ROWS", default_value_t = 40, value_name = "N")]
    pub max_rows: usize,
    /// Show each row of a table as a block, one column per line
    #[arg(long)]
    pub expanded: bool,
    /// In CSV, put ' before text that a spreadsheet would run as a formula
    #[arg(long, env = "CLERK_LAKE_ESCAPE_FORMULAS", value_parser = BoolishValueParser::new())]
    pub escape_formulas: bool,
    /// Do not show long output of the shell in $PAGER
    #[arg(long, env = "CLERK_LAKE_NO_PAGER", value_parser = BoolishValueParser::new())]
    pub no_pager: bool,
    /// Write the rows to this file; - for standard output
    ///
    /// The file is created or replaced only after all rows have been written.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// Write the page to this file; - for standard output
    ///
    /// The default is clerk-lake-report.html.
    #[arg(long, visible_alias = "output", env = "CLERK_LAKE_OUT", value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Show the report in the terminal; write a page only with --out
    #[arg(long, env = "CLERK_LAKE_TERMINAL", value_parser = BoolishValueParser::new())]
    pub terminal: bool,
    /// Add the queries (NAME.sql) in this folder to the built-in queries
    ///
    /// A query replaces the built-in query of the same name.
    #[arg(long, env = "CLERK_LAKE_QUERIES", value_name = "DIR")]
    pub queries: Option<PathBuf>,
    /// Run the queries here (local), or on a cluster (ballista://host:port)
    ///
    /// A cluster needs a build with the feature `ballista`.
    #[arg(long, env = "CLERK_LAKE_ENGINE", default_value = "local", value_name = "ENGINE")]
    pub engine: String,
    /// Set a parameter in all queries that have it; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter)]
    pub param: Vec<(String, String)>,
    /// What queries may use
    #[command(flatten)]
    pub limits: LimitArguments,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Print one JSON document to stdout
    #[arg(long, env = "CLERK_LAKE_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// Arguments of `maintain`.
#[derive(Debug, Args)]
pub struct MaintainArguments {
    /// Repair damaged tables, keeping all rows that can still be read
    #[arg(long, env = "CLERK_LAKE_REPAIR", value_parser = BoolishValueParser::new())]
    pub repair: bool,
    /// How the lake is maintained
    #[command(flatten)]
    pub keep: KeepArguments,
}

/// The format of the table descriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaFormat {
    /// Plain text
    Text,
    /// CREATE TABLE statements
    Sql,
    /// One JSON document
    Json,
    /// Markdown tables
    Markdown,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArguments {
    /// Print the description in this format [default: text]
    #[arg(long = "format", value_name = "FORMAT", value_enum)]
    pub schema_format: Option<SchemaFormat>,
    /// Print JSON, as --format json does
    #[arg(long, env = "CLERK_LAKE_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// Print the script for this shell
    pub shell: clap_complete::Shell,
}
