//! Tab completion.

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
    /// Names of tables.
    pub tables: Vec<String>,
    /// Names of their columns.
    pub columns: Vec<String>,
    /// Names of queries.
    pub queries: Vec<String>,
    /// Commands, with their backslash.
    pub commands: Vec<&'static str>,
    /// Names of formats.
    pub formats: Vec<String>,
}

impl CompletionWords {
    /// Completes the last word of `typed`, the part of the line before the cursor. Returns the byte at which the word
    /// starts, and all words with that prefix.
    pub fn complete(&self, typed: &str) -> (usize, Vec<String>) {
        let separates = |c: char| !(c.is_alphanumeric() || c == '_' || c == '\\');
        let start = typed.rfind(separates).map_or(0, |at| at + typed[at..].chars().next().map_or(1, char::len_utf8));
        let (before, word) = typed.split_at(start);
        let names = |lists: &[&[String]]| {
            let all = lists.iter().flat_map(|list| list.iter());
            matching(word, all.map(String::as_str))
        };
        let found = match before.split_whitespace().next() {
            None if word.starts_with('\\') => matching(word, self.commands.iter().copied()),
            Some("\\run") => names(&[&self.queries]),
            Some("\\d") => names(&[&self.tables, &self.queries]),
            Some("\\format") => names(&[&self.formats]),
            Some(first) if first.starts_with('\\') => Vec::new(),
            _ if word.is_empty() || is_quoted(before) => Vec::new(),
            _ => {
                let mut found = names(&[&self.tables, &self.columns, &self.queries]);
                let keywords = matching(word, KEYWORDS.iter().copied());
                let lower = word.chars().any(char::is_lowercase);
                found.extend(keywords.into_iter().map(|word| if lower { word.to_lowercase() } else { word }));
                found
            }
        };
        (start, found)
    }
}

/// Returns the `words` that start with `word`, ignoring case, sorted and without duplicates.
fn matching<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Vec<String> {
    let matches = |known: &&str| known.get(..word.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(word));
    let mut found: Vec<String> = words.filter(matches).map(str::to_owned).collect();
    found.sort();
    found.dedup();
    found
}

/// Whether `typed` ends inside a quoted string.
fn is_quoted(typed: &str) -> bool {
    typed.matches('\'').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::CompletionWords;

    fn completed(typed: &str) -> (usize, Vec<String>) {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        CompletionWords {
            tables: owned(&["clerk_user", "clerk_session"]),
            columns: owned(&["created_at", "client_id"]),
            queries: owned(&["users", "growth"]),
            commands: vec!["\\d", "\\run", "\\refresh"],
            formats: owned(&["csv", "json"]),
        }
        .complete(typed)
    }

    fn found(typed: &str) -> Vec<String> {
        completed(typed).1
    }

    #[test]
    fn names_and_keywords_complete_what_is_typed() {
        assert_eq!(completed("SELECT cl"), (7, vec!["clerk_session".into(), "clerk_user".into(), "client_id".into()]));
        assert_eq!(completed("SELECT u.created"), (9, vec!["created_at".into()]));
        assert_eq!(found("sel"), ["select"]);
        assert_eq!(found("SELECT GR"), ["growth", "GROUP BY"]);
        assert_eq!(completed("SELECT 'é', us"), (13, vec!["users".into(), "using".into()]));
    }

    #[test]
    fn commands_and_their_arguments_are_completed() {
        assert_eq!(completed("\\r"), (0, vec!["\\refresh".into(), "\\run".into()]));
        assert_eq!(completed("\\run "), (5, vec!["growth".into(), "users".into()]));
        assert_eq!(found("\\d clerk_u"), ["clerk_user"]);
        assert_eq!(found("\\format c"), ["csv"]);
        assert!(found("\\o cl").is_empty());
    }

    #[test]
    fn an_empty_word_or_a_quoted_string_is_not_completed() {
        assert!(found("").is_empty());
        assert!(found("SELECT ").is_empty());
        assert!(found("SELECT 'cl").is_empty());
    }
}
