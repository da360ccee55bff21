//! Resources with one list for each row of another table, and single objects.

use super::tally::Tally;
use super::task::Task;
use crate::error::{Error, Result};
use crate::lake::Table;
use crate::resource::{PerParentList, SingleObject};

impl Task<'_, PerParentList> {
    /// Reads the list of each parent, and replaces the table with all rows.
    // TODO(lead): build it.
    #[expect(clippy::unused_async, reason = "not built yet")]
    pub(super) async fn sync_per_parent(&self, _table: Table, _tally: &mut Tally) -> Result<()> {
        Err(Error::bug(format!("{}: reading {} is not built yet", self.resource.name, self.list.path)))
    }
}

impl Task<'_, SingleObject> {
    /// Reads the object, and replaces the table with it.
    // TODO(lead): build it.
    #[expect(clippy::unused_async, reason = "not built yet")]
    pub(super) async fn sync_single(&self, _table: Table, _tally: &mut Tally) -> Result<()> {
        Err(Error::bug(format!("{}: reading {} is not built yet", self.resource.name, self.list.path)))
    }
}
