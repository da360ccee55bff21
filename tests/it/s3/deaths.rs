//! Runs that die while they write to a bucket: nothing half-done is seen, the next run needs no repair, and what is
//! left of the dead goes after a day, but for uploads in parts that were not completed. No list of objects shows those,
//! and no run looks for them: a bucket's lifecycle rule (`AbortIncompleteMultipartUpload`) removes them.

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
use crate::support::s3::Operation;
use crate::support::store::{FaultyStore, Plan, Point};

/// Where a first run dies here. Between two moves it dies where there are more files than are moved at a time.
const FIRST: [Point; 5] =
    [Point::AfterDataFile, Point::BeforeMove, Point::BetweenMoves, Point::BeforeCommit, Point::AfterCommit];

/// Where a later one does: there is something to clear up.
const LATER: [Point; 6] = [
    Point::AfterDataFile,
    Point::BeforeMove,
    Point::BeforeCommit,
    Point::AfterCommit,
    Point::BeforeCleanUp,
    Point::BetweenCleanUps,
];

/// Longer than a dead run's staged files are kept.
const LONG: TimeDelta = TimeDelta::days(2);

/// Runs a full sync that dies at `point`, the first time that it comes there.
async fn die(cloud: &Cloud, point: Point, case: &str) {
    let plan = Plan { death: Some((point, 1)), ..Plan::default() };
    let store = FaultyStore::over(cloud.s3.store(), plan);
    let control = store.control();
    let options = SyncOptions { extent: Extent::Full, ..cloud.world.options.clone() };
    let run = Box::pin(cloud.world.sync_with(cloud.world.client(), lake_in(Arc::new(store)), options));
    tokio::select! {
        biased;
        () = control.died() => {}
        summary = run => panic!("{case}: it has not died: {summary:?}"),
    }
    control.bury();
}

/// A run dies at `point`; the next one makes everything right, and after a while nothing is left of the dead one.
async fn survive(cloud: &Cloud, point: Point, case: &str) {
    let (seen, before) = (cloud.visible(), Box::pin(stored(&cloud.lake(), &USERS)).await);
    die(cloud, point, case).await;
    if matches!(point, Point::AfterDataFile | Point::BeforeMove) {
        assert_eq!(cloud.visible(), seen, "{case}: something staged is seen");
    }
    let rows = Box::pin(stored(&cloud.lake(), &USERS)).await;
    let wanted = Some(expected::wanted(&cloud.world, "users"));
    assert!(rows == before || rows == wanted, "{case}: half of a sync is seen");
    cloud.sync_ok(case).await;
    cloud.assert_tables(case).await;
    cloud.s3.age(LONG);
    cloud.sync_ok(case).await;
    cloud.assert_exact(&format!("{case}, after a while")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_while_it_writes_leaves_nothing_half_done() {
    // More months of sessions than files are moved at a time: some lie where they belong when others do not.
    let mut cloud = Cloud::with(|config| (config.users, config.activity_days) = (60, 430)).await;
    cloud.world.options.resources = vec![&USERS, &SESSIONS];
    for point in FIRST {
        cloud.s3.clear();
        survive(&cloud, point, &format!("a first run dies {point:?}")).await;
    }
    for point in LATER {
        cloud.change(2);
        survive(&cloud, point, &format!("a later run dies {point:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_while_it_uploads_leaves_nothing_to_be_seen() {
    let mut cloud = Cloud::new(60).await;
    for case in ["the first run", "a later run"] {
        let before = cloud.visible();
        cloud.s3.hold(Operation::PutObject, ".parquet");
        let mut run = cloud.command(&SYNC).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        cloud.s3.held().await;
        run.kill().expect("a signal");
        let ended = tokio::task::spawn_blocking(move || run.wait().expect("it ends"));
        assert!(!ended.await.expect("the thread ends").success(), "{case}: it was not killed");
        assert_eq!(cloud.visible(), before, "{case}: something staged is seen");
        cloud.succeeds(&SYNC, case).await;
        cloud.assert_tables(case).await;
        cloud.s3.age(LONG);
        cloud.succeeds(&SYNC, case).await;
        cloud.assert_exact(&format!("{case}, after a while")).await;
        cloud.change(2);
    }
}

/// Gives some users who were created in the same year, and so share a file, a mebibyte of metadata each.
fn grow(cloud: &Cloud) {
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

/// Text that cannot be made much smaller, always the same for the same `seed`.
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
async fn a_large_file_goes_up_in_parts_and_is_not_seen_before_it_is_whole() {
    let mut cloud = Cloud::new(40).await;
    cloud.world.options.resources = vec![&USERS];
    grow(&cloud);
    cloud.s3.hold(Operation::UploadPart, ".parquet");
    tokio::select! {
        () = cloud.s3.held() => {}
        summary = cloud.sync() => panic!("it was not held: {summary:?}"),
    }
    assert_eq!(cloud.visible(), Vec::<String>::new(), "something staged is seen");
    assert_eq!(cloud.s3.unfinished_uploads().len(), 1);
    let before = cloud.s3.count(Operation::UploadPart);
    cloud.sync_ok("the next run").await;
    cloud.assert_tables("the next run").await;
    assert!(cloud.s3.count(Operation::UploadPart) >= before + 2, "nothing went up in parts");
    assert_eq!(cloud.s3.unfinished_uploads().len(), 1, "that of the first run is there for a lifecycle rule to remove");
}
