//! Queries over the change data feed: tables that hold the changes since a version instead of the current rows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use datafusion::execution::context::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser;

use super::failure::failed;
use super::parameters::Parameters;
use super::queries::Queries;
use super::run::tables;
use super::{functions, names, statement};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;
use crate::resource;
use crate::table::TableSpec;

/// The version from which a table's changes are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The table's name; `None` for the one table that the query names.
    pub table: Option<String>,
    /// The version that the caller already has. The changes of all later versions are returned.
    pub version: u64,
}

/// Returns a context for the query `sql`, in which each table in `since` holds its changes.
///
/// See [`Table::changes_since`](crate::lake::Table::changes_since) for their columns. Every other table holds its
/// current rows. SQL can also use `queries`, with default parameters as of `now`, and files.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) if it is ambiguous which table a version belongs to, or the lake has no tables;
/// [`Query`](ErrorKind::Query) if the query cannot be parsed, or the changes since that version are not available;
/// [`Unreachable`](ErrorKind::Unreachable) if the store fails.
pub async fn context_of_changes(
    lake: &Lake,
    sql: &str,
    since: &[Since],
    queries: &Queries,
    now: DateTime<Utc>,
) -> Result<SessionContext> {
    let lake = lake.for_run().await?;
    let context = functions::context(&lake)?;
    let mut versions = versions(since, &named_tables(&context, sql)?)?;
    for table in tables(&lake, None, None).await? {
        let name = table.spec().name;
        let provider = match versions.remove(name) {
            Some(version) => table.changes_since(version).await?,
            None => table.provider().await?,
        };
        context.register_table(name, provider).map_err(|error| failed(&error))?;
    }
    names::open(&context, queries.clone(), Parameters::at(now));
    match versions.first_key_value() {
        None => Ok(context),
        Some((missing, _)) => Err(Error::new(ErrorKind::Query, format!("table {missing} has not been written yet"))
            .with_hint("clerk-lake status lists the tables of the lake and their versions")),
    }
}

/// Returns the tables of the lake that a query names.
fn named_tables(context: &SessionContext, sql: &str) -> Result<Vec<&'static str>> {
    let state = context.state();
    let Some(statement) = statement::parse_all(sql)?.pop_front() else { return Ok(Vec::new()) };
    let named = state.resolve_table_references(&statement).map_err(|error| failed(&error))?;
    let is_named = |name: &str| named.iter().any(|reference| reference.table() == name);
    Ok(resource::TABLES.iter().map(|spec| spec.name).filter(|name| is_named(name)).collect())
}

/// Returns the tables of the lake that the statements of `sql` name, so that other tables need not be opened.
///
/// `None` if this cannot be determined, because a statement is not a query, or because it names one of `queries`
/// or a table in another schema.
#[must_use]
pub fn tables_asked(sql: &str, queries: &Queries) -> Option<Vec<&'static str>> {
    let context = SessionContext::new();
    let state = context.state();
    let mut names = Vec::new();
    for statement in statement::parse_all(sql).ok()? {
        if !matches!(&statement, Statement::Statement(inner) if matches!(**inner, sqlparser::ast::Statement::Query(_)))
        {
            return None;
        }
        let references = state.resolve_table_references(&statement).ok()?;
        for reference in &references {
            let is_of_lake = |spec: &&&TableSpec| spec.name == reference.table();
            match resource::TABLES.iter().find(is_of_lake) {
                Some(spec) if reference.schema().is_none() => names.push(spec.name),
                None if queries.get(reference.table()).is_none() && reference.schema().is_none() => {}
                _ => return None,
            }
        }
    }
    Some(names)
}

/// Returns the version for each table whose changes are requested. `named` are the tables that the query names.
fn versions(since: &[Since], named: &[&'static str]) -> Result<BTreeMap<&'static str, u64>> {
    let mut versions = BTreeMap::new();
    for (table, version) in since.iter().filter_map(|since| Some((since.table.as_deref()?, since.version))) {
        let known = resource::TABLES.iter().map(|spec| spec.name).find(|name| *name == table);
        let known = known.ok_or_else(|| {
            Error::settings(format!("--changes-since {table}={version}: there is no table called {table}"))
                .with_hint("clerk-lake schema lists the tables")
        })?;
        if versions.insert(known, version).is_some() {
            return Err(Error::settings(format!("--changes-since has two versions for {table}"))
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
        [] => Err(Error::settings(format!("--changes-since {version}: the query reads no table of the lake"))
            .with_hint("query a table of the lake: SELECT * FROM clerk_user")),
        [first, ..] => {
            Err(Error::settings(format!("--changes-since {version}: ambiguous, it could mean {}", others.join(" or ")))
                .with_hint(format!("name each table whose changes you want: --changes-since {first}={version}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(table: Option<&str>, version: u64) -> Since {
        Since { table: table.map(str::to_owned), version }
    }

    #[test]
    fn a_version_without_a_table_belongs_to_the_only_table_without_a_version() {
        let both = ["clerk_organization", "clerk_user"];
        let alone = versions(&[since(None, 3)], &["clerk_user"]).expect("one table");
        assert_eq!(alone, BTreeMap::from([("clerk_user", 3)]));
        let with_another =
            versions(&[since(Some("clerk_organization"), 2), since(None, 3)], &both).expect("the other one");
        assert_eq!(with_another, BTreeMap::from([("clerk_organization", 2), ("clerk_user", 3)]));
        for (given, named) in [
            (vec![since(None, 3)], &both[..]),
            (vec![since(None, 3)], &[]),
            (vec![since(None, 3), since(None, 4)], &both[..1]),
            (vec![since(Some("clerk_user"), 3), since(Some("clerk_user"), 4)], &both[..]),
            (vec![since(Some("users"), 3)], &both[..]),
        ] {
            let error = versions(&given, named).expect_err("an ambiguous version");
            assert_eq!(error.kind(), ErrorKind::Settings, "{given:?}: {error}");
            assert!(error.hint().is_some(), "{given:?}: {error}");
        }
    }
}
