//! Tables in memory with the schemas of the lake, and the built-in queries over them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use chrono::{DateTime, Utc};
use clerk_lake::query::{Parameters, queries};
use clerk_lake::resource::{ORGANIZATIONS, SESSIONS, USERS};
use clerk_lake::table::SYNCED_AT;
use clerk_lake::table::columns::time_type;
use datafusion::datasource::MemTable;
use datafusion::execution::context::SessionContext;
use serde_json::{Value, json};

use crate::support::{as_json, engine_queries};

/// The default time of queries: a Wednesday, the day after a leap day.
pub const NOON: &str = "2028-03-01T12:00:00Z";

/// The rows of all tables that a query can use, as JSON objects. Missing columns are null.
#[derive(Default)]
pub struct Tables {
    pub users: Vec<Value>,
    pub sessions: Vec<Value>,
    pub organizations: Vec<Value>,
    /// `clerk_user_activity`.
    pub ledger: Vec<Value>,
    /// `clerk_activity_day`.
    pub days: Vec<Value>,
}

impl Tables {
    /// Adds days of activity of `user` to the ledger.
    pub fn active(&mut self, user: &str, dates: &[&str]) {
        let row = |date: &&str| json!({"user_id": user, "date": date, "month": date[..7], "source": "user"});
        self.ledger.extend(dates.iter().map(row));
    }

    /// Adds the row of a settled day: the number of active users in the ledger, the number of unknown users, and
    /// whether the day is complete.
    pub fn settled(&mut self, date: &str, active: i64, unknown: Option<i64>, complete: bool) {
        self.days.push(json!({"date": date, "active_users": active, "unknown_users": unknown, "complete": complete,
            "settled_at": format!("{date}T23:59:59Z")}));
    }

    /// Adds the row of a day that is not settled, with the number of active users in the ledger.
    pub fn unsettled(&mut self, date: &str, active: i64) {
        self.days.push(json!({"date": date, "active_users": active, "complete": false}));
    }

    /// Returns a context with these tables, without a lake.
    pub fn context(&self) -> SessionContext {
        let context = SessionContext::new();
        for (name, schema, rows) in [
            (USERS.table.name, USERS.table.schema(), &self.users),
            (SESSIONS.table.name, SESSIONS.table.schema(), &self.sessions),
            (ORGANIZATIONS.table.name, ORGANIZATIONS.table.schema(), &self.organizations),
            ("clerk_user_activity", ledger_schema(), &self.ledger),
            ("clerk_activity_day", day_schema(), &self.days),
        ] {
            // Two partitions, so that results do not depend on the order of the rows.
            let (front, back) = rows.split_at(rows.len() / 2);
            let parts = vec![batches(&schema, front), batches(&schema, back)];
            let table = MemTable::try_new(schema, parts).expect("rows of one schema");
            context.register_table(name, Arc::new(table)).expect("a new table");
        }
        context
    }

    /// Returns the result of the built-in query `name` at `now`, as printed text.
    pub async fn printed(&self, name: &str, now: &str, parameters: &[(&str, i64)]) -> String {
        let query = queries::builtin(name).expect("a built-in query");
        engine_queries::printed(&self.context(), &query, &at(now, parameters)).await.expect("a result")
    }

    /// Returns the result of the built-in query `name` at `now`, as JSON objects.
    pub async fn rows(&self, name: &str, now: &str, parameters: &[(&str, i64)]) -> Vec<Value> {
        let query = queries::builtin(name).expect("a built-in query");
        as_json(&query.run(&self.context(), &at(now, parameters)).await.expect("a result"))
    }
}

/// Asserts that the built-in query `name` returns the rows `wanted` at noon. Leading and trailing spaces are ignored.
pub async fn assert_answer(tables: &Tables, name: &str, parameters: &[(&str, i64)], wanted: &str) {
    let found = tables.printed(name, NOON, parameters).await;
    let lines = |text: &str| text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    assert_eq!(lines(&found), lines(wanted), "{name} returns:\n{found}\n");
}

/// Returns the parameters of a query that runs at `now`.
pub fn at(now: &str, given: &[(&str, i64)]) -> Parameters {
    let now: DateTime<Utc> = now.parse().expect("a moment");
    given.iter().fold(Parameters::at(now), |parameters, (name, value)| parameters.with(*name, *value))
}

/// Converts `rows` to record batches. Panics on a name that is not in the schema.
fn batches(schema: &SchemaRef, rows: &[Value]) -> Vec<RecordBatch> {
    let reader = ReaderBuilder::new(Arc::clone(schema)).with_strict_mode(true);
    let mut decoder = reader.build_decoder().expect("a decoder");
    decoder.serialize(rows).expect("rows of JSON");
    decoder.flush().expect("rows of the schema").into_iter().collect()
}

fn ledger_schema() -> SchemaRef {
    schema(&[
        ("user_id", DataType::Utf8),
        ("date", DataType::Date32),
        ("source", DataType::Utf8),
        ("first_observed_at", time_type()),
        ("month", DataType::Utf8),
    ])
}

fn day_schema() -> SchemaRef {
    schema(&[
        ("date", DataType::Date32),
        ("active_users", DataType::Int64),
        ("unknown_users", DataType::Int64),
        ("complete", DataType::Boolean),
        ("settled_at", time_type()),
    ])
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, kind): &(&str, DataType)| Field::new(*name, kind.clone(), true);
    let mut fields: Vec<Field> = columns.iter().map(field).collect();
    fields.push(Field::new(SYNCED_AT, time_type(), true));
    Arc::new(Schema::new(fields))
}
