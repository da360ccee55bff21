//! Commits whose outcome is unknown: the put fails, and the store carries it out later. Whenever that happens, the table
//! has all of its data files, and the next run that meets it needs no repair.

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
use crate::operations::leave_an_orphan;
use crate::support::expected::{self, Rows};
use crate::support::store::{Control, FaultyStore, Landing, Plan, Trouble};
use crate::support::{World, one_in};

/// What the run does whose commit comes late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// The table's first commit.
    First,
    Merge,
    Append,
    Replace,
    /// The same, recorded in the change data feed.
    MergeRecorded,
    ReplaceRecorded,
    /// A merge that leaves two small files in a partition, and then a compaction.
    Compact,
    /// The first commit switches the change data feed on.
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

/// A lake before a run, and the instance that the run brings it up to date with.
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
        let world = expected::still(|config| config.users = 24).await;
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

    /// Runs a sync over a handle to which befalls what `plan` says.
    async fn run(&self, store: &Arc<dyn ObjectStore>, plan: Plan) -> (Summary, Arc<Control>) {
        let handle = FaultyStore::over(Arc::clone(store), plan);
        let control = handle.control();
        let summary = self.sync(self.lake(Arc::new(handle))).await;
        control.bury();
        (summary, control)
    }

    /// The numbers of the operations that commit in a run that meets no trouble, and how many operations it has.
    async fn commits(&self) -> (Vec<u64>, u64) {
        let store: Arc<dyn ObjectStore> = Arc::new(self.store.fork());
        let (summary, control) = self.run(&store, Plan::default()).await;
        assert_eq!(summary.status, Status::Ok, "{summary:?}");
        (control.commits(), control.operations())
    }

    /// Runs a sync whose commit at operation `at` comes late: before operation `landing` of the next run, or before
    /// the next run begins if there is none.
    async fn survives(&self, at: u64, landing: Option<u64>) {
        let case = format!("{:?}, the commit at operation {at} comes late, {landing:?}", self.act);
        let store: Arc<dyn ObjectStore> = Arc::new(self.store.fork());
        let plan = Plan { troubles: vec![(at..at + 1, Trouble::Late)], ..Plan::default() };
        let (summary, control) = self.run(&store, plan).await;
        if let Some(error) = summary.resources.iter().find_map(|it| it.failure.as_ref()) {
            assert_eq!(error.kind(), ErrorKind::Unreachable, "{case}: {error}");
            assert!(error.message().contains("did not say whether the commit to"), "{case}: {error}");
        }
        self.assert_whole(&store, &case).await;
        let plan = landing.map(|at| Landing { at, of: Arc::clone(&control) });
        if plan.is_none() {
            control.carry_out_late(&store).await;
            self.assert_whole(&store, &case).await;
        }
        let (next, _) = self.run(&store, Plan { landing: plan, ..Plan::default() }).await;
        let failure = next.resources.iter().find_map(|it| it.failure.as_ref()).map(clerk_lake::Error::kind);
        // A commit that comes while the next run is at work wins against it, as another run's would.
        let expected = if landing.is_some() { vec![None, Some(ErrorKind::Conflict)] } else { vec![None] };
        assert!(expected.contains(&failure), "{case}: {next:?}");
        control.carry_out_late(&store).await;
        self.assert_whole(&store, &case).await;
        let (last, _) = self.run(&store, Plan::default()).await;
        assert_eq!(last.status, Status::Ok, "{case}: {last:?}");
        let lake = lake_over(Arc::clone(&store));
        expected::assert_same(&case, &stored(&lake, &USERS).await.expect("a table"), &self.wanted);
        assert_plain(&store, &lake, &USERS).await;
        assert_tidy(&store, &control.runs()).await;
    }

    /// The table is as it was or as it must be, and all of its data files are there.
    async fn assert_whole(&self, store: &Arc<dyn ObjectStore>, case: &str) {
        let rows = stored(&lake_over(Arc::clone(store)), &USERS).await;
        assert!(rows == self.before || rows.as_ref() == Some(&self.wanted), "{case}: half of a sync can be seen");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_commit_may_be_carried_out_after_its_run_and_before_the_next() {
    for act in Act::ALL {
        let prepared = Prepared::new(act).await;
        let (commits, _) = prepared.commits().await;
        assert!(!commits.is_empty(), "{act:?} commits");
        for at in commits {
            prepared.survives(at, None).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_commit_may_be_carried_out_in_the_middle_of_the_next_run() {
    let apart = usize::try_from(one_in(12)).expect("a small number");
    for act in [Act::First, Act::Merge] {
        let prepared = Prepared::new(act).await;
        let (commits, operations) = prepared.commits().await;
        for at in commits {
            for landing in (1..=operations).step_by(11 * apart) {
                prepared.survives(at, Some(landing)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_file_is_left_alone_until_it_is_a_quarter_of_an_hour_old() {
    let prepared = Prepared::new(Act::Merge).await;
    let store: Arc<dyn ObjectStore> = Arc::new(prepared.store.fork());
    let left = async || -> usize {
        let paths = store.list(Some(&Path::from("lake/clerk_user"))).map_ok(|object| object.location);
        let paths: Vec<Path> = paths.try_collect().await.expect("a list");
        paths.iter().filter(|path| path.as_ref().ends_with("orphan.parquet")).count()
    };
    let lake = Lake::new(Location::of_store(Arc::clone(&store)).expect("a place"));
    assert_eq!(prepared.sync(lake).await.status, Status::Ok);
    assert_eq!(left().await, 1, "it may belong to a commit that comes late");
    assert_eq!(prepared.sync(lake_over(Arc::clone(&store))).await.status, Status::Ok);
    assert_eq!(left().await, 0, "it is old enough");
}
