//! Converts errors of DataFusion to errors for people: what is wrong, where in the statement, and what to do.

use datafusion::common::{Column, Diagnostic, SchemaError, TableReference};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token};

use super::excerpt::{end_of, excerpt};
use super::known::known_names;
use super::suggest::suggestion;
use super::wording::reword;
use super::{files, limits};
use crate::error::{Error, ErrorKind, chain};
use crate::lake;
use crate::resource::{self, REJECTED_ROWS};

const LIST_TABLES: &str = "SHOW TABLES lists the tables and queries";

/// The largest number of ways to call a function that are listed.
const MAX_CANDIDATES: usize = 4;

/// The largest number of columns that are listed.
const MAX_COLUMNS: usize = 8;

/// What a statement can start with.
const STARTS: [&str; 8] = ["SELECT", "WITH", "FROM", "VALUES", "SHOW", "DESCRIBE", "EXPLAIN", "TABLE"];

/// An error of a statement, before it is shown.
struct Fault {
    message: String,
    hint: Option<String>,
    /// The name or word that the error is about, to find its place.
    word: Option<String>,
    at: Option<Span>,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, word: None, at: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    fn word(self, word: impl Into<String>) -> Self {
        Self { word: Some(word.into()), ..self }
    }
}

/// Converts an error of DataFusion to an error with a kind and a hint.
#[must_use]
pub fn failed(error: &DataFusionError) -> Error {
    failed_in(error, "", None)
}

/// Converts an error of the statement `sql`, and shows its place. Suggests names that `context` knows.
pub(super) fn failed_in(error: &DataFusionError, sql: &str, context: Option<&SessionContext>) -> Error {
    let root = error.find_root();
    if let DataFusionError::External(own) = root
        && let Some(own) = own.downcast_ref::<Error>()
    {
        return own.clone();
    }
    if lake::is_missing_file(error) {
        return Error::new(ErrorKind::Conflict, "a sync replaced files while they were being read")
            .with_hint("run the query again");
    }
    if lake::is_of_store(error) {
        return lake::store_error("the query cannot read its data", error);
    }
    let fault = match root {
        DataFusionError::SQL(error, _) => syntax(error, sql),
        DataFusionError::SchemaError(error, _) => schema(error),
        DataFusionError::ResourcesExhausted(_) => Fault::new("the query needs more memory than it may use")
            .hint("allow more with --memory-limit, such as --memory-limit 4GB, or read fewer columns and rows"),
        DataFusionError::Plan(text) => plan(text, context),
        DataFusionError::NotImplemented(text) => unsupported(text),
        DataFusionError::ArrowError(error, _) => value(&chain(&**error)),
        other => value(&chain(other)),
    };
    let at = fault.at.or_else(|| error.diagnostic().and_then(span)).or_else(|| find(sql, fault.word.as_deref()?));
    let place = at.map(|at| excerpt(sql, at)).unwrap_or_default();
    let shown = Error::new(ErrorKind::Query, format!("{}{place}", fault.message));
    match fault.hint {
        Some(hint) => shown.with_hint(hint),
        None => shown,
    }
}

fn span(diagnostic: &Diagnostic) -> Option<Span> {
    let span = diagnostic.span?;
    let location = |line, column| Location { line, column };
    Some(Span::new(location(span.start.line, span.start.column), location(span.end.line, span.end.column)))
}

/// Returns the only place at which `word` stands in `sql`, or the first of several.
fn find(sql: &str, word: &str) -> Option<Span> {
    let is_word = |token: &Token| match token {
        Token::Word(found) => found.value.eq_ignore_ascii_case(word),
        Token::Placeholder(found) => found == word,
        _ => false,
    };
    Some(limits::tokens(sql)?.into_iter().find(|token| is_word(&token.token))?.span)
}

fn syntax(error: &ParserError, sql: &str) -> Fault {
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            return Fault::new("the statement nests too deeply")
                .hint("move inner parts to WITH name AS (SELECT …), and refer to them by name");
        }
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
    };
    let (text, at) = text.rsplit_once(" at Line: ").map_or((text.as_str(), None), |(text, place)| {
        let place = place.split_once(", Column: ");
        let at = place.and_then(|(line, column)| {
            let at = Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? };
            Some(token_at(sql, at))
        });
        (text, at)
    });
    let is_end = text.contains("found: EOF");
    let text = text.replace("Expected: ", "expected ").replace(", found: EOF", ", but the statement ends here");
    let text = text.replace(", found: ", ", but found ").replace("an SQL statement", "a statement");
    let found = text.rsplit_once("but found ").map(|(_, found)| found.to_owned());
    let hint = match found {
        Some(found) if text.starts_with("expected a statement") => {
            suggestion(&found, STARTS).or_else(|| Some("a statement starts with SELECT, WITH or FROM".to_owned()))
        }
        _ if sql.trim_start().get(..5).is_some_and(|start| start.eq_ignore_ascii_case("from ")) => {
            Some("write SELECT * before FROM".to_owned())
        }
        _ => None,
    };
    let at = at.or_else(|| is_end.then(|| end_of(sql)));
    Fault { message: format!("syntax error: {text}"), hint, word: None, at }
}

/// Returns the span of the token that starts at `at`.
fn token_at(sql: &str, at: Location) -> Span {
    let tokens = limits::tokens(sql).unwrap_or_default();
    tokens.into_iter().map(|token| token.span).find(|span| span.start == at).unwrap_or(Span::new(at, at))
}

fn schema(error: &SchemaError) -> Fault {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => unknown_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            Fault::new(format!("column {:?} is in more than one table of the query", field.name))
                .hint(format!("write the table before the column: table.{}", field.name))
                .word(&field.name)
        }
        SchemaError::DuplicateQualifiedField { qualifier, name } => {
            Fault::new(format!("two columns are called {name:?} in {qualifier}")).hint("rename one: … AS other_name")
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            Fault::new(format!("two columns are called {name:?}")).hint("rename one: … AS other_name").word(name)
        }
    }
}

fn unknown_column(field: &Column, known: &[Column]) -> Fault {
    let relation = field.relation.as_ref().map(|relation| relation.table().to_owned());
    let of_relation = |column: &&Column| {
        relation.is_none() || column.relation.as_ref().map(TableReference::table) == relation.as_deref()
    };
    let columns: Vec<&str> = known.iter().filter(of_relation).map(|column| column.name.as_str()).collect();
    if let Some(relation) = &relation
        && columns.is_empty()
    {
        let mut tables: Vec<&str> =
            known.iter().filter_map(|column| column.relation.as_ref()).map(TableReference::table).collect();
        tables.dedup();
        let fault = Fault::new(format!("the query has no table called {relation:?}")).word(relation);
        if let Some(resource) = resource::ALL.iter().find(|resource| resource.name == relation) {
            return fault.hint(format!("the table is called {}", resource.table.name));
        }
        return fault.hint(match suggestion(relation, tables.iter().copied()) {
            Some(suggestion) => suggestion,
            None => format!("it reads {}", tables.join(", ")),
        });
    }
    let place = relation.as_ref().map(|relation| format!(" in {relation}")).unwrap_or_default();
    let fault = Fault::new(format!("there is no column called {:?}{place}", field.name)).word(&field.name);
    let is_read = |name: &str| known.iter().filter_map(|column| column.relation.as_ref()).any(|it| it.table() == name);
    // The queries `users`, `organizations` and so on have the names of resources.
    let resource = resource::ALL.iter().find(|resource| is_read(resource.name));
    let table = || resource.map(|resource| format!("the table is called {}", resource.table.name));
    match suggestion(&field.name, columns.iter().copied()).or_else(table) {
        Some(suggestion) => fault.hint(suggestion),
        None if columns.is_empty() => fault.hint("text is written in single quotes: 'text'"),
        None => fault.hint(columns_hint(known, &columns)),
    }
}

/// Returns a hint that says which columns there are. Tables have many; DESCRIBE lists them.
fn columns_hint(known: &[Column], columns: &[&str]) -> String {
    let tables = known.iter().filter_map(|column| column.relation.as_ref()).map(TableReference::table);
    let table = tables.into_iter().find(|table| resource::TABLES.iter().any(|spec| spec.name == *table));
    match (table, columns.split_at_checked(MAX_COLUMNS)) {
        (Some(table), _) => format!("DESCRIBE {table} lists the columns"),
        (None, Some((first, rest))) if !rest.is_empty() => format!("the columns are {}, …", first.join(", ")),
        (None, _) => format!("the columns are {}", columns.join(", ")),
    }
}

/// Returns the name that `text` says was not found, after `before`.
fn missing<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix("' not found")
}

fn plan(text: &str, context: Option<&SessionContext>) -> Fault {
    if let Some(name) = missing(text, "table function '") {
        return Fault::new(format!("there is no table function called {name:?}"))
            .word(name)
            .hint("table functions are generate_series and range; read a file by its name: FROM 'file.csv'");
    }
    if let Some(name) = missing(text, "table '").or_else(|| text.strip_prefix("No table named '")?.strip_suffix('\'')) {
        return unknown_table(name.trim_start_matches("datafusion.public.").trim_start_matches("datafusion."), context);
    }
    if let Some(rest) = text.strip_prefix("Invalid function '")
        && let Some((name, nearest)) = rest.split_once("'.\nDid you mean '")
    {
        let nearest = nearest.trim_end_matches(['?', '\'']);
        let fault = Fault::new(format!("there is no function called {name:?}")).word(name);
        return match suggestion(name, [nearest]) {
            Some(suggestion) => fault.hint(suggestion),
            None => fault.hint("see https://datafusion.apache.org/user-guide/sql/ for all functions"),
        };
    }
    if let Some(name) = text.strip_prefix("No value found for placeholder with name ") {
        let bare = name.trim_start_matches('$');
        return Fault::new(format!("the parameter {name} has no value"))
            .word(name)
            .hint(format!("give one with --param {bare}=VALUE"));
    }
    for (prefix, what) in [("DDL", "changes tables"), ("DML", "changes rows"), ("Statement", "changes settings")] {
        if text.starts_with(&format!("{prefix} not supported: ")) {
            return Fault::new(format!("the statement {what}, which a query cannot do"))
                .hint("a query reads the lake and changes nothing: use SELECT");
        }
    }
    value(text)
}

fn unknown_table(name: &str, context: Option<&SessionContext>) -> Fault {
    let fault = Fault::new(format!("there is no table or query called {name:?}")).word(name);
    if name == REJECTED_ROWS.name {
        return Fault::new(format!("the table {name} does not exist yet"))
            .word(name)
            .hint("it is created when Clerk sends a row that does not match its contract; none has come yet");
    }
    if resource::TABLES.iter().any(|spec| spec.name == name) {
        return Fault::new(format!("the table {name} is not in the lake"))
            .word(name)
            .hint("it has not been synced yet, or not at the time of --at: clerk-lake sync writes it");
    }
    if let Some(resource) = resource::ALL.iter().find(|resource| resource.name == name) {
        return fault.hint(format!("the table is called {}", resource.table.name));
    }
    if files::is_unquoted_file(name) {
        return fault.hint("put a file's path between quotes: SELECT * FROM 'people.csv'");
    }
    let known = context.map(known_names).unwrap_or_default();
    fault.hint(suggestion(name, known.iter().map(String::as_str)).unwrap_or_else(|| LIST_TABLES.to_owned()))
}

fn unsupported(text: &str) -> Fault {
    let text = reword(text);
    match text.as_str() {
        "TOP" => Fault::new("TOP is not supported").word("TOP").hint("use LIMIT at the end: SELECT … LIMIT 3"),
        _ if text.contains("supported") || text.contains("implemented") => Fault::new(text),
        _ => Fault::new(format!("{text} is not supported")),
    }
}

/// An error of a value, a type or an argument.
fn value(text: &str) -> Fault {
    let text = reword(text);
    let (first, candidates) = text.split_once("\n\tCandidate functions:").unwrap_or((text.as_str(), ""));
    if let Some((_, call)) = first.split_once("No function matches the given name and argument types '")
        && let Some((call, _)) = call.split_once('\'')
    {
        let candidates = candidates.split('\n').map(str::trim).filter(|it| !it.is_empty());
        let candidates: Vec<&str> = candidates.take(MAX_CANDIDATES).collect();
        let name = call.split('(').next().unwrap_or(call);
        let fault = Fault::new(format!("there is no {call}: the function does not take these arguments")).word(name);
        return if candidates.is_empty() {
            fault.hint("convert the argument: CAST(value AS type)")
        } else {
            fault.hint(format!("it can be called as {}", candidates.join(" or ")))
        };
    }
    let is_cast =
        ["Cannot cast", "Error parsing", "Can't cast", "Casting "].iter().any(|start| text.starts_with(start));
    if is_cast {
        return Fault::new(text).hint("TRY_CAST(value AS type) returns NULL for a value that cannot be converted");
    }
    if text.starts_with("Divide by zero") {
        return Fault::new("division by zero").hint("nullif(divisor, 0) returns NULL instead");
    }
    if text.contains("must appear in the GROUP BY clause") {
        let text = text.replace("Column in SELECT must be in GROUP BY or an aggregate function: ", "");
        let text = text.replace("While expanding wildcard, ", "");
        let text = text.split(", currently only").next().unwrap_or(&text).to_owned();
        return Fault::new(text).hint("add the column to GROUP BY, or aggregate it: max(column)");
    }
    if text.starts_with("Cannot coerce") {
        return Fault::new(text).hint("convert one side: CAST(value AS type)");
    }
    Fault::new(text)
}
