//! What may follow what has been typed so far.

/// Words of SQL that are worth completing.
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

/// The names that there are.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// Of tables.
    pub tables: Vec<String>,
    /// Of their columns.
    pub columns: Vec<String>,
    /// Of the catalogue's queries.
    pub queries: Vec<String>,
    /// Of commands, with their backslash.
    pub commands: Vec<&'static str>,
    /// Of formats.
    pub formats: Vec<String>,
}

impl Words {
    /// What may stand at the end of `typed`, the part of a line before the cursor: from which byte on, and all words
    /// that begin as what is there does.
    pub fn completing(&self, typed: &str) -> (usize, Vec<String>) {
        let starts = |c: char| !(c.is_alphanumeric() || c == '_' || c == '\\');
        let start = typed.rfind(starts).map_or(0, |at| at + typed[at..].chars().next().map_or(1, char::len_utf8));
        let (before, word) = typed.split_at(start);
        let names = |lists: &[&[String]]| {
            let all = lists.iter().flat_map(|list| list.iter());
            fitting(word, all.map(String::as_str))
        };
        let found = match before.split_whitespace().next() {
            None if word.starts_with('\\') => fitting(word, self.commands.iter().copied()),
            Some("\\run") => names(&[&self.queries]),
            Some("\\d") => names(&[&self.tables, &self.queries]),
            Some("\\format") => names(&[&self.formats]),
            Some(first) if first.starts_with('\\') => Vec::new(),
            _ if word.is_empty() || is_quoted(before) => Vec::new(),
            _ => {
                let mut found = names(&[&self.tables, &self.columns, &self.queries]);
                let keywords = fitting(word, KEYWORDS.iter().copied());
                let lower = word.chars().any(char::is_lowercase);
                found.extend(keywords.into_iter().map(|word| if lower { word.to_lowercase() } else { word }));
                found
            }
        };
        (start, found)
    }
}

/// Those of `words` that begin as `word` does, by name.
fn fitting<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Vec<String> {
    let fits = |known: &&str| known.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
    let mut found: Vec<String> = words.filter(fits).map(str::to_owned).collect();
    found.sort();
    found.dedup();
    found
}

/// Whether text between quotes is open at the end of `typed`.
fn is_quoted(typed: &str) -> bool {
    typed.matches('\'').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::Words;

    fn completing(typed: &str) -> (usize, Vec<String>) {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Words {
            tables: owned(&["clerk_user", "clerk_session"]),
            columns: owned(&["created_at", "client_id"]),
            queries: owned(&["users", "growth"]),
            commands: vec!["\\d", "\\run", "\\refresh"],
            formats: owned(&["csv", "json"]),
        }
        .completing(typed)
    }

    fn found(typed: &str) -> Vec<String> {
        completing(typed).1
    }

    #[test]
    fn names_and_keywords_complete_what_is_typed() {
        assert_eq!(completing("SELECT cl"), (7, vec!["clerk_session".into(), "clerk_user".into(), "client_id".into()]));
        assert_eq!(completing("SELECT u.created"), (9, vec!["created_at".into()]));
        assert_eq!(found("sel"), ["select"]);
        assert_eq!(found("SELECT GR"), ["growth", "GROUP BY"]);
        assert_eq!(completing("SELECT 'é', us"), (13, vec!["users".into(), "using".into()]));
    }

    #[test]
    fn commands_are_completed_with_what_they_take() {
        assert_eq!(completing("\\r"), (0, vec!["\\refresh".into(), "\\run".into()]));
        assert_eq!(completing("\\run "), (5, vec!["growth".into(), "users".into()]));
        assert_eq!(found("\\d clerk_u"), ["clerk_user"]);
        assert_eq!(found("\\format c"), ["csv"]);
        assert!(found("\\o cl").is_empty());
    }

    #[test]
    fn nothing_is_added_to_nothing_or_within_quotes() {
        assert!(found("").is_empty());
        assert!(found("SELECT ").is_empty());
        assert!(found("SELECT 'cl").is_empty());
    }
}
