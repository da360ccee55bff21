//! The report: every built-in query as a metric, on one HTML page or in a terminal.
//!
//! [`collect()`] runs the queries. The header of a query and the columns of its rows decide how a metric is drawn, so a
//! new query needs no code here:
//!
//! - **stat**: the first number. If there is a column `previous`, it is the number of the preceding period.
//! - **line**, **bar**, **stacked**: the first column is the axis (dates, timestamps, numbers or names). Each further
//!   number is a series. Shares and numbers on another scale have their own charts. If another column is text, its
//!   values are the series, and each number has its own chart. In stacks, a column that is the sum of the others is
//!   omitted, and `churned`, `lost`, `left`, `deleted` and `removed` are drawn below zero.
//! - **heatmap**: the first column names the lines, the second names the columns, the last number is the shade.
//! - **table**: the rows.
//!
//! These rules hold for all charts:
//!
//! - If there are more than eight series, the smallest are combined.
//! - Numbers with a fractional part are percentages if all are from 0 to 1, or if the column is named `share`,
//!   `stickiness`, `retention`, `rate` or `ratio`.
//! - If the column `complete` is false, the numbers of the row are lower bounds. `at_most`, or `NAME_at_most`, is the
//!   upper bound of the first number, or of the column `NAME`.
//! - The current UTC day, week or month is drawn as in progress.
//! - More than 45 daily bars are summed up by calendar week, but only if the numbers count new things: the name of the
//!   column says so (such as `new_users` or `sign_ups`), or another column is its running total. Otherwise the chart is
//!   a line.
//! - Identifiers in text columns are shown as labels: `oauth_google` as Google.
//!
//! The module writes nothing to files or to the terminal. A report contains the results of the queries and no other data
//! of the tables.

mod arrange;
mod card;
mod collect;
mod describe;
mod format;
mod heat;
mod heat_table;
mod html;
mod labels;
mod legend;
mod metric;
mod outcome;
mod page;
mod panel;
mod period;
mod rows;
mod scale;
mod sections;
mod stat;
mod svg;
mod terminal;
mod weekly;

use chrono::{DateTime, Utc};

use crate::error::{Error, Result};
use outcome::QueryOutcome;

pub use collect::collect;
pub use metric::{InstanceResult, Kind, Metric, ResultColumn, ResultRows, ResultValue};

/// All metrics of one or several lakes at one time.
#[derive(Clone, Debug)]
pub struct Report {
    /// Time of the report. Its queries see it as `$now`.
    pub made_at: DateTime<Utc>,
    /// The lakes, in the order of the arguments.
    pub lakes: Vec<LakeState>,
    /// The metrics. Each has one part per lake.
    pub metrics: Vec<Metric>,
}

/// State of a lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeState {
    /// The instance that the lake belongs to.
    pub instance: String,
    /// Location of the lake, as given by the user.
    pub location: String,
    /// The tables that have been written.
    pub tables: Vec<TableSummary>,
}

/// State of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSummary {
    /// Name of the table.
    pub name: String,
    /// Number of rows.
    pub rows: u64,
    /// Newest version.
    pub version: u64,
    /// Time up to which the table is complete; `None` if the table has no watermark.
    pub watermark: Option<DateTime<Utc>>,
}

impl LakeState {
    /// Returns the time up to which all tables are complete; `None` if no table has a watermark.
    #[must_use]
    pub fn complete_up_to(&self) -> Option<DateTime<Utc>> {
        self.tables.iter().filter_map(|table| table.watermark).min()
    }
}

impl Report {
    /// Returns the report as one HTML page without scripts and without network access. The page shows less detail if it
    /// would otherwise exceed one megabyte.
    #[must_use]
    pub fn html(&self) -> String {
        page::html(self)
    }

    /// Returns the report in block characters, in lines of at most `width` columns (40 to 160), with or without `color`.
    #[must_use]
    pub fn terminal(&self, width: usize, color: bool) -> String {
        terminal::text(self, width, color)
    }

    /// Returns the failed parts of the metrics: the name of the query and the error. A metric that needs organizations is
    /// not a failure if they are not enabled on the instance.
    #[must_use]
    pub fn failures(&self) -> Vec<(&str, &Error)> {
        self.metrics.iter().flat_map(|metric| self.failures_of(metric)).collect()
    }

    /// Returns the report if at least one metric has rows.
    ///
    /// # Errors
    /// The error of the first failed query if all queries fail, with its kind and hint.
    pub fn if_any(self) -> Result<Self> {
        let has_rows = self.metrics.iter().any(|metric| metric.parts.iter().any(|part| part.rows.is_ok()));
        let failures = self.failures();
        let Some((name, first)) = failures.first().filter(|_| !has_rows) else { return Ok(self) };
        let error = Error::new(first.kind(), format!("all queries of the report failed; {name}: {first}"));
        Err(error.with_hint(first.hint().unwrap_or("clerk-lake status shows the tables of the lake")))
    }

    /// Returns the outcomes of a metric, one per lake, with the names of the instances.
    fn outcomes<'a>(&self, metric: &'a Metric) -> Vec<(&'a str, QueryOutcome<'a>)> {
        let outcome = |(index, part): (usize, &'a InstanceResult)| {
            (part.instance.as_str(), QueryOutcome::of(metric, part, self.lakes.get(index)))
        };
        metric.parts.iter().enumerate().map(outcome).collect()
    }

    fn failures_of<'a>(&self, metric: &'a Metric) -> Vec<(&'a str, &'a Error)> {
        let failed = |(_, outcome): (&str, QueryOutcome<'a>)| match outcome {
            QueryOutcome::Failed(error) => Some((metric.query.name.as_str(), error)),
            _ => None,
        };
        self.outcomes(metric).into_iter().filter_map(failed).collect()
    }
}
