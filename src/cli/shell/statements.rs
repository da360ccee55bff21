//! Splits text into SQL statements, each ended by a `;`, and backslash commands, each on its own line.
//!
//! A `;` in quotes or in a comment does not end a statement. A line that starts with a backslash is a command only if
//! no statement is open.

/// A SQL statement or a backslash command.
#[derive(Debug, PartialEq, Eq)]
pub enum Statement {
    /// A SQL statement, without its `;`.
    Sql(String),
    /// A command, with its backslash.
    Command(String),
}

/// What the next character belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LexerState {
    #[default]
    Sql,
    /// Text between quotes of this kind. A doubled quote ends it and starts it again, which has the same effect.
    Quotes(char),
    /// A comment up to the end of the line.
    LineComment,
    /// A comment between `/*` and `*/`, with its nesting depth.
    BlockComment(usize),
}

/// Accepts lines and returns statements as they end.
#[derive(Debug, Default)]
pub struct StatementSplitter {
    /// The statement that has not ended yet.
    text: String,
    state: LexerState,
    /// Whether that statement has more than spaces and comments.
    has_begun: bool,
    /// The number of lines accepted so far.
    lines: usize,
    /// Whether statements keep their line numbers in the whole text.
    keeps_line_numbers: bool,
}

impl StatementSplitter {
    /// Returns all statements and commands of `text`. The last statement needs no `;`.
    ///
    /// Each statement starts with as many empty lines as there are lines before it in `text`, so that the line number
    /// of an error is correct.
    pub fn split(text: &str) -> Vec<Statement> {
        let mut splitter = Self { keeps_line_numbers: true, ..Self::default() };
        let mut statements: Vec<Statement> = text.lines().flat_map(|line| splitter.push_line(line)).collect();
        statements.extend(splitter.finish());
        statements
    }

    /// Accepts a line. Returns the statements and commands that end in it.
    pub fn push_line(&mut self, line: &str) -> Vec<Statement> {
        self.lines += 1;
        if self.is_idle() && line.trim_start().starts_with('\\') {
            self.clear();
            if self.keeps_line_numbers {
                self.text.push('\n');
            }
            return vec![Statement::Command(line.trim().to_owned())];
        }
        let mut statements = Vec::new();
        let mut characters = line.chars().chain(['\n']).peekable();
        while let Some(c) = characters.next() {
            if self.state == LexerState::Sql && c == ';' {
                statements.extend(self.finish());
                continue;
            }
            self.text.push(c);
            if let Some(second) = characters.peek().copied().filter(|second| self.advance_pair(c, *second)) {
                self.text.push(second);
                characters.next();
            } else {
                self.advance(c);
            }
        }
        if !self.keeps_line_numbers && self.is_idle() && (!statements.is_empty() || self.text.trim().is_empty()) {
            // The rest of a line that ended a statement does not belong to the next statement.
            self.text.clear();
        }
        statements
    }

    /// Whether no statement is open.
    pub fn is_idle(&self) -> bool {
        !self.has_begun && self.state == LexerState::Sql
    }

    /// Ends the open statement and returns it.
    pub fn finish(&mut self) -> Option<Statement> {
        let sql = self.has_begun.then(|| self.text.trim_end().to_owned());
        self.clear();
        sql.map(Statement::Sql)
    }

    /// Discards the open statement.
    pub fn clear(&mut self) {
        self.text.clear();
        self.state = LexerState::Sql;
        self.has_begun = false;
        if self.keeps_line_numbers {
            self.text.push_str(&"\n".repeat(self.lines.saturating_sub(1)));
        }
    }

    /// Returns the prompt for the next line.
    pub fn prompt(&self) -> &'static str {
        match self.state {
            LexerState::Sql if self.has_begun => "         -> ",
            LexerState::Quotes('"') => "         \"> ",
            LexerState::Quotes(_) => "         '> ",
            LexerState::BlockComment(_) => "         *> ",
            LexerState::Sql | LexerState::LineComment => "clerk-lake> ",
        }
    }

    /// Advances over two characters if they start or end a comment. Returns whether they did.
    fn advance_pair(&mut self, first: char, second: char) -> bool {
        self.state = match (self.state, first, second) {
            (LexerState::Sql, '-', '-') => LexerState::LineComment,
            (LexerState::Sql, '/', '*') => LexerState::BlockComment(1),
            (LexerState::BlockComment(depth), '/', '*') => LexerState::BlockComment(depth + 1),
            (LexerState::BlockComment(1), '*', '/') => LexerState::Sql,
            (LexerState::BlockComment(depth), '*', '/') => LexerState::BlockComment(depth - 1),
            _ => return false,
        };
        true
    }

    fn advance(&mut self, c: char) {
        self.has_begun |= self.state == LexerState::Sql && !c.is_whitespace();
        self.state = match (self.state, c) {
            (LexerState::Sql, '\'' | '"') => LexerState::Quotes(c),
            (LexerState::Quotes(quote), c) if c == quote => LexerState::Sql,
            (LexerState::LineComment, '\n') => LexerState::Sql,
            (state, _) => state,
        };
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
        StatementSplitter::split(text).into_iter().map(text_of).collect()
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
        ] {
            assert_eq!(statements(&format!("{text};SELECT 2")), [text, "SELECT 2"]);
        }
        assert_eq!(statements("SELECT 4 - -1; SELECT 6 / 2 * 1"), ["SELECT 4 - -1", " SELECT 6 / 2 * 1"]);
    }

    #[test]
    fn an_unclosed_quote_ends_with_the_text() {
        assert_eq!(statements("SELECT 'a;\nb"), ["SELECT 'a;\nb"]);
    }

    #[test]
    fn comments_before_a_statement_belong_to_it() {
        assert_eq!(statements("-- title: t;\nSELECT 1"), ["-- title: t;\nSELECT 1"]);
    }

    #[test]
    fn a_command_is_recognized_only_if_no_statement_is_open() {
        let text = "  \\d clerk_user; \nSELECT 1\n\\d;\n-- \\d\n\\q";
        assert_eq!(statements(text), ["\\d clerk_user;", "SELECT 1\n\\d", "\\q"]);
    }

    #[test]
    fn statements_keep_their_line_numbers() {
        let found = StatementSplitter::split("SELECT 1;\n\nSELECT\n2; SELECT 3;\n");
        let sql = ["SELECT 1", "\n\nSELECT\n2", "\n\n\n SELECT 3"];
        assert_eq!(found, sql.map(|sql| Statement::Sql(sql.to_owned())));
        let below = Statement::Sql("\n\nSELECT 1".to_owned());
        assert_eq!(StatementSplitter::split("\n\\d\nSELECT 1")[1..], [below]);
    }

    #[test]
    fn a_typed_statement_starts_on_its_own_line() {
        let mut splitter = StatementSplitter::default();
        for line in ["SELECT 1;", "", "SELECT", "2; -- two", "SELECT 3;"] {
            let expected = match line {
                "SELECT 1;" => vec!["SELECT 1"],
                "2; -- two" => vec!["SELECT\n2"],
                "SELECT 3;" => vec!["SELECT 3"],
                _ => vec![],
            };
            let expected: Vec<_> = expected.into_iter().map(|sql| Statement::Sql(sql.to_owned())).collect();
            assert_eq!(splitter.push_line(line), expected, "{line}");
        }
    }

    #[test]
    fn the_prompt_shows_what_is_open() {
        let mut splitter = StatementSplitter::default();
        for (line, prompt) in [
            ("", "clerk-lake> "),
            ("-- a remark", "clerk-lake> "),
            ("SELECT", "         -> "),
            ("'a", "         '> "),
            ("' || \"b", "         \"> "),
            ("\" /* c", "         *> "),
            ("*/ -- d", "         -> "),
            ("; SELECT", "         -> "),
        ] {
            splitter.push_line(line);
            assert_eq!(splitter.prompt(), prompt, "{line}");
        }
        splitter.clear();
        assert_eq!(splitter.prompt(), "clerk-lake> ");
    }
}
