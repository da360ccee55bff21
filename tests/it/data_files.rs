//! Querying a snapshot as a list of data files returns the same rows as querying the Delta table. Clusters depend on
//! this.

use clerk_lake::ErrorKind;
use clerk_lake::clock::Clock;
use clerk_lake::lake::At;
use clerk_lake::query::{self, Parameters, Query};
use clerk_lake::resource::{TABLES, USERS};
use clerk_lake::simulator::ChangeKind;
use clerk_lake::sync::{Extent, Status};
use datafusion::execution::context::SessionContext;

use crate::support::World;
use crate::support::engine_queries;

/// Returns a context over the lists of data files of all tables.
async fn plain(world: &World) -> SessionContext {
    let lake = world.lake();
    let context = lake.context();
    for spec in TABLES {
        let table = lake.table(spec).await.expect("a table");
        if table.exists() {
            context.register_table(spec.name, table.as_files().expect("the files")).expect("a new table name");
        }
    }
    context
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_returns_the_same_rows_over_data_files_as_over_delta_tables() {
    let mut world = World::new().await;
    for extent in [Extent::Full, Extent::Changes] {
        world.options.extent = extent;
        world.simulator.with_model(|model| (0..20).for_each(|_| model.change(ChangeKind::CreateUser)));
        assert_eq!(world.sync().await.status, Status::Ok);
        let parameters = Parameters::at(Clock::system().now());
        let delta = query::context(&world.lake()).await.expect("a lake with tables");
        let plain = plain(&world).await;
        for query in engine_queries::all() {
            let wanted = engine_queries::printed(&delta, &query, &parameters).await.expect("query results");
            let found = engine_queries::printed(&plain, &query, &parameters).await;
            assert_eq!(found.as_ref().ok(), Some(&wanted), "{}: {found:?}", query.sql);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_data_file_is_an_error_and_not_fewer_rows() {
    let world = World::new().await;
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    let before = plain(&world).await;
    world.simulator.with_model(|model| (0..10).for_each(|_| model.change(ChangeKind::Ban)));
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    let query = Query::ad_hoc("SELECT count(*) FROM clerk_user WHERE email IS NOT NULL");
    let result = engine_queries::printed(&before, &query, &Parameters::at(Clock::system().now())).await;
    assert_eq!(result.expect_err("missing files").kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_exist_has_no_data_files() {
    let world = World::new().await;
    let table = world.lake().table(&USERS.table).await.expect("no table yet");
    assert_eq!(table.as_files().expect_err("no table").kind(), ErrorKind::Unreachable);
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    let table = world.lake().table_at(&USERS.table, At::Version(0)).await.expect("the first version");
    assert!(table.as_files().is_ok());
}
