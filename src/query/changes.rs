//! Questions about what has changed: tables as the changes that they have seen since a version.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use datafusion::execution::context::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser;
use datafusion::sql::sqlparser::dialect::dialect_from_str;

use super::catalogue::Catalogue;
use super::names;
use super::parameters::Parameters;
use super::run::{failed, tables};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;
use crate::resource;
use crate::table::TableSpec;

/// Since when a table's changes are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The table's name; none for the one that the query names.
    pub table: Option<String>,
    /// The version that whoever asks has: what later ones changed is the answer.
    pub version: u64,
}

/// A session for the query `sql`, in which each table that `since` speaks of is its changes
/// ([`Table::changes_since`](crate::lake::Table::changes_since)) and every other one is as it is now. It may
/// also name the queries of `catalogue`, at their defaults as of `now`, and files beside the lake.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) where it is not clear which table is meant, or the lake has none;
/// [`Query`](ErrorKind::Query) where the query does not parse, or a table cannot be followed from that version;
/// [`Unreachable`](ErrorKind::Unreachable) where the store fails.
pub async fn session_of_changes(
    lake: &Lake,
    sql: &str,
    since: &[Since],
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<SessionContext> {
    let lake = lake.for_run().await?;
    let session = lake.session();
    let mut versions = versions(since, &named_tables(&session, sql)?)?;
    for table in tables(&lake, None, None).await? {
        let name = table.spec().name;
        let provider = match versions.remove(name) {
            Some(version) => table.changes_since(version).await?,
            None => table.provider().await?,
        };
        session.register_table(name, provider).map_err(|error| failed(&error))?;
    }
    names::open(&session, catalogue.clone(), Parameters::at(now));
    match versions.first_key_value() {
        None => Ok(session),
        Some((missing, _)) => Err(Error::new(ErrorKind::Query, format!("{missing} has not been written yet"))
            .with_hint("clerk-lake status lists the tables of the lake, and the version of each")),
    }
}

/// The tables of a lake that a query names.
fn named_tables(session: &SessionContext, sql: &str) -> Result<Vec<&'static str>> {
    let state = session.state();
    let dialect = state.config().options().sql_parser.dialect;
    let statement = state.sql_to_statement(sql, &dialect).map_err(|error| failed(&error))?;
    let named = state.resolve_table_references(&statement).map_err(|error| failed(&error))?;
    let is_named = |name: &str| named.iter().any(|reference| reference.table() == name);
    Ok(resource::TABLES.iter().map(|spec| spec.name).filter(|name| is_named(name)).collect())
}

/// The tables of a lake that the statements of `sql` name, so that others need not be opened; `None` if that cannot be
/// told: they are not all queries, or name a query of `catalogue`, or another schema.
#[must_use]
pub fn tables_asked(sql: &str, catalogue: &Catalogue) -> Option<Vec<&'static str>> {
    let session = SessionContext::new();
    let state = session.state();
    let dialect = state.config().options().sql_parser.dialect;
    let mut names = Vec::new();
    for statement in DFParser::parse_sql_with_dialect(sql, dialect_from_str(dialect.as_ref())?.as_ref()).ok()? {
        if !matches!(&statement, Statement::Statement(inner) if matches!(**inner, sqlparser::ast::Statement::Query(_)))
        {
            return None;
        }
        let references = state.resolve_table_references(&statement).ok()?;
        for reference in &references {
            let is_of_lake = |spec: &&&TableSpec| spec.name == reference.table();
            match resource::TABLES.iter().find(is_of_lake) {
                Some(spec) if reference.schema().is_none() => names.push(spec.name),
                None if catalogue.get(reference.table()).is_none() && reference.schema().is_none() => {}
                _ => return None,
            }
        }
    }
    Some(names)
}

/// The version of each table that is asked about, in a query that names these tables.
fn versions(since: &[Since], named: &[&'static str]) -> Result<BTreeMap<&'static str, u64>> {
    let mut versions = BTreeMap::new();
    for (table, version) in since.iter().filter_map(|since| Some((since.table.as_deref()?, since.version))) {
        let known = resource::TABLES.iter().map(|spec| spec.name).find(|name| *name == table);
        let known = known.ok_or_else(|| {
            Error::settings(format!("--changes-since {table}={version}: there is no table called {table}"))
                .with_hint("clerk-lake schema lists the tables")
        })?;
        if versions.insert(known, version).is_some() {
            return Err(Error::settings(format!("--changes-since gives two versions of {table}"))
                .with_hint("give each table one version"));
        }
    }
    let mut bare = since.iter().filter(|since| since.table.is_none()).map(|since| since.version);
    let Some(version) = bare.next() else { return Ok(versions) };
    let is_alone = bare.next().is_none();
    let others: Vec<_> = named.iter().copied().filter(|name| !versions.contains_key(name)).collect();
    match others.as_slice() {
        [table] if is_alone => {
            versions.insert(*table, version);
            Ok(versions)
        }
        [] => Err(Error::settings(format!("--changes-since {version}: the query names no table that could be meant"))
            .with_hint("ask about a table: SELECT * FROM clerk_user")),
        [first, ..] => Err(Error::settings(format!(
            "--changes-since {version}: it is not clear which table is meant, {}",
            others.join(" or ")
        ))
        .with_hint(format!(
            "name each whose changes are asked for, with its version: --changes-since {first}={version}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(table: Option<&str>, version: u64) -> Since {
        Since { table: table.map(str::to_owned), version }
    }

    #[test]
    fn a_version_alone_is_that_of_the_one_table_that_is_not_named_beside_it() {
        let both = ["clerk_organization", "clerk_user"];
        let alone = versions(&[since(None, 3)], &["clerk_user"]).expect("one table");
        assert_eq!(alone, BTreeMap::from([("clerk_user", 3)]));
        let beside = versions(&[since(Some("clerk_organization"), 2), since(None, 3)], &both).expect("the other one");
        assert_eq!(beside, BTreeMap::from([("clerk_organization", 2), ("clerk_user", 3)]));
        for (given, named) in [
            (vec![since(None, 3)], &both[..]),
            (vec![since(None, 3)], &[]),
            (vec![since(None, 3), since(None, 4)], &both[..1]),
            (vec![since(Some("clerk_user"), 3), since(Some("clerk_user"), 4)], &both[..]),
            (vec![since(Some("users"), 3)], &both[..]),
        ] {
            let error = versions(&given, named).expect_err("nobody knows what is meant");
            assert_eq!(error.kind(), ErrorKind::Settings, "{given:?}: {error}");
            assert!(error.hint().is_some(), "{given:?}: {error}");
        }
    }
}
