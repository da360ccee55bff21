//! Tables in memory, in the lake's own schemas, and the catalogue's queries over them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use chrono::{DateTime, Utc};
use clerk_lake::query::{Parameters, catalogue};
use clerk_lake::resource::{ORGANIZATIONS, SESSIONS, USERS};
use clerk_lake::table::SYNCED_AT;
use clerk_lake::table::columns::time_type;
use datafusion::datasource::MemTable;
use datafusion::execution::context::SessionContext;
use serde_json::{Value, json};

use crate::support::{as_json, questions};

/// When questions are asked where the moment does not matter: a Wednesday, and the day after a leap day.
pub const NOON: &str = "2028-03-01T12:00:00Z";

/// The rows of all tables that a query may ask, as JSON objects; a column that is not named is null.
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
    /// Puts into the ledger that `user` was active on these days.
    pub fn active(&mut self, user: &str, dates: &[&str]) {
        let row = |date: &&str| json!({"user_id": user, "date": date, "month": date[..7], "source": "user"});
        self.ledger.extend(dates.iter().map(row));
    }

    /// Says what is known of a day that is settled: how many users the ledger had, how many more there may have been,
    /// and whether the day is complete.
    pub fn settled(&mut self, date: &str, active: i64, unknown: Option<i64>, complete: bool) {
        self.days.push(json!({"date": date, "active_users": active, "unknown_users": unknown, "complete": complete,
            "settled_at": format!("{date}T23:59:59Z")}));
    }

    /// Says how many users the ledger had on a day that is not settled, or never will be.
    pub fn unsettled(&mut self, date: &str, active: i64) {
        self.days.push(json!({"date": date, "active_users": active, "complete": false}));
    }

    /// A session that is no lake's, with these tables.
    pub fn session(&self) -> SessionContext {
        let session = SessionContext::new();
        for (name, schema, rows) in [
            (USERS.table.name, USERS.table.schema(), &self.users),
            (SESSIONS.table.name, SESSIONS.table.schema(), &self.sessions),
            (ORGANIZATIONS.table.name, ORGANIZATIONS.table.schema(), &self.organizations),
            ("clerk_user_activity", ledger_schema(), &self.ledger),
            ("clerk_activity_day", day_schema(), &self.days),
        ] {
            // Two parts, so that no answer rests on all rows coming one after the other.
            let (front, back) = rows.split_at(rows.len() / 2);
            let parts = vec![batches(&schema, front), batches(&schema, back)];
            let table = MemTable::try_new(schema, parts).expect("rows of one schema");
            session.register_table(name, Arc::new(table)).expect("a table of that name");
        }
        session
    }

    /// What the query called `name` gives at `now`, as it is printed.
    pub async fn ask(&self, name: &str, now: &str, parameters: &[(&str, i64)]) -> String {
        let query = catalogue::builtin(name).expect("a query of the catalogue");
        questions::printed(&self.session(), &query, &at(now, parameters)).await.expect("an answer")
    }

    /// The same as JSON objects.
    pub async fn rows(&self, name: &str, now: &str, parameters: &[(&str, i64)]) -> Vec<Value> {
        let query = catalogue::builtin(name).expect("a query of the catalogue");
        as_json(&query.run(&self.session(), &at(now, parameters)).await.expect("an answer"))
    }
}

/// The query called `name` gives, at noon, the rows of `wanted`; lines are compared without the space around them.
pub async fn assert_answer(tables: &Tables, name: &str, parameters: &[(&str, i64)], wanted: &str) {
    let found = tables.ask(name, NOON, parameters).await;
    let lines = |text: &str| text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    assert_eq!(lines(&found), lines(wanted), "{name} gives:\n{found}\n");
}

/// The parameters of a question that is asked at `now`.
pub fn at(now: &str, given: &[(&str, i64)]) -> Parameters {
    let now: DateTime<Utc> = now.parse().expect("a moment");
    given.iter().fold(Parameters::at(now), |parameters, (name, value)| parameters.with(*name, *value))
}

/// `rows` in `schema`; a name that the schema lacks is refused.
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
