//! Paths in a lake other than the tables' directories.

use object_store::path::Path;

/// The directory in which runs stage files.
pub(super) const STAGED: &str = "_staged";

/// The directory of the records of failed runs.
pub(super) const FAILED_RUNS: &str = "_failed_runs";

/// The file name of a resume point, in a table's directory in a run's staging area.
pub(super) const RESUME_POINT: &str = "checkpoint.json";

/// Returns whether `path`, relative to a table, is a data file or a change data file.
pub(super) fn is_data_file(path: &Path) -> bool {
    path.as_ref().ends_with(".parquet") && path.parts().next().is_none_or(|part| part.as_ref() != "_delta_log")
}

/// Returns `path` appended to `prefix`.
pub(super) fn join(prefix: &Path, path: &Path) -> Path {
    prefix.parts().chain(path.parts()).collect()
}
