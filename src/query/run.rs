//! Runs SQL over the tables of a lake.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::logical_expr::{Expr, LogicalPlan};
use futures::TryStreamExt;

use super::failure::{failed, failed_in};
use super::statement::{self, ParsedStatement};
use super::wording::with_values;
use super::{functions, inventory};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{self, At, Lake, Table};
use crate::resource::{self, REJECTED_ROWS, Resource};
use crate::table::TableSpec;

/// Returns a context with every table of the lake that has been written, each at its newest version.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) if the lake has no tables yet, or a table was not written by this program;
/// [`Unreachable`](ErrorKind::Unreachable) if the store fails.
pub async fn context(lake: &Lake) -> Result<SessionContext> {
    context_at(lake, None).await
}

/// Returns a context with every table of the lake in the state of `at`, an earlier version or time. Tables that had not
/// been written at that time are missing.
///
/// # Errors
/// The errors of [`context`], and [`Query`](ErrorKind::Query) if the lake no longer holds that state.
pub async fn context_at(lake: &Lake, at: Option<At>) -> Result<SessionContext> {
    let lake = lake.for_run().await?;
    context_of(&lake, &tables(&lake, at, None).await?).await
}

/// Returns a context with `tables`, each at the version at which it was opened.
pub(super) async fn context_of(lake: &Lake, tables: &[Table]) -> Result<SessionContext> {
    let context = functions::context(lake)?;
    for table in tables {
        register(&context, table.spec(), table.provider().await?)?;
    }
    Ok(context)
}

/// Registers the table that `provider` reads with `context`.
///
/// A table that was last written by an earlier version of the program lacks the columns that were added since. They are
/// null, as they will be after the next write.
pub(super) fn register(context: &SessionContext, spec: &TableSpec, provider: Arc<dyn TableProvider>) -> Result<()> {
    let registered = with_new_columns(context, spec, provider)
        .and_then(|provider| context.register_table(spec.name, provider).map(|_| ()));
    registered.map_err(|error| failed(&error))
}

fn with_new_columns(
    context: &SessionContext,
    spec: &TableSpec,
    provider: Arc<dyn TableProvider>,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let (schema, stored) = (spec.schema(), provider.schema());
    let is_new = |field: &&FieldRef| stored.field_with_name(field.name()).is_err();
    let new: Vec<&FieldRef> = schema.fields().iter().filter(is_new).collect();
    if new.is_empty() {
        return Ok(provider);
    }
    let mut frame = context.read_table(provider)?;
    for field in new {
        let null = ScalarValue::try_from(field.data_type())?;
        frame = frame.with_column(field.name(), Expr::Literal(null, None))?;
    }
    Ok(frame.into_view())
}

/// Opens every table of the lake that has been written, each at its newest version or in the state of `at`. If `only`
/// names tables that have been written, opens only those.
pub(super) async fn tables(lake: &Lake, at: Option<At>, only: Option<&[&str]>) -> Result<Vec<Table>> {
    if let Some(only) = only {
        let named = open_tables(lake, at, |spec| only.contains(&spec.name)).await?;
        if !named.is_empty() {
            return Ok(named);
        }
    }
    let tables = open_tables(lake, at, |_| true).await?;
    if !tables.is_empty() {
        return Ok(tables);
    }
    if at.is_some() {
        return Err(Error::new(ErrorKind::Query, format!("the lake {} had no tables at that time", lake.location()))
            .with_hint("clerk-lake status shows the newest version of each table"));
    }
    Err(lake.without_tables())
}

/// Opens the tables that are `wanted` and have been written.
async fn open_tables(lake: &Lake, at: Option<At>, wanted: impl Fn(&TableSpec) -> bool) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for spec in resource::TABLES.into_iter().filter(|spec| wanted(spec)) {
        let table = lake.table_to_query(spec, at).await?;
        if table.exists() || table.is_damaged() {
            tables.push(table);
        }
    }
    Ok(tables)
}

/// Plans `text`, with `values` for its parameters `$name`. Statements that change anything are refused.
///
/// # Errors
/// [`Query`](ErrorKind::Query) if the text cannot be parsed, changes anything, or uses a table, column or parameter
/// that does not exist.
pub async fn sql(context: &SessionContext, text: &str, values: Vec<(String, ScalarValue)>) -> Result<DataFrame> {
    let place = |error: DataFusionError| failed_in(&error, text, Some(context));
    let statement = match statement::parse(text)? {
        ParsedStatement::Plan(statement) => *statement,
        ParsedStatement::Tables => return inventory::list(context),
        ParsedStatement::Columns(name) => return inventory::describe(context, &name, text).await,
    };
    let plan = context.state().statement_to_plan(statement).await.map_err(place)?;
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&plan).map_err(place)?;
    let frame = context.execute_logical_plan(plan).await.map_err(place)?;
    let frame = if text.contains('$') { frame.with_param_values(values).map_err(place)? } else { frame };
    with_plain_names(frame, text).map_err(place)
}

/// Renames the columns that DataFusion names after an expression with a value, such as `Int64(1)`, as SQL writes it.
fn with_plain_names(frame: DataFrame, text: &str) -> Result<DataFrame, DataFusionError> {
    let plain: Vec<String> = frame.schema().fields().iter().map(|field| with_values(field.name())).collect();
    let is_same = |(field, plain): (&FieldRef, &String)| field.name() == plain || text.contains(field.name().as_str());
    let is_query = !matches!(frame.logical_plan(), LogicalPlan::Explain(_) | LogicalPlan::Analyze(_));
    let is_plain = frame.schema().fields().iter().zip(&plain).all(is_same);
    let is_unique = plain.iter().collect::<BTreeSet<_>>().len() == plain.len();
    if is_plain || !is_query || !is_unique {
        return Ok(frame);
    }
    let columns = frame.schema().iter().map(Column::from).zip(plain);
    let columns: Vec<Expr> = columns.map(|(column, plain)| Expr::Column(column).alias(plain)).collect();
    frame.select(columns)
}

/// Returns the users who were active at `active` or later, or signed in or up at `new` or later. For each user: the id,
/// the time of the last activity in Unix microseconds, and whether the user signed in or up at `new` or later.
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
    let values = vec![("active".to_owned(), timestamp(active)), ("new".to_owned(), timestamp(new))];
    let mut found = Vec::new();
    for batch in batches(lake, users, sql, values).await? {
        let (ids, at) = (text(&batch, 0)?, batch.column(1).as_primitive::<Int64Type>());
        let is_new = batch.column(2).as_boolean();
        let rows = ids.as_string::<i32>().iter().zip(at.iter()).zip(is_new.iter());
        found.extend(rows.filter_map(|((id, at), is_new)| Some((id?.to_owned(), at, is_new == Some(true)))));
    }
    Ok(found)
}

/// A user with sessions that, as far as the lake knows, Clerk still lists.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// The user's id.
    pub id: String,
    /// When the newest session began, in Unix microseconds.
    pub newest: Option<i64>,
    /// Whether one of the sessions has none of the statuses of an ended session, so that it may still change.
    pub has_unended: bool,
    /// Whether one of the sessions has a status that is not in Clerk's contract: nothing is known about its changes.
    pub has_unknown_status: bool,
    /// When the last of the sessions that have not ended expires, in Unix microseconds.
    pub open_until: Option<i64>,
}

/// Returns the owners of sessions that have not ended, or that began at `recent` or later.
///
/// Ignores sessions that Clerk no longer lists. If `open_at` is given, also ignores sessions that began before `recent`
/// and had expired by `open_at`.
///
/// # Errors
/// [`Unreachable`](ErrorKind::Unreachable) if the table cannot be read.
pub(crate) async fn session_owners(
    lake: &Lake,
    sessions: &Table,
    recent: DateTime<Utc>,
    open_at: Option<DateTime<Utc>>,
) -> Result<Vec<Owner>> {
    // This condition lets the scan skip files of old sessions.
    let condition = if open_at.is_some() {
        " AND (expire_at IS NULL OR expire_at > $open_at OR created_at >= $recent)"
    } else {
        ""
    };
    let sql = format!(
        "SELECT user_id, CAST(max(created_at) AS BIGINT), bool_or(unended), \
               max(CASE WHEN unended THEN coalesce(CAST(expire_at AS BIGINT), 9223372036854775807) END), \
               bool_or(unended AND status NOT IN ('active', 'pending')) \
               FROM (SELECT user_id, created_at, expire_at, status, status IS NULL OR status NOT IN \
               ('ended', 'expired', 'removed', 'abandoned', 'replaced', 'revoked') AS unended FROM clerk_session \
               WHERE gone_at IS NULL AND user_id IS NOT NULL{condition}) \
               GROUP BY user_id HAVING bool_or(unended) OR max(created_at) >= $recent"
    );
    let mut owners = Vec::new();
    let mut values = vec![("recent".to_owned(), timestamp(recent))];
    values.extend(open_at.map(|at| ("open_at".to_owned(), timestamp(at))));
    for batch in batches(lake, sessions, &sql, values).await? {
        let (ids, newest) = (text(&batch, 0)?, batch.column(1).as_primitive::<Int64Type>());
        let (unended, until) = (batch.column(2).as_boolean(), batch.column(3).as_primitive::<Int64Type>());
        let unknown = batch.column(4).as_boolean();
        let rows = ids.as_string::<i32>().iter().zip(newest.iter()).zip(unended.iter()).zip(until.iter());
        owners.extend(rows.zip(unknown.iter()).filter_map(|((((id, newest), unended), open_until), unknown)| {
            let (has_unended, has_unknown_status) = (unended == Some(true), unknown == Some(true));
            Some(Owner { id: id?.to_owned(), newest, has_unended, has_unknown_status, open_until })
        }));
    }
    Ok(owners)
}

/// Calls `take` with the session id and user id of each session that Clerk still lists, as far as the lake knows.
///
/// # Errors
/// [`Unreachable`](ErrorKind::Unreachable) if the table cannot be read.
pub(crate) async fn for_each_shown_session(
    lake: &Lake,
    sessions: &Table,
    take: &mut (dyn FnMut(&str, &str) + Send),
) -> Result<()> {
    let unreadable = |error: DataFusionError| lake::store_error("the lake cannot be read", &error);
    let context = lake.context();
    context.register_table(sessions.spec().name, sessions.provider().await?).map_err(unreadable)?;
    let sql = "SELECT session_id, coalesce(user_id, '') FROM clerk_session WHERE gone_at IS NULL";
    let mut rows = self::sql(&context, sql, Vec::new()).await?.execute_stream().await.map_err(unreadable)?;
    while let Some(batch) = rows.try_next().await.map_err(unreadable)? {
        let (ids, users) = (text(&batch, 0)?, text(&batch, 1)?);
        let rows = ids.as_string::<i32>().iter().zip(users.as_string::<i32>().iter());
        rows.filter_map(|(id, user)| Some((id?, user?))).for_each(|(id, user)| take(id, user));
    }
    Ok(())
}

/// Returns `at` as a SQL value.
fn timestamp(at: DateTime<Utc>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(at.timestamp_micros()), Some("UTC".into()))
}

/// Returns a text column as `Utf8`. The batch may use another of Arrow's string types.
fn text(batch: &RecordBatch, column: usize) -> Result<ArrayRef> {
    cast(batch.column(column), &DataType::Utf8).map_err(|error| Error::bug(error.to_string()))
}

/// Returns the ids of the rejected rows of `resource`, including rows that have been read successfully since.
///
/// # Errors
/// [`Unreachable`](ErrorKind::Unreachable) if the table cannot be read.
pub(crate) async fn ids_set_aside(lake: &Lake, resource: &Resource) -> Result<Vec<String>> {
    let table = lake.table(&REJECTED_ROWS).await?;
    if !table.exists() {
        return Ok(Vec::new());
    }
    let values = vec![("resource".to_owned(), ScalarValue::Utf8(Some(resource.name.to_owned())))];
    // A table written by an earlier version may lack the column `fields`. All of its rows were rejected.
    let has_fields = table.provider().await?.schema().column_with_name("fields").is_some();
    let is_rejected = if has_fields { "AND fields IS NULL" } else { "" };
    let sql = format!(
        "SELECT row FROM clerk_rejected_row WHERE resource = $resource AND row NOT LIKE '{{%' \
         AND row NOT LIKE 'hash:%' {is_rejected} ORDER BY row"
    );
    texts(lake, &table, &sql, values).await
}

/// Runs `sql` over `table` and returns its first column as text, without nulls.
async fn texts(lake: &Lake, table: &Table, sql: &str, values: Vec<(String, ScalarValue)>) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for batch in batches(lake, table, sql, values).await? {
        texts.extend(text(&batch, 0)?.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(texts)
}

/// Runs `sql` over `table` and collects its rows.
async fn batches(
    lake: &Lake,
    table: &Table,
    sql: &str,
    values: Vec<(String, ScalarValue)>,
) -> Result<Vec<RecordBatch>> {
    let unreadable = |error: DataFusionError| lake::store_error("the lake cannot be read", &error);
    let context = lake.context();
    context.register_table(table.spec().name, table.provider().await?).map_err(unreadable)?;
    self::sql(&context, sql, values).await?.collect().await.map_err(unreadable)
}

/// Calls `take` with each value of the text column `column` of `table`, without nulls. Holds one batch in memory.
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
    let column = lake.context().read_table(Arc::clone(table)).and_then(|frame| frame.select_columns(&[column]));
    let mut batches = column.map_err(unreadable)?.execute_stream().await.map_err(unreadable)?;
    while let Some(batch) = batches.try_next().await.map_err(unreadable)? {
        let texts = cast(batch.column(0), &DataType::Utf8).map_err(|error| Error::bug(error.to_string()))?;
        texts.as_string::<i32>().iter().flatten().for_each(&mut *take);
    }
    Ok(())
}
