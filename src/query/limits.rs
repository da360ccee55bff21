//! Limits on the shape of a statement, so that no statement overflows the stack.
//!
//! The parser, the planner and the optimizer are recursive: a statement that nests deeply, or chains thousands of
//! operators, needs a deep stack in each of them. The limits are checked on the tokens, before the statement is parsed.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::excerpt::excerpt;
use crate::error::{Error, ErrorKind, Result};

/// How deeply parentheses, brackets, CASE and prefix operators may nest.
const MAX_NESTING: usize = 100;

/// How many operators may follow each other in one expression, counted with those of the expressions around it.
const MAX_OPERATORS: usize = 3000;

/// How many SELECTs and JOINs a statement may have.
const MAX_QUERIES: usize = 2000;

/// The recursion limit of the parser. It is high enough for every statement within the limits above: one level of
/// nesting takes the parser several levels.
pub(super) const PARSER_RECURSION: usize = 16 * MAX_NESTING;

/// Returns the tokens of `sql` with their places; `None` if it has none, because a quote is not closed, for example.
pub(super) fn tokens(sql: &str) -> Option<Vec<TokenWithSpan>> {
    Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()
}

/// Refuses a statement that nests too deeply or chains too many operators.
///
/// # Errors
/// [`Query`](ErrorKind::Query), with the place at which the limit is exceeded.
pub(super) fn check(sql: &str) -> Result<()> {
    let Some(tokens) = tokens(sql) else { return Ok(()) };
    let mut shape = StatementShape::new();
    for token in &tokens {
        if let Err(excess) = shape.take(&token.token) {
            return Err(excess.error(sql, token.span));
        }
    }
    Ok(())
}

/// The limit that a statement exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excess {
    Nesting,
    Operators,
    Queries,
}

impl Excess {
    fn error(self, sql: &str, at: Span) -> Error {
        let (what, hint) = match self {
            Self::Nesting => (
                format!("the statement nests more than {MAX_NESTING} levels deep"),
                "move inner parts to WITH name AS (SELECT …), and refer to them by name",
            ),
            Self::Operators => (
                format!("one expression has more than {MAX_OPERATORS} operators"),
                "compare with many values by IN (…), or join with a file of values: JOIN 'values.csv'",
            ),
            Self::Queries => (
                format!("the statement has more than {MAX_QUERIES} SELECTs and JOINs"),
                "use one SELECT over VALUES (…), (…), or over a file: SELECT * FROM 'values.csv'",
            ),
        };
        let at = Location { line: at.start.line, column: at.start.column };
        Error::new(ErrorKind::Query, format!("{what}{}", excerpt(sql, Span::new(at, at)))).with_hint(hint)
    }
}

/// The shape of the statement up to a token.
struct StatementShape {
    /// For each open parenthesis, bracket or CASE: the number of operators of its current expression.
    levels: Vec<usize>,
    /// The sum of `levels`.
    operators: usize,
    /// The number of operators directly before the current token: prefix operators nest.
    prefixes: usize,
    queries: usize,
}

impl StatementShape {
    fn new() -> Self {
        Self { levels: vec![0], operators: 0, prefixes: 0, queries: 0 }
    }

    fn take(&mut self, token: &Token) -> std::result::Result<(), Excess> {
        match token {
            Token::Whitespace(_) | Token::Period | Token::EOF => return Ok(()),
            Token::SemiColon => *self = Self::new(),
            Token::Comma => self.start_expression(),
            Token::LParen | Token::LBrace => self.open(),
            Token::LBracket => {
                self.add_operator();
                self.open();
            }
            Token::RParen | Token::RBracket | Token::RBrace => self.close(),
            Token::Word(word) => self.take_word(word.keyword),
            Token::Number(..) | Token::Placeholder(_) | Token::Colon => self.prefixes = 0,
            other if is_text(other) => self.prefixes = 0,
            _ => self.add_operator(),
        }
        if self.levels.len() + self.prefixes > MAX_NESTING {
            Err(Excess::Nesting)
        } else if self.operators > MAX_OPERATORS {
            Err(Excess::Operators)
        } else if self.queries > MAX_QUERIES {
            Err(Excess::Queries)
        } else {
            Ok(())
        }
    }

    fn take_word(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::CASE => self.open(),
            // END also ends nothing that is counted here; an unmatched one has no effect.
            Keyword::END => self.close(),
            Keyword::SELECT | Keyword::JOIN => {
                self.queries += 1;
                self.start_expression();
            }
            Keyword::FROM
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::ON
            | Keyword::LIMIT
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
            | Keyword::WHEN
            | Keyword::THEN
            | Keyword::ELSE => self.start_expression(),
            Keyword::AND
            | Keyword::OR
            | Keyword::XOR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::SIMILAR
            | Keyword::BETWEEN
            | Keyword::DIV
            | Keyword::COLLATE
            | Keyword::AT => self.add_operator(),
            _ => self.prefixes = 0,
        }
    }

    fn start_expression(&mut self) {
        self.prefixes = 0;
        if let Some(level) = self.levels.last_mut() {
            self.operators -= *level;
            *level = 0;
        }
    }

    fn open(&mut self) {
        self.levels.push(0);
    }

    fn close(&mut self) {
        self.prefixes = 0;
        if self.levels.len() > 1 {
            self.operators -= self.levels.pop().unwrap_or_default();
        }
    }

    fn add_operator(&mut self) {
        self.operators += 1;
        self.prefixes += 1;
        if let Some(level) = self.levels.last_mut() {
            *level += 1;
        }
    }
}

fn is_text(token: &Token) -> bool {
    matches!(
        token,
        Token::Char(_)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sql: &str) -> Option<String> {
        check(sql).err().map(|error| error.message().lines().next().unwrap_or_default().to_owned())
    }

    #[test]
    fn long_flat_statements_are_within_the_limits() {
        let many = |text: &str, separator: &str| vec![text; 50_000].join(separator);
        for sql in [
            format!("SELECT 1 WHERE 1 IN ({})", many("-1", ",")),
            format!("SELECT {}", many("a + 1", ", ")),
            format!("SELECT CASE {} END", many("WHEN a = 1 THEN 2", " ")),
            format!("VALUES {}", many("(1, -2)", ", ")),
            many("SELECT 1", ";"),
            format!("SELECT '{}'", many("(", " OR ")),
        ] {
            assert_eq!(refused(&sql), None, "{}", &sql[..40]);
        }
    }

    #[test]
    fn deep_statements_are_refused() {
        let around = |open: &str, close: &str| format!("SELECT {}1{}", open.repeat(101), close.repeat(101));
        for sql in [
            around("(", ")"),
            around("abs(", ")"),
            around("[", "]"),
            around("CASE WHEN a THEN ", " END"),
            around("NOT ", ""),
            around("- ", ""),
        ] {
            assert!(refused(&sql).is_some_and(|text| text.contains("nests")), "{sql}");
        }
        let chain = |operator: &str| format!("SELECT {}", vec!["a"; 3002].join(operator));
        for operator in [" OR ", " AND ", "||", "+", " = "] {
            assert!(refused(&chain(operator)).is_some_and(|text| text.contains("operators")), "{operator}");
        }
        let unions = vec!["SELECT 1"; 2001].join(" UNION ");
        assert!(refused(&unions).is_some_and(|text| text.contains("SELECTs")), "unions");
    }
}
