//! The catalogue: one figure per file of `queries/`, with a header that a program can read.
//!
//! ```sql
//! -- title: Daily active users
//! -- description: One sentence: what is counted, and what is not.
//! -- chart: stat | line | bar | stacked | heatmap | table
//! -- parameter: lookback_days = 30
//! ```
//!
//! A query may use its parameters as `$name`, and always `$today` (the UTC day) and `$now`.

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SessionContext;
use include_dir::{Dir, include_dir};

use crate::error::{Error, ErrorKind, Result};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/queries");

/// A query of the catalogue.
#[derive(Clone, Debug)]
pub struct Query {
    /// Its name, which is its file's.
    pub name: String,
    /// What it is called.
    pub title: String,
    /// What is counted, and what is not.
    pub description: String,
    /// How it is best drawn.
    pub chart: String,
    /// Its parameters with their default values.
    pub parameters: Vec<(String, i64)>,
    /// The query itself.
    pub sql: String,
}

/// Values for the `$name`s of a query.
#[derive(Clone, Debug)]
pub struct Parameters {
    now: DateTime<Utc>,
    given: Vec<(String, i64)>,
}

impl Parameters {
    /// `$today` and `$now` as of `now`, every other parameter at its default.
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Self {
        Self { now, given: Vec::new() }
    }

    /// The same with `name` set to `value`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: i64) -> Self {
        self.given.push((name.into(), value));
        self
    }

    /// All values, the defaults included, as DataFusion takes them.
    pub(super) fn values(&self, defaults: &[(String, i64)]) -> Vec<(String, ScalarValue)> {
        let days = self.now.timestamp().div_euclid(86_400);
        let today = ScalarValue::Date32(i32::try_from(days).ok());
        let now = ScalarValue::TimestampMicrosecond(Some(self.now.timestamp_micros()), Some("UTC".into()));
        let mut values = vec![("today".to_owned(), today), ("now".to_owned(), now)];
        for (name, default) in defaults {
            let given = self.given.iter().rev().find(|(given, _)| given == name).map_or(*default, |(_, value)| *value);
            values.push((name.clone(), ScalarValue::Int64(Some(given))));
        }
        for (name, value) in &self.given {
            if !defaults.iter().any(|(known, _)| known == name) {
                values.push((name.clone(), ScalarValue::Int64(Some(*value))));
            }
        }
        values
    }
}

impl Query {
    /// Reads a file of the catalogue.
    ///
    /// # Errors
    /// [`Query`](ErrorKind::Query) where its header lacks a title or holds a parameter that is no number.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let mut query = Self {
            name: name.to_owned(),
            title: String::new(),
            description: String::new(),
            chart: "table".to_owned(),
            parameters: Vec::new(),
            sql: text.to_owned(),
        };
        for line in text.lines().map_while(|line| line.strip_prefix("--")) {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key.trim() {
                "title" => value.clone_into(&mut query.title),
                "description" => value.clone_into(&mut query.description),
                "chart" => value.clone_into(&mut query.chart),
                "parameter" => query.parameters.push(parameter(name, value)?),
                _ => {}
            }
        }
        if query.title.is_empty() {
            return Err(Error::new(ErrorKind::Query, format!("the query {name} has no title in its header")));
        }
        Ok(query)
    }

    /// A query that somebody typed: no header, no defaults.
    #[must_use]
    pub fn ad_hoc(sql: &str) -> Self {
        Self {
            name: String::new(),
            title: String::new(),
            description: String::new(),
            chart: "table".to_owned(),
            parameters: Vec::new(),
            sql: sql.to_owned(),
        }
    }

    /// Plans it over the tables of `session`.
    ///
    /// # Errors
    /// [`Query`](ErrorKind::Query) where a table or parameter is missing.
    pub async fn plan(&self, session: &SessionContext, parameters: &Parameters) -> Result<DataFrame> {
        self.refuse_unknown(parameters)?;
        let plan = super::sql(session, &self.sql, parameters.values(&self.parameters)).await;
        plan.map_err(|error| if self.name.is_empty() { error } else { error.context(format!("query {}", self.name)) })
    }

    /// Refuses a parameter that the query does not use: it is most likely misspelt.
    fn refuse_unknown(&self, parameters: &Parameters) -> Result<()> {
        let used = |name: &str| self.sql.contains(&format!("${name}"));
        let Some((unknown, _)) = parameters.given.iter().find(|(name, _)| !used(name)) else { return Ok(()) };
        let known: Vec<_> = self.parameters.iter().map(|(name, _)| name.as_str()).collect();
        let known = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
        Err(Error::settings(format!("the query has no parameter {unknown:?}"))
            .with_hint(format!("its parameters: {known}")))
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

fn parameter(query: &str, text: &str) -> Result<(String, i64)> {
    text.split_once('=')
        .and_then(|(name, value)| Some((name.trim().to_owned(), value.trim().parse().ok()?)))
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Query,
                format!("the query {query} has a parameter that is not `name = number`: {text}"),
            )
        })
}

/// All queries that come with the program, by name.
///
/// # Errors
/// [`Bug`](ErrorKind::Bug) where one cannot be read.
pub fn all() -> Result<Vec<Query>> {
    let mut queries = FILES
        .files()
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "sql"))
        .map(|file| {
            let name = file.path().file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let text = file.contents_utf8().ok_or_else(|| Error::bug(format!("the query {name} is not text")))?;
            Query::parse(name, text)
        })
        .collect::<Result<Vec<_>>>()?;
    queries.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(queries)
}

/// The query called `name`.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) where there is none; it lists those there are.
pub fn builtin(name: &str) -> Result<Query> {
    let mut all = all()?;
    if let Some(at) = all.iter().position(|query| query.name == name) {
        return Ok(all.swap_remove(at));
    }
    let names: Vec<_> = all.iter().map(|query| query.name.as_str()).collect();
    Err(Error::settings(format!("there is no query called {name:?}"))
        .with_hint(format!("the queries are: {}", names.join(", "))))
}
