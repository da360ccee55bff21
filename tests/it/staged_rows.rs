//! Staged rows that disappear are an error. They are not treated as an empty diff.

use clerk_lake::ErrorKind;
use clerk_lake::lake::{Coverage, RunArea, Table};
use clerk_lake::resource::USERS;
use clerk_lake::sync::Status;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn missing_staged_rows_are_an_error() {
    let world = World::new().await;
    assert_eq!(world.sync_only(&["users"]).await.status, Status::Ok);
    let lake = world.lake();
    let area = RunArea::open(&lake).await.expect("an area");
    let table = Table::open(&lake, &USERS.table, Some(&area)).await.expect("a table");
    let ids = world.simulator.with_model(|model| model.users.iter().map(|user| user.id.clone()).collect::<Vec<_>>());
    let mut writer = table.writer().expect("a writer");
    for batch in table.rows_of(&ids).await.expect("rows") {
        writer.write_stamped(batch).await.expect("rows are staged");
    }
    let staged = writer.finish().await.expect("staged rows");
    assert!(staged.rows > 0);
    std::fs::remove_dir_all(world.path().join("_staged").join(area.run())).expect("the staged rows are deleted");
    let error = table.diff(staged, Coverage::Partial).await.expect_err("missing rows");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}
