//! Rows that break Clerk's contract: they are kept with NULL fields, or rejected and recorded.

use std::collections::BTreeMap;

use clerk_lake::ErrorKind;
use clerk_lake::api::{Client, ClientConfig, parse_api_url};
use clerk_lake::resource::Resource;
use clerk_lake::simulator::{Corruption, PRIVATE_MARKER};
use clerk_lake::sync::{Extent, ResourceStatus, Status, SyncOptions};
use serde_json::{Value, json};

use super::{an_hour_later, list_of, listed, optional, stored, sync_ok, sync_warned, synced, wanted, world};
use crate::support::expected::{self, Rows, assert_same};
use crate::support::stub::{Request, Stub, StubResponse};
use crate::support::{World, files, named};

/// Corrupts the row at this position of each list in this way, and returns its id by the name of the resource.
fn corrupt(world: &World, at: usize, how: Corruption) -> BTreeMap<&'static str, String> {
    let ids: BTreeMap<_, _> = optional()
        .into_iter()
        .map(|it| (it.name, world.simulator.listed(list_of(it))[at]["id"].as_str().expect("an id").to_owned()))
        .collect();
    world.simulator.with_model(|model| model.corrupt.extend(ids.values().map(|id| (id.clone(), how))));
    ids
}

fn has_column(resource: &Resource, name: &str) -> bool {
    (resource.table.columns)().iter().any(|column| column.name == name)
}

/// Returns the rows of a table of which one has no readable `created_at`.
fn without_creation(resource: &Resource, mut rows: Rows, id: &str) -> Rows {
    let row = rows.get_mut(id).expect("a row");
    if has_column(resource, "created_at") {
        row["created_at"] = Value::Null;
        if has_column(resource, "created_year") {
            row["created_year"] = json!(0);
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_the_wrong_type_is_null_and_its_row_is_kept() {
    let mut world = world(|config| config.clamp = Some(5)).await;
    let odd = corrupt(&world, 7, Corruption::NumberAsText);
    let wanted = wanted(&world);
    for extent in [Extent::Changes, Extent::Full] {
        world.options.extent = extent;
        let summary = sync_ok(&world, "odd fields").await;
        for (summary, resource) in summary.resources.iter().zip(listed()) {
            let name = resource.name;
            let Some(id) = odd.get(name) else { continue };
            let nulled: Vec<_> = summary.fields_nulled.iter().map(|(field, it)| (field.as_str(), it.rows)).collect();
            let expected: &[_] = if has_column(resource, "created_at") { &[("created_at", 1)] } else { &[] };
            assert_eq!((summary.rows_rejected, &nulled[..]), (0, expected), "{extent:?}: {name}");
            let rows = stored(&world, resource).await;
            assert_same(name, &rows, &without_creation(resource, wanted[name].clone(), id));
        }
        an_hour_later(&world, |_| ());
    }
    let recorded = world.rows("SELECT resource, fields FROM clerk_rejected_row ORDER BY 1").await;
    let with_times = optional().into_iter().filter(|it| has_column(it, "created_at")).count();
    assert_eq!(recorded.len(), with_times, "{recorded:?}");
    assert!(recorded.iter().all(|row| row["fields"] == "created_at"), "{recorded:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_an_id_is_rejected_and_all_others_are_synced() {
    let mut world = world(|config| config.clamp = Some(5)).await;
    let broken = corrupt(&world, 5, Corruption::NoId);
    for extent in [Extent::Changes, Extent::Full] {
        world.options.extent = extent;
        let summary = sync_ok(&world, "rejected rows").await;
        for (summary, resource) in summary.resources.iter().zip(listed()) {
            let mut wanted = expected::wanted(&world, resource.name);
            if let Some(id) = broken.get(resource.name) {
                wanted.remove(id).expect("the row");
            }
            assert_eq!(summary.rows_rejected, u64::from(broken.contains_key(resource.name)), "{summary:?}");
            assert_same(resource.name, &stored(&world, resource).await, &wanted);
        }
        an_hour_later(&world, |_| ());
    }
    let recorded = world.rows("SELECT * FROM clerk_rejected_row").await;
    assert_eq!(recorded.len(), optional().len(), "each row is recorded once");
    for row in recorded {
        assert_eq!(row["reason"], "id is null", "{row}");
        assert!(!row.to_string().contains(PRIVATE_MARKER), "{row}");
    }
}

/// Returns a client of a server that answers `null` to each list, instead of a list.
async fn null_lists(world: &World) -> (Stub, Client) {
    let instance = world.simulator.listed(clerk_lake::simulator::List::Instance).swap_remove(0);
    let stub = Stub::start(move |request: &Request| match request.path.as_str() {
        "/v1/instance" => StubResponse::json(200, &instance),
        path if path.len().is_multiple_of(2) => StubResponse::json(200, &json!({"data": null, "total_count": 0})),
        _ => StubResponse::json(200, &Value::Null),
    })
    .await;
    let url = parse_api_url(&stub.url()).expect("a URL");
    let client = Client::new(ClientConfig { api_url: url, ..world.client_config() }).expect("a client");
    (stub, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn null_instead_of_a_list_empties_no_table() {
    let world = synced(|_| ()).await;
    let (_stub, client) = null_lists(&world).await;
    let tables = optional().into_iter().map(|it| world.path().join(it.table.name));
    let before: Vec<_> = tables.clone().map(|table| files(&table)).collect();
    let options = SyncOptions { extent: Extent::Full, max_shrink: 0.2, ..world.options.clone() };
    let (summary, _) = sync_warned(&world, client, options).await;
    assert_eq!(summary.status, Status::Partial, "{summary:?}");
    for summary in summary.resources.iter().filter(|summary| summary.name != "instance") {
        let kind = summary.failure.as_ref().map(clerk_lake::Error::kind);
        assert_eq!(kind, Some(ErrorKind::Answer), "{summary:?}");
    }
    assert!(tables.map(|table| files(&table)).eq(before), "a table has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn null_instead_of_a_list_is_an_empty_list_in_a_new_lake() {
    let world = world(|_| ()).await;
    let (_stub, client) = null_lists(&world).await;
    let (summary, _) = sync_warned(&world, client, world.options.clone()).await;
    assert_eq!(summary.status, Status::Ok, "{summary:?}");
    for (summary, resource) in summary.resources.iter().zip(listed()) {
        assert_eq!((summary.status, summary.rows_rejected), (ResourceStatus::Ok, 0), "{summary:?}");
        assert_eq!(summary.rows_total, u64::from(resource.name == "instance"), "{summary:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_as_before_is_read_into_a_table_that_is_not() {
    let organizations = named("organizations");
    let mut world = world(|config| config.organizations = 12).await;
    world.options.resources = vec![organizations];
    world.options.max_rejected = 1.0;
    sync_ok(&world, "first").await;
    let id = world.simulator.listed(list_of(organizations))[3]["id"].as_str().expect("an id").to_owned();
    // One row loses its id and so leaves the table, and another one comes: the number of rows stays the same.
    let mut other = String::new();
    an_hour_later(&world, |model| {
        other = model.create_organization();
        model.corrupt.insert(id.clone(), Corruption::NoId);
    });
    let summary = world.sync().await;
    assert_eq!((summary.status, summary.resources[0].rows_rejected), (Status::Ok, 1), "{summary:?}");
    an_hour_later(&world, |model| {
        model.delete_organization(&other);
        model.corrupt.remove(&id);
    });
    sync_ok(&world, "as before").await;
    expected::assert_resource_equals(&world, "organizations", "as before").await;
}
