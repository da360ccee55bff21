//! `clerk-lake maintain`.

use std::io::Write;

use clerk_lake::Result;
use clerk_lake::lake::{self, Lake, Repair};
use clerk_lake::resource;

use super::progress::count;
use super::terminal::{Terminal, written};

pub async fn run(terminal: &mut Terminal, lake: &Lake, repair: bool) -> Result<()> {
    let (done, failure) = lake::maintain(lake, &resource::TABLES, repair).await?;
    let out = terminal.out();
    if done.is_empty() && failure.is_none() {
        written(writeln!(out, "{} has no tables yet: run clerk-lake sync", lake.location()))?;
    }
    for table in done {
        if let Some(repair) = table.repair {
            written(writeln!(out, "{:<26} {}", table.name, repaired(repair)))?;
        }
        let files = match table.compaction {
            Some(it) => {
                format!("{} files compacted into {}", count(it.files_before as u64), count(it.files_after as u64))
            }
            None => format!("{} files, nothing to compact", count(table.files as u64)),
        };
        written(writeln!(out, "{:<26} {files}; {} old files removed", table.name, count(table.removed as u64)))?;
    }
    terminal.flushed()?;
    failure.map_or(Ok(()), Err)
}

fn repaired(repair: Repair) -> String {
    if !repair.has_lost_rows() {
        return "repaired: wrote the checkpoint of the log anew; no row is lost".to_owned();
    }
    format!(
        "repaired: {} log entries and {} data files were lost, with about {} rows; \
         clerk-lake sync --full brings back what Clerk still has",
        count(repair.entries as u64),
        count(repair.files as u64),
        count(repair.rows_lost)
    )
}
