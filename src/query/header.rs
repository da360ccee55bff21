//! The header of a query file: comment lines of the form `-- key: value` at the top of the file.
//!
//! Unknown keys are ignored, so that older versions of the program can read newer files, and files can contain remarks.

use std::ops::RangeInclusive;

use super::value::ParameterValue;

/// Names with a predefined value in every query. No parameter can have one of these names.
const RESERVED: [&str; 2] = ["today", "now"];

/// How the rows of a query are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chart {
    /// A single number.
    Stat,
    /// Lines, with the first column as the horizontal axis.
    Line,
    /// One bar per row.
    Bar,
    /// Stacked bars.
    Stacked,
    /// A heat map.
    Heatmap,
    /// A table of the rows.
    #[default]
    Table,
}

impl Chart {
    /// All charts, in the order in which messages list them.
    pub const ALL: [Self; 6] = [Self::Stat, Self::Line, Self::Bar, Self::Stacked, Self::Heatmap, Self::Table];

    /// Returns the chart's name in a header.
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
            format!("there is no chart {word:?}; the charts are {}", words.join(", "))
        })
    }
}

/// An invalid line of a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HeaderError {
    /// Line number in the file, from 1.
    pub line: usize,
    pub message: String,
}

/// A parsed header.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub title: Option<String>,
    pub description: Option<String>,
    pub chart: Chart,
    pub unit: Option<String>,
    pub section: Option<String>,
    pub order: Option<i64>,
    pub parameters: Vec<(String, ParameterValue)>,
    pub ranges: Vec<(String, RangeInclusive<ParameterValue>)>,
}

impl Header {
    /// Parses the comment lines at the start of `text`. Empty lines are skipped.
    pub(super) fn read(text: &str) -> Result<Self, HeaderError> {
        let mut header = Self::default();
        let top = text.lines().take_while(|line| line.trim().is_empty() || line.starts_with("--"));
        for (line, content) in (1..).zip(top) {
            let Some((key, value)) = content.trim_start_matches('-').split_once(':') else { continue };
            header.take(key.trim(), value.trim()).map_err(|message| HeaderError { line, message })?;
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
                let order: i64 = value.parse().map_err(|_| format!("order {value:?} is not a whole number"))?;
                self.order = Some(order);
            }
            "parameter" => self.take_parameter(value)?,
            _ => {}
        }
        Ok(())
    }

    fn take_parameter(&mut self, text: &str) -> Result<(), String> {
        let parameter = Parameter::parse(text).ok_or_else(|| {
            format!("{text:?} is not a parameter; write `name = number`, `name = number (min to max)`, `name = 2026-11-24` or `name = 'text'`")
        })?;
        let Parameter { name, default, range } = parameter;
        if RESERVED.contains(&name.as_str()) {
            return Err(format!("${name} is predefined; give the parameter another name"));
        }
        if self.parameters.iter().any(|(known, _)| *known == name) {
            return Err(format!("parameter {name} is declared twice"));
        }
        if let Some(range) = range {
            if !range.contains(&default) {
                return Err(format!("the default {default} of {name} is not in the range {}", range_text(&range)));
            }
            self.ranges.push((name.clone(), range));
        }
        self.parameters.push((name, default));
        Ok(())
    }
}

/// A parameter as declared in a header.
struct Parameter {
    name: String,
    default: ParameterValue,
    range: Option<RangeInclusive<ParameterValue>>,
}

impl Parameter {
    /// Parses `name = value` or `name = value (min to max)`. A value is a number, a day or quoted text; text has no range.
    fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.split_once('=')?;
        let name = Some(name.trim()).filter(|name| is_name(name))?;
        let bounds = if value.trim_start().starts_with('\'') { None } else { value.split_once('(') };
        let (default, range) = match bounds {
            None => (value, None),
            Some((default, range)) => {
                let (min, max) = range.trim_end().strip_suffix(')')?.split_once(" to ")?;
                let (min, max) = (ParameterValue::declared(min)?, ParameterValue::declared(max)?);
                (default, Some(min..=max))
            }
        };
        let default = ParameterValue::declared(default)?;
        let kind = std::mem::discriminant(&default);
        let is_of_kind = |value: &ParameterValue| std::mem::discriminant(value) == kind;
        let is_range = range.as_ref().is_none_or(|range| is_of_kind(range.start()) && is_of_kind(range.end()));
        is_range.then(|| Self { name: name.to_owned(), default, range })
    }
}

/// Returns the range as text, such as `1 to 90`.
pub(super) fn range_text(range: &RangeInclusive<ParameterValue>) -> String {
    format!("{} to {}", range.start(), range.end())
}

/// Returns whether `text` is a valid parameter name, which SQL can use as `$text`.
fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && text.chars().all(is_name_char)
}

/// Returns whether `c` may occur in a parameter name after the first character.
fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (usize, String) {
        let error = Header::read(text).expect_err("an invalid header");
        (error.line, error.message)
    }

    #[test]
    fn a_header_ends_at_the_first_line_of_the_query() {
        let text = "-- title: Sign-ups: all of them\n\n--chart: line\n-- a remark\n-- unit:  users\n-- order: -3\n\
            -- parameter: days = 30 (1 to 90)\n-- parameter: least=2\nSELECT 1 -- chart: bar\n-- title: no more\n";
        let header = Header::read(text).expect("a header");
        assert_eq!(header.title.as_deref(), Some("Sign-ups: all of them"));
        assert_eq!((header.chart, header.order), (Chart::Line, Some(-3)));
        assert_eq!((header.unit.as_deref(), header.section, header.description), (Some("users"), None, None));
        assert_eq!(header.parameters, [("days".to_owned(), 30.into()), ("least".to_owned(), 2.into())]);
        assert_eq!(header.ranges, [("days".to_owned(), 1.into()..=90.into())]);
    }

    #[test]
    fn an_error_names_the_line_and_the_problem() {
        assert_eq!(error("\n-- chart: pie\n").0, 2);
        assert!(error("-- chart: pie").1.contains("stat, line, bar, stacked, heatmap, table"));
        assert!(error("-- order: first").1.contains("first"));
        for parameter in [
            "days",
            "days = many",
            "days = 3 (1)",
            "days = 3 (1 to many)",
            "days = 3 (1 to 9",
            "2 = 2",
            "days = 2026-02-30",
            "day = 2026-01-01 (1 to 9)",
            "plan = 'pro",
        ] {
            let (line, message) = error(&format!("-- title: t\n-- parameter: {parameter}\n"));
            assert!(line == 2 && message.contains("name = number"), "{parameter}: {message}");
        }
        assert!(error("-- parameter: today = 3").1.contains("$today"));
        assert!(error("-- parameter: days = 3 (4 to 9)").1.contains("4 to 9"));
        assert!(error("-- parameter: days = 3\n-- parameter: days = 4").1.contains("twice"));
    }

    #[test]
    fn a_parameter_is_a_number_a_day_or_text() {
        let text = "-- parameter: since = 2026-01-01 (2025-01-01 to 2026-12-31)\n-- parameter: plan = 'pro (old)'\n";
        let header = Header::read(text).expect("a header");
        let day = |text: &str| ParameterValue::Date(text.parse().expect("a day"));
        let plan = ParameterValue::Text("pro (old)".to_owned());
        assert_eq!(header.parameters, [("since".to_owned(), day("2026-01-01")), ("plan".to_owned(), plan)]);
        assert_eq!(header.ranges, [("since".to_owned(), day("2025-01-01")..=day("2026-12-31"))]);
        assert!(error("-- parameter: since = 2024-01-01 (2025-01-01 to 2026-12-31)").1.contains("2025-01-01 to"));
    }
}
