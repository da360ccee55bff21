//! Impossible times are not recorded, and users that were missed are not treated as users that never existed.

use clerk_lake::simulator::model::DAY;
use clerk_lake::simulator::{ChangeKind, Changes, Model};
use clerk_lake::sync::Status;

use super::{SECOND, Stage, at, record_user_activity, settled};
use crate::incremental::set_clock;
use crate::support::ledger;

/// 2099-01-01, Unix milliseconds.
const FAR_FUTURE: i64 = 4_070_908_800_000;

/// Syncs at this time. Does not assert that the ledger has all activity that the tables show.
async fn sync_unchecked(stage: &Stage, moment: i64) {
    set_clock(&stage.world, moment);
    let summary = stage.sync_with(stage.world.client(), stage.lake(), stage.world.options.clone()).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_in_the_future_is_not_recorded_and_days_are_still_complete() {
    let stage = Stage::new().await;
    stage.world.simulator.with_model(|model| {
        let user = model.users.get_mut(&stage.users[7]).expect("a user");
        (user.last_active_at, user.updated_at) = (Some(FAR_FUTURE), at(SECOND, 13, 0));
    });
    stage.change_at(at(SECOND, 15, 0), record_user_activity, 1);
    sync_unchecked(&stage, at(SECOND, 23, 0)).await;
    sync_unchecked(&stage, at(SECOND + 1, 0, 5)).await;
    assert_eq!(stage.day(SECOND).await, settled(1, 0));
    let last = ledger::rows(&stage.lake()).await.into_iter().map(|(day, _)| day).max();
    assert_eq!(last, Some(SECOND));
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_before_the_user_was_created_is_not_recorded() {
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
    sync_unchecked(&stage, at(SECOND, 23, 0)).await;
    let rows = ledger::rows(&stage.lake()).await;
    let days: Vec<i64> = rows.iter().filter(|(_, user)| *user == owner).map(|(day, _)| *day).collect();
    assert!(days.iter().all(|day| *day >= born), "born on {born}, in the ledger on {days:?}");
    assert!(days.contains(&SECOND));
    assert!(rows.iter().all(|(day, _)| *day > 10_957));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_hidden_by_an_import_makes_the_day_incomplete() {
    let stage = Stage::new().await;
    stage.change_at(at(SECOND, 15, 0), record_user_activity, 3);
    stage.change_at(at(SECOND, 20, 0), Model::delete_user, 3);
    let changes = Changes { every: 1, per_step: 1, kinds: vec![ChangeKind::ImportUser], most: None };
    stage.world.simulator.set(|config| config.changes = Some(changes));
    sync_unchecked(&stage, at(SECOND + 1, 0, 5)).await;
    stage.world.simulator.set(|config| config.changes = None);
    let day = stage.day(SECOND).await;
    assert!(!day.complete && day.unknown.is_none_or(|unknown| unknown >= 1), "{day:?}");
    stage.sync_at(at(SECOND + 1, 12, 0)).await;
    let day = stage.day(SECOND).await;
    assert!(!day.complete, "{day:?}");
}
