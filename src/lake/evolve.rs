//! Tables that another version of this program wrote, or that were kept in another way: columns that are new are
//! added, as nulls, without touching a row; columns that this version does not know mean that it is the older one, and
//! must not write.

use std::collections::BTreeSet;

use arrow::datatypes::Schema;
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake::kernel::transaction::CommitProperties;

use super::commit::Base;
use super::table::{RUN_INFO, Table};
use crate::error::{Error, ErrorKind, Result};

impl Table {
    /// Makes a table that is open for writing ready for this version's rows: adds the columns that it lacks, switches
    /// the recording of changes on or off where the lake is to be kept so, and clears what crashes left
    /// ([`Table::sweep`]). Gives how many files it cleared.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) where a newer version wrote the table;
    /// [`Conflict`](ErrorKind::Conflict) where another run commits at the same time;
    /// [`Unreachable`](ErrorKind::Unreachable) where the store fails.
    pub async fn make_ready(&mut self) -> Result<usize> {
        self.mend_checkpoints().await?;
        self.add_new_columns().await?;
        Box::pin(self.switch_feed()).await?;
        Box::pin(self.note_history()).await?;
        self.sweep().await
    }

    async fn add_new_columns(&mut self) -> Result<()> {
        let Ok(state) = self.delta.snapshot() else { return Ok(()) };
        let kernel = state.schema();
        let stored: Schema = kernel.as_ref().try_into_arrow().map_err(|error| Error::bug(error.to_string()))?;
        let names = |schema: &Schema| -> BTreeSet<String> {
            schema.fields().iter().map(|field| field.name().clone()).collect()
        };
        let own = self.spec.schema();
        let (known, there) = (names(&own), names(&stored));
        if let Some(unknown) = there.difference(&known).next() {
            return Err(Error::new(
                ErrorKind::Settings,
                format!(
                    "the table {} in {} has the column {unknown}, which this version does not know; nothing was written",
                    self.spec.name,
                    self.lake.location()
                ),
            )
            .with_hint("update clerk-lake: a newer version writes this lake"));
        }
        let new: Vec<_> = own.fields().iter().filter(|field| !there.contains(field.name())).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        let bug = |error: arrow::error::ArrowError| Error::bug(error.to_string());
        let added: StructType = (&Schema::new(new)).try_into_kernel().map_err(bug)?;
        let added: Vec<_> = added.fields().cloned().collect();
        let base = Base::of(self);
        let info = serde_json::json!({ "mode": "new columns" });
        let once = CommitProperties::default().with_max_retries(0).with_metadata([(RUN_INFO.to_owned(), info)]);
        let done = self.delta.clone().add_columns().with_fields(added).with_commit_properties(once).await;
        self.settle(base, done.map(|_| ())).await?.committed(self.spec.name)?;
        tracing::info!(table = self.spec.name, "has new columns; rows get their values as they are next written");
        Ok(())
    }
}
