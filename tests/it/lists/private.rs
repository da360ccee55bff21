//! What must never be stored: it is in the lists, but in no file, log or output.

use std::path::Path;

use bytes::Bytes;
use clerk_lake::resource;
use clerk_lake::simulator::{ChangeKind, Corruption, List, PRIVATE_MARKER};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{an_hour_later, optional, small};
use crate::incremental::change;
use crate::support::expected;
use crate::support::{World, as_json, files, stderr, stdout};

/// The lists whose rows carry what must never be stored.
const MARKED: [List; 10] = [
    List::Users,
    List::Organizations,
    List::Memberships,
    List::Invitations,
    List::OrganizationInvitations,
    List::WaitlistEntries,
    List::Directories,
    List::SubscriptionItems,
    List::BillingStatements,
    List::PaymentAttempts,
];

fn contains_marker(content: &[u8]) -> bool {
    content.windows(PRIVATE_MARKER.len()).any(|window| window == PRIVATE_MARKER.as_bytes())
}

/// Asserts that the marker is in no file, neither in its bytes nor in the rows of a Parquet file.
fn assert_no_file_has_the_marker(directory: &Path, case: &str) {
    let mut decoded = 0;
    for (path, content) in files(directory) {
        assert!(!contains_marker(&content), "{case}: {}", path.display());
        if path.extension().is_some_and(|it| it == "parquet") {
            let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(content)).expect("a Parquet file");
            let batches: Vec<_> = reader.build().expect("a reader").map(|batch| batch.expect("rows")).collect();
            let rows = as_json(&batches);
            decoded += rows.len();
            assert!(rows.iter().all(|row| !row.to_string().contains(PRIVATE_MARKER)), "{case}: {}", path.display());
        }
    }
    assert!(decoded > 100, "{case}: only {decoded} rows");
}

/// Runs the program, which must succeed without printing the marker.
async fn run_unmarked(world: &World, arguments: &[&str]) -> String {
    let done = world.run(arguments).await;
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", stderr(&done));
    for stream in [stdout(&done), stderr(&done)] {
        assert!(!stream.contains(PRIVATE_MARKER), "{arguments:?}: {stream}");
    }
    stdout(&done) + &stderr(&done)
}

/// Corrupts two rows of each list.
fn corrupt(world: &World) {
    for list in List::ALL {
        let rows = world.simulator.listed(list);
        for (row, how) in rows.iter().zip([Corruption::NoId, Corruption::NumberAsText]) {
            let id = row["id"].as_str().expect("an id").to_owned();
            world.simulator.with_model(|model| model.corrupt.insert(id, how));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn private_parts_of_all_lists_are_in_no_file_log_or_output() {
    let world = expected::fixed_clock_world(small).await;
    for list in MARKED {
        let rows = world.simulator.listed(list);
        assert!(rows.iter().any(|row| row.to_string().contains(PRIVATE_MARKER)), "{list} has nothing private");
    }
    let mut sync = vec!["sync", "-vv", "--max-rejected", "1", "--max-shrink", "1"];
    for resource in resource::ALL {
        sync.extend(["--resource", resource.name]);
    }
    run_unmarked(&world, &sync).await;
    assert_no_file_has_the_marker(world.directory.path(), "first");
    corrupt(&world);
    for (extent, format) in [(&[][..], &["--json"][..]), (&["--full"], &["-v"])] {
        an_hour_later(&world, |model| change(model, &ChangeKind::ALL, 2));
        let arguments = [&sync[..], extent, format].concat();
        let printed = run_unmarked(&world, &arguments).await;
        assert!(printed.contains("row rejected"), "rejected rows are not logged: {printed}");
        assert_no_file_has_the_marker(world.directory.path(), &format!("corrupted {extent:?}"));
    }
    let rejected = world.number("SELECT count(DISTINCT resource) FROM clerk_rejected_row").await;
    assert!(rejected > i64::try_from(optional().len()).expect("a count"), "rows of {rejected} resources");
    run_unmarked(&world, &["report", "--out", "page.html"]).await;
    run_unmarked(&world, &["report", "-vv"]).await;
    run_unmarked(&world, &["status", "--json", "-vv"]).await;
    run_unmarked(&world, &["query", "SELECT * FROM clerk_rejected_row", "--format", "json", "-vv"]).await;
    assert_no_file_has_the_marker(world.directory.path(), "report");
}
