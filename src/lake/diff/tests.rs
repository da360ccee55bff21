use std::sync::Arc;

use object_store::memory::InMemory;

use super::*;
use crate::lake::{CommitDetails, Counts, Lake, Location, RunArea};
use crate::table::{Column, Shape, TableSpec, columns};

/// The creation time of row 0, in Unix milliseconds.
const FIRST: i64 = 1_700_000_000_000;

static SPEC: TableSpec = TableSpec {
    name: "rows",
    meaning: "Rows for the tests of diffs.",
    shape: Shape::Entity,
    key: &["id"],
    partition: None,
    row_group_rows: 50,
    repetitive: &[],
    source: "this test",
    columns: || columns_of(&[]),
};

/// A row: its number, which determines its creation time in milliseconds after [`FIRST`], and its content.
type Row = (i64, i64);

fn columns_of(rows: &[Row]) -> Vec<Column> {
    let ids: Vec<String> = rows.iter().map(|(number, _)| format!("row_{number}")).collect();
    let contents: Vec<String> = rows.iter().map(|(_, content)| content.to_string()).collect();
    vec![
        Column::text("id", "The id of the row.", ids.iter().map(|id| Some(id.as_str()))),
        Column::text("content", "The content of the row.", contents.iter().map(|content| Some(content.as_str()))),
        Column::time("created_at", "The creation time.", rows.iter().map(|(number, _)| Some(FIRST + number))),
    ]
}

async fn staged(table: &Table, rows: &[Row]) -> StagedRows {
    let mut writer = table.writer().expect("a writer");
    let batch = columns::batch(&columns_of(rows), rows.len()).expect("a batch");
    writer.write(&batch, 1).await.expect("rows are staged");
    writer.finish().await.expect("files are closed")
}

fn change() -> CommitDetails {
    CommitDetails {
        watermark: None,
        instance: None,
        unreadable: None,
        positions: Vec::new(),
        info: serde_json::Map::new(),
    }
}

/// Returns a table of rows 0 to 199, in two data files.
async fn table() -> (Table, RunArea) {
    let lake = Lake::new(Location::of_store(Arc::new(InMemory::new())).expect("a location"));
    let area = RunArea::open(&lake).await.expect("an area");
    let mut table = Table::open(&lake, &SPEC, Some(&area)).await.expect("a table");
    for part in [0..100, 100..200] {
        let rows: Vec<Row> = part.map(|number| (number, 0)).collect();
        let diff = Diff::of_new(staged(&table, &rows).await);
        table.commit_diff(diff, change()).await.expect("a commit").committed("rows").expect("a version");
    }
    (table, area)
}

#[tokio::test]
async fn a_diff_is_the_same_in_any_number_of_slices() {
    let (table, area) = table().await;
    // 50 new rows, 50 with other content, 100 unchanged.
    let rows: Vec<Row> = (50..250).map(|number| (number, i64::from(number % 3 == 0))).collect();
    let updated = (50..200).filter(|number| number % 3 == 0).count() as u64;
    let created_at = |number: i64| (FIRST + number) * 1000;
    let cases = [
        (Coverage::Partial, (50, updated, 0)),
        (Coverage::Complete, (50, updated, 50)),
        (Coverage::Within(created_at(20)..created_at(60)), (50, updated, 30)),
        (Coverage::Insertions, (50, 0, 0)),
    ];
    for (coverage, (inserted, updated, deleted)) in cases {
        for slices in [1, 2, 7] {
            let staged = staged(&table, &rows).await;
            let diff = table.diff_in_slices(staged, &coverage, slices).await.expect("a comparison");
            assert_eq!(diff.counts(), Counts { inserted, updated, deleted }, "{coverage:?} in {slices}");
        }
    }
    area.remove().await;
}

#[tokio::test]
async fn a_committed_diff_leaves_the_staged_rows_and_the_rows_not_covered() {
    for coverage in [Coverage::Partial, Coverage::Complete] {
        let (mut table, area) = table().await;
        let rows: Vec<Row> = [3, 150, 300].map(|number| (number, 7)).to_vec();
        let staged = staged(&table, &rows).await;
        let mut diff = table.diff(staged, coverage.clone()).await.expect("a comparison");
        // A staged row, a row that only the table has, and a row that neither has.
        let gone = ["row_150", "row_5", "row_999"].map(str::to_owned);
        table.delete_too(&mut diff, &gone).await.expect("they are looked up");
        table.commit_diff(diff, change()).await.expect("a commit").committed("rows").expect("a version");
        let wanted = if coverage == Coverage::Complete { 2 } else { 199 };
        assert_eq!(table.rows(), wanted, "{coverage:?}");
        let found = table.rows_of(&gone.map(|id| id)).await.expect("rows");
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 0, "{coverage:?}");
        area.remove().await;
    }
}

#[tokio::test]
async fn a_diff_refuses_two_staged_rows_with_the_same_key() {
    let (table, area) = table().await;
    let staged = staged(&table, &[(300, 1), (301, 1), (300, 2)]).await;
    let error = table.diff(staged, Coverage::Partial).await.expect_err("a key that comes twice");
    assert_eq!(error.kind(), crate::error::ErrorKind::Bug);
    area.remove().await;
}
