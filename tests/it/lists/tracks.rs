//! Lists are read at the same time, unless one lane is asked for. The summary has the registry's order, and a refused key
//! ends all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clerk_lake::api::{Client, ClientConfig, Lanes, parse_api_url};
use clerk_lake::resource;
use clerk_lake::simulator::List;
use clerk_lake::sync::{ResourceStatus, Status, SyncOptions};
use clerk_lake::{Error, ErrorKind};
use serde_json::{Value, json};

use super::{list_of, listed, small, stored};
use crate::support::stub::{Request, Stub, StubResponse};
use crate::support::{World, expected, output, stderr};

/// The time that the server takes to answer a request.
const LATENCY: Duration = Duration::from_millis(4);

/// The requests that the server is answering, and those that it has answered.
#[derive(Default)]
struct Traffic {
    open: Vec<String>,
    most_open: usize,
    most_lists: BTreeSet<String>,
    answered: usize,
    refused: usize,
}

/// A server with the lists of a simulated instance.
#[derive(Clone)]
struct Server {
    rows: Arc<BTreeMap<String, Vec<Value>>>,
    traffic: Arc<Mutex<Traffic>>,
    /// The number of requests after which the key is refused.
    valid_for: usize,
}

impl Server {
    fn new(world: &World, valid_for: usize) -> Self {
        let mut rows = BTreeMap::new();
        for resource in listed().into_iter().filter(|it| it.name != "payment_attempts") {
            let path = resource.table.source.strip_prefix("GET ").expect("an endpoint").to_owned();
            rows.insert(path, world.simulator.listed(list_of(resource)));
        }
        for attempt in world.simulator.listed(List::PaymentAttempts) {
            let statement = attempt["statement_id"].as_str().expect("an id").to_owned();
            rows.entry(format!("/v1/billing/statements/{statement}/payment_attempts")).or_default().push(attempt);
        }
        rows.insert("/v1/users".to_owned(), world.simulator.listed(List::Users));
        let newest_first = world.simulator.listed(List::Sessions).into_iter().rev().collect();
        rows.insert("/v1/sessions".to_owned(), newest_first);
        Self { rows: Arc::new(rows), traffic: Arc::default(), valid_for }
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn start(&self) -> Stub {
        let server = self.clone();
        Stub::start(move |request| server.respond(request)).await
    }

    fn respond(&self, request: &Request) -> StubResponse {
        let is_refused = {
            let mut traffic = self.traffic();
            traffic.open.push(request.path.clone());
            // Users are counted while a page of them is read.
            let pages = traffic.open.iter().filter(|path| *path != "/v1/users/count");
            let (open, lists) = (pages.clone().count(), pages.cloned().collect::<BTreeSet<_>>());
            traffic.most_open = traffic.most_open.max(open);
            if lists.len() > traffic.most_lists.len() {
                traffic.most_lists = lists;
            }
            traffic.answered += 1;
            let is_refused = traffic.answered > self.valid_for;
            traffic.refused += usize::from(is_refused);
            is_refused
        };
        std::thread::sleep(LATENCY);
        let response = if is_refused { StubResponse::error(401, "clerk_key_invalid") } else { self.answer(request) };
        let mut traffic = self.traffic();
        let at = traffic.open.iter().position(|path| *path == request.path).expect("an open request");
        traffic.open.swap_remove(at);
        response
    }

    fn answer(&self, request: &Request) -> StubResponse {
        let parameter = |name: &str| {
            let found = request.query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
            found.map(|(_, value)| value.to_owned())
        };
        let number = |name: &str| parameter(name).and_then(|text| text.parse::<usize>().ok());
        let none = Vec::new();
        let rows = self.rows.get(&request.path).unwrap_or(&none);
        let (offset, limit) = (number("offset").unwrap_or(0), number("limit").unwrap_or(usize::MAX));
        let page: Vec<_> = rows.iter().skip(offset).take(limit).cloned().collect();
        match request.path.as_str() {
            "/v1/instance" => StubResponse::json(200, &rows[0]),
            "/v1/users/count" => StubResponse::json(200, &json!({"total_count": self.rows["/v1/users"].len()})),
            "/v1/users" if parameter("starting_after").is_some() => StubResponse::json(200, &json!([])),
            "/v1/users" | "/v1/sessions" => StubResponse::json(200, &page.into()),
            _ => StubResponse::json(200, &json!({"data": page, "total_count": rows.len()})),
        }
    }
}

fn client(world: &World, stub: &Stub) -> Client {
    let api_url = parse_api_url(&stub.url()).expect("a URL");
    Client::new(ClientConfig { api_url, ..world.client_config() }).expect("a client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn lists_are_read_at_the_same_time_unless_one_lane_is_asked_for() {
    for lanes in [Lanes::Fixed(1), Lanes::Automatic] {
        let world = expected::fixed_clock_world(small).await;
        let server = Server::new(&world, usize::MAX);
        let stub = server.start().await;
        let options = SyncOptions { lanes, resources: resource::ALL.to_vec(), ..world.options.clone() };
        let summary = Box::pin(world.sync_with(client(&world, &stub), world.lake(), options)).await;
        assert_eq!(summary.status, Status::Ok, "{lanes:?}: {summary:?}");
        let names: Vec<_> = summary.resources.iter().map(|resource| resource.name.as_str()).collect();
        assert_eq!(names, resource::ALL.map(|resource| resource.name), "{lanes:?}");
        for resource in listed() {
            let wanted = expected::wanted(&world, resource.name);
            expected::assert_same(resource.name, &stored(&world, resource).await, &wanted);
        }
        let traffic = server.traffic();
        let (requests, lists) = (traffic.most_open, &traffic.most_lists);
        if lanes == Lanes::Fixed(1) {
            assert_eq!(requests, 1, "requests at the same time, to {lists:?}");
        } else {
            assert!(lists.len() > 2, "{requests} requests at the same time, to {lists:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_key_that_is_refused_during_a_run_stops_all_lists() {
    for valid_for in [1, 4, 9, 20] {
        let world = expected::fixed_clock_world(small).await;
        let server = Server::new(&world, valid_for);
        let stub = server.start().await;
        let options = SyncOptions { resources: resource::ALL.to_vec(), ..world.options.clone() };
        let summary = Box::pin(world.sync_with(client(&world, &stub), world.lake(), options)).await;
        assert_eq!(summary.worst().map(Error::kind), Some(ErrorKind::KeyRefused), "{valid_for}: {summary:?}");
        let names: Vec<_> = summary.resources.iter().map(|resource| resource.name.as_str()).collect();
        assert_eq!(names, resource::ALL.map(|resource| resource.name), "{valid_for}");
        for resource in summary.resources.iter().filter(|it| it.status != ResourceStatus::Ok) {
            let kind = resource.failure.as_ref().map(Error::kind);
            assert_eq!(kind, Some(ErrorKind::KeyRefused), "{valid_for}: {resource:?}");
        }
        // Only requests that had been sent when the first one was refused.
        let refused = server.traffic().refused;
        assert!((1..=20).contains(&refused), "{valid_for}: {refused} requests were refused");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_key_that_is_refused_during_a_run_is_reported_once() {
    let world = expected::fixed_clock_world(small).await;
    let server = Server::new(&world, 6);
    let stub = server.start().await;
    let mut command = world.command(&["sync", "--resource", "users"]);
    for resource in listed() {
        command.args(["--resource", resource.name]);
    }
    command.env("CLERK_LAKE_API_URL", stub.url());
    let done = output(command).await;
    let messages = stderr(&done);
    assert_eq!(done.status.code(), Some(3), "{messages}");
    assert_eq!(messages.matches("error:").count(), 1, "{messages}");
    assert!(messages.contains("clerk_key_invalid"), "{messages}");
}
