//! Damaged tables: a full sync repairs those that it writes, and any other run names the damage behind a failure.

use super::options::Extent;
use super::run::Run;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Table;
use crate::resource::{ACTIVITY_DAYS, REJECTED_ROWS, Reading, Resource, SESSIONS, USERS};
use crate::table::TableSpec;

impl Run<'_> {
    /// Repairs the tables of `resource` if this run reads all of it: what is lost is read anew from Clerk, and what can
    /// still be read is kept.
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
                     rows; what Clerk still has is read anew",
                    spec.name, repair.entries, repair.files, repair.rows_lost
                ));
            }
        }
        Ok(())
    }

    /// The damage that `error` comes from, if one of the tables that `resource` reads or writes is damaged.
    pub(super) async fn damage_behind(&self, resource: &'static Resource, error: &Error) -> Option<Error> {
        if !matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Query | ErrorKind::Bug | ErrorKind::Conflict) {
            return None;
        }
        let read_too: &[&'static TableSpec] = match resource.reading {
            Reading::PerUser(_) | Reading::Derived(_) => &[&USERS.table],
            Reading::Ledger => &[&USERS.table, &SESSIONS.table, &ACTIVITY_DAYS],
            Reading::Cursor(_) | Reading::Offset(_) => &[],
        };
        for spec in [&resource.table, &REJECTED_ROWS].into_iter().chain(read_too.iter().copied()) {
            // Not as this run has seen it so far.
            let table = self.sync.lake.table_to_query(spec, None).await.ok()?;
            if let Some(damage) = table.damage().await {
                tracing::debug!(%error, "what the damage looked like");
                return Some(damage);
            }
        }
        None
    }
}
