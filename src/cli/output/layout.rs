//! How tables and other text are laid out, and the line below a table.

use std::time::Instant;

use crate::cli::progress::count;

/// How a table is laid out, and what else text on a terminal or in CSV needs.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct TableLayout {
    /// The width of the terminal in columns; `None` if the table may be as wide as it needs.
    pub width: Option<usize>,
    /// The largest number of rows that are shown; 0 for all.
    pub max_rows: usize,
    /// Whether each row is a block with one line per column.
    pub is_expanded: bool,
    /// Whether NULL is dimmed.
    pub has_styles: bool,
    /// Whether the rows go to a terminal, so that control characters are escaped in every format.
    pub is_terminal: bool,
    /// Whether texts in CSV that a spreadsheet would run as formulas begin with an apostrophe.
    pub escapes_formulas: bool,
    /// When the query began, if the line below the table shows the time.
    pub began: Option<Instant>,
}

impl TableLayout {
    /// Returns the layout of a table in a file: all rows and columns, and no time.
    pub fn of_file(&self) -> Self {
        Self { is_expanded: self.is_expanded, escapes_formulas: self.escapes_formulas, ..Self::default() }
    }

    /// Returns NULL as it is shown.
    pub fn null(&self) -> &'static str {
        if self.has_styles { "\u{1b}[2mNULL\u{1b}[0m" } else { "NULL" }
    }

    /// Returns the line below a table with `rows`: how many rows and columns there are, how many of them are shown,
    /// and the time.
    pub fn footer(&self, rows: Shown, columns: Shown) -> String {
        let mut parts = vec![rows.text("row")];
        parts.extend((columns.shown < columns.total).then(|| columns.text("column")));
        parts.extend(self.began.map(elapsed));
        parts.join(", ")
    }
}

/// Returns the time since `began` as text.
pub fn elapsed(began: Instant) -> String {
    format!("{:.3} s", began.elapsed().as_secs_f64())
}

/// How many of several things a table shows.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// The number of things.
    pub total: u64,
    /// The number of those that are shown.
    pub shown: u64,
}

impl Shown {
    fn text(self, what: &str) -> String {
        let all = counted(self.total, what);
        if self.shown < self.total { format!("{all} ({} shown)", count(self.shown)) } else { all }
    }
}

/// Returns a number with the name of what is counted: `1 row`, `2,000 rows`.
pub fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}
