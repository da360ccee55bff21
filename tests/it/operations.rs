//! Each single operation of a sync on its store is refused, or loses its answer, or is the run's last: the table is
//! as it was or as it must be and nothing between, and the next sync needs no repair.

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
use crate::support::store::{FaultyStore, Plan, Trouble};
use crate::support::{World, one_in};

/// A lake whose users are out of date, beside whose data files lies one that no commit names.
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
        let world = expected::still(|config| config.users = 24).await;
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

    /// Runs a sync whose operation number `at` is in `trouble`, and one that is not; whether it came so far.
    async fn survives(&self, at: u64, trouble: Trouble) -> bool {
        let case = format!("operation {at}, {trouble:?}");
        let store: Arc<dyn ObjectStore> = Arc::new(self.store.fork());
        let plan = Plan { troubles: vec![(at..at + 1, trouble)], ..Plan::default() };
        let handle = FaultyStore::over(Arc::clone(&store), plan);
        let control = handle.control();
        let run = self.world.sync_with(self.client.clone(), lake_over(Arc::new(handle)), self.options.clone());
        let ended = tokio::select! {
            biased;
            () = control.died() => None,
            summary = Box::pin(run) => Some(summary),
        };
        control.bury();
        let lake = lake_over(Arc::clone(&store));
        let rows = stored(&lake, &USERS).await.expect("a table");
        assert!(rows == self.before || rows == self.wanted, "{case}: half of a sync can be seen");
        if ended.is_some_and(|summary| summary.resources[0].status == ResourceStatus::Ok) {
            expected::assert_same(&format!("{case}, which did no harm"), &rows, &self.wanted);
        }
        let next = Box::pin(self.world.sync_with(self.client.clone(), lake.clone(), self.options.clone())).await;
        assert_eq!(next.status, Status::Ok, "{case}: {next:?}");
        expected::assert_same(&case, &stored(&lake, &USERS).await.expect("a table"), &self.wanted);
        assert_plain(&store, &lake, &USERS).await;
        assert_tidy(&store, &control.runs()).await;
        control.operations() >= at
    }
}

/// Puts a copy of a data file beside it, under a name that no commit knows.
pub async fn leave_an_orphan(store: &InMemory) {
    let listed = store.list(Some(&Path::from("lake/clerk_user"))).map_ok(|object| object.location);
    let paths: Vec<Path> = listed.try_collect().await.expect("a list");
    let file = paths.iter().find(|path| path.as_ref().ends_with(".parquet")).expect("a data file");
    let (directory, _) = file.as_ref().rsplit_once('/').expect("a directory");
    let orphan = Path::from(format!("{directory}/part-00000-orphan.parquet"));
    store.copy(file, &orphan).await.expect("a copy");
}

async fn assert_every_operation_may_be(trouble: Trouble) {
    let prepared = Prepared::new().await;
    let mut at = 1;
    while prepared.survives(at, trouble).await {
        at += one_in(11);
    }
    assert!(at > 30, "a sync takes more than {at} operations");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_operation_of_a_sync_may_be_refused() {
    assert_every_operation_may_be(Trouble::Refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_operation_of_a_sync_may_lose_its_answer() {
    assert_every_operation_may_be(Trouble::AnswerLost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_operation_of_a_sync_may_be_its_last() {
    assert_every_operation_may_be(Trouble::Fatal).await;
}
