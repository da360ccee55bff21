//! Tab completion.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Whitespace};

use super::statements::tokens;

/// The SQL keywords that are completed.
const KEYWORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "USING",
    "AS",
    "AND",
    "OR",
    "NOT",
    "NULL",
    "IS NULL",
    "IS NOT NULL",
    "BETWEEN",
    "LIKE",
    "ILIKE",
    "IN",
    "EXISTS",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST",
    "DISTINCT",
    "UNION ALL",
    "WITH",
    "OVER",
    "PARTITION BY",
    "UNNEST",
    "COUNT",
    "SUM",
    "MIN",
    "MAX",
    "AVG",
    "DATE_TRUNC",
    "INTERVAL",
    "TRUE",
    "FALSE",
    "DESC",
    "EXPLAIN",
    "DESCRIBE",
    "SHOW TABLES",
];

/// The words that can be completed.
#[derive(Clone, Debug, Default)]
pub struct CompletionWords {
    /// Names of tables, each with the names of its columns.
    pub tables: Vec<(String, Vec<String>)>,
    /// Names of queries, which are also views.
    pub queries: Vec<String>,
    /// Commands, with their backslash.
    pub commands: Vec<&'static str>,
    /// Names of formats.
    pub formats: Vec<String>,
}

/// What can stand at the cursor.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A table or view.
    Table,
    /// A column of the table with this name or alias.
    ColumnOf(String),
    /// A column or keyword.
    Expression,
    /// The start of a statement.
    Start,
    /// A string or a comment.
    Text,
}

impl CompletionWords {
    /// Completes the last word of `typed`, the part of the input before the cursor. `rest` is the part after it, whose
    /// tables also count. Returns the byte at which the word starts, and all words with that prefix.
    pub fn complete(&self, typed: &str, rest: &str) -> (usize, Vec<String>) {
        let separates = |c: char| !(c.is_alphanumeric() || c == '_' || c == '\\');
        let start = typed.rfind(separates).map_or(0, |at| at + typed[at..].chars().next().map_or(1, char::len_utf8));
        let (before, word) = typed.split_at(start);
        let tables = || self.tables.iter().map(|(name, _)| name.as_str());
        let queries = || self.queries.iter().map(String::as_str);
        let line = before.rsplit('\n').next().unwrap_or_default();
        let found = match line.split_whitespace().next() {
            None if word.starts_with('\\') => matching(word, self.commands.iter().copied()),
            Some("\\run") => matching(word, queries()),
            Some("\\d") => matching(word, tables().chain(queries())),
            Some("\\format") => matching(word, self.formats.iter().map(String::as_str)),
            Some("\\timing" | "\\x") => matching(word, ["on", "off"].into_iter()),
            Some(first) if first.starts_with('\\') => Vec::new(),
            _ => match place(before) {
                Place::Table => matching(word, tables().chain(queries())),
                Place::ColumnOf(name) => {
                    let table = self.table_called(&name, &format!("{typed} {rest}"));
                    matching(word, table.into_iter().flat_map(|(_, columns)| columns).map(String::as_str))
                }
                Place::Text => Vec::new(),
                Place::Expression | Place::Start if word.is_empty() => Vec::new(),
                Place::Expression => {
                    let mut found = matching(word, self.columns_of(&format!("{before} {rest}")));
                    found.extend(keywords(word));
                    found
                }
                Place::Start => keywords(word),
            },
        };
        (start, found)
    }

    /// Returns the columns of the tables that `sql` names, or of all tables if it names none.
    fn columns_of(&self, sql: &str) -> impl Iterator<Item = &str> {
        let named: Vec<_> = words(sql).into_iter().filter_map(|word| self.table(&word)).collect();
        let tables = if named.is_empty() { self.tables.iter().collect() } else { named };
        tables.into_iter().flat_map(|(_, columns)| columns).map(String::as_str)
    }

    /// Returns the table that `sql` calls `name`: the table of this name, or the one before this alias.
    fn table_called(&self, name: &str, sql: &str) -> Option<&(String, Vec<String>)> {
        let words = words(sql);
        let before_alias = |(index, word): (usize, &String)| {
            let before = words[..index].iter().rev().find(|before| !before.eq_ignore_ascii_case("AS"))?;
            word.eq_ignore_ascii_case(name).then(|| self.table(before)).flatten()
        };
        self.table(name).or_else(|| words.iter().enumerate().find_map(before_alias))
    }

    fn table(&self, name: &str) -> Option<&(String, Vec<String>)> {
        self.tables.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

/// Returns the words of `sql`, without strings and comments.
fn words(sql: &str) -> Vec<String> {
    let word = |token| if let Token::Word(word) = token { Some(word.value) } else { None };
    tokens(sql).0.into_iter().filter_map(|token| word(token.token)).collect()
}

/// Returns what can stand after `before`, the input before the word that is completed.
fn place(before: &str) -> Place {
    let (tokens, is_whole) = tokens(before);
    let is_comment = |token: &Token| matches!(token, Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) if !comment.ends_with('\n'));
    if !is_whole || tokens.last().is_some_and(|last| is_comment(&last.token)) {
        return Place::Text;
    }
    let mut place = Place::Start;
    let mut last = Vec::new();
    for token in tokens.into_iter().map(|it| it.token).filter(|token| !matches!(token, Token::Whitespace(_))) {
        place = match &token {
            Token::SemiColon => Place::Start,
            Token::Word(word) if BEFORE_TABLES.contains(&word.keyword) => Place::Table,
            Token::Word(word) if place != Place::Table || AFTER_TABLES.contains(&word.keyword) => Place::Expression,
            _ => place,
        };
        last.push(token);
    }
    match last.as_slice() {
        [.., Token::Word(table), Token::Period] => Place::ColumnOf(table.value.clone()),
        // A table has been named: an alias or the next clause follows. After a comma, it is another table.
        [.., Token::Word(word)] if place == Place::Table && !BEFORE_TABLES.contains(&word.keyword) => Place::Expression,
        [.., Token::LParen] if place == Place::Table => Place::Start,
        _ => place,
    }
}

/// The keywords before a table.
const BEFORE_TABLES: [Keyword; 4] = [Keyword::FROM, Keyword::JOIN, Keyword::DESCRIBE, Keyword::TABLE];

/// The keywords after which no more tables follow.
const AFTER_TABLES: [Keyword; 14] = [
    Keyword::SELECT,
    Keyword::WHERE,
    Keyword::ON,
    Keyword::USING,
    Keyword::GROUP,
    Keyword::ORDER,
    Keyword::HAVING,
    Keyword::LIMIT,
    Keyword::OFFSET,
    Keyword::QUALIFY,
    Keyword::UNION,
    Keyword::EXCEPT,
    Keyword::INTERSECT,
    Keyword::SET,
];

fn keywords(word: &str) -> Vec<String> {
    let is_lower = word.chars().any(char::is_lowercase);
    let found = matching(word, KEYWORDS.iter().copied()).into_iter();
    found.map(|word| if is_lower { word.to_lowercase() } else { word }).collect()
}

/// Returns the `words` that start with `word`, ignoring case, sorted and without duplicates.
fn matching<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Vec<String> {
    let matches = |known: &&str| known.get(..word.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(word));
    let mut found: Vec<String> = words.filter(matches).map(str::to_owned).collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::CompletionWords;

    /// Completes at the `|` in `typed`, or at its end.
    fn completed(typed: &str) -> (usize, Vec<String>) {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let table = |name: &str, columns: &[&str]| (name.to_owned(), owned(columns));
        let words = CompletionWords {
            tables: vec![
                table("clerk_user", &["created_at", "email"]),
                table("clerk_session", &["created_at", "client_id"]),
            ],
            queries: owned(&["users", "growth"]),
            commands: vec!["\\d", "\\run", "\\refresh"],
            formats: owned(&["csv", "json"]),
        };
        let (before, after) = typed.split_once('|').unwrap_or((typed, ""));
        words.complete(before, after)
    }

    fn found(typed: &str) -> Vec<String> {
        completed(typed).1
    }

    #[test]
    fn tables_and_views_are_completed_after_from_and_join() {
        assert_eq!(completed("SELECT 1 FROM cl"), (14, vec!["clerk_session".into(), "clerk_user".into()]));
        assert_eq!(found("SELECT 1 FROM "), ["clerk_session", "clerk_user", "growth", "users"]);
        assert_eq!(found("select 1\nfrom clerk_user u\nleft join gr"), ["growth"]);
        assert_eq!(found("SELECT 1 FROM clerk_user, cl"), ["clerk_session", "clerk_user"]);
        assert_eq!(found("SELECT 1 FROM clerk_user WHERE id IN (SELECT user_id FROM clerk_s"), ["clerk_session"]);
        assert_eq!(found("DESCRIBE us"), ["users"]);
    }

    #[test]
    fn columns_and_keywords_are_completed_elsewhere() {
        assert_eq!(found("SELECT c"), ["client_id", "created_at", "case", "cast", "count"]);
        assert_eq!(found("SELECT c| FROM clerk_user"), ["created_at", "case", "cast", "count"]);
        assert_eq!(found("SELECT 1 FROM clerk_user WHERE em"), ["email"]);
        assert_eq!(found("SELECT 1 FROM clerk_user u WHER"), ["WHERE"]);
        assert_eq!(found("SELECT 1 FROM clerk_user u JOIN clerk_session s ON cli"), ["client_id"]);
        assert_eq!(found("sel"), ["select"]);
        assert_eq!(found("SELECT 1; SEL"), ["SELECT"]);
        assert_eq!(completed("SELECT 'é', us"), (13, vec!["using".into()]));
    }

    #[test]
    fn after_a_dot_only_columns_of_that_table_are_completed() {
        assert_eq!(found("SELECT s.| FROM clerk_user u JOIN clerk_session AS s"), ["client_id", "created_at"]);
        assert_eq!(completed("SELECT 1 FROM clerk_user u WHERE u.c"), (35, vec!["created_at".into()]));
        assert_eq!(found("SELECT clerk_user.e"), ["email"]);
        assert!(found("SELECT x.| FROM clerk_user u").is_empty());
    }

    #[test]
    fn commands_and_their_arguments_are_completed() {
        assert_eq!(completed("\\r"), (0, vec!["\\refresh".into(), "\\run".into()]));
        assert_eq!(completed("\\run "), (5, vec!["growth".into(), "users".into()]));
        assert_eq!(found("\\d clerk_u"), ["clerk_user"]);
        assert_eq!(found("\\format c"), ["csv"]);
        assert_eq!(found("\\x o"), ["off", "on"]);
        assert!(found("\\o cl").is_empty());
    }

    #[test]
    fn an_empty_word_a_string_or_a_comment_is_not_completed() {
        for typed in ["", "SELECT ", "SELECT 'cl", "SELECT \"cl", "SELECT 1 -- cl", "SELECT 1 /* cl"] {
            assert!(found(typed).is_empty(), "{typed}: {:?}", found(typed));
        }
        assert_eq!(found("SELECT 1 -- one\nFROM clerk_u"), ["clerk_user"]);
    }
}
