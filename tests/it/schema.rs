//! What the program says of its tables, in every format.

use std::process::Output;

use arrow::datatypes::DataType;
use clerk_lake::resource::TABLES;
use datafusion::execution::context::SessionContext;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{output, program, stderr, stdout};

async fn schema(arguments: &[&str]) -> Output {
    let directory = TempDir::new().expect("a directory");
    let mut command = program(directory.path());
    command.arg("schema").args(arguments);
    let done = output(command).await;
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn json_tells_every_column_and_is_what_the_old_flag_gives() {
    let json = schema(&["--format", "json"]).await;
    assert_eq!(json.stdout, schema(&["--json"]).await.stdout);
    let tables: Vec<Value> = serde_json::from_slice(&json.stdout).expect("one JSON document");
    assert_eq!(tables.len(), TABLES.len());
    for (told, table) in tables.iter().zip(TABLES) {
        assert_eq!(told["table"], table.name);
        let columns = told["columns"].as_array().expect("columns");
        assert!(
            columns.iter().map(|column| column["name"].as_str().unwrap_or_default()).eq(table
                .schema()
                .fields()
                .iter()
                .map(|field| field.name().as_str()))
        );
        assert!(columns.iter().all(|column| column["meaning"].as_str().is_some_and(|meaning| !meaning.is_empty())));
    }
    let sessions = tables.iter().find(|table| table["table"] == "clerk_session").expect("the sessions");
    let id = &sessions["columns"][0];
    assert_eq!((id["name"].as_str(), id["field"].as_str()), (Some("session_id"), Some("id")));
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_makes_tables_with_these_columns_and_types() {
    let text = stdout(&schema(&["--format", "sql"]).await);
    let session = SessionContext::new();
    for statement in text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        session.sql(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    for table in TABLES {
        let made = session.table(table.name).await.expect("the table");
        let made = made.schema().as_arrow().clone();
        assert_eq!(made.fields().len(), table.schema().fields().len(), "{}", table.name);
        for (made, own) in made.fields().iter().zip(table.schema().fields()) {
            assert_eq!(made.name(), own.name());
            assert!(is_alike(made.data_type(), own.data_type()), "{}: {made:?} and {own:?}", table.name);
        }
    }
}

/// Whether two types are of one kind; how text is laid out and a zone is called does not matter.
fn is_alike(made: &DataType, own: &DataType) -> bool {
    match (made, own) {
        (DataType::Utf8 | DataType::Utf8View, DataType::Utf8) => true,
        (DataType::Timestamp(made, _), DataType::Timestamp(own, _)) => made == own,
        (DataType::List(made), DataType::List(own)) => is_alike(made.data_type(), own.data_type()),
        (DataType::Struct(made), DataType::Struct(own)) => {
            let alike = |(made, own): (&arrow::datatypes::FieldRef, &arrow::datatypes::FieldRef)| {
                made.name() == own.name() && is_alike(made.data_type(), own.data_type())
            };
            made.len() == own.len() && made.iter().zip(own).all(alike)
        }
        (made, own) => made == own,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn markdown_has_a_table_for_each_table_and_a_line_for_each_column() {
    let text = stdout(&schema(&["--format", "markdown"]).await);
    for table in TABLES {
        let (_, section) = text.split_once(&format!("### `{}`\n", table.name)).expect("a section");
        let section = section.split("\n### ").next().unwrap_or_default();
        for field in table.schema().fields() {
            assert!(section.contains(&format!("\n| `{}` | ", field.name())), "{}: {section}", table.name);
        }
        assert!(
            section
                .lines()
                .filter(|line| line.starts_with('|'))
                .all(|line| line.matches(" | ").count() == 3 || line == "|---|---|---|---|")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_that_is_asked_for_goes_before_a_setting() {
    let directory = TempDir::new().expect("a directory");
    let mut command = program(directory.path());
    command.args(["schema", "--format", "sql"]).env("CLERK_LAKE_JSON", "true").env("CLERK_LAKE_FORMAT", "csv");
    let done = output(command).await;
    assert!(stdout(&done).contains("CREATE TABLE clerk_user ("), "{}", stderr(&done));
    assert!(stdout(&schema(&[]).await).starts_with("clerk_user (entity)\n"));
}
