//! Lists all users over HTTP, with a latency of 100 ms and a rate limit of 1000 requests per 10 s.
//!
//! The scan decodes the pages and uses one or more lanes. It is compared with a download of the same pages that knows
//! all cursors in advance.

use std::future::ready;

use clerk_lake::api::{self, Client, Lanes, ListRequest, Order, RateLimit, Scan};
use clerk_lake::resource::USER_LIST;
use divan::Bencher;
use divan::counter::ItemsCount;
use futures::{StreamExt, stream};

use crate::clerk::{Simulator, size};
use crate::pages::{body, list_users};
use crate::support::{client, now, runtime};

fn users() -> usize {
    size("CLERK_LAKE_BENCH_SCAN_USERS", 20_000)
}

fn simulator() -> Simulator {
    Simulator::start(users(), &["--latency", "100", "--limit", "1000"])
}

/// Scans the list and drops the rows as they are read.
#[divan::bench(args = ["1", "4", "auto"], sample_count = 5, sample_size = 1)]
fn lanes(bencher: Bencher, lanes: &str) {
    let lanes: Lanes = lanes.parse().expect("a number of lanes");
    let simulator = simulator();
    bencher.counter(ItemsCount::new(users())).with_inputs(|| connected(&simulator)).bench_local_values(|client| {
        let rows = runtime().block_on(scan(client, lanes));
        assert_eq!(rows, users(), "the scan returns each user once");
    });
}

/// Returns a client that has already sent a request and therefore knows the latency, like the client of a sync.
fn connected(simulator: &Simulator) -> Client {
    let client = client(&simulator.url, RateLimit::Automatic);
    runtime().block_on(api::instance(&client)).expect("an instance");
    client
}

async fn scan(client: Client, lanes: Lanes) -> usize {
    let now = now().timestamp_millis();
    let request = ListRequest::new("/users", Order::Cursor).with("order_by", "created_at").until(now);
    let mut scan = Scan::new(client, request, USER_LIST.decode, lanes, now, None);
    let mut rows = 0;
    while let Some(page) = scan.next_page().await.expect("a page of users") {
        rows += page.fresh_count;
    }
    rows
}

/// The bound: a download over `connections` connections that drops the bodies.
#[divan::bench(args = [1, 8], sample_count = 5, sample_size = 1)]
fn bare_download(bencher: Bencher, connections: usize) {
    let simulator = simulator();
    let http = reqwest::Client::new();
    let addresses = runtime().block_on(list_users(&http, &simulator.url)).addresses;
    bencher
        .counter(ItemsCount::new(users()))
        .bench_local(|| runtime().block_on(download(&http, &addresses, connections)));
}

/// Returns the number of decompressed bytes.
async fn download(http: &reqwest::Client, addresses: &[String], connections: usize) -> usize {
    let bodies = addresses.iter().map(|address| {
        let (http, address) = (http.clone(), address.clone());
        async move { tokio::spawn(async move { body(&http, &address).await.len() }).await.expect("a body") }
    });
    stream::iter(bodies).buffer_unordered(connections).fold(0, |bytes, more| ready(bytes + more)).await
}
