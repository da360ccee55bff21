//! The arguments of `demo`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Simulate about this many users
    #[arg(long, default_value_t = 2000)]
    pub users: usize,
    /// Simulate about this many organizations [default: as users are active]
    #[arg(long, value_name = "ORGANIZATIONS")]
    pub organizations: Option<usize>,
    /// Simulate this many days, each with a sync: 1 to 90
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=90))]
    pub days: u32,
    /// Write to this directory; replaces the tables of an earlier demo
    #[arg(long, default_value = "./clerk-lake-demo", value_name = "DIRECTORY")]
    pub directory: PathBuf,
}
