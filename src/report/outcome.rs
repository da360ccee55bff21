//! What a query returned for one lake: rows, a failure, or nothing because the instance has no organizations.

use super::LakeState;
use super::metric::{InstanceResult, Metric, ResultRows};
use crate::error::{Error, ErrorKind};

/// Table of the organizations. A sync does not create it for an instance without organizations.
const ORGANIZATIONS: &str = "clerk_organization";

/// Table of the users. A lake has it as soon as a sync has succeeded.
const USERS: &str = "clerk_user";

/// Shown in place of a metric that needs organizations.
pub(super) const NO_ORGANIZATIONS: &str = "Organizations are not enabled on this instance.";

/// The result of a query for one lake.
#[derive(Clone, Copy, Debug)]
pub(super) enum QueryOutcome<'a> {
    /// The query returned rows, possibly none.
    Rows(&'a ResultRows),
    /// The query needs organizations, and the instance has none.
    NoOrganizations,
    /// The query failed.
    Failed(&'a Error),
}

impl<'a> QueryOutcome<'a> {
    /// Classifies the result `part` of `metric` for the lake in the state `lake`.
    pub(super) fn of(metric: &Metric, part: &'a InstanceResult, lake: Option<&LakeState>) -> Self {
        match &part.rows {
            Ok(rows) => Self::Rows(rows),
            Err(error)
                if error.kind() == ErrorKind::Query && lake.is_some_and(|lake| is_only_missing(metric, lake)) =>
            {
                Self::NoOrganizations
            }
            Err(error) => Self::Failed(error),
        }
    }
}

/// Whether the table of the organizations is the only table of the lake that the SQL of `metric` names and that is
/// missing. The lake must have users: an incomplete lake says nothing about the instance.
fn is_only_missing(metric: &Metric, lake: &LakeState) -> bool {
    let exists = |name: &str| lake.tables.iter().any(|table| table.name == name);
    let missing: Vec<&str> = tables_named(&metric.query.sql).filter(|name| !exists(name)).collect();
    exists(USERS) && !missing.is_empty() && missing.iter().all(|name| *name == ORGANIZATIONS)
}

/// Returns the identifiers of `sql` that begin like a table of the lake. Comments are skipped.
fn tables_named(sql: &str) -> impl Iterator<Item = &str> {
    let code = sql.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code));
    let words = code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.filter(|word| word.starts_with("clerk_"))
}

#[cfg(test)]
mod tests {
    use super::QueryOutcome;
    use crate::error::{Error, ErrorKind};
    use crate::query::Query;
    use crate::report::metric::{InstanceResult, Metric};
    use crate::report::{LakeState, TableSummary};

    fn outcome(sql: &str, kind: ErrorKind, tables: &[&str]) -> String {
        let part = InstanceResult { instance: "ins_a".to_owned(), rows: Err(Error::new(kind, "no such table")) };
        let metric = Metric { query: Query::ad_hoc(sql), parts: vec![part] };
        let table = |name: &&str| TableSummary { name: (*name).to_owned(), rows: 1, version: 0, watermark: None };
        let tables = tables.iter().map(table).collect();
        let lake = LakeState { instance: "ins_a".to_owned(), location: "lake".to_owned(), tables };
        let outcome = QueryOutcome::of(&metric, &metric.parts[0], Some(&lake));
        format!("{outcome:?}").split('(').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_missing_organization_table_means_that_organizations_are_not_enabled() {
        let sql = "-- clerk_x\nSELECT count(*) FROM clerk_organization AS o, clerk_user";
        assert_eq!(outcome(sql, ErrorKind::Query, &["clerk_user", "clerk_session"]), "NoOrganizations");
    }

    #[test]
    fn all_other_errors_are_failures() {
        let sql = "SELECT count(*) FROM clerk_organization";
        assert_eq!(outcome(sql, ErrorKind::Query, &["clerk_session"]), "Failed");
        assert_eq!(outcome(sql, ErrorKind::Query, &["clerk_user", "clerk_organization"]), "Failed");
        assert_eq!(outcome(sql, ErrorKind::Unreachable, &["clerk_user"]), "Failed");
        assert_eq!(outcome("SELECT * FROM clerk_organization, clerk_y", ErrorKind::Query, &["clerk_user"]), "Failed");
        assert_eq!(outcome("SELECT nothing FROM clerk_user", ErrorKind::Query, &["clerk_user"]), "Failed");
    }
}
