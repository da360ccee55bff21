//! Faults of the network and of Clerk, and changes during a sync: the sync ends with exact tables or changes nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use clerk_lake::ErrorKind;
use clerk_lake::api::Lanes;
use clerk_lake::api::{Client, ClientConfig, RetryPolicy};
use clerk_lake::simulator::{ChangeKind, Changes, FaultKind, Faults, RequestLimit, UnknownCursor};
use clerk_lake::sync::{Extent, Progress, ResourceStatus, ResourceSummary, Status, Summary};

use crate::support::{World, expected, quick_retries};

/// Calls a function after each page, before the next page is requested.
pub struct OnPage<F>(pub F);

impl<F: Fn(&str, u64) + Send + Sync> Progress for OnPage<F> {
    fn started(&self, _: &str, _: Option<u64>) {}
    fn advanced(&self, resource: &str, rows: u64) {
        (self.0)(resource, rows);
    }
    fn finished(&self, _: &ResourceSummary) {}
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}

/// Syncs and reports the progress to `progress`.
pub async fn sync_watched(world: &World, progress: Arc<dyn Progress>) -> Summary {
    let clock = world.clock();
    let options = world.options.clone();
    let stop = clerk_lake::sync::CancellationToken::new();
    clerk_lake::sync::SyncJob { client: world.client(), lake: world.lake(), clock, options, progress, stop }.run().await
}

/// Returns a client that sends each request only once.
pub fn impatient(world: &World) -> Client {
    let retry = RetryPolicy { least_attempts: 1, ..quick_retries().with_budget(Duration::ZERO) };
    Client::new(ClientConfig { retry, ..world.client_config() }).expect("a client")
}

/// Returns a world whose lists have many pages. A sync of its lake may delete any number of rows.
async fn many_pages() -> World {
    let mut world = expected::fixed_clock_world(|config| {
        config.users = 200;
        config.clamp = Some(20);
    })
    .await;
    world.options.max_shrink = 1.0;
    // Requests one after the other: otherwise some request may get a fault at each of its attempts.
    world.options.lanes = Lanes::Fixed(1);
    world
}

/// Returns the maximum number of faults of a kind, because some kinds cost a second each; `None` for no limit.
fn fault_limit(kind: FaultKind) -> Option<u64> {
    match kind {
        FaultKind::TooManyRequests | FaultKind::Unavailable => Some(2),
        FaultKind::StalledBody => Some(4),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_is_exact_despite_faults_of_any_kind() {
    for kind in FaultKind::ALL {
        let world = many_pages().await;
        world.simulator.set_faults(Faults { limit: fault_limit(kind), ..Faults::every(3, [kind]) });
        let summary = world.sync().await;
        assert_eq!(summary.status, Status::Ok, "{kind}: {summary:?}");
        expected::assert_tables_equal_for(&world, &kind.to_string()).await;
        let count = world.simulator.requests().iter().filter(|request| request.fault == Some(kind)).count();
        assert!(count >= 2, "{kind} occurred {count} times");
        let retries: u64 = summary.resources.iter().map(|resource| resource.retries).sum();
        assert_eq!(retries > 0, kind != FaultKind::ClampedPage, "{kind}: {retries} retries");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_is_exact_despite_all_kinds_of_faults_at_once() {
    let world = many_pages().await;
    world.simulator.set_faults(Faults { limit: Some(12), ..Faults::every(3, FaultKind::ALL) });
    let summary = world.sync().await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    expected::assert_tables_equal(&world).await;
    let kinds: HashSet<_> = world.simulator.requests().iter().filter_map(|request| request.fault).collect();
    assert_eq!(kinds.len(), FaultKind::ALL.len(), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_listed_by_user_are_exact_despite_faults() {
    let mut world = expected::fixed_clock_world(|config| {
        config.users = 60;
        config.clamp = Some(2);
        config.plain_session_listing = false;
    })
    .await;
    world.options.session_lookback_days = 3650;
    let kinds = [FaultKind::ServerError, FaultKind::Reset, FaultKind::CutBody, FaultKind::MalformedJson];
    world.simulator.set_faults(Faults::every(7, kinds).on("/v1/sessions"));
    let summary = world.sync().await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    expected::assert_tables_equal(&world).await;
}

/// Asserts that the table has each current user of the instance exactly once, in its current state.
async fn assert_no_user_is_lost(world: &World, case: &str) {
    let wanted = expected::wanted(world, "users");
    let mut stored = expected::stored(world, "users").await;
    stored.retain(|id, _| wanted.contains_key(id));
    expected::assert_same(case, &stored, &wanted);
}

/// Syncs users while the simulator deletes the user of every second cursor right before it responds.
async fn assert_deleted_cursors_lose_nothing(unknown_cursor: UnknownCursor) {
    let case = format!("{unknown_cursor:?}, the row of every second cursor deleted");
    let world = many_pages().await;
    world.simulator.set_faults(Faults { unknown_cursor, cursor_deleted_every: 2, ..Faults::default() });
    let summary = world.sync_only(&["users"]).await;
    world.simulator.set_faults(Faults::default());
    let users = &summary.resources[0];
    assert_eq!(users.status, ResourceStatus::Ok, "{case}: {:?}", users.error);
    let left = world.simulator.with_model(|model| model.users.len());
    assert!(left < 200, "{case}: no user was deleted");
    assert_no_user_is_lost(&world, &case).await;
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    expected::assert_resource_equals(&world, "users", &case).await;
}

/// Syncs users while the simulator deletes random users before every page.
async fn assert_deletions_between_pages_lose_nothing(unknown_cursor: UnknownCursor) {
    let case = format!("{unknown_cursor:?}, deleted at random");
    let world = many_pages().await;
    world.simulator.set(|config| {
        config.faults.unknown_cursor = unknown_cursor;
        config.changes = Some(Changes { every: 1, per_step: 6, kinds: vec![ChangeKind::DeleteUser], most: None });
    });
    let summary = world.sync_only(&["users"]).await;
    assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
    assert_no_user_is_lost(&world, &case).await;
    world.simulator.set(|config| config.changes = None);
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    expected::assert_resource_equals(&world, "users", &case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_user_is_lost_if_the_server_refuses_the_cursor_of_a_deleted_user() {
    for unknown_cursor in [UnknownCursor::NotFound, UnknownCursor::Unprocessable] {
        assert_deleted_cursors_lose_nothing(unknown_cursor).await;
        assert_deletions_between_pages_lose_nothing(unknown_cursor).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_page_after_a_deleted_cursor_does_not_end_the_list() {
    assert_deleted_cursors_lose_nothing(UnknownCursor::EmptyPage).await;
    assert_deletions_between_pages_lose_nothing(UnknownCursor::EmptyPage).await;
}

/// Returns a world that changes before every page. Its clock runs, so that users created later are listed later.
async fn changing_world(kinds: &[ChangeKind], clamp: Option<usize>) -> World {
    let mut world = World::with(|config| {
        config.users = 400;
        config.clamp = clamp;
        config.latency = Duration::from_millis(2);
        config.changes = Some(Changes { every: 1, per_step: 3, kinds: kinds.to_vec(), most: None });
    })
    .await;
    world.options.extent = Extent::Full;
    world.options.max_shrink = 1.0;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_change_while_they_are_read_lose_and_duplicate_no_row() {
    let listed = ["users", "organizations"];
    for clamp in [None, Some(7)] {
        let world = changing_world(&ChangeKind::ALL, clamp).await;
        let before = listed.map(|name| expected::wanted(&world, name));
        let summary = world.sync_only(&listed).await;
        assert_eq!(summary.status, Status::Ok, "{clamp:?}: {summary:?}");
        for (name, before) in listed.iter().zip(&before) {
            let stored = expected::stored(&world, name).await;
            for id in expected::wanted(&world, name).keys().filter(|id| before.contains_key(*id)) {
                assert!(stored.contains_key(id), "{clamp:?}: {id} existed during the whole sync but is missing");
            }
        }
        world.simulator.set(|config| config.changes = None);
        for name in ["users", "organizations", "sessions"] {
            assert_eq!(world.sync_only(&[name]).await.status, Status::Ok, "{clamp:?}: {name}");
            expected::assert_resource_equals(&world, name, &format!("{clamp:?}, quiet again")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_created_during_their_listing_neither_fail_the_sync_nor_hide_others() {
    let world = changing_world(&[ChangeKind::Activity, ChangeKind::CreateUser], Some(50)).await;
    let before = expected::wanted(&world, "sessions");
    let summary = world.sync_only(&["sessions"]).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    let stored = expected::stored(&world, "sessions").await;
    assert!(before.keys().all(|id| stored.contains_key(id)));
    world.simulator.set(|config| config.changes = None);
    assert_eq!(world.sync_only(&["sessions"]).await.status, Status::Ok);
    expected::assert_resource_equals(&world, "sessions", "quiet again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_resource_does_not_stop_the_others_and_leaves_no_table() {
    let world = expected::fixed_clock_world(|config| config.users = 200).await;
    world.simulator.set_faults(Faults::always(FaultKind::ServerError).on("/v1/organizations"));
    let summary = world.sync_with(impatient(&world), world.lake(), world.options.clone()).await;
    assert_eq!(summary.status, Status::Partial, "{summary:?}");
    assert_eq!(summary.worst().map(clerk_lake::Error::kind), Some(ErrorKind::Unreachable));
    for resource in &summary.resources {
        if resource.name == "organizations" {
            assert_eq!(resource.status, ResourceStatus::Failed);
            assert!(resource.error.as_ref().is_some_and(|error| error.contains("/v1/organizations")), "{resource:?}");
        } else {
            assert_eq!(resource.status, ResourceStatus::Ok, "{resource:?}");
            expected::assert_resource_equals(&world, &resource.name, "another resource failed").await;
        }
    }
    assert!(!world.path().join("clerk_organization").exists());
    expected::assert_nothing_staged(&world, "after a failure");

    world.simulator.set_faults(Faults::default());
    assert_eq!(world.sync().await.status, Status::Ok);
    expected::assert_tables_equal(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_waits_when_it_reaches_the_rate_limit() {
    for headers in [false, true] {
        let world = expected::fixed_clock_world(|config| {
            config.users = 60;
            config.organizations = 5;
            config.clamp = Some(10);
            config.rate_limit = Some(RequestLimit { requests: 8, window: Duration::from_secs(1), headers });
        })
        .await;
        let summary = world.sync().await;
        assert_eq!(summary.status, Status::Ok, "{summary:?}");
        expected::assert_tables_equal_for(&world, &format!("X-RateLimit headers: {headers}")).await;
        let refused = world.simulator.requests().iter().filter(|request| request.status == 429).count();
        assert!(headers || refused > 0, "the limit was never reached");
        let throttled: u64 = summary.resources.iter().map(|resource| resource.throttled).sum();
        assert_eq!(throttled, refused as u64, "{summary:?}");
    }
}
