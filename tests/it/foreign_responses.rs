//! Responses that do not come from Clerk or break its contract. They are never treated as an empty list, a disabled
//! feature, or the current time.

use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clerk_lake::api::{Client, ClientConfig, Refusal, RetryPolicy, parse_api_url};
use clerk_lake::clock::Clock;
use clerk_lake::sync::CancellationToken;
use serde_json::{Value, json};

use crate::errors::small;
use crate::support::stub::{Request, Stub, StubResponse};
use crate::support::{World, output, stderr};

/// Responds like a small Clerk instance.
fn clerk_response(request: &Request) -> StubResponse {
    let user = |number: i64| json!({"id": format!("user_{number}"), "created_at": 1_700_000_000_000 + number});
    let body = match request.path.as_str() {
        "/v1/instance" => json!({"object": "instance", "id": "ins_stub", "environment_type": "production"}),
        "/v1/users/count" => json!({"object": "total_count", "total_count": 3}),
        "/v1/users" if request.query.contains("starting_after") => json!([]),
        "/v1/users" => json!([user(1), user(2), user(3)]),
        "/v1/organizations" => json!({"data": [{"id": "org_1", "name": "One"}], "total_count": 1}),
        "/v1/sessions" => json!({"data": [{"id": "sess_1", "user_id": "user_1"}], "total_count": 1}),
        _ => return StubResponse::error(404, "resource_not_found"),
    };
    StubResponse::json(200, &body)
}

/// Starts an instance that sends the response of `other`, or that of Clerk if `other` returns `None`.
async fn stub(other: impl Fn(&Request) -> Option<StubResponse> + Send + Sync + 'static) -> Stub {
    Stub::start(move |request| other(request).unwrap_or_else(|| clerk_response(request))).await
}

/// Syncs from `stub`. Returns the output, and the summary by resource.
async fn synced(world: &World, stub: &Stub, resources: &[&str]) -> (Output, Value) {
    let resources: Vec<_> = resources.iter().flat_map(|name| ["--resource", *name]).collect();
    let mut command = world.command(&[&["sync", "--json", "--retry-budget", "1"], resources.as_slice()].concat());
    command.env("CLERK_LAKE_API_URL", stub.url());
    let done = output(command).await;
    let document: Value = serde_json::from_slice(&done.stdout).expect("one JSON document");
    let by_name = document["resources"].as_array().expect("a list").iter();
    let by_name = by_name.map(|resource| (resource["name"].as_str().expect("a name").to_owned(), resource.clone()));
    (done, Value::Object(by_name.collect()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_gateway_is_a_failure_not_a_disabled_feature() {
    for (status, content_type, body) in [
        (403, "text/plain", "RBAC: access denied"),
        (404, "text/plain", "404 page not found"),
        (404, "application/json", r#"{"message":"no Route matched with those values"}"#),
        (404, "text/html", "<html></html>"),
        (403, "application/json", "{}"),
        (403, "application/json", r#"{"errors":[]}"#),
        (402, "text/plain", ""),
        (422, "text/plain", "organization_not_enabled_in_instance"),
    ] {
        let case = format!("{status} {body:?}");
        let gateway = stub(move |request| {
            let is_behind_gateway = ["/v1/organizations", "/v1/sessions"].contains(&request.path.as_str());
            is_behind_gateway.then(|| StubResponse::text(status, content_type, body))
        })
        .await;
        let (done, summary) = synced(&small().await, &gateway, &["users", "organizations", "sessions"]).await;
        assert_eq!(done.status.code(), Some(5), "{case}: {}", stderr(&done));
        let statuses = ["users", "organizations", "sessions"].map(|name| summary[name]["status"].clone());
        assert_eq!(statuses, ["ok", "failed", "failed"], "{case}");
        assert_eq!(summary["organizations"]["retries"], 0, "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_code_of_clerk_disables_a_feature_with_any_status() {
    for (status, code, expected) in [
        (400, "organization_not_enabled_in_instance", "skipped"),
        (422, "organization_not_enabled_in_instance", "skipped"),
        (403, "feature_not_enabled", "skipped"),
        (402, "subscription_required", "skipped"),
        (404, "resource_not_found", "skipped"),
        (422, "form_param_format_invalid", "failed"),
        (403, "authorization_invalid", "failed"),
    ] {
        let instance =
            stub(move |request| (request.path == "/v1/organizations").then(|| StubResponse::error(status, code))).await;
        let (done, summary) = synced(&small().await, &instance, &["organizations"]).await;
        assert_eq!(summary["organizations"]["status"], expected, "{status} {code}: {}", stderr(&done));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_404_for_users_means_that_the_instance_of_the_key_does_not_exist() {
    let gone = stub(|_| Some(StubResponse::error(404, "resource_not_found"))).await;
    let (done, summary) = synced(&small().await, &gone, &[]).await;
    let messages = stderr(&done);
    assert_eq!(done.status.code(), Some(5), "{messages}");
    let help = &messages[messages.find("help:").expect("a hint")..];
    assert!(help.contains("this key's instance") && !help.contains("feature"), "{help}");
    for name in ["users", "sessions"] {
        assert_eq!((&summary[name]["status"], &summary[name]["retries"]), (&json!("failed"), &json!(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_200_that_is_not_from_clerk_is_a_failure() {
    for (path, body) in [
        ("/v1/instance", r#"{"message":"ok"}"#),
        ("/v1/instance", "[]"),
        ("/v1/users/count", r#"{"total_count":"many"}"#),
        ("/v1/users", r#"{"message":"alice@private.example"}"#),
        ("/v1/users", r#""alice@private.example""#),
        ("/v1/users", r#"{"data":null,"errors":["x"]}"#),
    ] {
        let proxy =
            stub(move |request| (request.path == path).then(|| StubResponse::text(200, "application/json", body)))
                .await;
        let (done, summary) = synced(&small().await, &proxy, &["users"]).await;
        assert_eq!(done.status.code(), Some(5), "{path} {body}: {}", stderr(&done));
        assert!(!summary.to_string().contains("alice") && !stderr(&done).contains("alice"), "{path} {body}: {summary}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_response_is_refused() {
    let large = " ".repeat(65 << 20);
    let stub =
        stub(move |request| (request.path == "/v1/users").then(|| StubResponse::text(200, "application/json", &large)));
    let (done, summary) = synced(&small().await, &stub.await, &["users"]).await;
    assert_eq!(done.status.code(), Some(5), "{}", stderr(&done));
    let error = summary["users"]["error"].as_str().unwrap_or_default();
    assert!(error.contains("the response is larger than 64 MiB"), "{error}");
}

/// Starts an instance with a wrong `Date` header. `ahead` returns the difference, and an error status if any, for the
/// number of the request.
async fn with_date(ahead: impl Fn(u32) -> (TimeDelta, Option<u16>) + Send + Sync + 'static) -> Stub {
    let count = AtomicU32::new(0);
    stub(move |request| {
        let (ahead, status) = ahead(count.fetch_add(1, Ordering::Relaxed));
        let date = (Clock::system().now() + ahead).to_rfc2822();
        let response = match status {
            Some(status) => StubResponse::text(status, "text/html", "<html></html>"),
            None => clerk_response(request),
        };
        Some(response.with("date", &date))
    })
    .await
}

/// Returns the watermark of the users after a sync, and the messages.
async fn watermark(stub: &Stub) -> (DateTime<Utc>, String) {
    let (done, summary) = synced(&small().await, stub, &["users"]).await;
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let watermark = summary["users"]["watermark"].as_str().expect("a watermark");
    (watermark.parse().expect("a moment"), stderr(&done))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_date_of_a_proxy_error_page_does_not_set_the_watermark() {
    let hour = TimeDelta::hours(1);
    let stub = with_date(move |number| if number == 0 { (hour, Some(503)) } else { (TimeDelta::zero(), None) }).await;
    let (watermark, _) = watermark(&stub).await;
    assert!(watermark <= Clock::system().now(), "{watermark}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_clock_that_is_days_ahead_is_ignored() {
    let latest_user = DateTime::from_timestamp_millis(1_700_000_000_003).expect("a moment");
    for days in [2, 400] {
        let stub = with_date(move |_| (TimeDelta::days(days), None)).await;
        let (watermark, messages) = watermark(&stub).await;
        assert!(watermark <= latest_user, "{days} days ahead: {watermark}");
        assert!(messages.contains("too far from this machine's clock"), "{messages}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absurd_retry_after_is_ignored() {
    for value in ["18446744073709551615", "1e300", "-1", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let count = AtomicU32::new(0);
        let stub = stub(move |request| {
            let is_first = request.path == "/v1/users" && count.fetch_add(1, Ordering::Relaxed) == 0;
            is_first.then(|| StubResponse::error(429, "too_many_requests").with("retry-after", value))
        })
        .await;
        let (done, _) = synced(&small().await, &stub, &["users"]).await;
        assert_eq!(done.status.code(), Some(0), "{value}: {}", stderr(&done));
    }
}

fn client(stub: &Stub, world: &World, retry: RetryPolicy) -> Client {
    let api_url = parse_api_url(&stub.url()).expect("a URL");
    Client::new(ClientConfig { api_url, retry, ..world.client_config() }).expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_used_the_retry_budget_later_requests_fail_at_once() {
    let failing = Arc::new(AtomicU32::new(1));
    let switch = Arc::clone(&failing);
    let stub =
        stub(move |_| (switch.load(Ordering::Relaxed) == 1).then(|| StubResponse::text(500, "text/plain", ""))).await;
    let retry = RetryPolicy {
        budget: Duration::from_millis(50),
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_millis(10),
        ..RetryPolicy::default()
    };
    let client = client(&stub, &small().await, retry).for_run(CancellationToken::new(), Arc::new(|_: &str| ()));
    let send = async |path: &str| client.get(path, &[], |_: &[u8]| Ok(())).await;
    let attempts = async |path: &str| send(path).await.expect_err("an outage").attempts;
    assert!(attempts("/users").await > 1);
    assert_eq!([attempts("/organizations").await, attempts("/sessions").await], [1, 1]);
    failing.store(0, Ordering::Relaxed);
    send("/users").await.expect("the outage is over");
    failing.store(1, Ordering::Relaxed);
    assert!(attempts("/users").await > 1, "a new outage has a new retry budget");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_pause_requested_by_clerk_is_reported() {
    let stub = stub(|_| Some(StubResponse::error(429, "too_many_requests").with("retry-after", "30"))).await;
    let (messages, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
    let notice = {
        let (messages, stop) = (Arc::clone(&messages), stop.clone());
        move |text: &str| {
            messages.lock().expect("a lock").push(text.to_owned());
            // Do not wait for half a minute.
            stop.cancel();
        }
    };
    let client = client(&stub, &small().await, RetryPolicy::default()).for_run(stop, Arc::new(notice));
    let error = client.get("/users", &[], |_: &[u8]| Ok(())).await.expect_err("the request was cancelled");
    assert_eq!(error.refusal, Refusal::Interrupted);
    assert_eq!(*messages.lock().expect("a lock"), ["Clerk asked for a pause of 30 s (429 on /v1/users)"]);
}
