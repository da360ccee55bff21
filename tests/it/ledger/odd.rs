//! Times that cannot be enter no day, and rows that went unseen are not taken for rows that were never there.

use clerk_lake::simulator::model::DAY;
use clerk_lake::simulator::{ChangeKind, Changes, Model};
use clerk_lake::sync::Status;

use super::{SECOND, Stage, at, be_active, settled};
use crate::incremental::set_clock;
use crate::support::ledger;

/// 2099-01-01, Unix milliseconds.
const FAR_AWAY: i64 = 4_070_908_800_000;

/// Syncs at this moment, without the assertion that the ledger has all that the tables tell of.
async fn sync_odd(stage: &Stage, moment: i64) {
    set_clock(&stage.world, moment);
    let summary = stage.sync_with(stage.world.client(), stage.lake(), stage.world.options.clone()).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_in_the_future_enters_no_day_and_keeps_none_from_being_complete() {
    let stage = Stage::new().await;
    stage.world.simulator.with_model(|model| {
        let user = model.users.get_mut(&stage.users[7]).expect("a user");
        (user.last_active_at, user.updated_at) = (Some(FAR_AWAY), at(SECOND, 13, 0));
    });
    stage.then(at(SECOND, 15, 0), be_active, 1);
    sync_odd(&stage, at(SECOND, 23, 0)).await;
    sync_odd(&stage, at(SECOND + 1, 0, 5)).await;
    assert_eq!(stage.day(SECOND).await, settled(1, 0));
    let last = ledger::rows(&stage.lake()).await.into_iter().map(|(day, _)| day).max();
    assert_eq!(last, Some(SECOND));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_day_before_a_user_existed_enters_the_ledger() {
    let stage = Stage::new().await;
    let (owner, born) = stage.world.simulator.with_model(|model| {
        let user = model.users.iter().max_by_key(|user| user.created_at).expect("a user");
        (user.id.clone(), user.created_at.div_euclid(DAY))
    });
    set_clock(&stage.world, at(SECOND, 15, 0));
    stage.world.simulator.with_model(|model| {
        for (created_at, last_active_at) in [(1_617_078_211, 1_617_078_211), ((born - 40) * DAY, (born - 30) * DAY)] {
            let session = model.create_session(&owner);
            let session = model.sessions.get_mut(&session).expect("a session");
            (session.created_at, session.last_active_at) = (created_at, last_active_at);
        }
        model.record_activity(&owner);
    });
    sync_odd(&stage, at(SECOND, 23, 0)).await;
    let rows = ledger::rows(&stage.lake()).await;
    let days: Vec<i64> = rows.iter().filter(|(_, user)| *user == owner).map(|(day, _)| *day).collect();
    assert!(days.iter().all(|day| *day >= born), "born on {born}, in the ledger on {days:?}");
    assert!(days.contains(&SECOND));
    assert!(rows.iter().all(|(day, _)| *day > 10_957));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_an_import_hides_keeps_the_day_from_being_complete() {
    let stage = Stage::new().await;
    stage.then(at(SECOND, 15, 0), be_active, 3);
    stage.then(at(SECOND, 20, 0), Model::delete_user, 3);
    let changes = Changes { every: 1, per_step: 1, kinds: vec![ChangeKind::ImportUser], most: None };
    stage.world.simulator.set(|config| config.changes = Some(changes));
    sync_odd(&stage, at(SECOND + 1, 0, 5)).await;
    stage.world.simulator.set(|config| config.changes = None);
    let day = stage.day(SECOND).await;
    assert!(!day.complete && day.unknown.is_none_or(|unknown| unknown >= 1), "{day:?}");
    stage.sync_at(at(SECOND + 1, 12, 0)).await;
    let day = stage.day(SECOND).await;
    assert!(!day.complete, "{day:?}");
}
