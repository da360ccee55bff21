//! Each store operation of a sync is refused, loses its response, or is where the run crashes. Afterwards the table is
//! in its old or its new state, never between, and the next sync needs no repair.

use std::sync::Arc;

use clerk_lake::api::Client;
use clerk_lake::resource::USERS;
use clerk_lake::simulator::ChangeKind;
use clerk_lake::sync::{Extent, ResourceStatus, Status, SyncOptions};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::histories::check::{assert_plain, assert_tidy, lake_over, stored};
use crate::support::expected::{self, Rows};
use crate::support::faulty_store::{FaultPlan, FaultyStore, StoreFault};
use crate::support::{World, sample_step};

/// A lake with outdated users and an orphan file.
struct Prepared {
    world: World,
    client: Client,
    options: SyncOptions,
    store: InMemory,
    before: Rows,
    wanted: Rows,
}

impl Prepared {
    async fn new() -> Self {
        let world = expected::fixed_clock_world(|config| config.users = 24).await;
        let (client, store) = (world.client(), InMemory::new());
        let options = SyncOptions { extent: Extent::Changes, resources: vec![&USERS], ..world.options.clone() };
        let before = expected::wanted(&world, "users");
        let lake = lake_over(Arc::new(store.clone()));
        let first = world.sync_with(client.clone(), lake, options.clone()).await;
        assert_eq!(first.status, Status::Ok, "{first:?}");
        leave_an_orphan(&store).await;
        world.simulator.with_model(|model| {
            for kind in [ChangeKind::Ban, ChangeKind::Activity, ChangeKind::UpdateProfile, ChangeKind::CreateUser] {
                model.change(kind);
            }
        });
        let wanted = expected::wanted(&world, "users");
        Self { world, client, options, store, before, wanted }
    }

    /// Runs a sync whose operation number `at` has the fault, and a sync without faults. Returns whether the first sync
    /// had that many operations.
    async fn survives(&self, at: u64, fault: StoreFault) -> bool {
        let case = format!("operation {at}, {fault:?}");
        let store: Arc<dyn ObjectStore> = Arc::new(self.store.fork());
        let plan = FaultPlan { store_faults: vec![(at..at + 1, fault)], ..FaultPlan::default() };
        let handle = FaultyStore::over(Arc::clone(&store), plan);
        let control = handle.control();
        let run = self.world.sync_with(self.client.clone(), lake_over(Arc::new(handle)), self.options.clone());
        let ended = tokio::select! {
            biased;
            () = control.crashed() => None,
            summary = Box::pin(run) => Some(summary),
        };
        control.disconnect();
        let lake = lake_over(Arc::clone(&store));
        let rows = stored(&lake, &USERS).await.expect("a table");
        assert!(rows == self.before || rows == self.wanted, "{case}: half of a sync is visible");
        if ended.is_some_and(|summary| summary.resources[0].status == ResourceStatus::Ok) {
            expected::assert_same(&format!("{case}, first sync"), &rows, &self.wanted);
        }
        let next = Box::pin(self.world.sync_with(self.client.clone(), lake.clone(), self.options.clone())).await;
        assert_eq!(next.status, Status::Ok, "{case}: {next:?}");
        expected::assert_same(&case, &stored(&lake, &USERS).await.expect("a table"), &self.wanted);
        assert_plain(&store, &lake, &USERS).await;
        assert_tidy(&store, &control.runs()).await;
        control.operations() >= at
    }
}

/// Copies a data file to a name in the same directory that no commit names.
pub async fn leave_an_orphan(store: &InMemory) {
    let listed = store.list(Some(&Path::from("lake/clerk_user"))).map_ok(|object| object.location);
    let paths: Vec<Path> = listed.try_collect().await.expect("a list");
    let file = paths.iter().find(|path| path.as_ref().ends_with(".parquet")).expect("a data file");
    let (directory, _) = file.as_ref().rsplit_once('/').expect("a directory");
    let orphan = Path::from(format!("{directory}/part-00000-orphan.parquet"));
    store.copy(file, &orphan).await.expect("a copy");
}

async fn assert_survives_at_every_operation(fault: StoreFault) {
    let prepared = Prepared::new().await;
    let mut at = 1;
    while prepared.survives(at, fault).await {
        at += sample_step(11);
    }
    assert!(at > 30, "only {at} operations were tested");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_survives_a_refusal_of_any_operation() {
    assert_survives_at_every_operation(StoreFault::Refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_survives_a_lost_response_of_any_operation() {
    assert_survives_at_every_operation(StoreFault::ResponseLost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_survives_a_crash_at_any_operation() {
    assert_survives_at_every_operation(StoreFault::Crash).await;
}
