//! Damaged tables: a full sync repairs the tables it writes; any other run reports the damage that caused a failure.

use super::options::Extent;
use super::run::Run;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Table;
use crate::resource::{ACTIVITY_DAYS, REJECTED_ROWS, Reading, Resource};

impl Run<'_> {
    /// Repairs the tables of `resource` if this run reads all its rows. Readable rows are kept; lost rows are read
    /// again from Clerk.
    pub(super) async fn repair_before_full(&self, resource: &'static Resource) -> Result<()> {
        if self.sync.options.extent != Extent::Full {
            return Ok(());
        }
        let days = matches!(resource.reading, Reading::Ledger).then_some(&ACTIVITY_DAYS);
        for spec in [&resource.table, &REJECTED_ROWS].into_iter().chain(days) {
            let (_, repair) = Table::open_repaired(&self.lake, spec, &self.area).await?;
            if let Some(repair) = repair.filter(crate::lake::Repair::has_lost_rows) {
                self.sync.progress.warn(&format!(
                    "{} was damaged and has been repaired: {} log entries and {} data files were lost, with about {} \
                     rows; rows that Clerk still has are read again",
                    spec.name, repair.entries, repair.files, repair.rows_lost
                ));
            }
        }
        Ok(())
    }

    /// Returns the damage that caused `error`, if a table that `resource` reads or writes is damaged.
    pub(super) async fn find_damage(&self, resource: &'static Resource, error: &Error) -> Option<Error> {
        if !matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Query | ErrorKind::Bug | ErrorKind::Conflict) {
            return None;
        }
        let tables = [&resource.table, &REJECTED_ROWS].into_iter().chain(resource.tables_read());
        for spec in tables {
            // Loads the current state of the table, not this run's cached view.
            let table = self.sync.lake.table_to_query(spec, None).await.ok()?;
            if let Some(damage) = table.damage().await {
                tracing::debug!(%error, "error caused by a damaged table");
                return Some(damage);
            }
        }
        None
    }
}
