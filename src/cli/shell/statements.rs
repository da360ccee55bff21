//! Text taken apart into statements, each ended by a `;`, and backslash commands, each a line of its own.
//!
//! A `;` within quotes or a comment ends nothing, and a line begins with a command only where no statement is open.

/// A part of what was typed.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A statement, without its `;`.
    Sql(String),
    /// A command, with its backslash.
    Command(String),
}

/// What the next character is part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Sql,
    /// Text between quotes of this kind; a doubled quote ends it and begins it anew.
    Quotes(char),
    /// A comment up to the line's end.
    Line,
    /// Comments between `/*` and `*/`, so many of them one in the other.
    Comment(usize),
}

/// Takes in lines and gives statements as they end.
#[derive(Debug, Default)]
pub struct Statements {
    /// The statement that has not ended yet.
    text: String,
    within: Within,
    /// Whether it has more than spaces and comments.
    has_begun: bool,
    /// How many lines have been taken in.
    lines: usize,
    /// Whether statements are to stand as many lines down as in the whole text.
    keeps_lines: bool,
}

impl Statements {
    /// All parts of `text`, of which the last statement needs no `;`. Each statement stands as many lines down as in
    /// `text`, so that the line that an error names is found.
    pub fn all(text: &str) -> Vec<Piece> {
        let mut statements = Self { keeps_lines: true, ..Self::default() };
        let mut pieces: Vec<Piece> = text.lines().flat_map(|line| statements.take(line)).collect();
        pieces.extend(statements.rest());
        pieces
    }

    /// Takes in a line; gives what ends in it.
    pub fn take(&mut self, line: &str) -> Vec<Piece> {
        self.lines += 1;
        if self.is_free() && line.trim_start().starts_with('\\') {
            self.clear();
            if self.keeps_lines {
                self.text.push('\n');
            }
            return vec![Piece::Command(line.trim().to_owned())];
        }
        let mut pieces = Vec::new();
        let mut characters = line.chars().chain(['\n']).peekable();
        while let Some(c) = characters.next() {
            if self.within == Within::Sql && c == ';' {
                pieces.extend(self.rest());
                continue;
            }
            self.text.push(c);
            if let Some(second) = characters.peek().copied().filter(|second| self.moves_on_both(c, *second)) {
                self.text.push(second);
                characters.next();
            } else {
                self.moves_on(c);
            }
        }
        if !self.keeps_lines && self.is_free() && (!pieces.is_empty() || self.text.trim().is_empty()) {
            // What is left of the line in which a statement ended is no line of the next.
            self.text.clear();
        }
        pieces
    }

    /// Whether no statement is open.
    pub fn is_free(&self) -> bool {
        !self.has_begun && self.within == Within::Sql
    }

    /// The statement that is open, as if it had ended.
    pub fn rest(&mut self) -> Option<Piece> {
        let sql = self.has_begun.then(|| self.text.trim_end().to_owned());
        self.clear();
        sql.map(Piece::Sql)
    }

    /// Drops the statement that is open.
    pub fn clear(&mut self) {
        self.text.clear();
        self.within = Within::Sql;
        self.has_begun = false;
        if self.keeps_lines {
            self.text.push_str(&"\n".repeat(self.lines.saturating_sub(1)));
        }
    }

    /// What a shell shows before the next line.
    pub fn prompt(&self) -> &'static str {
        match self.within {
            Within::Sql if self.has_begun => "         -> ",
            Within::Quotes('"') => "         \"> ",
            Within::Quotes(_) => "         '> ",
            Within::Comment(_) => "         *> ",
            Within::Sql | Within::Line => "clerk-lake> ",
        }
    }

    /// Whether two characters together begin or end a comment; if so, they have.
    fn moves_on_both(&mut self, first: char, second: char) -> bool {
        self.within = match (self.within, first, second) {
            (Within::Sql, '-', '-') => Within::Line,
            (Within::Sql, '/', '*') => Within::Comment(1),
            (Within::Comment(depth), '/', '*') => Within::Comment(depth + 1),
            (Within::Comment(1), '*', '/') => Within::Sql,
            (Within::Comment(depth), '*', '/') => Within::Comment(depth - 1),
            _ => return false,
        };
        true
    }

    fn moves_on(&mut self, c: char) {
        self.has_begun |= self.within == Within::Sql && !c.is_whitespace();
        self.within = match (self.within, c) {
            (Within::Sql, '\'' | '"') => Within::Quotes(c),
            (Within::Quotes(quote), c) if c == quote => Within::Sql,
            (Within::Line, '\n') => Within::Sql,
            (within, _) => within,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The statements of `text` without the lines above them.
    fn statements(text: &str) -> Vec<String> {
        let sql = |piece| match piece {
            Piece::Sql(sql) => sql.trim_start_matches('\n').to_owned(),
            Piece::Command(command) => command,
        };
        Statements::all(text).into_iter().map(sql).collect()
    }

    #[test]
    fn statements_end_at_semicolons_and_the_last_one_needs_none() {
        assert_eq!(statements("SELECT 1; SELECT\n2 ;;\n;SELECT 3\n"), ["SELECT 1", " SELECT\n2", "SELECT 3"]);
        assert!(statements(" ;\n-- nothing;\n/* nothing; */ ;").is_empty());
    }

    #[test]
    fn semicolons_in_quotes_and_comments_end_nothing() {
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
    fn what_is_not_closed_is_given_as_it_is() {
        assert_eq!(statements("SELECT 'a;\nb"), ["SELECT 'a;\nb"]);
    }

    #[test]
    fn comments_before_a_statement_belong_to_it() {
        assert_eq!(statements("-- title: t;\nSELECT 1"), ["-- title: t;\nSELECT 1"]);
    }

    #[test]
    fn commands_are_lines_where_no_statement_is_open() {
        let text = "  \\d clerk_user; \nSELECT 1\n\\d;\n-- \\d\n\\q";
        assert_eq!(statements(text), ["\\d clerk_user;", "SELECT 1\n\\d", "\\q"]);
    }

    #[test]
    fn statements_stand_where_they_stood() {
        let pieces = Statements::all("SELECT 1;\n\nSELECT\n2; SELECT 3;\n");
        let sql = ["SELECT 1", "\n\nSELECT\n2", "\n\n\n SELECT 3"];
        assert_eq!(pieces, sql.map(|sql| Piece::Sql(sql.to_owned())));
        let below = Piece::Sql("\n\nSELECT 1".to_owned());
        assert_eq!(Statements::all("\n\\d\nSELECT 1")[1..], [below]);
    }

    #[test]
    fn a_statement_typed_after_another_begins_with_its_own_line() {
        let mut statements = Statements::default();
        for line in ["SELECT 1;", "", "SELECT", "2; -- two", "SELECT 3;"] {
            let expected = match line {
                "SELECT 1;" => vec!["SELECT 1"],
                "2; -- two" => vec!["SELECT\n2"],
                "SELECT 3;" => vec!["SELECT 3"],
                _ => vec![],
            };
            let expected: Vec<_> = expected.into_iter().map(|sql| Piece::Sql(sql.to_owned())).collect();
            assert_eq!(statements.take(line), expected, "{line}");
        }
    }

    #[test]
    fn the_prompt_tells_what_is_open() {
        let mut statements = Statements::default();
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
            statements.take(line);
            assert_eq!(statements.prompt(), prompt, "{line}");
        }
        statements.clear();
        assert_eq!(statements.prompt(), "clerk-lake> ");
    }
}
