//! The report: every query of the catalogue as a figure, on one HTML page or in a terminal.
//!
//! [`collect()`] asks; what is drawn follows from a query's header and from the columns that it gives, so that a
//! new query needs no code here. How a figure reads its columns:
//!
//! - **stat**: the first number; `previous`, where there is one, is the number of the period before.
//! - **line**, **bar**, **stacked**: the first column runs along the axis (days, moments, numbers or names). Each
//!   further number is a series; shares and numbers of another scale get a small chart of their own. Where another
//!   column is text, its values are the series, and each number gets a chart. In a stack, a column that is the sum of
//!   the others is left out, and `churned`, `lost`, `left`, `deleted` and `removed` are drawn below zero.
//! - **heatmap**: the first column names the lines, the second the columns, the last number fills the cells.
//! - **table**: the rows as they are.
//! - Where there are more than eight series, the smallest become one, called other.
//! - Numbers with places after the point that are all from 0 to 1, or are called `share`, `stickiness`,
//!   `retention`, `rate` or `ratio`, are shown as percent.
//! - Where the column `complete` says no, a row's numbers are lower bounds and are drawn as such; `at_most`, or
//!   `NAME_at_most`, says how large the first number, or `NAME`, can be.
//!
//! It prints nothing and writes no file; and it holds what the queries give, nothing else of the tables.

mod arrange;
mod collect;
mod describe;
mod drawing;
mod figure;
mod grid;
mod heat;
mod html;
mod page;
mod panel;
mod rows;
mod scale;
mod sections;
mod stat;
mod svg;
mod terminal;
mod words;

use chrono::{DateTime, Utc};

use crate::error::{Error, Result};

pub use collect::collect;
pub use figure::{Column, Figure, Kind, Part, Rows, Value};

/// All figures over one or several lakes, as they were at one moment.
#[derive(Clone, Debug)]
pub struct Report {
    /// When it was made; `$now` in its queries.
    pub made_at: DateTime<Utc>,
    /// The lakes, in the order in which they were given.
    pub lakes: Vec<LakeState>,
    /// The figures; each has one part for each of the lakes.
    pub figures: Vec<Figure>,
}

/// How fresh a lake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeState {
    /// The instance that it belongs to.
    pub instance: String,
    /// Where it is, as it was named.
    pub location: String,
    /// Its tables, those that have been written.
    pub tables: Vec<TableState>,
}

/// How fresh a table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    /// Its name.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// Its newest version.
    pub version: u64,
    /// Up to when it is complete; none for tables that no sync brings up to a moment.
    pub watermark: Option<DateTime<Utc>>,
}

impl LakeState {
    /// Up to when all of its tables are complete.
    #[must_use]
    pub fn complete_up_to(&self) -> Option<DateTime<Utc>> {
        self.tables.iter().filter_map(|table| table.watermark).min()
    }
}

impl Report {
    /// The report as one HTML page that needs no network and no script; it tells less detail where it would
    /// otherwise be larger than a megabyte.
    #[must_use]
    pub fn html(&self) -> String {
        page::html(self)
    }

    /// The report in block characters, on lines of at most `width` columns (40 to 160), in `colour` or without.
    #[must_use]
    pub fn terminal(&self, width: usize, colour: bool) -> String {
        terminal::text(self, width, colour)
    }

    /// The parts of figures that could not be made, each with its query's name and the reason.
    #[must_use]
    pub fn failures(&self) -> Vec<(&str, &Error)> {
        let parts = self.figures.iter().flat_map(|figure| figure.parts.iter().map(move |part| (figure, part)));
        parts.filter_map(|(figure, part)| Some((figure.query.name.as_str(), part.rows.as_ref().err()?))).collect()
    }

    /// The report itself, where at least one figure could be made.
    ///
    /// # Errors
    /// Where none could: that of the first, with its kind and reason.
    pub fn if_any(self) -> Result<Self> {
        let parts: usize = self.figures.iter().map(|figure| figure.parts.len()).sum();
        let failures = self.failures();
        let Some((name, first)) = failures.first().filter(|_| failures.len() == parts) else { return Ok(self) };
        let error = Error::new(first.kind(), format!("no figure could be made; {name}: {first}"));
        Err(error.with_hint(first.hint().unwrap_or("clerk-lake status shows what the lake holds")))
    }
}
