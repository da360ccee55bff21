//! Running SQL over a lake's tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::logical_expr::Expr;
use futures::TryStreamExt;

use super::files;
use crate::error::{Error, ErrorKind, Result, chain};
use crate::lake::{self, At, Lake, Table};
use crate::resource::{self, REJECTED_ROWS, Resource};
use crate::table::TableSpec;

/// A session with every table of the lake that has been written, each at its newest version.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) where the lake has no tables yet or one is not this program's;
/// [`Unreachable`](ErrorKind::Unreachable) where the store fails.
pub async fn session(lake: &Lake) -> Result<SessionContext> {
    session_at(lake, None).await
}

/// The same as the lake was `at` an earlier version of its tables, or an earlier moment; tables that had not been
/// written then are not there.
///
/// # Errors
/// What [`session`] gives, and [`Query`](ErrorKind::Query) where the lake does not keep its past so far back.
pub async fn session_at(lake: &Lake, at: Option<At>) -> Result<SessionContext> {
    let lake = lake.for_run().await?;
    session_of(&lake, &tables(&lake, at, None).await?).await
}

/// A session with these tables of the lake, each at the version that it is open at.
pub(super) async fn session_of(lake: &Lake, tables: &[Table]) -> Result<SessionContext> {
    let session = lake.session();
    for table in tables {
        register(&session, table.spec(), table.provider().await?)?;
    }
    Ok(session)
}

/// Lets `session` ask the table that `provider` reads. A table that was last written by an earlier version lacks the
/// columns that have come since: they are null, as they will be once it is written again.
pub(super) fn register(session: &SessionContext, spec: &TableSpec, provider: Arc<dyn TableProvider>) -> Result<()> {
    let registered = with_new_columns(session, spec, provider)
        .and_then(|provider| session.register_table(spec.name, provider).map(|_| ()));
    registered.map_err(|error| failed(&error))
}

fn with_new_columns(
    session: &SessionContext,
    spec: &TableSpec,
    provider: Arc<dyn TableProvider>,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let (own, there) = (spec.schema(), provider.schema());
    let is_new = |field: &&FieldRef| there.field_with_name(field.name()).is_err();
    let new: Vec<&FieldRef> = own.fields().iter().filter(is_new).collect();
    if new.is_empty() {
        return Ok(provider);
    }
    let mut frame = session.read_table(provider)?;
    for field in new {
        let null = ScalarValue::try_from(field.data_type())?;
        frame = frame.with_column(field.name(), Expr::Literal(null, None))?;
    }
    Ok(frame.into_view())
}

/// Every table of the lake that has been written, each at its newest version, or as it was then. If `only` names some that
/// have been written, these alone.
pub(super) async fn tables(lake: &Lake, at: Option<At>, only: Option<&[&str]>) -> Result<Vec<Table>> {
    if let Some(only) = only {
        let named = opened(lake, at, |spec| only.contains(&spec.name)).await?;
        if !named.is_empty() {
            return Ok(named);
        }
    }
    let tables = opened(lake, at, |_| true).await?;
    if !tables.is_empty() {
        return Ok(tables);
    }
    if at.is_some() {
        return Err(Error::new(ErrorKind::Query, format!("the lake {} had no tables then", lake.location()))
            .with_hint("clerk-lake status shows each table's newest version"));
    }
    Err(Error::settings(format!("the lake {} has no tables yet", lake.location()))
        .with_hint("run clerk-lake sync first, or point --lake at another lake"))
}

/// The tables of these that have been written.
async fn opened(lake: &Lake, at: Option<At>, wanted: impl Fn(&TableSpec) -> bool) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for spec in resource::TABLES.into_iter().filter(|spec| wanted(spec)) {
        let table = lake.table_to_query(spec, at).await?;
        if table.exists() || table.is_damaged() {
            tables.push(table);
        }
    }
    Ok(tables)
}

/// Plans `text`, which may read but not change anything, with `values` for its `$name`s.
///
/// # Errors
/// [`Query`](ErrorKind::Query) where it does not parse, or asks for what is not there.
pub async fn sql(session: &SessionContext, text: &str, values: Vec<(String, ScalarValue)>) -> Result<DataFrame> {
    let only_reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let plan = session.sql_with_options(text, only_reading).await.map_err(|error| failed(&error))?;
    if text.contains('$') { plan.with_param_values(values).map_err(|error| failed(&error)) } else { Ok(plan) }
}

/// The users who were active at `active` or later, or signed in or up at `new` or later: the id, the moment of the last
/// activity in Unix microseconds, and whether the user signed in or up since then.
///
/// # Errors
/// [`Unreachable`](ErrorKind::Unreachable) if the table cannot be read.
pub(crate) async fn active_users(
    lake: &Lake,
    users: &Table,
    active: DateTime<Utc>,
    new: DateTime<Utc>,
) -> Result<Vec<(String, Option<i64>, bool)>> {
    let sql = "SELECT id, CAST(last_active_at AS BIGINT), \
               coalesce(last_sign_in_at >= $new, false) OR coalesce(created_at >= $new, false) FROM clerk_user \
               WHERE last_active_at >= $active OR last_sign_in_at >= $new OR created_at >= $new";
    let values = vec![("active".to_owned(), moment(active)), ("new".to_owned(), moment(new))];
    let mut found = Vec::new();
    for batch in batches(lake, users, sql, values).await? {
        let (ids, at) = (text(&batch, 0)?, batch.column(1).as_primitive::<Int64Type>());
        let is_new = batch.column(2).as_boolean();
        let rows = ids.as_string::<i32>().iter().zip(at.iter()).zip(is_new.iter());
        found.extend(rows.filter_map(|((id, at), is_new)| Some((id?.to_owned(), at, is_new == Some(true)))));
    }
    Ok(found)
}

/// A user who has sessions that Clerk shows, as far as the lake knows.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// The user's id.
    pub id: String,
    /// When the newest of the sessions began, Unix microseconds.
    pub newest: Option<i64>,
    /// Whether one has none of the statuses with which a session has ended: it may still change.
    pub has_unended: bool,
    /// When the last of these expires, Unix microseconds.
    pub open_until: Option<i64>,
}

/// The owners of sessions that have not ended or began at `recent` or later, without those that Clerk no longer shows, and
/// without those that had expired by `open_at`, if that is given.
///
/// # Errors
/// [`Unreachable`](ErrorKind::Unreachable) if the table cannot be read.
pub(crate) async fn session_owners(
    lake: &Lake,
    sessions: &Table,
    recent: DateTime<Utc>,
    open_at: Option<DateTime<Utc>>,
) -> Result<Vec<Owner>> {
    // By this condition files of old sessions are passed over.
    let of = if open_at.is_some() {
        " AND (expire_at IS NULL OR expire_at > $open_at OR created_at >= $recent)"
    } else {
        ""
    };
    let sql = format!(
        "SELECT user_id, CAST(max(created_at) AS BIGINT), bool_or(unended), \
               max(CASE WHEN unended THEN coalesce(CAST(expire_at AS BIGINT), 9223372036854775807) END) \
               FROM (SELECT user_id, created_at, expire_at, status IS NULL OR status NOT IN \
               ('ended', 'expired', 'removed', 'abandoned', 'replaced', 'revoked') AS unended FROM clerk_session \
               WHERE gone_at IS NULL AND user_id IS NOT NULL{of}) \
               GROUP BY user_id HAVING bool_or(unended) OR max(created_at) >= $recent"
    );
    let mut owners = Vec::new();
    let mut values = vec![("recent".to_owned(), moment(recent))];
    values.extend(open_at.map(|at| ("open_at".to_owned(), moment(at))));
    for batch in batches(lake, sessions, &sql, values).await? {
        let (ids, newest) = (text(&batch, 0)?, batch.column(1).as_primitive::<Int64Type>());
        let (unended, until) = (batch.column(2).as_boolean(), batch.column(3).as_primitive::<Int64Type>());
        let rows = ids.as_string::<i32>().iter().zip(newest.iter()).zip(unended.iter()).zip(until.iter());
        owners.extend(rows.filter_map(|(((id, newest), unended), open_until)| {
            Some(Owner { id: id?.to_owned(), newest, has_unended: unended == Some(true), open_until })
        }));
    }
    Ok(owners)
}

/// Calls `take` with the id and the user's id of each session that is not known to be gone.
///
/// # Errors
/// [`Unreachable`](ErrorKind::Unreachable) if the table cannot be read.
pub(crate) async fn for_each_shown_session(
    lake: &Lake,
    sessions: &Table,
    take: &mut (dyn FnMut(&str, &str) + Send),
) -> Result<()> {
    let unreadable = |error: DataFusionError| lake::store_error("the lake cannot be read", &error);
    let session = lake.session();
    session.register_table(sessions.spec().name, sessions.provider().await?).map_err(unreadable)?;
    let sql = "SELECT session_id, coalesce(user_id, '') FROM clerk_session WHERE gone_at IS NULL";
    let mut rows = self::sql(&session, sql, Vec::new()).await?.execute_stream().await.map_err(unreadable)?;
    while let Some(batch) = rows.try_next().await.map_err(unreadable)? {
        let (ids, users) = (text(&batch, 0)?, text(&batch, 1)?);
        let rows = ids.as_string::<i32>().iter().zip(users.as_string::<i32>().iter());
        rows.filter_map(|(id, user)| Some((id?, user?))).for_each(|(id, user)| take(id, user));
    }
    Ok(())
}

/// A moment as SQL takes it.
fn moment(at: DateTime<Utc>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(at.timestamp_micros()), Some("UTC".into()))
}

/// A column of text, whichever of Arrow's types for it the batch has.
fn text(batch: &RecordBatch, column: usize) -> Result<ArrayRef> {
    cast(batch.column(column), &DataType::Utf8).map_err(|error| Error::bug(error.to_string()))
}

/// The ids of `resource`'s rows that have been set aside because they could not be read, whether or not they have been read
/// since.
///
/// # Errors
/// [`Unreachable`](ErrorKind::Unreachable) where the table cannot be read.
pub(crate) async fn ids_set_aside(lake: &Lake, resource: &Resource) -> Result<Vec<String>> {
    let table = lake.table(&REJECTED_ROWS).await?;
    if !table.exists() {
        return Ok(Vec::new());
    }
    let values = vec![("resource".to_owned(), ScalarValue::Utf8(Some(resource.name.to_owned())))];
    // A table of an earlier version may not have the column yet: all of its rows were left out.
    let is_known = table.provider().await?.schema().column_with_name("fields").is_some();
    let left_out = if is_known { "AND fields IS NULL" } else { "" };
    let sql = format!(
        "SELECT row FROM clerk_rejected_row WHERE resource = $resource AND row NOT LIKE '{{%' \
         AND row NOT LIKE 'hash:%' {left_out} ORDER BY row"
    );
    texts(lake, &table, &sql, values).await
}

/// The first column of what `sql` gives over `table`, as text, nulls left out.
async fn texts(lake: &Lake, table: &Table, sql: &str, values: Vec<(String, ScalarValue)>) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for batch in batches(lake, table, sql, values).await? {
        texts.extend(text(&batch, 0)?.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(texts)
}

/// What `sql` gives over `table`.
async fn batches(
    lake: &Lake,
    table: &Table,
    sql: &str,
    values: Vec<(String, ScalarValue)>,
) -> Result<Vec<RecordBatch>> {
    let unreadable = |error: DataFusionError| lake::store_error("the lake cannot be read", &error);
    let session = lake.session();
    session.register_table(table.spec().name, table.provider().await?).map_err(unreadable)?;
    self::sql(&session, sql, values).await?.collect().await.map_err(unreadable)
}

/// Calls `take` with each value of the text column `column` of `table`; NULLs are left out. Memory is that of a batch.
///
/// # Errors
/// [`Unreachable`](ErrorKind::Unreachable) if the table cannot be read.
pub(crate) async fn for_each_text(
    lake: &Lake,
    table: &Arc<dyn TableProvider>,
    column: &str,
    take: &mut (dyn FnMut(&str) + Send),
) -> Result<()> {
    let unreadable = |error: DataFusionError| lake::store_error("staged rows cannot be read", &error);
    let column = lake.session().read_table(Arc::clone(table)).and_then(|frame| frame.select_columns(&[column]));
    let mut batches = column.map_err(unreadable)?.execute_stream().await.map_err(unreadable)?;
    while let Some(batch) = batches.try_next().await.map_err(unreadable)? {
        let texts = cast(batch.column(0), &DataType::Utf8).map_err(|error| Error::bug(error.to_string()))?;
        texts.as_string::<i32>().iter().flatten().for_each(&mut *take);
    }
    Ok(())
}

/// A failure of DataFusion's, as the user must see it.
#[must_use]
pub fn failed(error: &DataFusionError) -> Error {
    let root = error.find_root();
    if let DataFusionError::External(own) = root
        && let Some(own) = own.downcast_ref::<Error>()
    {
        return own.clone();
    }
    if lake::is_missing_file(error) {
        return Error::new(ErrorKind::Conflict, "a sync replaced files while they were being read")
            .with_hint("ask again: the question itself is fine");
    }
    if lake::is_of_store(error) {
        return lake::store_error("what is asked cannot be read", error);
    }
    let text = match root {
        DataFusionError::SQL(error, _) => error.to_string(),
        DataFusionError::Plan(text) => text.clone(),
        other => chain(other),
    };
    let text = text.replace("datafusion.public.", "");
    let hint = if let Some(missing) =
        resource::TABLES.iter().find(|spec| text.contains(&format!("'{}' not found", spec.name)))
    {
        if missing.name == REJECTED_ROWS.name {
            "it is written when a row cannot be read, which has not happened yet"
        } else {
            "it has not been synced yet, or not by then: clerk-lake sync writes it"
        }
    } else if let Some(resource) = resource::ALL.iter().find(|resource| names(&text, resource.name)) {
        return Error::new(ErrorKind::Query, text).with_hint(format!("the table is called {}", resource.table.name));
    } else if text.contains("not found") && text.contains("table") {
        if files::is_named_in(&text) {
            "put a file's path between quotes: SELECT * FROM 'people.csv'"
        } else {
            "clerk-lake status lists the tables of the lake"
        }
    } else if text.contains("laceholder") {
        "give a value for each $name: --param name=NUMBER"
    } else if text.contains("not supported") {
        "a query reads the lake and changes nothing: use SELECT"
    } else {
        "clerk-lake schema lists the tables and their columns"
    };
    Error::new(ErrorKind::Query, text).with_hint(hint)
}

/// Whether a failure tells of something that is not in what is called `name`, or of that not being there.
fn names(text: &str, name: &str) -> bool {
    text.contains(&format!("'{name}' not found")) || text.contains(&format!("fields are {name}."))
}
