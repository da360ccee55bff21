//! Files beside the lake as tables, to join one's own data with it: `SELECT … FROM 'people.csv'`.
//!
//! A quoted path or an `s3://` URL stands for a Parquet, CSV, TSV, JSON or Arrow file, for a folder of files of one
//! kind, or for all that a pattern such as `exports/*.csv` fits. Paths are relative to where the program runs; S3 is
//! reached with the same `AWS_*` settings as a lake there.
//!
//! DataFusion has such tables of its own (`SessionContext::enable_url_table`), but a file that is not there, cannot be
//! read or is of an unknown kind is to them a table that does not exist, and JSON arrays are none of theirs.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use futures::{StreamExt, TryStreamExt};

use crate::error::{Error, ErrorKind, Result, chain};
use crate::lake::{self, Location};

/// The endings by which a file is known, and what it then holds.
const KINDS: [(&str, Kind); 10] = [
    ("parquet", Kind::Parquet),
    ("pq", Kind::Parquet),
    ("csv", Kind::Separated(b',')),
    ("tsv", Kind::Separated(b'\t')),
    ("json", Kind::Json),
    ("ndjson", Kind::Json),
    ("jsonl", Kind::Json),
    ("arrow", Kind::Arrow),
    ("feather", Kind::Arrow),
    ("ipc", Kind::Arrow),
];

/// The endings that a text file may have behind its own.
const COMPRESSED: [(&str, FileCompressionType); 4] = [
    ("gz", FileCompressionType::GZIP),
    ("bz2", FileCompressionType::BZIP2),
    ("xz", FileCompressionType::XZ),
    ("zst", FileCompressionType::ZSTD),
];

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Parquet,
    Arrow,
    /// Text with a header line and values that this byte separates.
    Separated(u8),
    /// Objects, one to a line or all in one array.
    Json,
}

/// A file's ending, and what it says.
struct Ending {
    /// As it is in the path, its dot included.
    text: String,
    kind: Kind,
    compression: FileCompressionType,
}

impl Ending {
    /// The ending of `path`; none where it is of no known kind.
    fn of(path: &str) -> Option<Self> {
        let (rest, compression) = match path.rsplit_once('.') {
            Some((rest, last)) => match COMPRESSED.iter().find(|(ending, _)| last.eq_ignore_ascii_case(ending)) {
                Some((_, compression)) => (rest, *compression),
                None => (path, FileCompressionType::UNCOMPRESSED),
            },
            None => (path, FileCompressionType::UNCOMPRESSED),
        };
        let (before, last) = rest.rsplit_once('.')?;
        let (_, kind) = KINDS.iter().find(|(ending, _)| last.eq_ignore_ascii_case(ending))?;
        let is_whole = matches!(kind, Kind::Parquet | Kind::Arrow);
        let known = !(is_whole && compression.is_compressed());
        known.then(|| Self { text: path[before.len()..].to_owned(), kind: *kind, compression })
    }

    /// How such files are read, in the order in which it is tried.
    fn formats(&self, state: &SessionState) -> Vec<Arc<dyn FileFormat>> {
        match self.kind {
            Kind::Parquet => {
                vec![Arc::new(ParquetFormat::default().with_options(state.default_table_options().parquet))]
            }
            Kind::Arrow => vec![Arc::new(ArrowFormat)],
            Kind::Separated(separator) => {
                let format = CsvFormat::default().with_has_header(true).with_delimiter(separator);
                let format = format.with_newlines_in_values(true);
                vec![Arc::new(format.with_file_compression_type(self.compression))]
            }
            Kind::Json => {
                let json = |by_line| {
                    let format = JsonFormat::default().with_newline_delimited(by_line);
                    Arc::new(format.with_file_compression_type(self.compression)) as Arc<dyn FileFormat>
                };
                vec![json(true), json(false)]
            }
        }
    }
}

/// The table that `name` stands for; none where it does not look like a file's name.
///
/// # Errors
/// [`Query`](ErrorKind::Query) where there is no such file, or it cannot be read as what its ending says;
/// [`Settings`](ErrorKind::Settings) and [`Unreachable`](ErrorKind::Unreachable) where a store cannot be reached.
pub(super) async fn table(state: &SessionState, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    if !is_file(name) {
        return Ok(None);
    }
    let url = url_of(name).map_err(|error| unreadable(name, &chain(&error)))?;
    open_store(state, &url, name)?;
    let ending = ending(state, &url, name).await?;
    let mut first_failure = None;
    for format in ending.formats(state) {
        match table_of(state, &url, &ending.text, format).await {
            Ok(table) => return Ok(Some(table)),
            Err(error) => first_failure = first_failure.or(Some(error)),
        }
    }
    Err(first_failure.map_or_else(|| Error::bug("a file of no kind"), |error| unreadable(name, &chain(&error))))
}

/// The place that `name` stands for, with the pattern that it may end with.
fn url_of(name: &str) -> Result<ListingTableUrl, DataFusionError> {
    // DataFusion looks for patterns in paths alone.
    let pattern = name.contains("://").then(|| name.find(['*', '?', '['])).flatten();
    match pattern.and_then(|at| name[..at].rfind('/')) {
        Some(end) => ListingTableUrl::parse(&name[..=end])?.with_glob(&name[end + 1..]),
        None => ListingTableUrl::parse(name),
    }
}

/// Whether `text` says that a table is not found whose name looks like a file's, taken apart at its dot.
pub(super) fn is_named_in(text: &str) -> bool {
    KINDS.iter().any(|(ending, _)| text.contains(&format!(".{ending}' not found")))
}

/// Whether `name` looks like a file's: a path, a URL or a pattern, or a known ending.
fn is_file(name: &str) -> bool {
    name.contains('/') || Ending::of(name).is_some()
}

/// Lets `state` read from the store that `url` leads to.
fn open_store(state: &SessionState, url: &ListingTableUrl, name: &str) -> Result<()> {
    let runtime = state.runtime_env();
    if runtime.object_store(url).is_ok() {
        return Ok(());
    }
    if url.scheme() != "s3" {
        return Err(Error::new(ErrorKind::Query, format!("{name:?} is neither on disk nor on S3"))
            .with_hint("give a path, or s3://bucket/path; download what is elsewhere"));
    }
    Location::of_file(name)?.open_in(runtime);
    Ok(())
}

/// The ending of the files at `url`.
async fn ending(state: &SessionState, url: &ListingTableUrl, name: &str) -> Result<Ending> {
    let refused = |error: &DataFusionError| lake::store_error(&format!("the file {name:?} cannot be read"), error);
    let store = state.runtime_env().object_store(url).map_err(|error| refused(&error))?;
    let log = url.prefix().clone().join("_delta_log");
    if matches!(store.list(Some(&log)).next().await, Some(Ok(_))) {
        return Err(Error::new(ErrorKind::Query, format!("{name:?} holds a Delta table, not plain files"))
            .with_hint("a lake's tables go by their names; ask another lake with --lake"));
    }
    let listed = url.list_all_files(state, store.as_ref(), "").await.map_err(|error| refused(&error))?;
    let paths = listed.map_ok(|file| file.location.to_string());
    let mut paths: Vec<String> = paths.try_collect().await.map_err(|error| refused(&error))?;
    paths.sort();
    common_ending(name, &paths)
}

/// The one ending that those of `paths` have that are not hidden; others than the first may have none that is known.
fn common_ending(name: &str, paths: &[String]) -> Result<Ending> {
    let is_hidden = |path: &str| path.rsplit('/').next().is_some_and(|file| file.starts_with(['.', '_']));
    let mut paths = paths.iter().filter(|path| !is_hidden(path));
    let Some(first) = paths.next() else {
        return Err(Error::new(ErrorKind::Query, format!("there is no file {name:?}"))
            .with_hint("a path is relative to where clerk-lake runs"));
    };
    let ending = Ending::of(first).ok_or_else(|| {
        let known: Vec<_> = KINDS.iter().map(|(ending, _)| format!(".{ending}")).collect();
        Error::new(ErrorKind::Query, format!("what {first:?} holds is not known by its ending"))
            .with_hint(format!("known are {}, the text files among them also with .gz", known.join(" ")))
    })?;
    match paths.filter_map(|path| Ending::of(path)).find(|other| other.text != ending.text) {
        Some(other) => {
            Err(Error::new(ErrorKind::Query, format!("{name:?} holds both {} and {} files", ending.text, other.text))
                .with_hint("tell which with a pattern, such as 'exports/*.csv'"))
        }
        None => Ok(ending),
    }
}

/// The files at `url` with this ending as a table; folders called `key=value` give it a column each.
async fn table_of(
    state: &SessionState,
    url: &ListingTableUrl,
    ending: &str,
    format: Arc<dyn FileFormat>,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let mut options = ListingOptions::new(format).with_file_extension(ending);
    if url.is_collection() {
        let keys = options.infer_partitions(state, url).await?;
        options = options.with_table_partition_cols(keys.into_iter().map(|key| (key, DataType::Utf8)).collect());
    }
    let config = ListingTableConfig::new(url.clone()).with_listing_options(options).infer_schema(state).await?;
    Ok(Arc::new(ListingTable::try_new(config)?))
}

fn unreadable(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Query, format!("the file {name:?} cannot be read: {why}"))
        .with_hint("a file must hold what its ending says")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &str) -> Option<(Kind, bool, String)> {
        Ending::of(path).map(|ending| (ending.kind, ending.compression.is_compressed(), ending.text))
    }

    #[test]
    fn files_are_known_by_their_endings() {
        let text = |text: &str| text.to_owned();
        assert_eq!(kind("a.b/people.csv"), Some((Kind::Separated(b','), false, text(".csv"))));
        assert_eq!(kind("people.TSV.gz"), Some((Kind::Separated(b'\t'), true, text(".TSV.gz"))));
        assert_eq!(kind("x.ndjson.zst"), Some((Kind::Json, true, text(".ndjson.zst"))));
        assert_eq!(kind("x.parquet"), Some((Kind::Parquet, false, text(".parquet"))));
        for path in ["x.parquet.gz", "x", "x.gz", "x.txt", "csv", "clerk_user"] {
            assert_eq!(kind(path), None, "{path}");
        }
    }

    #[test]
    fn a_folder_holds_files_of_one_kind() {
        let ending = |paths: &[&str]| {
            let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
            common_ending("folder/", &paths).map(|ending| ending.text).map_err(|error| error.to_string())
        };
        assert_eq!(ending(&["a/_SUCCESS", "a/x.csv", "a/README", "a/y.csv"]).as_deref(), Ok(".csv"));
        assert!(ending(&["a/x.csv", "a/y.parquet"]).is_err_and(|why| why.contains(".csv and .parquet")));
        assert!(ending(&["a/.hidden"]).is_err_and(|why| why.contains("no file")));
        assert!(ending(&["a/README"]).is_err_and(|why| why.contains("README")));
    }

    #[test]
    fn names_of_tables_do_not_look_like_files() {
        assert!(["people.csv", "./people", "s3://bucket/people/", "exports/*.csv"].into_iter().all(is_file));
        assert!(!["clerk_user", "people", "people.v2", "users"].into_iter().any(is_file));
        assert!(is_named_in("table 'datafusion.people.csv' not found"));
        assert!(!is_named_in("table 'people' not found"));
    }
}
