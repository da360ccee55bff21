//! `clerk-lake upkeep`.

use std::io::Write;

use clerk_lake::Result;
use clerk_lake::lake::{self, Lake};
use clerk_lake::resource;

use super::progress::count;
use super::terminal::{Terminal, written};

pub async fn run(terminal: &mut Terminal, lake: &Lake) -> Result<()> {
    let done = lake::look_after(lake, &resource::TABLES).await?;
    let out = terminal.out();
    if done.is_empty() {
        written(writeln!(out, "{} has no tables yet: run clerk-lake sync", lake.location()))?;
    }
    for table in done {
        let files = match table.compaction {
            Some(it) => {
                format!("{} files put together into {}", count(it.files_before as u64), count(it.files_after as u64))
            }
            None => format!("{} files, nothing to put together", count(table.files as u64)),
        };
        written(writeln!(out, "{:<26} {files}; {} old files removed", table.name, count(table.removed as u64)))?;
    }
    terminal.flushed()
}
