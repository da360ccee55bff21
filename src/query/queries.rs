//! Built-in queries, and queries from a directory of the user.
//!
//! Each query is one file, with a machine-readable header:
//!
//! ```sql
//! -- title: Daily active users
//! -- description: What is counted, and what is not.
//! -- chart: stat | line | bar | stacked | heatmap | table
//! -- unit: users
//! -- section: Activity
//! -- order: 10
//! -- parameter: lookback_days = 30 (1 to 90)
//! -- parameter: since = 2026-01-01
//! -- parameter: plan = 'pro'
//! ```
//!
//! Every key is optional, and unknown keys are ignored. A query can use its parameters as `$name`. It can always use
//! `$today` (the UTC day) and `$now`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SessionContext;
use include_dir::{Dir, include_dir};

pub use super::header::Chart;
use super::header::{Header, range_text};
pub use super::parameters::Parameters;
use super::suggest::suggestion;
pub use super::value::ParameterValue;
use crate::error::{Error, ErrorKind, Result};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/queries");

/// A query with its header.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The query's name: its file name without the extension. Empty for an ad-hoc query.
    pub name: String,
    /// The title for people.
    pub title: String,
    /// What is counted, and what is not.
    pub description: String,
    /// How the rows are drawn.
    pub chart: Chart,
    /// The unit of the numbers, such as `users`.
    pub unit: Option<String>,
    /// The section of the report that the query belongs to.
    pub section: Option<String>,
    /// The position in the report, in ascending order. Queries without a position come last.
    pub order: Option<i64>,
    /// The parameters with their default values.
    pub parameters: Vec<(String, ParameterValue)>,
    /// The allowed values of parameters. A parameter that is not listed here may have any value.
    pub ranges: Vec<(String, RangeInclusive<ParameterValue>)>,
    /// The file that the query was read from; `None` for built-in and ad-hoc queries.
    pub file: Option<PathBuf>,
    /// The text of the query, including the header.
    pub sql: String,
}

impl Query {
    /// Parses a query with its header. If the header has no title, the title is `name`.
    ///
    /// # Errors
    /// [`Query`](ErrorKind::Query) if the header is invalid. The error names the line.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        Self::read(name, text, None)
    }

    /// Reads a query from a file. The query's name is the file name without the extension.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) if the file cannot be read, and the errors of [`Query::parse`].
    pub fn from_file(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            Error::settings(format!("the query file {} cannot be read: {error}", file.display()))
                .with_hint("give a file that contains SQL, as UTF-8 text")
        })?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        Self::read(&name, &text, Some(file))
    }

    /// Returns an ad-hoc query, without header and parameter defaults.
    #[must_use]
    pub fn ad_hoc(sql: &str) -> Self {
        Self { sql: sql.to_owned(), ..Self::default() }
    }

    fn read(name: &str, text: &str, file: Option<&Path>) -> Result<Self> {
        // Some editors write a byte order mark at the start of a file.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let header = Header::read(text).map_err(|error| {
            let source = file.map_or_else(|| format!("query {name}"), |file| file.display().to_string());
            Error::new(ErrorKind::Query, format!("{source}, line {}: {}", error.line, error.message))
                .with_hint("header lines look like this: -- parameter: lookback_days = 30 (1 to 90)")
        })?;
        Ok(Self {
            name: name.to_owned(),
            title: header.title.unwrap_or_else(|| name.to_owned()),
            description: header.description.unwrap_or_default(),
            chart: header.chart,
            unit: header.unit,
            section: header.section,
            order: header.order,
            parameters: header.parameters,
            ranges: header.ranges,
            file: file.map(Path::to_path_buf),
            sql: text.to_owned(),
        })
    }

    /// Plans the query over the tables of `context`.
    ///
    /// # Errors
    /// [`Query`](ErrorKind::Query) if a table or parameter is missing; [`Settings`](ErrorKind::Settings) if a value is
    /// given for a parameter that the query does not use, or is outside of the parameter's range.
    pub async fn plan(&self, context: &SessionContext, parameters: &Parameters) -> Result<DataFrame> {
        parameters.check_used_in(&self.sql, &self.parameters)?;
        self.check_ranges(parameters)?;
        let plan = super::sql(context, &self.sql, parameters.values(&self.parameters)?).await;
        plan.map_err(|error| self.with_source(error))
    }

    /// Returns an error if a value has another type than its parameter, or is outside of its range.
    pub(crate) fn check_ranges(&self, parameters: &Parameters) -> Result<()> {
        for (name, value) in &parameters.typed(&self.parameters)? {
            let range = self.ranges.iter().find(|(ranged, range)| ranged == name && !range.contains(value));
            if let Some((_, range)) = range {
                return Err(Error::settings(format!("parameter {name} cannot be {value}"))
                    .with_hint(format!("give a value from {}", range_text(range))));
            }
        }
        Ok(())
    }

    /// Adds the query's file or name in front of `error`. SQL errors name a line, which is a line of that file.
    fn with_source(&self, error: Error) -> Error {
        match &self.file {
            Some(file) => error.context(file.display()),
            None if self.name.is_empty() => error,
            None => error.context(format!("query {}", self.name)),
        }
    }

    /// Runs the query and collects its rows in memory.
    ///
    /// # Errors
    /// The errors of [`Query::plan`], and those of [`failed`](super::failed) if the execution fails.
    pub async fn run(&self, context: &SessionContext, parameters: &Parameters) -> Result<Vec<RecordBatch>> {
        let plan = self.plan(context, parameters).await?;
        plan.collect().await.map_err(|error| super::failed(&error))
    }
}

/// Queries by name: the built-in ones, and those of the user.
#[derive(Clone, Debug)]
pub struct Queries {
    queries: BTreeMap<String, Query>,
    reads_files: bool,
}

impl Queries {
    /// Returns the built-in queries.
    ///
    /// # Errors
    /// [`Bug`](ErrorKind::Bug) if one cannot be parsed.
    pub fn builtin() -> Result<Self> {
        let mut queries = BTreeMap::new();
        for file in FILES.files().filter(|file| is_query(file.path())) {
            let name = file.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = file.contents_utf8().ok_or_else(|| Error::bug(format!("built-in query {name} is not UTF-8")))?;
            let query = Query::parse(&name, text).map_err(|error| Error::bug(error.message()))?;
            queries.insert(name, query);
        }
        Ok(Self { queries, reads_files: true })
    }

    /// Adds the queries of a directory, which are its files `NAME.sql`. A query replaces an existing one of the same
    /// name.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) if the directory or one of its files cannot be read;
    /// [`Query`](ErrorKind::Query) if a header is invalid. The error names the file and line.
    pub fn with_directory(mut self, directory: &Path) -> Result<Self> {
        let unreadable = |error: std::io::Error| {
            Error::settings(format!("the query directory {} cannot be read: {error}", directory.display()))
                .with_hint("--queries takes a directory that contains files such as my_metric.sql")
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(unreadable)? {
            files.push(entry.map_err(unreadable)?.path());
        }
        files.sort();
        for file in files.iter().filter(|file| is_query(file)) {
            let query = Query::from_file(file)?;
            self.queries.insert(query.name.clone(), query);
        }
        Ok(self)
    }

    /// Returns the same queries, which, like all SQL beside them, may read nothing but the lake.
    #[must_use]
    pub fn without_files(self) -> Self {
        Self { reads_files: false, ..self }
    }

    /// Returns whether SQL may read files beside the lake.
    pub(super) fn reads_files(&self) -> bool {
        self.reads_files
    }

    /// Returns all queries, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Query> {
        self.queries.values()
    }

    /// Returns the query called `name`.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) if there is no such query. The hint suggests the nearest names.
    pub fn named(&self, name: &str) -> Result<&Query> {
        self.get(name).ok_or_else(|| {
            let suggestion = suggestion(name, self.queries.keys().map(String::as_str));
            Error::settings(format!("there is no query called {name:?}"))
                .with_hint(suggestion.unwrap_or_else(|| "clerk-lake query --list lists the queries".to_owned()))
        })
    }

    /// Returns the query called `name`, or `None` if there is none.
    pub(super) fn get(&self, name: &str) -> Option<&Query> {
        self.queries.get(name)
    }

    /// Removes the query called `name`.
    pub(super) fn without(mut self, name: &str) -> Self {
        self.queries.remove(name);
        self
    }
}

/// Returns whether the file is a query. Hidden files are not: editors leave backup files of that kind.
fn is_query(path: &Path) -> bool {
    let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    !is_hidden && path.extension().is_some_and(|extension| extension == "sql")
}

/// Returns all built-in queries, sorted by name.
///
/// # Errors
/// The errors of [`Queries::builtin`].
pub fn all() -> Result<Vec<Query>> {
    Ok(Queries::builtin()?.queries.into_values().collect())
}

/// Returns the built-in query called `name`, even if the user's directory replaces it.
///
/// # Errors
/// The errors of [`Queries::named`].
pub fn builtin(name: &str) -> Result<Query> {
    Queries::builtin()?.named(name).cloned()
}
