//! A query's header: what its file says of it, in the comment lines at its top, `-- key: value`.
//!
//! Keys that are not known mean nothing here, so that a file may be read by an older program, or hold remarks.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Names that every query may use: no parameter can have one.
const ALWAYS: [&str; 2] = ["today", "now"];

/// How a query's rows are best drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chart {
    /// One figure.
    Stat,
    /// Lines over the first column.
    Line,
    /// Bars, one for each row.
    Bar,
    /// Bars of parts.
    Stacked,
    /// A field of shades.
    Heatmap,
    /// The rows as they are.
    #[default]
    Table,
}

impl Chart {
    /// All charts, in the order in which they are told.
    pub const ALL: [Self; 6] = [Self::Stat, Self::Line, Self::Bar, Self::Stacked, Self::Heatmap, Self::Table];

    /// The word for it in a header.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Line => "line",
            Self::Bar => "bar",
            Self::Stacked => "stacked",
            Self::Heatmap => "heatmap",
            Self::Table => "table",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|chart| chart.word() == word).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.into_iter().map(Self::word).collect();
            format!("there is no chart {word:?}: it is one of {}", words.join(", "))
        })
    }
}

/// What is wrong with a header, and in which line of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub line: usize,
    pub what: String,
}

/// What a header says.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub title: Option<String>,
    pub description: Option<String>,
    pub chart: Chart,
    pub unit: Option<String>,
    pub section: Option<String>,
    pub order: Option<i64>,
    pub parameters: Vec<(String, i64)>,
    pub ranges: Vec<(String, RangeInclusive<i64>)>,
}

impl Header {
    /// Reads the comment and empty lines with which `text` begins.
    pub(super) fn read(text: &str) -> Result<Self, Wrong> {
        let mut header = Self::default();
        let top = text.lines().take_while(|line| line.trim().is_empty() || line.starts_with("--"));
        for (line, content) in (1..).zip(top) {
            let Some((key, value)) = content.trim_start_matches('-').split_once(':') else { continue };
            header.take(key.trim(), value.trim()).map_err(|what| Wrong { line, what })?;
        }
        Ok(header)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let text = || Some(value.to_owned()).filter(|value| !value.is_empty());
        match key {
            "title" => self.title = text(),
            "description" => self.description = text(),
            "unit" => self.unit = text(),
            "section" => self.section = text(),
            "chart" => self.chart = Chart::parse(value)?,
            "order" => {
                let order: i64 = value.parse().map_err(|_| format!("the order {value:?} is not a whole number"))?;
                self.order = Some(order);
            }
            "parameter" => self.take_parameter(value)?,
            _ => {}
        }
        Ok(())
    }

    fn take_parameter(&mut self, text: &str) -> Result<(), String> {
        let parameter = Parameter::parse(text).ok_or_else(|| {
            format!("{text:?} is no parameter: it is `name = number`, or `name = number (least to most)`")
        })?;
        let Parameter { name, default, range } = parameter;
        if ALWAYS.contains(&name.as_str()) {
            return Err(format!("a query always has ${name}: no parameter can be called so"));
        }
        if self.parameters.iter().any(|(known, _)| *known == name) {
            return Err(format!("the parameter {name} is there twice"));
        }
        if let Some(range) = range {
            if !range.contains(&default) {
                return Err(format!("the default of {name} is {default}, which is not {}", shown(&range)));
            }
            self.ranges.push((name.clone(), range));
        }
        self.parameters.push((name, default));
        Ok(())
    }
}

/// A parameter, as a header tells it.
struct Parameter {
    name: String,
    default: i64,
    range: Option<RangeInclusive<i64>>,
}

impl Parameter {
    /// Reads `name = number`, or `name = number (least to most)`.
    fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.split_once('=')?;
        let name = Some(name.trim()).filter(|name| is_name(name))?;
        let (default, range) = match value.split_once('(') {
            None => (value, None),
            Some((default, range)) => {
                let (least, most) = range.trim_end().strip_suffix(')')?.split_once(" to ")?;
                let (least, most) = (least.trim().parse().ok()?, most.trim().parse().ok()?);
                (default, Some(least..=most))
            }
        };
        Some(Self { name: name.to_owned(), default: default.trim().parse().ok()?, range })
    }
}

/// A range in words.
pub(super) fn shown(range: &RangeInclusive<i64>) -> String {
    format!("{} to {}", range.start(), range.end())
}

/// Whether SQL can use `text` as `$text`.
fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && text.chars().all(is_in_names)
}

/// Whether a name may go on with `c`.
fn is_in_names(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The `$name`s in `sql`, without their sign.
pub(super) fn names_in(sql: &str) -> BTreeSet<&str> {
    let ends = |rest: &str| rest.find(|c: char| !is_in_names(c)).unwrap_or(rest.len());
    let rests = sql.split('$').skip(1);
    rests.map(|rest| &rest[..ends(rest)]).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (usize, String) {
        let wrong = Header::read(text).expect_err("a header that is wrong");
        (wrong.line, wrong.what)
    }

    #[test]
    fn a_header_ends_where_the_query_begins() {
        let text = "-- title: Sign-ups: all of them\n\n--chart: line\n-- a remark\n-- unit:  users\n-- order: -3\n\
            -- parameter: days = 30 (1 to 90)\n-- parameter: least=2\nSELECT 1 -- chart: bar\n-- title: no more\n";
        let header = Header::read(text).expect("a header");
        assert_eq!(header.title.as_deref(), Some("Sign-ups: all of them"));
        assert_eq!((header.chart, header.order), (Chart::Line, Some(-3)));
        assert_eq!((header.unit.as_deref(), header.section, header.description), (Some("users"), None, None));
        assert_eq!(header.parameters, [("days".to_owned(), 30), ("least".to_owned(), 2)]);
        assert_eq!(header.ranges, [("days".to_owned(), 1..=90)]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        assert_eq!(wrong("\n-- chart: pie\n").0, 2);
        assert!(wrong("-- chart: pie").1.contains("stat, line, bar, stacked, heatmap, table"));
        assert!(wrong("-- order: first").1.contains("first"));
        for parameter in ["days", "days = many", "days = 3 (1)", "days = 3 (1 to many)", "days = 3 (1 to 9", "2 = 2"] {
            let (line, what) = wrong(&format!("-- title: t\n-- parameter: {parameter}\n"));
            assert!(line == 2 && what.contains("name = number"), "{parameter}: {what}");
        }
        assert!(wrong("-- parameter: today = 3").1.contains("$today"));
        assert!(wrong("-- parameter: days = 3 (4 to 9)").1.contains("4 to 9"));
        assert!(wrong("-- parameter: days = 3\n-- parameter: days = 4").1.contains("twice"));
    }

    #[test]
    fn names_are_found_whole() {
        let names = names_in("SELECT $days + $days_more, $today FROM t WHERE cost = '5$' AND $");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["days", "days_more", "today"]);
    }
}
