//! `clerk-lake maintain`.

use std::io::Write;

use clerk_lake::Result;
use clerk_lake::lake::{self, Lake, Repair};
use clerk_lake::resource;

use super::console;
use super::progress::count;
use super::summary::name_width;
use super::terminal::{Terminal, check_write};

pub async fn run(terminal: &mut Terminal, lake: &Lake, repair: bool) -> Result<()> {
    let (tables, failure) = lake::maintain(lake, &resource::TABLES, repair).await?;
    if console::is_quiet() {
        return failure.map_or(Ok(()), Err);
    }
    let out = terminal.out();
    let width = name_width(tables.iter().map(|table| table.name));
    for table in tables {
        if let Some(repair) = table.repair {
            check_write(writeln!(out, "{:<width$} {}", table.name, repair_message(repair)))?;
        }
        let files = match table.compaction {
            Some(it) => {
                format!("{} files compacted into {}", count(it.files_before as u64), count(it.files_after as u64))
            }
            None => format!("{} files, nothing to compact", count(table.files as u64)),
        };
        check_write(writeln!(
            out,
            "{:<width$} {files}; {} old files removed",
            table.name,
            count(table.removed as u64)
        ))?;
    }
    terminal.try_flush()?;
    failure.map_or(Ok(()), Err)
}

fn repair_message(repair: Repair) -> String {
    if !repair.has_lost_rows() {
        return "repaired: rewrote the log checkpoint; no rows were lost".to_owned();
    }
    format!(
        "repaired: {} log entries and {} data files with about {} rows were lost; \
         run clerk-lake sync --full to restore the rows that Clerk still has",
        count(repair.entries as u64),
        count(repair.files as u64),
        count(repair.rows_lost)
    )
}
