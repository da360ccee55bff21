//! Clerk's endpoints, and the simulator's control endpoints under `/_simulator`.

use super::answer::{Reply, error_reply};
use super::change_kind::{ChangeKind, Changes};
use super::faults::Faults;
use super::listing::{self, PageRange, QueryString, TieOrder};
use super::model::Model;
use super::state::Shared;
use super::truth::Truth;
use super::{corruption, generate, render};

/// Returns whether a request to `path` counts as a list request. Changes are made before list requests only.
pub(super) fn is_list(path: &str) -> bool {
    matches!(path, "/v1/users" | "/v1/sessions" | "/v1/organizations" | "/v1/organization_memberships")
}

/// Returns the response to a request to Clerk's API.
pub(super) fn clerk(shared: &Shared, path: &str, parameters: &QueryString, clamp: Option<usize>) -> Reply {
    let result = match path {
        "/v1/users" => users(shared, parameters, clamp),
        "/v1/users/count" => Ok(Reply::json(total(listing::count_users(&shared.model(), parameters)))),
        "/v1/sessions" => sessions(shared, parameters, clamp),
        "/v1/organizations" => organizations(shared, parameters, clamp),
        "/v1/organization_memberships" => memberships(shared, parameters, clamp),
        "/v1/instance" => Ok(instance(shared)),
        "/v1/clients" => Err(error_reply(410, "endpoint_gone", "This endpoint is no longer available")),
        _ => match path.strip_prefix("/v1/users/") {
            Some(id) => user(shared, id),
            None => Err(error_reply(404, "resource_not_found", "Resource not found")),
        },
    };
    result.unwrap_or_else(|error| error)
}

fn total(count: usize) -> String {
    format!("{{\"object\":\"total_count\",\"total_count\":{count}}}")
}

fn instance(shared: &Shared) -> Reply {
    let settings = shared.settings();
    if let Some(status) = settings.instance_status {
        return error_reply(status, "resource_not_found", "This key is not allowed to read the instance");
    }
    let body = serde_json::json!({
        "object": "instance", "id": settings.instance_id, "environment_type": settings.environment_type,
        "allowed_origins": null, "workspace_id": null,
    });
    Reply::json(body.to_string())
}

fn users(shared: &Shared, parameters: &QueryString, clamp: Option<usize>) -> Result<Reply, Reply> {
    let range = listing::page_range(parameters, clamp)?;
    let unknown_cursor = shared.settings().faults.unknown_cursor;
    let filters_apply = shared.settings().creation_filters;
    let parameters = &if filters_apply { parameters.clone() } else { parameters.without("created_at_") };
    if let Some(cursor) = parameters.get("starting_after") {
        shared.delete_cursor(cursor);
    }
    let ties = tie_order(shared);
    let model = shared.model();
    let rows = listing::users(&model, parameters, range, unknown_cursor, ties)?;
    let rows = array(&rows, 3000, |out, row| {
        corruption::render(out, model.corrupt.get(&row.id), |out| render::user(out, row));
    });
    Ok(Reply::json(rows))
}

fn tie_order(shared: &Shared) -> TieOrder {
    if shared.settings().unstable_ties { TieOrder::Shuffled(shared.record_count()) } else { TieOrder::Stable }
}

fn user(shared: &Shared, id: &str) -> Result<Reply, Reply> {
    let model = shared.model();
    let user =
        model.users.get(id).ok_or_else(|| error_reply(404, "resource_not_found", "No user was found with this id"))?;
    let mut body = String::new();
    render::user(&mut body, user);
    Ok(Reply::json(body))
}

fn sessions(shared: &Shared, parameters: &QueryString, clamp: Option<usize>) -> Result<Reply, Reply> {
    let range = listing::page_range(parameters, clamp)?;
    let plain = parameters.get("user_id").is_none() && parameters.get("client_id").is_none();
    if plain && !shared.settings().plain_session_listing {
        return Err(error_reply(422, "form_param_missing", "user_id or client_id must be provided"));
    }
    let model = shared.model();
    let (rows, count) = listing::sessions(&model, parameters, range);
    let rows = array(&rows, 700, |out, row| {
        corruption::render(out, model.corrupt.get(&row.id), |out| render::session(out, row));
    });
    Ok(Reply::json(if parameters.flag("paginated") { envelope(&rows, count) } else { rows }))
}

fn organizations(shared: &Shared, parameters: &QueryString, clamp: Option<usize>) -> Result<Reply, Reply> {
    let range = organization_page_range(shared, parameters, clamp)?;
    let ties = tie_order(shared);
    let model = shared.model();
    let rows = listing::organizations(&model, parameters, range, ties)?;
    let with_members = parameters.flag("include_members_count");
    let rows = array(&rows, 800, |out, row| {
        let members = with_members.then(|| model.members.get(&row.id).copied().unwrap_or(0));
        corruption::render(out, model.corrupt.get(&row.id), |out| render::organization(out, row, members));
    });
    Ok(Reply::json(envelope(&rows, model.organizations.len())))
}

fn memberships(shared: &Shared, parameters: &QueryString, clamp: Option<usize>) -> Result<Reply, Reply> {
    let range = organization_page_range(shared, parameters, clamp)?;
    let model = shared.model();
    let mut rows: Vec<_> = model.memberships.iter().collect();
    if parameters.get("order_by").is_some_and(|order| order.starts_with('-')) {
        rows.reverse();
    }
    let rows: Vec<_> = rows.into_iter().skip(range.offset).take(range.limit).collect();
    let rows = array(&rows, 1200, |out, row| {
        render::membership(out, row, model.organizations.get(&row.organization_id), model.users.get(&row.user_id));
    });
    Ok(Reply::json(envelope(&rows, model.memberships.len())))
}

fn organization_page_range(
    shared: &Shared,
    parameters: &QueryString,
    clamp: Option<usize>,
) -> Result<PageRange, Reply> {
    match shared.settings().organizations_status {
        Some(status) => Err(error_reply(
            status,
            "organization_not_enabled_in_instance",
            "The organizations feature is not enabled for this instance",
        )),
        None => listing::page_range(parameters, clamp),
    }
}

fn array<T>(rows: &[&T], bytes_each: usize, write: impl Fn(&mut String, &T)) -> String {
    let mut out = String::with_capacity(rows.len() * bytes_each + 2);
    out.push('[');
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(&mut out, row);
    }
    out.push(']');
    out
}

fn envelope(rows: &str, total: usize) -> String {
    format!("{{\"data\":{rows},\"total_count\":{total}}}")
}

/// Returns the response to a control request. No key, rate limit or faults apply.
pub(super) fn simulator(shared: &Shared, path: &str, parameters: &QueryString, body: &[u8]) -> Reply {
    let days = parameters.get("lookback_days").and_then(|days| days.parse().ok()).unwrap_or(30);
    match path {
        "/_simulator/truth" => as_json(&Truth::of(&shared.model(), days)),
        "/_simulator/users" => Reply::json(all_users(&shared.model())),
        "/_simulator/faults" => set(body, |faults: Faults| shared.settings().faults = faults),
        "/_simulator/changes" => set(body, |changes: Option<Changes>| shared.settings().changes = changes),
        "/_simulator/change" => change(shared, parameters),
        "/_simulator/clock" => clock(shared, parameters),
        _ => error_reply(404, "resource_not_found", "Unknown simulator endpoint"),
    }
}

/// Returns all users as the API lists them, one per line.
fn all_users(model: &Model) -> String {
    let mut out = String::new();
    for user in model.users.iter() {
        render::user(&mut out, user);
        out.push('\n');
    }
    out
}

fn as_json(value: &impl serde::Serialize) -> Reply {
    Reply::json(serde_json::to_string(value).unwrap_or_default())
}

fn set<T: serde::de::DeserializeOwned>(body: &[u8], set: impl FnOnce(T)) -> Reply {
    match serde_json::from_slice(body) {
        Ok(value) => {
            set(value);
            Reply::json("{}".to_owned())
        }
        Err(error) => error_reply(422, "form_param_format_invalid", &error.to_string()),
    }
}

fn change(shared: &Shared, parameters: &QueryString) -> Reply {
    let count = parameters.get("count").and_then(|count| count.parse().ok()).unwrap_or(1);
    let kind = parameters.get("kind").unwrap_or_default();
    let mut model = shared.model();
    match kind.parse::<ChangeKind>() {
        Ok(kind) => (0..count).for_each(|_| model.change(kind)),
        Err(_) if kind == "sign-up" => (0..count).for_each(|_| {
            generate::sign_up(&mut model);
        }),
        Err(error) => return error_reply(422, "form_param_value_invalid", &error),
    }
    Reply::json("{}".to_owned())
}

fn clock(shared: &Shared, parameters: &QueryString) -> Reply {
    let number = |name| parameters.get(name).and_then(|text| text.parse::<i64>().ok());
    let now = shared.now_ms();
    if let Some(at) = number("now").or_else(|| number("advance").map(|by| now + by)) {
        shared.settings().now = Some(at);
    }
    as_json(&serde_json::json!({"now": shared.now_ms()}))
}
