//! All lists in a bucket.

use std::sync::Arc;

use chrono::TimeDelta;
use clerk_lake::lake::{Lake, Location};
use clerk_lake::simulator::ChangeKind;
use clerk_lake::sync::{Extent, Status};
use object_store::ObjectStore;

use super::{an_hour_later, listed, world};
use crate::histories::check::{assert_plain, stored};
use crate::incremental::change;
use crate::support::expected;
use crate::support::s3::S3;

#[tokio::test(flavor = "multi_thread")]
async fn all_lists_in_a_bucket_equal_the_instance() {
    let (mut world, s3) = (world(|_| ()).await, S3::start().await);
    let store: Arc<dyn ObjectStore> = s3.store();
    let place = Location::of_store(Arc::clone(&store)).expect("a place");
    let lake = Lake::new(place.asked_sparingly().orphans_spared_for(TimeDelta::zero()));
    for (case, extent) in [("first", Extent::Changes), ("full", Extent::Full), ("quiet", Extent::Changes)] {
        world.options.extent = extent;
        let summary = Box::pin(world.sync_with(world.client(), lake.clone(), world.options.clone())).await;
        assert_eq!(summary.status, Status::Ok, "{case}: {summary:?}");
        for resource in listed() {
            let rows = stored(&lake, resource).await.expect("a table");
            let wanted = expected::wanted(&world, resource.name);
            expected::assert_same(&format!("{case}: {}", resource.name), &rows, &wanted);
            assert_plain(&store, &lake, resource).await;
        }
        let staged = s3.keys().into_iter().find(|key| key.starts_with("lake/_staged/"));
        assert_eq!(staged, None, "{case}");
        let times = if case == "first" { 2 } else { 0 };
        an_hour_later(&world, |model| change(model, &ChangeKind::ALL, times));
    }
}
