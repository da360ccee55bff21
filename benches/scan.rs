//! The whole list of users over HTTP, an answer taking 100 ms and 1000 requests being allowed in 10 s: the scan with
//! its decoding, in one lane or more, beside a download of the same pages that knows all cursors beforehand.

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

/// The rows are dropped once they are read.
#[divan::bench(args = ["1", "4", "auto"], sample_count = 5, sample_size = 1)]
fn lanes(bencher: Bencher, lanes: &str) {
    let lanes: Lanes = lanes.parse().expect("a number of lanes");
    let simulator = simulator();
    bencher.counter(ItemsCount::new(users())).with_inputs(|| connected(&simulator)).bench_local_values(|client| {
        let rows = runtime().block_on(scan(client, lanes));
        assert_eq!(rows, users(), "the scan gives every user once");
    });
}

/// A client that has asked something before, as a sync's has: it knows how long an answer takes.
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

/// The bound: bodies thrown away, over so many connections.
#[divan::bench(args = [1, 8], sample_count = 5, sample_size = 1)]
fn bare_download(bencher: Bencher, connections: usize) {
    let simulator = simulator();
    let http = reqwest::Client::new();
    let addresses = runtime().block_on(list_users(&http, &simulator.url)).addresses;
    bencher
        .counter(ItemsCount::new(users()))
        .bench_local(|| runtime().block_on(download(&http, &addresses, connections)));
}

/// Gives the number of bytes, decompressed.
async fn download(http: &reqwest::Client, addresses: &[String], connections: usize) -> usize {
    let bodies = addresses.iter().map(|address| {
        let (http, address) = (http.clone(), address.clone());
        async move { tokio::spawn(async move { body(&http, &address).await.len() }).await.expect("a body") }
    });
    stream::iter(bodies).buffer_unordered(connections).fold(0, |bytes, more| ready(bytes + more)).await
}
