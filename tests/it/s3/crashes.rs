//! Runs that crash while they write to a bucket. Nothing half-done is visible, the next run needs no repair, and the
//! files of the crashed run are deleted after a day. Incomplete multipart uploads are an exception: no list of objects
//! shows them, so no run looks for them. A lifecycle rule of the bucket (`AbortIncompleteMultipartUpload`) removes
//! them.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;

use chrono::{Datelike, TimeDelta};
use clerk_lake::resource::{SESSIONS, USERS};
use clerk_lake::sync::{Extent, SyncOptions};

use super::{Cloud, SYNC, lake_in};
use crate::histories::check::stored;
use crate::histories::draw::moment;
use crate::support::expected;
use crate::support::faulty_store::{CrashPoint, FaultPlan, FaultyStore};
use crate::support::s3::Operation;

/// Crash points of a first run. For a crash between moves, there must be more files than are moved at a time.
const FIRST: [CrashPoint; 5] = [
    CrashPoint::AfterDataFile,
    CrashPoint::BeforeMove,
    CrashPoint::BetweenMoves,
    CrashPoint::BeforeCommit,
    CrashPoint::AfterCommit,
];

/// Crash points of a later run, which also has files to clean up.
const LATER: [CrashPoint; 6] = [
    CrashPoint::AfterDataFile,
    CrashPoint::BeforeMove,
    CrashPoint::BeforeCommit,
    CrashPoint::AfterCommit,
    CrashPoint::BeforeCleanUp,
    CrashPoint::BetweenCleanUps,
];

/// Longer than staged files of a dead run are kept.
const LONG: TimeDelta = TimeDelta::days(2);

/// Runs a full sync that crashes at its first visit to `point`.
async fn crash_at(cloud: &Cloud, point: CrashPoint, case: &str) {
    let plan = FaultPlan { crash: Some((point, 1)), ..FaultPlan::default() };
    let store = FaultyStore::over(cloud.s3.store(), plan);
    let control = store.control();
    let options = SyncOptions { extent: Extent::Full, ..cloud.world.options.clone() };
    let run = Box::pin(cloud.world.sync_with(cloud.world.client(), lake_in(Arc::new(store)), options));
    tokio::select! {
        biased;
        () = control.crashed() => {}
        summary = run => panic!("{case}: the run did not crash: {summary:?}"),
    }
    control.disconnect();
}

/// Crashes a run at `point`. Asserts that the next run corrects everything, and that later no file of the crashed run
/// is left.
async fn assert_survives(cloud: &Cloud, point: CrashPoint, case: &str) {
    let (seen, before) = (cloud.visible(), Box::pin(stored(&cloud.lake(), &USERS)).await);
    crash_at(cloud, point, case).await;
    if matches!(point, CrashPoint::AfterDataFile | CrashPoint::BeforeMove) {
        assert_eq!(cloud.visible(), seen, "{case}: something staged is seen");
    }
    let rows = Box::pin(stored(&cloud.lake(), &USERS)).await;
    let wanted = Some(expected::wanted(&cloud.world, "users"));
    assert!(rows == before || rows == wanted, "{case}: half of a sync is visible");
    cloud.sync_ok(case).await;
    cloud.assert_tables(case).await;
    cloud.s3.age(LONG);
    cloud.sync_ok(case).await;
    cloud.assert_exact(&format!("{case}, after a while")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_crashes_while_it_writes_leaves_nothing_half_done() {
    // More months of sessions than files moved at a time, so that a crash happens between two moves.
    let mut cloud = Cloud::with(|config| (config.users, config.activity_days) = (60, 430)).await;
    cloud.world.options.resources = vec![&USERS, &SESSIONS];
    for point in FIRST {
        cloud.s3.clear();
        assert_survives(&cloud, point, &format!("a first run crashes {point:?}")).await;
    }
    for point in LATER {
        cloud.change(2);
        assert_survives(&cloud, point, &format!("a later run crashes {point:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_killed_during_an_upload_leaves_nothing_visible() {
    let mut cloud = Cloud::new(60).await;
    for case in ["the first run", "a later run"] {
        let before = cloud.visible();
        cloud.s3.hold(Operation::PutObject, ".parquet");
        let mut run =
            cloud.command(&SYNC).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs");
        cloud.s3.held().await;
        run.kill().expect("a signal");
        let ended = tokio::task::spawn_blocking(move || run.wait().expect("the program ends"));
        assert!(!ended.await.expect("the thread ends").success(), "{case}: the program was not killed");
        assert_eq!(cloud.visible(), before, "{case}: something staged is seen");
        cloud.succeeds(&SYNC, case).await;
        cloud.assert_tables(case).await;
        cloud.s3.age(LONG);
        cloud.succeeds(&SYNC, case).await;
        cloud.assert_exact(&format!("{case}, after a while")).await;
        cloud.change(2);
    }
}

/// Adds 1 MiB of metadata to each of 10 users who were created in the same year and so share a file.
fn add_large_metadata(cloud: &Cloud) {
    cloud.world.simulator.set(|config| {
        config.compression = false;
        config.clamp = Some(4);
    });
    cloud.world.simulator.with_model(|model| {
        let mut by_year: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for user in model.users.iter() {
            by_year.entry(moment(user.created_at).year()).or_default().push(user.id.clone());
        }
        let fullest = by_year.into_values().max_by_key(Vec::len).unwrap_or_default();
        for (number, id) in (1..).zip(fullest.iter().take(10)) {
            let user = model.users.get_mut(id).expect("a user");
            user.public_metadata = format!("{{\"text\":\"{}\"}}", noise(number, 1 << 20));
        }
    });
}

/// Returns text that compresses badly. It depends only on `seed`.
fn noise(seed: u64, length: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = seed;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(LETTERS[usize::try_from(state >> 58).unwrap_or(0)])
    };
    (0..length).map(letter).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_uploaded_in_parts_and_not_visible_before_it_is_complete() {
    let mut cloud = Cloud::new(40).await;
    cloud.world.options.resources = vec![&USERS];
    add_large_metadata(&cloud);
    cloud.s3.hold(Operation::UploadPart, ".parquet");
    tokio::select! {
        () = cloud.s3.held() => {}
        summary = cloud.sync() => panic!("the upload was not held: {summary:?}"),
    }
    assert_eq!(cloud.visible(), Vec::<String>::new(), "something staged is seen");
    assert_eq!(cloud.s3.unfinished_uploads().len(), 1);
    let before = cloud.s3.count(Operation::UploadPart);
    cloud.sync_ok("the next run").await;
    cloud.assert_tables("the next run").await;
    assert!(cloud.s3.count(Operation::UploadPart) >= before + 2, "no multipart upload");
    assert_eq!(cloud.s3.unfinished_uploads().len(), 1, "the upload of the first run is left for a lifecycle rule");
}
