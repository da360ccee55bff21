//! Shared by the benches of one process: the runtime, pages of users, and the library's client.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use arrow::array::{ArrayRef, RecordBatch};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use clerk_lake::api::{Client, ClientConfig, RateLimit, SecretKey, parse_api_url};
use clerk_lake::clock::Clock;
use tokio::runtime::{Builder, Runtime};

use crate::clerk::{KEY, Simulator};
use crate::pages::{PAGE_ROWS, list_users};

/// Returns the runtime of the process. Like the program's runtime, it has one thread per core.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_multi_thread().enable_all().build().expect("a runtime"));
    &RUNTIME
}

/// Returns the current time.
pub fn now() -> DateTime<Utc> {
    Clock::system().now()
}

/// Returns the decompressed bodies of `count` full pages of users, oldest first. Fetches them once per `count`.
pub fn user_pages(count: usize) -> &'static [Bytes] {
    static FETCHED: Mutex<BTreeMap<usize, &'static [Bytes]>> = Mutex::new(BTreeMap::new());
    let mut fetched = FETCHED.lock().expect("no fetch has panicked");
    fetched.entry(count).or_insert_with(|| fetch_pages(count).leak())
}

fn fetch_pages(count: usize) -> Vec<Bytes> {
    let simulator = Simulator::start(count * PAGE_ROWS, &[]);
    let list = runtime().block_on(list_users(&reqwest::Client::new(), &simulator.url));
    assert_eq!(list.pages.len(), count, "the list has `count` pages");
    list.pages
}

/// Returns the library's client for the instance at `url`. It may use the whole request budget.
pub fn client(url: &str, rate_limit: RateLimit) -> Client {
    let (url, key) = (parse_api_url(url).expect("a URL"), SecretKey::new(KEY).expect("a key"));
    Client::new(ClientConfig { quota_share: 1.0, rate_limit, ..ClientConfig::new(url, key) }).expect("a client")
}

/// Returns `batch` with `values` in the column `name`.
pub fn with_column(batch: &RecordBatch, name: &str, values: ArrayRef) -> RecordBatch {
    let mut columns = batch.columns().to_vec();
    columns[batch.schema_ref().index_of(name).expect("a column")] = values;
    RecordBatch::try_new(batch.schema(), columns).expect("values of the column's type")
}
