//! Where things lie in a lake, beside the tables' own directories.

use object_store::path::Path;

/// The directory in which runs stage their files.
pub(super) const STAGED: &str = "_staged";

/// The name of a checkpoint's file, in a table's part of a run's staging area.
pub(super) const CHECKPOINT: &str = "checkpoint.json";

/// Whether `path`, relative to a table, is one of its data files, or holds change data.
pub(super) fn is_data_file(path: &Path) -> bool {
    path.as_ref().ends_with(".parquet") && path.parts().next().is_none_or(|part| part.as_ref() != "_delta_log")
}

/// `path` under `prefix`.
pub(super) fn join(prefix: &Path, path: &Path) -> Path {
    prefix.parts().chain(path.parts()).collect()
}
