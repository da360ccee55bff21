//! The test server follows the S3 protocol, so that results with it also apply to S3.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, Result, UpdateVersion,
};

use crate::support::s3::S3;

async fn listed(store: &Arc<dyn ObjectStore>, prefix: Option<&str>) -> Vec<String> {
    let objects = store.list(prefix.map(Path::from).as_ref());
    objects.map_ok(|object| object.location.to_string()).try_collect().await.expect("a list")
}

/// Puts 20 objects into three directories. Returns their paths.
async fn fill(store: &Arc<dyn ObjectStore>) -> BTreeSet<Path> {
    let mut paths = BTreeSet::new();
    for number in 0..20 {
        let path = Path::from(format!("lake/{}/b={number:02} & <c> é", number % 3));
        store.put(&path, format!("content {number:02}").into()).await.expect("an object is put");
        paths.insert(path);
    }
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_several_pages_and_show_directories() {
    let s3 = S3::start().await;
    let store = s3.store();
    let paths = fill(&store).await;
    let all: Vec<String> = paths.iter().map(ToString::to_string).collect();
    assert_eq!(listed(&store, None).await, all);
    assert_eq!(s3.keys(), all);
    assert_eq!(listed(&store, Some("lake/1")).await.len(), 7);
    let fifth = paths.iter().nth(4).expect("a path");
    let later: Vec<_> = store.list_with_offset(None, fifth).try_collect().await.expect("a list");
    assert_eq!(later.len(), 15);
    let top = store.list_with_delimiter(Some(&Path::from("lake"))).await.expect("a list");
    let directories: Vec<String> = top.common_prefixes.iter().map(ToString::to_string).collect();
    assert_eq!(directories, ["lake/0", "lake/1", "lake/2"]);
    assert_eq!(top.objects.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_read_in_full_in_ranges_and_on_conditions() {
    let s3 = S3::start().await;
    let store = s3.store();
    let paths = fill(&store).await;
    let path = paths.first().expect("a path");
    let found = store.get(path).await.expect("an object");
    let e_tag = found.meta.e_tag.clone().expect("a tag");
    assert_eq!(found.bytes().await.expect("its content"), "content 00");
    assert_eq!(store.head(path).await.expect("its description").size, 10);
    assert_eq!(store.get_range(path, 3..7).await.expect("a part"), "tent");
    assert_eq!(store.get_range(path, 8..100).await.expect("a part"), "00");
    let last = GetOptions { range: Some(GetRange::Suffix(2)), ..GetOptions::default() };
    assert_eq!(store.get_opts(path, last).await.expect("a part").bytes().await.expect("its content"), "00");
    let unless = GetOptions { if_none_match: Some(e_tag), ..GetOptions::default() };
    let error = store.get_opts(path, unless).await.expect_err("the object is unchanged");
    assert!(matches!(error, Error::NotModified { .. }), "{error:?}");
    let error = store.get(&Path::from("lake/nothing")).await.expect_err("no such object");
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_copied_renamed_and_deleted_many_at_a_time() {
    let s3 = S3::start().await;
    let store = s3.store();
    let paths = fill(&store).await;
    let first = paths.first().expect("a path");
    let (copy, other) = (Path::from("copy"), Path::from("other"));
    store.copy(first, &copy).await.expect("a copy");
    store.rename(&copy, &other).await.expect("another name");
    assert_eq!(store.get(&other).await.expect("it").bytes().await.expect("its content"), "content 00");
    let doomed = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
    let deleted: Vec<Result<Path>> = store.delete_stream(doomed).collect().await;
    assert!(deleted.len() == 20 && deleted.iter().all(Result::is_ok), "{deleted:?}");
    assert_eq!(listed(&store, None).await, ["other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conditional_put_is_refused_if_its_condition_is_not_met() {
    let s3 = S3::start().await;
    let (store, path) = (s3.store(), Path::from("an/object"));
    let stale = PutMode::Update(UpdateVersion { e_tag: Some("\"0\"".to_owned()), version: None });
    let error = store.put_opts(&path, "new".into(), stale.clone().into()).await.expect_err("no such object");
    assert!(matches!(error, Error::Precondition { .. }), "{error:?}");
    let put = store.put_opts(&path, "old".into(), PutMode::Create.into()).await.expect("an object is put");
    for mode in [PutMode::Create, stale] {
        store.put_opts(&path, "new".into(), mode.into()).await.expect_err("the object exists");
    }
    let current = PutMode::Update(put.into());
    store.put_opts(&path, "new".into(), current.into()).await.expect("an object is replaced");
    assert_eq!(store.get(&path).await.expect("it").bytes().await.expect("its content"), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multipart_upload_is_visible_once_it_is_complete() {
    let s3 = S3::start().await;
    let (store, path) = (s3.store(), Path::from("in/parts"));
    let mut upload = store.put_multipart_opts(&path, PutMultipartOptions::default()).await.expect("an upload");
    let part = Bytes::from(vec![b'a'; 5 * 1024 * 1024]);
    upload.put_part(part.clone().into()).await.expect("a part");
    upload.put_part("end".into()).await.expect("the last part");
    assert_eq!((s3.keys().len(), s3.unfinished_uploads()), (0, vec!["in/parts".to_owned()]));
    upload.complete().await.expect("a whole");
    assert_eq!((s3.keys(), s3.unfinished_uploads().len()), (vec!["in/parts".to_owned()], 0));
    let length = part.len() as u64;
    assert_eq!(store.get_range(&path, length - 2..length + 3).await.expect("the seam"), "aaend");
    let mut upload = store.put_multipart(&path).await.expect("an upload");
    upload.put_part("too small".into()).await.expect("a part");
    upload.put_part("end".into()).await.expect("the last part");
    upload.complete().await.expect_err("a part that is too small");
    upload.abort().await.expect("the end of it");
    assert_eq!(s3.unfinished_uploads().len(), 0);
}
