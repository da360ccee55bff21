//! The catalogue: one figure per file of `queries/`, or of a folder of the user's, with a header that a program can
//! read.
//!
//! ```sql
//! -- title: Daily active users
//! -- description: One sentence: what is counted, and what is not.
//! -- chart: stat | line | bar | stacked | heatmap | table
//! -- unit: users
//! -- section: Activity
//! -- order: 10
//! -- parameter: lookback_days = 30 (1 to 90)
//! ```
//!
//! Everything in it may be left out; other keys mean nothing. A query may use its parameters as `$name`, and always
//! `$today` (the UTC day) and `$now`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SessionContext;
use include_dir::{Dir, include_dir};

pub use super::header::Chart;
use super::header::{Header, shown};
pub use super::parameters::Parameters;
use crate::error::{Error, ErrorKind, Result};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/queries");

/// A query of the catalogue.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Its name, which is its file's; empty for a query that somebody typed.
    pub name: String,
    /// What it is called.
    pub title: String,
    /// What is counted, and what is not.
    pub description: String,
    /// How it is best drawn.
    pub chart: Chart,
    /// What its figures count.
    pub unit: Option<String>,
    /// The part of a report that it belongs to.
    pub section: Option<String>,
    /// Its place there: the smaller, the earlier; those without one come last.
    pub order: Option<i64>,
    /// Its parameters with their default values.
    pub parameters: Vec<(String, i64)>,
    /// The values that parameters may have, for those that may not have any.
    pub ranges: Vec<(String, RangeInclusive<i64>)>,
    /// The file it comes from; none for those that come with the program.
    pub file: Option<PathBuf>,
    /// The query itself.
    pub sql: String,
}

impl Query {
    /// Reads a query with its header; where that has no title, its name is one.
    ///
    /// # Errors
    /// [`Query`](ErrorKind::Query) where the header says what cannot be: it names the line.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        Self::read(name, text, None)
    }

    /// Reads a query from a file; its name is the file's, without the ending.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) where the file cannot be read, and as [`Query::parse`].
    pub fn from_file(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            Error::settings(format!("the query file {} cannot be read: {error}", file.display()))
                .with_hint("name a file that holds SQL")
        })?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        Self::read(&name, &text, Some(file))
    }

    /// A query that somebody typed: no header, no defaults.
    #[must_use]
    pub fn ad_hoc(sql: &str) -> Self {
        Self { sql: sql.to_owned(), ..Self::default() }
    }

    fn read(name: &str, text: &str, file: Option<&Path>) -> Result<Self> {
        // Some editors begin a file with a mark of its encoding.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let header = Header::read(text).map_err(|wrong| {
            let place = file.map_or_else(|| format!("the query {name}"), |file| file.display().to_string());
            Error::new(ErrorKind::Query, format!("{place}, line {}: {}", wrong.line, wrong.what))
                .with_hint("a header has lines such as -- parameter: lookback_days = 30 (1 to 90)")
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

    /// Plans it over the tables of `session`.
    ///
    /// # Errors
    /// [`Query`](ErrorKind::Query) where a table or parameter is missing; [`Settings`](ErrorKind::Settings) where a
    /// value is given that it does not use, or that is out of its parameter's range.
    pub async fn plan(&self, session: &SessionContext, parameters: &Parameters) -> Result<DataFrame> {
        parameters.check_used_in(&self.sql, &self.parameters)?;
        self.check_ranges(parameters)?;
        let plan = super::sql(session, &self.sql, parameters.values(&self.parameters)).await;
        plan.map_err(|error| self.named_in(error))
    }

    fn check_ranges(&self, parameters: &Parameters) -> Result<()> {
        for (name, value) in &parameters.given {
            let range = self.ranges.iter().find(|(ranged, range)| ranged == name && !range.contains(value));
            if let Some((_, range)) = range {
                return Err(Error::settings(format!("{name} cannot be {value}"))
                    .with_hint(format!("it may be {}", shown(range))));
            }
        }
        Ok(())
    }

    /// `error` with the query in front: its file where it has one, so that the line that SQL's errors name is found.
    fn named_in(&self, error: Error) -> Error {
        match &self.file {
            Some(file) => error.context(file.display()),
            None if self.name.is_empty() => error,
            None => error.context(format!("query {}", self.name)),
        }
    }

    /// Runs it and collects its rows.
    ///
    /// # Errors
    /// As [`Query::plan`], and where it fails on the way.
    pub async fn run(&self, session: &SessionContext, parameters: &Parameters) -> Result<Vec<RecordBatch>> {
        let plan = self.plan(session, parameters).await?;
        plan.collect().await.map_err(|error| super::failed(&error))
    }
}

/// Queries by name: those that come with the program, and the user's.
#[derive(Clone, Debug)]
pub struct Catalogue {
    queries: BTreeMap<String, Query>,
}

impl Catalogue {
    /// The queries that come with the program.
    ///
    /// # Errors
    /// [`Bug`](ErrorKind::Bug) where one cannot be read.
    pub fn builtin() -> Result<Self> {
        let mut queries = BTreeMap::new();
        for file in FILES.files().filter(|file| is_query(file.path())) {
            let name = file.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = file.contents_utf8().ok_or_else(|| Error::bug(format!("the query {name} is not text")))?;
            let query = Query::parse(&name, text).map_err(|error| Error::bug(error.message()))?;
            queries.insert(name, query);
        }
        Ok(Self { queries })
    }

    /// The same with the queries of a folder, its files `NAME.sql`: one of a name that there is already replaces
    /// that query, the others are added.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) where the folder or one of its files cannot be read;
    /// [`Query`](ErrorKind::Query) where a header is wrong: it names file and line.
    pub fn with_directory(mut self, directory: &Path) -> Result<Self> {
        let unreadable = |error: std::io::Error| {
            Error::settings(format!("the folder of queries {} cannot be read: {error}", directory.display()))
                .with_hint("--queries names a folder with files such as my_figure.sql")
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

    /// All queries, by name.
    pub fn queries(&self) -> impl Iterator<Item = &Query> {
        self.queries.values()
    }

    /// The query called `name`.
    ///
    /// # Errors
    /// [`Settings`](ErrorKind::Settings) where there is none; it lists those there are.
    pub fn named(&self, name: &str) -> Result<&Query> {
        self.get(name).ok_or_else(|| {
            let names: Vec<_> = self.queries.keys().map(String::as_str).collect();
            Error::settings(format!("there is no query called {name:?}"))
                .with_hint(format!("the queries are: {}", names.join(", ")))
        })
    }

    /// The query called `name`, if there is one.
    pub(super) fn get(&self, name: &str) -> Option<&Query> {
        self.queries.get(name)
    }

    /// The same without the query called `name`.
    pub(super) fn without(mut self, name: &str) -> Self {
        self.queries.remove(name);
        self
    }
}

/// Whether a file of a folder is a query's: hidden ones, which editors leave, are not.
fn is_query(path: &Path) -> bool {
    let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    !is_hidden && path.extension().is_some_and(|extension| extension == "sql")
}

/// All queries that come with the program, by name.
///
/// # Errors
/// As [`Catalogue::builtin`].
pub fn all() -> Result<Vec<Query>> {
    Ok(Catalogue::builtin()?.queries.into_values().collect())
}

/// The query called `name` that comes with the program, whatever the user's folder holds.
///
/// # Errors
/// As [`Catalogue::named`].
pub fn builtin(name: &str) -> Result<Query> {
    Catalogue::builtin()?.named(name).cloned()
}
