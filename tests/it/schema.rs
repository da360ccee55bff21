//! The `schema` command, in every format.

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
async fn json_has_every_column_and_equals_the_output_of_the_old_flag() {
    let json = schema(&["--format", "json"]).await;
    assert_eq!(json.stdout, schema(&["--json"]).await.stdout);
    let tables: Vec<Value> = serde_json::from_slice(&json.stdout).expect("one JSON document");
    assert_eq!(tables.len(), TABLES.len());
    for (shown, table) in tables.iter().zip(TABLES) {
        assert_eq!(shown["table"], table.name);
        let columns = shown["columns"].as_array().expect("columns");
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
async fn sql_creates_tables_with_the_same_columns_and_types() {
    let text = stdout(&schema(&["--format", "sql"]).await);
    let context = SessionContext::new();
    for statement in text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        context.sql(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    for table in TABLES {
        let created = context.table(table.name).await.expect("the table");
        let created = created.schema().as_arrow().clone();
        assert_eq!(created.fields().len(), table.schema().fields().len(), "{}", table.name);
        for (created, expected) in created.fields().iter().zip(table.schema().fields()) {
            assert_eq!(created.name(), expected.name());
            assert!(
                is_equivalent(created.data_type(), expected.data_type()),
                "{}: {created:?} and {expected:?}",
                table.name
            );
        }
    }
}

/// Whether two types are equivalent. The layout of text and the name of a time zone do not matter.
fn is_equivalent(created: &DataType, expected: &DataType) -> bool {
    match (created, expected) {
        (DataType::Utf8 | DataType::Utf8View, DataType::Utf8) => true,
        (DataType::Timestamp(created, _), DataType::Timestamp(expected, _)) => created == expected,
        (DataType::List(created), DataType::List(expected)) => is_equivalent(created.data_type(), expected.data_type()),
        (DataType::Struct(created), DataType::Struct(expected)) => {
            let equivalent = |(created, expected): (&arrow::datatypes::FieldRef, &arrow::datatypes::FieldRef)| {
                created.name() == expected.name() && is_equivalent(created.data_type(), expected.data_type())
            };
            created.len() == expected.len() && created.iter().zip(expected).all(equivalent)
        }
        (created, expected) => created == expected,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn markdown_has_a_section_for_each_table_and_a_line_for_each_column() {
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
async fn the_format_flag_overrides_the_settings() {
    let directory = TempDir::new().expect("a directory");
    let mut command = program(directory.path());
    command.args(["schema", "--format", "sql"]).env("CLERK_LAKE_JSON", "true").env("CLERK_LAKE_FORMAT", "csv");
    let done = output(command).await;
    assert!(stdout(&done).contains("CREATE TABLE clerk_user ("), "{}", stderr(&done));
    assert!(stdout(&schema(&[]).await).starts_with("clerk_user (entity)\n"));
}
