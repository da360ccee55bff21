//! A snapshot read as a list of its data files gives what it gives as a Delta table: what clusters rest on.

use clerk_lake::ErrorKind;
use clerk_lake::clock::Clock;
use clerk_lake::lake::At;
use clerk_lake::query::{self, Parameters, Query};
use clerk_lake::resource::{TABLES, USERS};
use clerk_lake::simulator::ChangeKind;
use clerk_lake::sync::{Extent, Status};
use datafusion::execution::context::SessionContext;

use crate::support::World;
use crate::support::questions;

/// A session over the lists of data files of all tables.
async fn plain(world: &World) -> SessionContext {
    let lake = world.lake();
    let session = lake.session();
    for spec in TABLES {
        let table = lake.table(spec).await.expect("a table");
        if table.exists() {
            session.register_table(spec.name, table.as_files().expect("its files")).expect("a table of that name");
        }
    }
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn data_files_answer_every_question_as_delta_does() {
    let mut world = World::new().await;
    for extent in [Extent::Full, Extent::Changes] {
        world.options.extent = extent;
        world.simulator.with_model(|model| (0..20).for_each(|_| model.change(ChangeKind::CreateUser)));
        assert_eq!(world.sync().await.status, Status::Ok);
        let parameters = Parameters::at(Clock::system().now());
        let delta = query::session(&world.lake()).await.expect("a lake with tables");
        let plain = plain(&world).await;
        for question in questions::all() {
            let wanted = questions::printed(&delta, &question, &parameters).await.expect("an answer");
            let found = questions::printed(&plain, &question, &parameters).await;
            assert_eq!(found.as_ref().ok(), Some(&wanted), "{}: {found:?}", question.sql);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_file_that_is_gone_is_an_error_and_not_fewer_rows() {
    let world = World::new().await;
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    let before = plain(&world).await;
    world.simulator.with_model(|model| (0..10).for_each(|_| model.change(ChangeKind::Ban)));
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    let question = Query::ad_hoc("SELECT count(*) FROM clerk_user WHERE email IS NOT NULL");
    let answer = questions::printed(&before, &question, &Parameters::at(Clock::system().now())).await;
    assert_eq!(answer.expect_err("files that are gone").kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_there_has_no_files() {
    let world = World::new().await;
    let table = world.lake().table(&USERS.table).await.expect("no table yet");
    assert_eq!(table.as_files().expect_err("no table").kind(), ErrorKind::Unreachable);
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    let table = world.lake().table_at(&USERS.table, At::Version(0)).await.expect("the first version");
    assert!(table.as_files().is_ok());
}
