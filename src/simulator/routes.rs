//! Clerk's endpoints, and the simulator's control endpoints under `/_simulator`.

use serde_json::Value;

use super::answer::{Reply, error_reply};
use super::change_kind::{ChangeKind, Changes};
use super::faults::Faults;
use super::list::{InstanceIdentity, List, ListRefusal};
use super::listing::{self, QueryString, TieOrder};
use super::lists::{self, ListContext, ListSpec};
use super::model::Model;
use super::state::Shared;
use super::truth::Truth;
use super::{corruption, generate, render};

/// Returns whether a request to `path` counts as a list request. Changes are made before list requests only.
pub(super) fn is_list(path: &str) -> bool {
    list_at(path).is_some_and(|list| list != List::Instance)
}

/// Returns the response to a request to Clerk's API.
pub(super) fn clerk(shared: &Shared, path: &str, parameters: &QueryString, clamp: Option<usize>) -> Reply {
    let refusal = list_at(path).and_then(|list| Some((list, *shared.settings().disabled.get(&list)?)));
    if let Some((list, refusal)) = refusal {
        return refused(list, refusal);
    }
    let result = match path {
        "/v1/users" => users(shared, parameters, clamp),
        "/v1/users/count" => Ok(Reply::json(total(listing::count_users(&shared.model(), parameters)))),
        "/v1/sessions" => sessions(shared, parameters, clamp),
        "/v1/instance" => Ok(instance(shared)),
        "/v1/clients" => Err(error_reply(410, "endpoint_gone", "This endpoint is no longer available")),
        _ => match (lists::at(path), path.strip_prefix("/v1/users/")) {
            (Some(spec), _) => other_list(shared, spec, path, parameters, clamp),
            (None, Some(id)) => user(shared, id),
            (None, None) => Err(error_reply(404, "resource_not_found", "Resource not found")),
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
    Reply::json(instance_row(&settings.identity()).to_string())
}

/// Returns the instance as `GET /v1/instance` shows it.
fn instance_row(instance: &InstanceIdentity) -> Value {
    serde_json::json!({
        "object": "instance", "id": instance.id, "environment_type": instance.environment_type,
        "allowed_origins": ["https://application.example", "chrome-extension://simulated"],
        "workspace_id": "ws_simulated",
    })
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

/// Returns the response to a request of a list of `lists`.
fn other_list(
    shared: &Shared,
    spec: &ListSpec,
    path: &str,
    parameters: &QueryString,
    clamp: Option<usize>,
) -> Result<Reply, Reply> {
    if let Some(status) = shared.settings().organizations_status.filter(|_| spec.is_of_organizations()) {
        let message = "The organizations feature is not enabled for this instance";
        return Err(error_reply(status, "organization_not_enabled_in_instance", message));
    }
    let (ties, instance) = (tie_order(shared), shared.settings().identity());
    let context = ListContext { model: &shared.model(), parameters, path, instance: &instance };
    lists::respond(spec, &context, clamp, ties)
}

/// Returns the response to a request of a list that is refused.
fn refused(list: List, refusal: ListRefusal) -> Reply {
    let message = format!("The list {list} is not available for this instance");
    match refusal {
        ListRefusal::NotEnabled(status) => error_reply(status, &format!("{list}_not_enabled_in_instance"), &message),
        ListRefusal::FeatureCode(status) => error_reply(status, "feature_not_available", &message),
        ListRefusal::NotFound => error_reply(404, "resource_not_found", "Resource not found"),
        ListRefusal::GatewayText(status) => Reply::text(status, "RBAC: access denied"),
        ListRefusal::GatewayHtml(status) => Reply::html(status),
    }
}

/// Returns the list with this path.
fn list_at(path: &str) -> Option<List> {
    match path {
        "/v1/users" => Some(List::Users),
        "/v1/sessions" => Some(List::Sessions),
        "/v1/instance" => Some(List::Instance),
        _ => lists::at(path).map(|spec| spec.list),
    }
}

/// Returns all rows of a list as the API shows them, oldest first. No parameter leaves rows out, and none is corrupted.
///
/// Organizations have `members_count`.
pub(super) fn listed(shared: &Shared, list: List) -> Vec<Value> {
    let parsed = |write: &dyn Fn(&mut String)| {
        let mut out = String::new();
        write(&mut out);
        serde_json::from_str(&out).unwrap_or_default()
    };
    let instance = shared.settings().identity();
    let model = shared.model();
    match list {
        List::Users => model.users.iter().map(|row| parsed(&|out| render::user(out, row))).collect(),
        List::Sessions => model.sessions.iter().map(|row| parsed(&|out| render::session(out, row))).collect(),
        List::Instance => vec![instance_row(&instance)],
        _ => {
            let parameters = &QueryString::default();
            lists::all(list, &ListContext { model: &model, parameters, path: "", instance: &instance })
        }
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
        "/_simulator/rows" => rows(shared, parameters),
        "/_simulator/change" => change(shared, parameters),
        "/_simulator/clock" => clock(shared, parameters),
        _ => error_reply(404, "resource_not_found", "Unknown simulator endpoint"),
    }
}

/// Returns all rows of the list that `list` names, as an array.
fn rows(shared: &Shared, parameters: &QueryString) -> Reply {
    match parameters.get("list").unwrap_or_default().parse() {
        Ok(list) => as_json(&listed(shared, list)),
        Err(error) => error_reply(422, "form_param_value_invalid", &error),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::{SimulatorConfig, model::DAY};

    fn shared(change: impl FnOnce(&mut SimulatorConfig)) -> Shared {
        let mut config =
            SimulatorConfig { users: 30, organizations: 4, now: Some(20_000 * DAY), ..SimulatorConfig::default() };
        change(&mut config);
        Shared::new(config)
    }

    fn get(shared: &Shared, path: &str) -> Reply {
        clerk(shared, path, &QueryString::parse("user_id=user_1"), None)
    }

    #[test]
    fn each_list_is_refused_in_each_way() {
        let shared = shared(|_| ());
        let paths = lists::SPECS.into_iter().map(|spec| (spec.list, spec.path.replace("{}", "cstmt_1")));
        let others = [(List::Users, "/v1/users"), (List::Sessions, "/v1/sessions"), (List::Instance, "/v1/instance")];
        let paths: Vec<_> = paths.chain(others.map(|(list, path)| (list, path.to_owned()))).collect();
        assert_eq!(paths.len(), List::ALL.len());
        for (list, path) in paths {
            for refusal in ListRefusal::OFF.into_iter().chain(ListRefusal::GATEWAY) {
                shared.settings().disabled.insert(list, refusal);
                let reply = get(&shared, &path);
                let body = serde_json::from_str::<Value>(&reply.body).unwrap_or_default();
                let code = body["errors"][0]["code"].as_str();
                assert!(refusal.to_string().starts_with(&reply.status.to_string()), "{list} {refusal}");
                match refusal {
                    ListRefusal::NotEnabled(_) => assert!(code.unwrap().contains("not_enabled"), "{list}"),
                    ListRefusal::FeatureCode(_) => assert!(code.unwrap().starts_with("feature_"), "{list}"),
                    ListRefusal::NotFound => assert_eq!(code, Some("resource_not_found")),
                    ListRefusal::GatewayText(_) | ListRefusal::GatewayHtml(_) => assert_eq!(code, None),
                }
            }
            shared.settings().disabled.clear();
            assert_eq!(get(&shared, &path).status, if list == List::PaymentAttempts { 404 } else { 200 }, "{list}");
        }
    }

    #[test]
    fn without_organizations_their_lists_are_refused_and_others_are_not() {
        let shared = shared(|config| config.organizations_status = Some(403));
        for (path, status) in [
            ("/v1/organizations", 403),
            ("/v1/organization_memberships", 403),
            ("/v1/organization_invitations", 403),
            ("/v1/organization_roles", 403),
            ("/v1/role_sets", 403),
            ("/v1/invitations", 200),
            ("/v1/billing/plans", 200),
        ] {
            assert_eq!(get(&shared, path).status, status, "{path}");
        }
    }

    #[test]
    fn all_rows_of_every_list_can_be_read_as_the_api_shows_them() {
        let shared = shared(|config| {
            config.counts.insert(List::Machines, 9);
        });
        let truth = Truth::of(&shared.model(), 1);
        for list in List::ALL {
            assert_eq!(listed(&shared, list).len(), truth.rows[list.name()], "{list}");
        }
        assert_eq!(truth.rows["machines"], 9);
        assert_eq!(listed(&shared, List::Users)[0]["object"], "user");
    }
}
