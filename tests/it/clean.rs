//! The next sync removes data that an earlier version stored and that must never be stored.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use chrono::TimeDelta;
use clerk_lake::lake::{CommitDetails, Coverage, MaintenanceOptions, RunArea, Table};
use clerk_lake::resource::REJECTED_ROWS;

use crate::support::{World, files, stderr};

const SECRET: &str = "123-45-6789";

/// Returns a rejected row as an earlier version wrote it.
fn old_rows(expected: &str) -> RecordBatch {
    let raw = format!("{{\"id\":\"user_1\",\"private_metadata\":{{\"ssn\":\"{SECRET}\"}},\"banned\":\"no\"}}");
    let schema = REJECTED_ROWS.schema();
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        let text = match field.name().as_str() {
            "resource" => "users".to_owned(),
            "row" => "user_1".to_owned(),
            "raw" => raw.clone(),
            "reason" => format!("invalid type: string \"{SECRET}\", expected {expected}"),
            _ => String::new(),
        };
        match field.data_type() {
            DataType::Timestamp(..) => Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC")),
            _ => Arc::new(StringArray::from(vec![text])),
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).expect("a row")
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_redacts_rejected_rows_of_an_earlier_version_and_deletes_their_old_files() {
    let world = World::with(|config| config.users = 5).await;
    let keeping = MaintenanceOptions {
        history: Some(TimeDelta::days(7)),
        change_data_feed: Some(true),
        ..MaintenanceOptions::default()
    };
    let lake = world.lake().keeping(keeping);
    let area = RunArea::open(&lake).await.expect("an area");
    let mut table = Table::open(&lake, &REJECTED_ROWS, Some(&area)).await.expect("a table");
    for expected in ["a bool", "a boolean"] {
        let mut writer = table.writer().expect("a writer");
        writer.write_stamped(old_rows(expected)).await.expect("a row");
        let change = CommitDetails {
            watermark: None,
            instance: None,
            unreadable: None,
            positions: Vec::new(),
            info: serde_json::Map::new(),
        };
        let diff = table.diff(writer.finish().await.expect("rows"), Coverage::Complete).await.expect("a diff");
        let outcome = table.commit_diff(diff, change).await.expect("a commit");
        outcome.committed("clerk_rejected_row").expect("a version");
    }
    area.remove().await;
    drop(table);
    let synced = world.run(&["sync", "--rate-limit", "off", "--session-lookback-days", "3650"]).await;
    assert_eq!(synced.status.code(), Some(0), "{}", stderr(&synced));
    let rows = world.rows("SELECT raw, reason FROM clerk_rejected_row").await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let log = stderr(&synced);
    let text = format!("{rows:?}");
    assert!(text.contains("banned") && !text.contains(SECRET) && !text.contains("private_metadata"), "{text}: {log}");
    let table = world.lake().table(&REJECTED_ROWS).await.expect("a table");
    let data = files(&world.path().join("clerk_rejected_row"));
    let left = data.iter().filter(|(path, _)| !path.starts_with("_delta_log"));
    assert_eq!(left.count(), table.file_count(), "files or change data of an old version are left");
}
