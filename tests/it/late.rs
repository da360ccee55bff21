//! Commits whose outcome is unknown: the put fails, but the store executes it later. Whenever that happens, the table
//! has all of its data files, and the next run needs no repair.

use std::sync::Arc;

use clerk_lake::ErrorKind;
use clerk_lake::api::Client;
use clerk_lake::lake::{Lake, Location};
use clerk_lake::resource::USERS;
use clerk_lake::simulator::ChangeKind;
use clerk_lake::sync::{Extent, Status, Summary, SyncOptions};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;

use crate::histories::check::{assert_plain, assert_tidy, lake_over, recording_lake_over, stored};
use crate::store_faults::leave_an_orphan;
use crate::support::expected::{self, Rows};
use crate::support::faulty_store::{Control, DelayedPuts, FaultPlan, FaultyStore, StoreFault};
use crate::support::{World, sample_step};

/// What the run with the late commit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// The table's first commit.
    First,
    Merge,
    Append,
    Replace,
    /// `Merge`, recorded in the change data feed.
    MergeRecorded,
    /// `Replace`, recorded in the change data feed.
    ReplaceRecorded,
    /// A merge that leaves two small files in a partition, followed by a compaction.
    Compact,
    /// The first commit enables the change data feed.
    SwitchFeed,
}

impl Act {
    const ALL: [Self; 8] = [
        Self::First,
        Self::Merge,
        Self::Append,
        Self::Replace,
        Self::MergeRecorded,
        Self::ReplaceRecorded,
        Self::Compact,
        Self::SwitchFeed,
    ];

    fn changes(self) -> &'static [ChangeKind] {
        match self {
            Self::Append | Self::Compact => &[ChangeKind::CreateUser],
            _ => &[ChangeKind::Ban, ChangeKind::UpdateProfile, ChangeKind::CreateUser],
        }
    }

    fn lake(self, store: Arc<dyn ObjectStore>) -> Lake {
        match self {
            Self::MergeRecorded | Self::ReplaceRecorded => recording_lake_over(store),
            _ => lake_over(store),
        }
    }
}

/// A lake before a run, and an instance with changes that the run has to sync.
struct Prepared {
    act: Act,
    world: World,
    client: Client,
    options: SyncOptions,
    store: InMemory,
    before: Option<Rows>,
    wanted: Rows,
}

impl Prepared {
    async fn new(act: Act) -> Self {
        let world = expected::fixed_clock_world(|config| config.users = 24).await;
        let (client, store) = (world.client(), InMemory::new());
        let options = SyncOptions { extent: Extent::Changes, resources: vec![&USERS], ..world.options.clone() };
        let mut prepared = Self { act, world, client, options, store, before: None, wanted: Rows::new() };
        if act != Act::First {
            let store: Arc<dyn ObjectStore> = Arc::new(prepared.store.clone());
            let first = prepared.sync(act.lake(store)).await;
            assert_eq!(first.status, Status::Ok, "{first:?}");
            prepared.before = Some(expected::wanted(&prepared.world, "users"));
            leave_an_orphan(&prepared.store).await;
        }
        prepared.world.simulator.with_model(|model| {
            for kind in act.changes() {
                model.change(*kind);
            }
        });
        if matches!(act, Act::Replace | Act::ReplaceRecorded) {
            prepared.options.extent = Extent::Full;
        }
        prepared.wanted = expected::wanted(&prepared.world, "users");
        prepared
    }

    async fn sync(&self, lake: Lake) -> Summary {
        Box::pin(self.world.sync_with(self.client.clone(), lake, self.options.clone())).await
    }

    fn lake(&self, store: Arc<dyn ObjectStore>) -> Lake {
        match self.act {
            Act::SwitchFeed => recording_lake_over(store),
            act => act.lake(store),
        }
    }

    /// Runs a sync over a store with the faults in `plan`.
    async fn run(&self, store: &Arc<dyn ObjectStore>, plan: FaultPlan) -> (Summary, Arc<Control>) {
        let handle = FaultyStore::over(Arc::clone(store), plan);
        let control = handle.control();
        let summary = self.sync(self.lake(Arc::new(handle))).await;
        control.disconnect();
        (summary, control)
    }

    /// Runs a sync without faults. Returns the numbers of the store operations that are commits, and the number of all
    /// operations.
    async fn commits(&self) -> (Vec<u64>, u64) {
        let store: Arc<dyn ObjectStore> = Arc::new(self.store.fork());
        let (summary, control) = self.run(&store, FaultPlan::default()).await;
        assert_eq!(summary.status, Status::Ok, "{summary:?}");
        (control.commits(), control.operations())
    }

    /// Runs a sync whose commit at operation `at` is executed late: before operation `landing` of the next run, or
    /// before the next run begins if `landing` is `None`. Asserts that the table is exact at the end.
    async fn assert_exact_after_late_commit(&self, at: u64, landing: Option<u64>) {
        let case = format!("{:?}, late commit at operation {at}, executed before {landing:?}", self.act);
        let store: Arc<dyn ObjectStore> = Arc::new(self.store.fork());
        let plan = FaultPlan { store_faults: vec![(at..at + 1, StoreFault::Delayed)], ..FaultPlan::default() };
        let (summary, control) = self.run(&store, plan).await;
        if let Some(error) = summary.resources.iter().find_map(|it| it.failure.as_ref()) {
            assert_eq!(error.kind(), ErrorKind::Unreachable, "{case}: {error}");
            assert!(error.message().contains("did not say whether the commit to"), "{case}: {error}");
        }
        self.assert_consistent(&store, &case).await;
        let plan = landing.map(|at| DelayedPuts { at, of: Arc::clone(&control) });
        if plan.is_none() {
            control.apply_delayed_puts(&store).await;
            self.assert_consistent(&store, &case).await;
        }
        let (next, _) = self.run(&store, FaultPlan { delayed_puts: plan, ..FaultPlan::default() }).await;
        let failure = next.resources.iter().find_map(|it| it.failure.as_ref()).map(clerk_lake::Error::kind);
        // If the late commit is executed during the next run, that run can lose, as it would against another run.
        let expected = if landing.is_some() { vec![None, Some(ErrorKind::Conflict)] } else { vec![None] };
        assert!(expected.contains(&failure), "{case}: {next:?}");
        control.apply_delayed_puts(&store).await;
        self.assert_consistent(&store, &case).await;
        let (last, _) = self.run(&store, FaultPlan::default()).await;
        assert_eq!(last.status, Status::Ok, "{case}: {last:?}");
        let lake = lake_over(Arc::clone(&store));
        expected::assert_same(&case, &stored(&lake, &USERS).await.expect("a table"), &self.wanted);
        assert_plain(&store, &lake, &USERS).await;
        assert_tidy(&store, &control.runs()).await;
    }

    /// Asserts that the table has either the old or the new rows, and all of its data files.
    async fn assert_consistent(&self, store: &Arc<dyn ObjectStore>, case: &str) {
        let rows = stored(&lake_over(Arc::clone(store)), &USERS).await;
        assert!(rows == self.before || rows.as_ref() == Some(&self.wanted), "{case}: a part of a sync is visible");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_executed_after_its_run_and_before_the_next_run_does_no_harm() {
    for act in Act::ALL {
        let prepared = Prepared::new(act).await;
        let (commits, _) = prepared.commits().await;
        assert!(!commits.is_empty(), "{act:?} has no commit");
        for at in commits {
            prepared.assert_exact_after_late_commit(at, None).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_executed_during_the_next_run_does_no_harm() {
    let stride = usize::try_from(sample_step(12)).expect("a small number");
    for act in [Act::First, Act::Merge] {
        let prepared = Prepared::new(act).await;
        let (commits, operations) = prepared.commits().await;
        for at in commits {
            for landing in (1..=operations).step_by(11 * stride) {
                prepared.assert_exact_after_late_commit(at, Some(landing)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_file_is_kept_until_it_is_fifteen_minutes_old() {
    let prepared = Prepared::new(Act::Merge).await;
    let store: Arc<dyn ObjectStore> = Arc::new(prepared.store.fork());
    let orphans = async || -> usize {
        let paths = store.list(Some(&Path::from("lake/clerk_user"))).map_ok(|object| object.location);
        let paths: Vec<Path> = paths.try_collect().await.expect("a list");
        paths.iter().filter(|path| path.as_ref().ends_with("orphan.parquet")).count()
    };
    let lake = Lake::new(Location::of_store(Arc::clone(&store)).expect("a place"));
    assert_eq!(prepared.sync(lake).await.status, Status::Ok);
    assert_eq!(orphans().await, 1, "the orphan may belong to a late commit");
    assert_eq!(prepared.sync(lake_over(Arc::clone(&store))).await.status, Status::Ok);
    assert_eq!(orphans().await, 0, "the orphan is old enough to be deleted");
}
