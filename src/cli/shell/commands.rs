//! The shell's backslash commands. Commands that psql also has carry the same names.

use std::path::PathBuf;

use clap::ValueEnum;
use clerk_lake::{Error, Result};

use crate::cli::arguments::Format;
use crate::cli::values::parameter;

/// All commands: usage and description.
pub const COMMANDS: [(&str, &str); 11] = [
    ("\\d [NAME]", "list tables and queries, or describe one"),
    ("\\queries", "list the built-in queries with their parameters (also \\l)"),
    ("\\run NAME [PARAMETER=VALUE]...", "run a built-in query"),
    ("\\format [FORMAT]", "set the output format: table, csv, json or ndjson; without an argument: show it"),
    ("\\x [on|off]", "show each row as a block, one column per line; without an argument: toggle"),
    ("\\maxrows [N]", "show at most N rows of a table, 0 for all; without an argument: show the settings"),
    ("\\o [FILE]", "write further results to FILE; without FILE: print them again"),
    ("\\timing [on|off]", "show the duration of each query; without an argument: toggle"),
    ("\\refresh", "reopen the lake, to see the latest sync"),
    ("\\?", "show this list"),
    ("\\q", "quit"),
];

/// A backslash command.
#[derive(Debug, PartialEq, Eq)]
pub enum MetaCommand {
    /// List tables and queries.
    Tables,
    /// List the columns of a table or query.
    Columns(String),
    /// List the built-in queries.
    Queries,
    /// Run a built-in query.
    Run {
        /// Its name.
        name: String,
        /// Values of its parameters.
        values: Vec<(String, String)>,
    },
    /// Set the output format; `None` shows it.
    Format(Option<Format>),
    /// Write results to a file; `None` prints them.
    Output(Option<PathBuf>),
    /// Turn the display of durations on or off; `None` toggles it.
    Timing(Option<bool>),
    /// Turn one block per row on or off; `None` toggles it.
    Expanded(Option<bool>),
    /// Set the largest number of rows of a table; `None` shows it.
    MaxRows(Option<usize>),
    /// Reopen the lake.
    Refresh,
    /// List the commands.
    Help,
    /// Quit the shell.
    Quit,
}

impl MetaCommand {
    /// Parses a command with its backslash.
    ///
    /// # Errors
    /// [`Settings`](clerk_lake::ErrorKind::Settings) if the command is unknown or its argument is invalid.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        match (name, rest) {
            ("\\d" | "\\dt", "") => Ok(Self::Tables),
            ("\\d", name) => Ok(Self::Columns(unquoted(name).to_owned())),
            ("\\queries" | "\\l", "") => Ok(Self::Queries),
            ("\\run", rest) if !rest.is_empty() => Self::run(rest),
            ("\\format", "") => Ok(Self::Format(None)),
            ("\\format", word) => format(word).map(Some).map(Self::Format),
            ("\\o", "") => Ok(Self::Output(None)),
            ("\\o", file) => Ok(Self::Output(Some(PathBuf::from(unquoted(file))))),
            ("\\timing", word) => switch(word).map(Self::Timing).ok_or_else(|| invalid(name)),
            ("\\x", word) => switch(word).map(Self::Expanded).ok_or_else(|| invalid(name)),
            ("\\maxrows", "") => Ok(Self::MaxRows(None)),
            ("\\maxrows", word) => word.parse().map(|rows| Self::MaxRows(Some(rows))).map_err(|_| invalid(name)),
            ("\\refresh", "") => Ok(Self::Refresh),
            ("\\?" | "\\h" | "\\help", "") => Ok(Self::Help),
            ("\\q" | "\\quit", "") => Ok(Self::Quit),
            _ => Err(invalid(name)),
        }
    }

    fn run(rest: &str) -> Result<Self> {
        let mut words = rest.split_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let values = words.map(|word| parameter(word).map_err(|why| Error::settings(format!("{word}: {why}"))));
        Ok(Self::Run { name, values: values.collect::<Result<_>>()? })
    }
}

fn format(word: &str) -> Result<Format> {
    Format::from_str(word, true).map_err(|_| {
        let known: Vec<_> = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        let known: Vec<_> = known.iter().map(clap::builder::PossibleValue::get_name).collect();
        Error::settings(format!("there is no format {word:?}"))
            .with_hint(format!("the formats are: {}", known.join(", ")))
    })
}

/// Parses `on`, `off`, or nothing, which toggles.
#[expect(clippy::option_option, reason = "an invalid word is not the same as none")]
fn switch(word: &str) -> Option<Option<bool>> {
    match word {
        "" => Some(None),
        "on" => Some(Some(true)),
        "off" => Some(Some(false)),
        _ => None,
    }
}

/// Returns `text` without surrounding quotes.
fn unquoted(text: &str) -> &str {
    let within = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    within('\'').or_else(|| within('"')).unwrap_or(text)
}

/// Returns the error for an unknown command or an invalid argument.
fn invalid(name: &str) -> Error {
    let usage = COMMANDS.iter().map(|(usage, _)| *usage).find(|usage| usage.split(' ').next() == Some(name));
    match usage {
        Some(usage) => Error::settings(format!("invalid argument of {name}")).with_hint(format!("usage: {usage}")),
        None => Error::settings(format!("there is no command {name}")).with_hint("\\? lists the commands"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> MetaCommand {
        MetaCommand::parse(text).expect("a command")
    }

    #[test]
    fn commands_are_parsed_with_their_arguments() {
        assert_eq!(parsed("\\d"), MetaCommand::Tables);
        assert_eq!(parsed("\\d  clerk_user; "), MetaCommand::Columns("clerk_user".to_owned()));
        assert_eq!(parsed("\\d 'my people.csv'"), MetaCommand::Columns("my people.csv".to_owned()));
        let values = vec![("lookback_days".to_owned(), "7".to_owned()), ("least".to_owned(), "-1".to_owned())];
        assert_eq!(parsed("\\run x lookback_days=7 least=-1"), MetaCommand::Run { name: "x".to_owned(), values });
        assert_eq!(parsed("\\format CSV"), MetaCommand::Format(Some(Format::Csv)));
        assert_eq!(parsed("\\o my rows.csv"), MetaCommand::Output(Some(PathBuf::from("my rows.csv"))));
        assert_eq!(parsed("\\o"), MetaCommand::Output(None));
        assert_eq!(parsed("\\timing off"), MetaCommand::Timing(Some(false)));
        assert_eq!(parsed("\\x"), MetaCommand::Expanded(None));
        assert_eq!(parsed("\\maxrows 0"), MetaCommand::MaxRows(Some(0)));
        assert_eq!(parsed("\\q;"), MetaCommand::Quit);
    }

    #[test]
    fn an_invalid_command_gets_a_hint() {
        for (text, says) in [
            ("\\y", "\\? lists"),
            ("\\x maybe", "\\x [on|off]"),
            ("\\maxrows -1", "\\maxrows [N]"),
            ("\\timing soon", "\\timing [on|off]"),
            ("\\run", "\\run NAME"),
            ("\\format xml", "ndjson, parquet"),
        ] {
            let error = MetaCommand::parse(text).expect_err("no command");
            assert!(error.hint().is_some_and(|hint| hint.contains(says)), "{text}: {error:?}");
        }
        assert!(MetaCommand::parse("\\run x days").expect_err("no value").message().contains("NAME=VALUE"));
    }

    #[test]
    fn every_listed_command_can_be_parsed() {
        for (usage, _) in COMMANDS {
            let name = usage.split(' ').next().expect("a name");
            let with = if name == "\\run" { "\\run x" } else { name };
            assert!(MetaCommand::parse(with).is_ok(), "{usage}");
        }
    }
}
