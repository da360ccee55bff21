//! When the files of a commit become visible.

use object_store::memory::InMemory;

use super::*;

const COMMIT: &str = "{\"commitInfo\":{}}\n{\"add\":{\"path\":\"y=1/a.parquet\"}}\n";

/// The same commit with change data.
const RECORDED: &str = "{\"commitInfo\":{}}\n{\"add\":{\"path\":\"y=1/a.parquet\"}}\n\
    {\"cdc\":{\"path\":\"_change_data/y=1/part-b.parquet\"}}\n";

async fn names(store: &Arc<dyn ObjectStore>) -> Vec<String> {
    let mut names: Vec<_> = store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    names.sort();
    names
}

fn create() -> PutOptions {
    PutOptions { mode: PutMode::Create, ..PutOptions::default() }
}

#[tokio::test]
async fn a_data_file_becomes_visible_with_the_commit_that_names_it() {
    let root: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = StagedStore::new(Arc::clone(&root), Path::from("lake/t"), Some(Path::from("lake/_staged/r/t")));
    store.put(&Path::from("y=1/a.parquet"), "rows".into()).await.unwrap();
    assert_eq!(names(&root).await, ["lake/_staged/r/t/y=1/a.parquet"]);
    assert_eq!(store.get(&Path::from("y=1/a.parquet")).await.unwrap().bytes().await.unwrap(), "rows");
    let log = Path::from("_delta_log/00000000000000000000.json");
    store.put_opts(&log, COMMIT.into(), create()).await.unwrap();
    assert_eq!(names(&root).await, ["lake/t/_delta_log/00000000000000000000.json", "lake/t/y=1/a.parquet"]);
}

#[tokio::test]
async fn a_refused_commit_leaves_none_of_its_files() {
    let root: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let log = Path::from("_delta_log/00000000000000000000.json");
    root.put(&Path::from("lake/t/_delta_log/00000000000000000000.json"), "{}".into()).await.unwrap();
    let store = StagedStore::new(Arc::clone(&root), Path::from("lake/t"), Some(Path::from("lake/_staged/r/t")));
    store.put(&Path::from("y=1/a.parquet"), "rows".into()).await.unwrap();
    let error = store.put_opts(&log, COMMIT.into(), create()).await.unwrap_err();
    assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error}");
    assert_eq!(names(&root).await, ["lake/t/_delta_log/00000000000000000000.json"]);
}

#[tokio::test]
async fn change_data_becomes_visible_with_its_commit_and_is_named_after_its_version() {
    let root: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = StagedStore::new(Arc::clone(&root), Path::from("lake/t"), Some(Path::from("lake/_staged/r/t")));
    let store = Arc::new(store);
    let changes = PrefixStore::new(Arc::clone(&store), "_change_data");
    changes.put(&Path::from("y=1/part-b.parquet"), "changes".into()).await.unwrap();
    store.put(&Path::from("y=1/a.parquet"), "rows".into()).await.unwrap();
    assert_eq!(
        names(&root).await,
        ["lake/_staged/r/t/_change_data/y=1/part-b.parquet", "lake/_staged/r/t/y=1/a.parquet"]
    );
    let log = Path::from("_delta_log/00000000000000000003.json");
    store.put_opts(&log, RECORDED.into(), create()).await.unwrap();
    let changes = "_change_data/y=1/cdc-00000000000000000003-b.parquet";
    assert_eq!(
        names(&root).await,
        [
            format!("lake/t/{changes}"),
            "lake/t/_delta_log/00000000000000000003.json".to_owned(),
            "lake/t/y=1/a.parquet".to_owned()
        ]
    );
    let entry = store.get(&log).await.unwrap().bytes().await.unwrap();
    assert!(String::from_utf8_lossy(&entry).contains(changes), "{entry:?}");
    assert_eq!(store.get(&Path::from(changes)).await.unwrap().bytes().await.unwrap(), "changes");
    assert_eq!(store.take_committed(), Some(3));
}

#[tokio::test]
async fn a_refused_commit_leaves_none_of_its_change_data() {
    let root: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let log = Path::from("_delta_log/00000000000000000003.json");
    root.put(&Path::from("lake/t/_delta_log/00000000000000000003.json"), "{}".into()).await.unwrap();
    let store = StagedStore::new(Arc::clone(&root), Path::from("lake/t"), Some(Path::from("lake/_staged/r/t")));
    store.put(&Path::from("_change_data/y=1/part-b.parquet"), "changes".into()).await.unwrap();
    store.put_opts(&log, RECORDED.into(), create()).await.unwrap_err();
    assert_eq!(names(&root).await, ["lake/t/_delta_log/00000000000000000003.json"]);
    assert_eq!(store.take_committed(), None);
}
