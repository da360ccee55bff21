//! Fields with an unexpected JSON type become NULL, and are counted and named. Their rows are kept.

use std::sync::Arc;

use clerk_lake::simulator::{Corruption, Model};
use clerk_lake::sync::{CancellationToken, Extent, Status, Summary, SyncJob};
use serde_json::{Value, json};

use crate::errors::small;
use crate::incremental::{HOUR, fresh, set_clock};
use crate::support::expected::NOW;
use crate::support::stub::{Request, Stub, StubResponse};
use crate::support::warnings::Warnings;
use crate::support::{World, output, stderr};

async fn sync_warned(world: &World) -> (Summary, Vec<String>) {
    let warnings = Arc::new(Warnings::default());
    let run = SyncJob {
        client: world.client(),
        lake: world.lake(),
        clock: world.clock(),
        options: world.options.clone(),
        progress: warnings.clone(),
        stop: CancellationToken::new(),
    };
    let summary = Box::pin(run.run()).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    let texts = warnings.texts();
    (summary, texts)
}

/// Makes `created_at` a string in three users, two sessions and one organization.
fn make_created_at_text(model: &mut Model) {
    let users = model.users.iter().take(3).map(|row| row.id.clone());
    let sessions = model.sessions.iter().take(2).map(|row| row.id.clone());
    let organizations = model.organizations.iter().take(1).map(|row| row.id.clone());
    let odd: Vec<_> = users.chain(sessions).chain(organizations).collect();
    model.corrupt.extend(odd.into_iter().map(|id| (id, Corruption::NumberAsText)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_with_an_unexpected_type_becomes_null_and_its_row_is_kept() {
    for plain in [true, false] {
        let mut world = fresh(|config| config.plain_session_listing = plain).await;
        world.simulator.with_model(make_created_at_text);
        for (hours, extent) in [(0, Extent::Changes), (1, Extent::Full), (2, Extent::Changes)] {
            let case = format!("{extent:?} after {hours} hours, plain session list: {plain}");
            set_clock(&world, NOW + hours * HOUR);
            world.options.extent = extent;
            world.simulator.clear_requests();
            let (summary, warnings) = sync_warned(&world).await;
            assert!(summary.resources.iter().all(|resource| resource.rows_rejected == 0), "{case}: {summary:?}");
            if hours < 2 {
                let odd = |at: usize| summary.resources[at].fields_nulled.get("created_at").map(|field| field.rows);
                assert_eq!([odd(0), odd(1), odd(2)], [Some(3), Some(1), Some(2)], "{case}");
                let warning = "users: created_at was not a time in Unix milliseconds in 3 rows; stored as NULL";
                assert_eq!(warnings.iter().filter(|text| *text == warning).count(), 1, "{case}: {warnings:?}");
            }
            for (table, resource) in [("clerk_user", "users"), ("clerk_organization", "organizations")] {
                let rows = world.number(&format!("SELECT count(*) FROM {table}")).await;
                let there = world.simulator.with_model(|model| match resource {
                    "users" => model.users.len(),
                    _ => model.organizations.len(),
                });
                assert_eq!(rows, i64::try_from(there).expect("a count"), "{case}: {table}");
            }
            assert_eq!(world.number("SELECT count(*) FROM clerk_user WHERE created_at IS NULL").await, 3, "{case}");
            assert_eq!(world.number("SELECT count(*) FROM clerk_session WHERE created_at IS NULL").await, 2, "{case}");
            assert_recorded(&world, &case).await;
            let requests = world.simulator.requests();
            let asked_again = requests.iter().flat_map(|it| &it.query).filter(|(name, _)| name == "user_id[]").count();
            assert_eq!(asked_again, 0, "{case}: readable rows were requested again");
        }
    }
}

/// Asserts that each changed row is recorded once, without the value.
async fn assert_recorded(world: &World, case: &str) {
    let rows = world.rows("SELECT * FROM clerk_rejected_row ORDER BY resource, row").await;
    assert_eq!(rows.len(), 6, "{case}: {rows:?}");
    for row in rows {
        assert_eq!(row["fields"], "created_at", "{case}");
        assert_eq!(row["reason"], "created_at is a string, expected a time in Unix milliseconds", "{case}");
        let raw: Value = serde_json::from_str(row["raw"].as_str().expect("text")).expect("JSON");
        assert_eq!((&raw["id"], &raw["created_at"]), (&row["row"], &Value::Null), "{case}");
        assert!(!row.to_string().contains("yesterday") && raw.get("private_metadata").is_none(), "{case}: {row}");
    }
}

/// Three users: one with invalid text, one with deeply nested metadata and a flag that is not a boolean, and one with a
/// number that is out of range.
fn users() -> String {
    let user = |id: &str, more: &str| {
        format!(
            r#"{{"id":"{id}","created_at":1700000000000.0,"private_metadata":{{"ssn":"SECRET"}},"password_digest":"SECRET",
            "email_addresses":[{{"id":"e","email_address":"a@b.example","verification":{{"status":"verified",
            "external_verification_redirect_url":"https://x.example/?token=SECRET"}}}}],{more}}}"#
        )
    };
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    let first = user("user_1", r#""first_name":"Zo\ud83d""#);
    let second = user("user_2", &format!(r#""banned":"alice@private.example","unsafe_metadata":{deep}"#));
    let third = user("user_3", r#""unsafe_metadata":{"n":1e999},"create_organizations_limit":1e999"#);
    format!("[{first},{second},{third}]")
}

fn odd_instance(request: &Request) -> StubResponse {
    match request.path.as_str() {
        "/v1/instance" => StubResponse::json(200, &json!({"id": "ins_odd", "environment_type": "production"})),
        "/v1/users/count" => StubResponse::text(200, "application/json", r#"{"total_count":3.0}"#),
        "/v1/users" if request.query.contains("starting_after") => StubResponse::json(200, &json!([])),
        "/v1/users" => StubResponse::text(200, "application/json", &users()),
        _ => StubResponse::error(404, "resource_not_found"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_strict_parser_refuses_are_stored_without_private_data() {
    let (world, stub) = (small().await, Stub::start(odd_instance).await);
    let mut command = world.command(&["sync", "--resource", "users", "-vv"]);
    command.env("CLERK_LAKE_API_URL", stub.url());
    let done = output(command).await;
    let messages = stderr(&done);
    assert_eq!(done.status.code(), Some(0), "{messages}");
    assert!(messages.contains("warning: users: banned was not a boolean in 1 row; stored as NULL"), "{messages}");
    assert!(!messages.contains("alice@private") && !messages.contains("SECRET"), "{messages}");
    let rows = world.rows("SELECT * FROM clerk_user ORDER BY id").await;
    assert_eq!(rows[0]["first_name"], "Zo\u{fffd}");
    assert!(rows[1]["banned"].is_null() && rows[1]["unsafe_metadata"].as_str().is_some_and(|text| text.len() > 1000));
    assert_eq!(
        (&rows[2]["unsafe_metadata"], &rows[2]["create_organizations_limit"]),
        (&json!(r#"{"n":1e999}"#), &Value::Null)
    );
    assert!(rows.iter().all(|row| row["created_at"] == "2023-11-14T22:13:20Z" && row["email"] == "a@b.example"));
    let recorded = world.rows("SELECT * FROM clerk_rejected_row ORDER BY row").await;
    assert_eq!(recorded.iter().map(|row| row["row"].clone()).collect::<Vec<_>>(), ["user_2", "user_3"]);
    for row in rows.iter().chain(&recorded) {
        let text = row.to_string();
        assert!(!text.contains("SECRET") && !text.contains("alice@private"), "{text}");
    }
}
