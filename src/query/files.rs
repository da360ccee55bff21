//! Files as tables, to join other data with the lake: `SELECT … FROM 'people.csv'`.
//!
//! A quoted path or `s3://` URL stands for a Parquet, CSV, TSV, JSON or Arrow file, for a directory of files of one
//! format, or for all files that match a pattern such as `exports/*.csv`. Paths are relative to the working directory.
//! S3 uses the same `AWS_*` settings as a lake on S3.
//!
//! DataFusion's own file tables (`SessionContext::enable_url_table`) are not used: they report a file that is missing,
//! unreadable or of an unknown format as a table that does not exist, and they cannot read JSON arrays.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
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

use super::file_content::{self, check_json, csv_columns, csv_schema};
use crate::error::{Error, ErrorKind, Result, chain};
use crate::lake::{self, Location};

/// Known file extensions and their formats.
const FORMATS: [(&str, FileKind); 10] = [
    ("parquet", FileKind::Parquet),
    ("pq", FileKind::Parquet),
    ("csv", FileKind::Separated(b',')),
    ("tsv", FileKind::Separated(b'\t')),
    ("json", FileKind::Json),
    ("ndjson", FileKind::Json),
    ("jsonl", FileKind::Json),
    ("arrow", FileKind::Arrow),
    ("feather", FileKind::Arrow),
    ("ipc", FileKind::Arrow),
];

/// Extensions of compressed files, which may follow the extension of a text format.
const COMPRESSIONS: [(&str, FileCompressionType); 4] = [
    ("gz", FileCompressionType::GZIP),
    ("bz2", FileCompressionType::BZIP2),
    ("xz", FileCompressionType::XZ),
    ("zst", FileCompressionType::ZSTD),
];

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Parquet,
    Arrow,
    /// Text with a header line, and values that are separated by this byte.
    Separated(u8),
    /// JSON objects, one per line or all in one array.
    Json,
}

/// The extension of a file, and the format that it stands for.
struct Extension {
    /// The extension as written in the path, including the first dot.
    text: String,
    kind: FileKind,
    compression: FileCompressionType,
}

impl Extension {
    /// Returns the extension of `path`, or `None` if the format is unknown.
    fn of(path: &str) -> Option<Self> {
        let (rest, compression) = match path.rsplit_once('.') {
            Some((rest, last)) => match COMPRESSIONS.iter().find(|(known, _)| last.eq_ignore_ascii_case(known)) {
                Some((_, compression)) => (rest, *compression),
                None => (path, FileCompressionType::UNCOMPRESSED),
            },
            None => (path, FileCompressionType::UNCOMPRESSED),
        };
        let (before, last) = rest.rsplit_once('.')?;
        let (_, kind) = FORMATS.iter().find(|(known, _)| last.eq_ignore_ascii_case(known))?;
        // Parquet and Arrow files are compressed internally.
        let is_binary = matches!(kind, FileKind::Parquet | FileKind::Arrow);
        let is_known = !(is_binary && compression.is_compressed());
        is_known.then(|| Self { text: path[before.len()..].to_owned(), kind: *kind, compression })
    }

    /// Returns the format for reading such files of separated values.
    fn separated(&self, separator: u8) -> CsvFormat {
        let format = CsvFormat::default().with_has_header(true).with_delimiter(separator);
        format.with_newlines_in_values(true).with_file_compression_type(self.compression)
    }

    /// Returns the formats for reading such files, in the order in which they are tried.
    fn formats(&self, state: &SessionState) -> Vec<Arc<dyn FileFormat>> {
        match self.kind {
            FileKind::Parquet => {
                vec![Arc::new(ParquetFormat::default().with_options(state.default_table_options().parquet))]
            }
            FileKind::Arrow => vec![Arc::new(ArrowFormat)],
            FileKind::Separated(separator) => vec![Arc::new(self.separated(separator))],
            FileKind::Json => {
                let json = |by_line| {
                    // The fields of all objects, not only of the first.
                    let format = JsonFormat::default().with_newline_delimited(by_line);
                    let format = format.with_schema_infer_max_rec(usize::MAX);
                    Arc::new(format.with_file_compression_type(self.compression)) as Arc<dyn FileFormat>
                };
                vec![json(true), json(false)]
            }
        }
    }
}

/// Returns the file or files called `name` as a table, or `None` if `name` does not look like a file name.
///
/// # Errors
/// [`Query`](ErrorKind::Query) if there is no such file, or its content does not match its extension;
/// [`Settings`](ErrorKind::Settings) and [`Unreachable`](ErrorKind::Unreachable) if a store cannot be reached.
pub(super) async fn table(
    state: &SessionState,
    name: &str,
    is_allowed: bool,
) -> Result<Option<Arc<dyn TableProvider>>> {
    if !looks_like_file(name) {
        return Ok(None);
    }
    if !is_allowed {
        return Err(Error::new(ErrorKind::Query, format!("SQL may not read the file {name:?}: --no-files is set"))
            .with_hint("query the tables of the lake; SHOW TABLES lists them"));
    }
    let url = url_of(name).map_err(|error| unreadable(name, &chain(&error)))?;
    open_store(state, &url, name)?;
    let extension = extension(state, &url, name).await?;
    let text = extension.text.as_str();
    let schema = match extension.kind {
        FileKind::Separated(separator) => {
            let columns = csv_columns(state, &url, text, || extension.separated(separator)).await?;
            let format = Arc::new(extension.separated(separator));
            let table = table_of(state, &url, text, format, Some(columns.as_text())).await;
            let table = table.map_err(|error| unreadable(name, &chain(&error)))?;
            Some(csv_schema(state, name, table, columns).await?)
        }
        FileKind::Json => {
            check_json(state, &url, text, extension.compression).await?;
            None
        }
        FileKind::Parquet | FileKind::Arrow => None,
    };
    let mut first_failure = None;
    for format in extension.formats(state) {
        match table_of(state, &url, text, format, schema.clone()).await {
            Ok(table) => return Ok(Some(table)),
            Err(error) => first_failure = first_failure.or(Some(error)),
        }
    }
    Err(first_failure.map_or_else(|| Error::bug("no reader for the file"), |error| unreadable(name, &chain(&error))))
}

/// Returns the URL for `name`, with the pattern that `name` may end with.
fn url_of(name: &str) -> Result<ListingTableUrl, DataFusionError> {
    // DataFusion finds patterns in paths only, not in URLs.
    let pattern = name.contains("://").then(|| name.find(['*', '?', '['])).flatten();
    match pattern.and_then(|at| name[..at].rfind('/')) {
        Some(end) => ListingTableUrl::parse(&name[..=end])?.with_glob(&name[end + 1..]),
        None => ListingTableUrl::parse(name),
    }
}

/// Returns whether the name of a table that was not found ends with a file extension, because quotes are missing.
pub(super) fn is_unquoted_file(name: &str) -> bool {
    FORMATS.iter().any(|(extension, _)| name.strip_suffix(extension).is_some_and(|rest| rest.ends_with('.')))
}

/// Returns whether `name` looks like a file: it contains a slash, or has a known extension.
fn looks_like_file(name: &str) -> bool {
    name.contains('/') || Extension::of(name).is_some()
}

/// Registers the store of `url`, so that `state` can read from it.
fn open_store(state: &SessionState, url: &ListingTableUrl, name: &str) -> Result<()> {
    let runtime = state.runtime_env();
    if runtime.object_store(url).is_ok() {
        return Ok(());
    }
    if url.scheme() != "s3" {
        return Err(Error::new(ErrorKind::Query, format!("{name:?} is neither on disk nor on S3"))
            .with_hint("give a path or s3://bucket/path; download files from other places first"));
    }
    Location::of_file(name)?.open_in(runtime);
    Ok(())
}

/// Returns the extension of the files at `url`.
async fn extension(state: &SessionState, url: &ListingTableUrl, name: &str) -> Result<Extension> {
    let failed = |error: &DataFusionError| lake::store_error(&format!("the file {name:?} cannot be read"), error);
    let store = state.runtime_env().object_store(url).map_err(|error| failed(&error))?;
    let log = url.prefix().clone().join("_delta_log");
    if matches!(store.list(Some(&log)).next().await, Some(Ok(_))) {
        return Err(Error::new(ErrorKind::Query, format!("{name:?} holds a Delta table, not plain files"))
            .with_hint("refer to tables of the lake by their names; query another lake with --lake"));
    }
    let listed = url.list_all_files(state, store.as_ref(), "").await.map_err(|error| failed(&error))?;
    let paths = listed.map_ok(|file| file.location.to_string());
    let mut paths: Vec<String> = paths.try_collect().await.map_err(|error| failed(&error))?;
    paths.sort();
    common_extension(name, &paths)
}

/// Returns the common extension of `paths`. Hidden files are ignored. A file with an unknown extension is an error if
/// it is the first, and is ignored otherwise.
fn common_extension(name: &str, paths: &[String]) -> Result<Extension> {
    let is_hidden = |path: &str| path.rsplit('/').next().is_some_and(|file| file.starts_with(['.', '_']));
    let mut paths = paths.iter().filter(|path| !is_hidden(path));
    let Some(first) = paths.next() else {
        return Err(Error::new(ErrorKind::Query, format!("there is no file {name:?}"))
            .with_hint("paths are relative to the directory in which clerk-lake runs"));
    };
    let extension = Extension::of(first).ok_or_else(|| {
        let known: Vec<_> = FORMATS.iter().map(|(extension, _)| format!(".{extension}")).collect();
        Error::new(ErrorKind::Query, format!("unknown file extension: {first:?}"))
            .with_hint(format!("known are {}; text files may be compressed (.gz, .bz2, .xz, .zst)", known.join(" ")))
    })?;
    match paths.filter_map(|path| Extension::of(path)).find(|other| other.text != extension.text) {
        Some(other) => Err(Error::new(
            ErrorKind::Query,
            format!("{name:?} holds both {} and {} files", extension.text, other.text),
        )
        .with_hint("select one format with a pattern, such as 'exports/*.csv'")),
        None => Ok(extension),
    }
}

/// Returns the files at `url` with this extension as a table. Directories named `key=value` become columns.
async fn table_of(
    state: &SessionState,
    url: &ListingTableUrl,
    extension: &str,
    format: Arc<dyn FileFormat>,
    schema: Option<SchemaRef>,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let mut options = ListingOptions::new(format).with_file_extension(extension);
    if url.is_collection() {
        let keys = options.infer_partitions(state, url).await?;
        options = options.with_table_partition_cols(keys.into_iter().map(|key| (key, DataType::Utf8)).collect());
    }
    let config = ListingTableConfig::new(url.clone()).with_listing_options(options);
    let config = match schema {
        Some(schema) => config.with_schema(schema),
        None => config.infer_schema(state).await?,
    };
    Ok(Arc::new(ListingTable::try_new(config)?))
}

fn unreadable(name: &str, why: &str) -> Error {
    file_content::unreadable(name, why, "the content of a file must match its extension")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &str) -> Option<(FileKind, bool, String)> {
        Extension::of(path).map(|it| (it.kind, it.compression.is_compressed(), it.text))
    }

    #[test]
    fn the_format_is_inferred_from_the_extension() {
        let text = |text: &str| text.to_owned();
        assert_eq!(kind("a.b/people.csv"), Some((FileKind::Separated(b','), false, text(".csv"))));
        assert_eq!(kind("people.TSV.gz"), Some((FileKind::Separated(b'\t'), true, text(".TSV.gz"))));
        assert_eq!(kind("x.ndjson.zst"), Some((FileKind::Json, true, text(".ndjson.zst"))));
        assert_eq!(kind("x.parquet"), Some((FileKind::Parquet, false, text(".parquet"))));
        for path in ["x.parquet.gz", "x", "x.gz", "x.txt", "csv", "clerk_user"] {
            assert_eq!(kind(path), None, "{path}");
        }
    }

    #[test]
    fn a_directory_must_hold_files_of_one_format() {
        let extension = |paths: &[&str]| {
            let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
            common_extension("directory/", &paths).map(|it| it.text).map_err(|error| error.to_string())
        };
        assert_eq!(extension(&["a/_SUCCESS", "a/x.csv", "a/README", "a/y.csv"]).as_deref(), Ok(".csv"));
        assert!(extension(&["a/x.csv", "a/y.parquet"]).is_err_and(|why| why.contains(".csv and .parquet")));
        assert!(extension(&["a/.hidden"]).is_err_and(|why| why.contains("no file")));
        assert!(extension(&["a/README"]).is_err_and(|why| why.contains("README")));
    }

    #[test]
    fn table_names_do_not_look_like_files() {
        assert!(["people.csv", "./people", "s3://bucket/people/", "exports/*.csv"].into_iter().all(looks_like_file));
        assert!(!["clerk_user", "people", "people.v2", "users"].into_iter().any(looks_like_file));
        assert!(is_unquoted_file("people.csv"));
        assert!(!is_unquoted_file("people"));
    }
}
