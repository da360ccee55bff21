//! Splits text into SQL statements, each ended by a `;`, and backslash commands, each on its own line.
//!
//! The tokenizer of the SQL parser finds the ends, so a `;` in quotes, in a dollar-quoted text or in a comment does not
//! end a statement. A line that starts with a backslash is a command only if no statement is open.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// A SQL statement or a backslash command.
#[derive(Debug, PartialEq, Eq)]
pub enum Statement {
    /// A SQL statement, without its `;`.
    Sql(String),
    /// A command, with its backslash.
    Command(String),
}

/// Returns all statements and commands of `text`. The last statement needs no `;`.
///
/// Each statement starts with as many empty lines as there are lines before it in `text`, so that the line number of an
/// error is correct.
pub fn split(text: &str) -> Vec<Statement> {
    let mut statements = Vec::new();
    let unfinished = scan(text, &mut statements);
    statements.extend(unfinished);
    statements
}

/// Whether every statement of `text` has ended, so that it can be run.
pub fn is_complete(text: &str) -> bool {
    scan(text, &mut Vec::new()).is_none()
}

/// Returns the tokens of `text`, and whether they are all: a quote or comment that does not end is no token.
pub fn tokens(text: &str) -> (Vec<TokenWithSpan>, bool) {
    let mut tokens = Vec::new();
    // The dialect of the query engine.
    let is_whole = Tokenizer::new(&GenericDialect, text).tokenize_with_location_into_buf(&mut tokens).is_ok();
    (tokens, is_whole)
}

/// Appends the statements and commands that end in `text` to `statements`. Returns the statement that does not end.
fn scan(text: &str, statements: &mut Vec<Statement>) -> Option<Statement> {
    let mut rest = text;
    'command: loop {
        let offset = text.len() - rest.len();
        let sql = |range: std::ops::Range<usize>| {
            let before = text[..offset + range.start].matches('\n').count();
            Statement::Sql(format!("{}{}", "\n".repeat(before), rest[range].trim_end()))
        };
        let (tokens, is_whole) = tokens(rest);
        let mut lines = LineStarts::of(rest);
        let (mut start, mut has_begun) = (0, false);
        for token in tokens {
            match token.token {
                Token::Whitespace(_) => {}
                Token::SemiColon => {
                    let at = lines.offset(token.span.start);
                    statements.extend(has_begun.then(|| sql(start..at)));
                    (start, has_begun) = (at + 1, false);
                }
                Token::Backslash if !has_begun && lines.is_first(token.span.start) => {
                    let line = &rest[lines.offset(token.span.start)..];
                    let (command, after) = line.split_once('\n').unwrap_or((line, ""));
                    statements.push(Statement::Command(command.trim().to_owned()));
                    rest = after;
                    continue 'command;
                }
                _ => has_begun = true,
            }
        }
        let is_open = has_begun || !is_whole;
        return is_open.then(|| sql(start..rest.len()));
    }
}

/// Finds the bytes at which tokens start.
struct LineStarts<'t> {
    text: &'t str,
    /// The byte at which each line starts.
    starts: Vec<usize>,
}

impl<'t> LineStarts<'t> {
    fn of(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Returns the part of the text from the line of `location` on, and the length of what is before `location` in it.
    fn in_line(&self, location: Location) -> (usize, usize) {
        let index = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let start = self.starts.get(index(location.line)).copied().unwrap_or(self.text.len());
        let line = &self.text[start..];
        (start, line.char_indices().nth(index(location.column)).map_or(line.len(), |(at, _)| at))
    }

    /// Returns the byte of `location`.
    fn offset(&mut self, location: Location) -> usize {
        let (start, within) = self.in_line(location);
        start + within
    }

    /// Whether `location` is the first in its line that is not blank.
    fn is_first(&self, location: Location) -> bool {
        let (start, within) = self.in_line(location);
        self.text[start..start + within].trim().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the statements of `text` without the empty lines before them.
    fn statements(text: &str) -> Vec<String> {
        let text_of = |statement| match statement {
            Statement::Sql(sql) => sql.trim_start_matches('\n').to_owned(),
            Statement::Command(command) => command,
        };
        split(text).into_iter().map(text_of).collect()
    }

    #[test]
    fn statements_end_at_semicolons_and_the_last_one_needs_none() {
        assert_eq!(statements("SELECT 1; SELECT\n2 ;;\n;SELECT 3\n"), ["SELECT 1", " SELECT\n2", "SELECT 3"]);
        assert!(statements(" ;\n-- nothing;\n/* nothing; */ ;").is_empty());
    }

    #[test]
    fn semicolons_in_quotes_and_comments_do_not_end_a_statement() {
        for text in [
            "SELECT ';', 'it''s;', \";\"",
            "SELECT 1 -- one; and\n, 2",
            "SELECT 1 /* a; /* b; */ c; */, 2",
            "SELECT '--', '/*' || ';'",
            "SELECT 'two\nlines;'",
            "SELECT \"a'b;\"",
            "SELECT E'it\\'s; so'",
            "SELECT $$it's; so$$, $tag$ $$; $tag$",
            "SELECT '日本;', 'é;' -- ü;\n",
        ] {
            assert_eq!(statements(&format!("{text};SELECT 2")), [text.trim_end(), "SELECT 2"]);
        }
        assert_eq!(statements("SELECT 4 - -1; SELECT 6 / 2 * 1"), ["SELECT 4 - -1", " SELECT 6 / 2 * 1"]);
    }

    #[test]
    fn an_unclosed_quote_ends_with_the_text() {
        assert_eq!(statements("SELECT 'a;\nb"), ["SELECT 'a;\nb"]);
        assert_eq!(statements("SELECT 1; /* a;\nb"), ["SELECT 1", " /* a;\nb"]);
    }

    #[test]
    fn comments_before_a_statement_belong_to_it() {
        assert_eq!(statements("-- title: t;\nSELECT 1"), ["-- title: t;\nSELECT 1"]);
    }

    #[test]
    fn a_command_is_recognized_only_if_no_statement_is_open() {
        let text = "  \\d clerk_user; \nSELECT 1\n\\d;\n-- \\d\n\\q";
        assert_eq!(statements(text), ["\\d clerk_user;", "SELECT 1\n\\d", "\\q"]);
        assert_eq!(statements("\\o it's.csv\nSELECT ';';\n\\o"), ["\\o it's.csv", "SELECT ';'", "\\o"]);
        assert_eq!(statements("SELECT 1;\r\n\\d\r\n"), ["SELECT 1", "\\d"]);
    }

    #[test]
    fn statements_keep_their_line_numbers() {
        let sql = |sql: &str| Statement::Sql(sql.to_owned());
        let found = split("SELECT 1;\n\nSELECT\n2; SELECT 3;\n");
        // The lines before a statement's first word belong to it.
        assert_eq!(found, [sql("SELECT 1"), sql("\n\nSELECT\n2"), sql("\n\n\n SELECT 3")]);
        assert_eq!(split("\n\\d\nSELECT 1")[1..], [sql("\n\nSELECT 1")]);
        assert_eq!(split("SELECT ';\n';\nSELECT 1")[1..], [sql("\n\nSELECT 1")]);
    }

    #[test]
    fn only_a_whole_statement_is_complete() {
        for text in ["", "  \n", "-- a remark", "SELECT 1;", "SELECT ';'; -- so", "\\d", "\\o it's", "SELECT 1;\n\\d"] {
            assert!(is_complete(text), "{text}");
        }
        for text in
            ["SELECT 1", "SELECT ';", "SELECT 1; SELECT", "/* a; ", "SELECT $$a;", "SELECT \"a;", "SELECT 1\n\\d"]
        {
            assert!(!is_complete(text), "{text}");
        }
    }
}
