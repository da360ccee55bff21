//! Running SQL over a lake's tables.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SQLOptions, SessionContext};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::error::{Error, ErrorKind, Result, chain};
use crate::lake::{Lake, Table};
use crate::resource;
use crate::table::TableSpec;

/// A session with every table of the lake that has been written, each at its newest version.
///
/// # Errors
/// [`Settings`](ErrorKind::Settings) where the lake has no tables yet or one is not this program's;
/// [`Unreachable`](ErrorKind::Unreachable) where the store fails.
pub async fn session(lake: &Lake) -> Result<SessionContext> {
    let session = lake.session();
    let mut found = false;
    for resource in resource::ALL {
        let table = lake.table(&resource.table).await?;
        if table.exists() {
            found = true;
            let provider = table.provider().await?;
            session.register_table(resource.table.name, provider).map_err(|error| failed(&error))?;
        }
    }
    if found {
        return Ok(session);
    }
    Err(Error::settings(format!("the lake {} has no tables yet", lake.location()))
        .with_hint("run clerk-lake sync first, or point --lake at another lake"))
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

/// The ids of users active since `since`, and how many there are.
///
/// # Errors
/// [`Query`](ErrorKind::Query) where the table cannot be read.
pub async fn active_user_ids(
    lake: &Lake,
    users: &Table,
    since: DateTime<Utc>,
) -> Result<(impl Stream<Item = Result<String>> + Send + use<>, u64)> {
    let session = lake.session();
    session.register_table("clerk_user", users.provider().await?).map_err(|error| failed(&error))?;
    let since = ScalarValue::TimestampMicrosecond(Some(since.timestamp_micros()), Some("UTC".into()));
    let values = || vec![("since".to_owned(), since.clone())];
    let counted = sql(&session, "SELECT count(*) FROM clerk_user WHERE last_active_at >= $since", values()).await?;
    let counted = counted.collect().await.map_err(|error| failed(&error))?;
    let count = counted.first().and_then(|batch| batch.column(0).as_any().downcast_ref::<Int64Array>());
    let count = count.map_or(0, |count| u64::try_from(count.value(0)).unwrap_or(0));
    let ids = sql(&session, "SELECT id FROM clerk_user WHERE last_active_at >= $since", values()).await?;
    let ids = ids.execute_stream().await.map_err(|error| failed(&error))?;
    let ids = ids.map_err(|error| failed(&error)).map_ok(|batch| {
        let texts = cast(batch.column(0), &arrow::datatypes::DataType::Utf8).ok();
        let texts: Option<StringArray> = texts.map(|texts| texts.as_string::<i32>().clone());
        let ids: Vec<_> = texts.iter().flatten().flatten().map(|id| Ok(id.to_owned())).collect();
        futures::stream::iter(ids)
    });
    Ok((ids.try_flatten().boxed(), count))
}

/// `batch` in the schema of `spec` but for `_synced_at`, columns matched by name.
///
/// # Errors
/// [`Bug`](ErrorKind::Bug) where a column is missing or of another kind.
pub fn to_table(batch: &RecordBatch, spec: &TableSpec) -> Result<RecordBatch> {
    let schema = crate::table::columns::schema(&(spec.columns)());
    let columns = schema.fields().iter().map(|field| {
        let column = batch
            .column_by_name(field.name())
            .ok_or_else(|| Error::bug(format!("a row of {} lacks {}", spec.name, field.name())))?;
        cast(column, field.data_type()).map_err(|error| Error::bug(error.to_string()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|error| Error::bug(error.to_string()))
}

fn failed(error: &DataFusionError) -> Error {
    let text = chain(error.find_root());
    let hint = if text.contains("not found") && text.contains("table") {
        "clerk-lake status lists the tables of the lake"
    } else {
        "clerk-lake schema lists the tables and their columns"
    };
    Error::new(ErrorKind::Query, text).with_hint(hint)
}
