//! Parses SQL. The grammar is DataFusion's; `FROM table` without SELECT reads all columns, as in DuckDB.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, Select, SelectFlavor, SelectItem, Statement as SqlStatement, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;

use super::limits;
use crate::error::{Error, ErrorKind, Result};

/// A statement that can be run.
pub(super) enum ParsedStatement {
    /// A statement that DataFusion plans.
    Plan(Box<Statement>),
    /// `SHOW TABLES`.
    Tables,
    /// `DESCRIBE name`, or `SHOW COLUMNS FROM name`.
    Columns(String),
}

/// Parses `sql`, which must hold exactly one statement.
///
/// # Errors
/// [`Query`](ErrorKind::Query) if it cannot be parsed, or exceeds a limit.
pub(super) fn parse(sql: &str) -> Result<ParsedStatement> {
    let mut statements = parse_all(sql)?;
    let (Some(mut statement), None) = (statements.pop_front(), statements.pop_front()) else {
        return Err(Error::new(ErrorKind::Query, "expected exactly one statement")
            .with_hint("separate statements with ; and run them one by one"));
    };
    if let Some(request) = request(&statement) {
        return Ok(request);
    }
    add_missing_select(&mut statement);
    Ok(ParsedStatement::Plan(Box::new(statement)))
}

/// Parses all statements of `sql`.
///
/// # Errors
/// [`Query`](ErrorKind::Query) if they cannot be parsed, or exceed a limit.
pub(super) fn parse_all(sql: &str) -> Result<VecDeque<Statement>> {
    limits::check(sql)?;
    let parse = || {
        DFParserBuilder::new(sql)
            .with_dialect(&GenericDialect {})
            .with_recursion_limit(limits::PARSER_RECURSION)
            .build()?
            .parse_statements()
    };
    parse().map_err(|error: DataFusionError| super::failure::failed_in(&error, sql, None))
}

/// Returns the request for the tables or for the columns of one.
fn request(statement: &Statement) -> Option<ParsedStatement> {
    let Statement::Statement(statement) = statement else { return None };
    match &**statement {
        SqlStatement::ExplainTable { table_name, .. } => Some(ParsedStatement::Columns(name_of(table_name)?)),
        SqlStatement::ShowTables { show_options, .. } if show_options.filter_position.is_none() => {
            Some(ParsedStatement::Tables)
        }
        SqlStatement::ShowColumns { show_options, .. } if show_options.filter_position.is_none() => {
            let name = show_options.show_in.as_ref()?.parent_name.as_ref()?;
            Some(ParsedStatement::Columns(name_of(name)?))
        }
        _ => None,
    }
}

/// Returns a name of one part as SQL means it: without quotes, or in lower case.
fn name_of(name: &ObjectName) -> Option<String> {
    let [part] = name.0.as_slice() else { return None };
    let Ident { value, quote_style, .. } = part.as_ident()?;
    Some(if quote_style.is_some() { value.clone() } else { value.to_lowercase() })
}

/// Turns `FROM table` into `SELECT * FROM table`, in subqueries too.
fn add_missing_select(statement: &mut Statement) {
    match statement {
        Statement::Statement(statement) => {
            let _ = statement.visit(&mut FromFirst);
        }
        Statement::Explain(explain) => add_missing_select(&mut explain.statement),
        _ => {}
    }
}

struct FromFirst;

impl VisitorMut for FromFirst {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if matches!(select.flavor, SelectFlavor::FromFirstNoSelect) {
            select.flavor = SelectFlavor::Standard;
            select.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
        }
        ControlFlow::Continue(())
    }
}
