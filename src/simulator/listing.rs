//! A list request: its parameters, and the rows that answer it, with the contract's refusals.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::answer::{Reply, refusal};
use super::faults::UnknownCursor;
use super::model::{Model, Organization, Session, User};

/// A query string's parameters, decoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters(pub Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The parameters whose names do not begin with `prefix`.
    pub(super) fn without(&self, prefix: &str) -> Self {
        Self(self.0.iter().filter(|(name, _)| !name.starts_with(prefix)).cloned().collect())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key.strip_suffix("[]").unwrap_or(key) == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    fn millis(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub limit: usize,
    pub offset: usize,
}

/// Reads `limit` and `offset`. A limit beyond the largest page falls back to 10, as has been seen.
pub(super) fn part(parameters: &Parameters, clamp: Option<usize>) -> Result<Part, Reply> {
    let wrong = |name: &str| refusal(422, "form_param_format_invalid", &format!("{name} is invalid"));
    let limit = match parameters.get("limit") {
        None => 10,
        Some(text) => match text.parse::<usize>() {
            Ok(limit @ 1..=500) => limit,
            Ok(501..) => 10,
            _ => return Err(wrong("limit")),
        },
    };
    let offset = match parameters.get("offset") {
        None => 0,
        Some(text) => text.parse::<usize>().map_err(|_| wrong("offset"))?,
    };
    Ok(Part { limit: limit.min(clamp.unwrap_or(usize::MAX)), offset })
}

/// A list's order: the field, and whether it descends. A plus that was not encoded arrives as a blank and is none.
fn order(parameters: &Parameters) -> (&str, bool) {
    let text = parameters.get("order_by").unwrap_or("-created_at");
    match text.strip_prefix('-') {
        Some(field) => (field, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    }
}

/// The filters whose values are moments.
const MOMENTS: [&str; 7] = [
    "created_at_before",
    "created_at_after",
    "last_active_at_before",
    "last_active_at_after",
    "last_sign_in_at_before",
    "last_sign_in_at_after",
    "last_active_at_since",
];

/// Refuses a moment that is no number of milliseconds.
fn check_moments(parameters: &Parameters) -> Result<(), Reply> {
    let wrong = |name: &&str| parameters.get(name).is_some_and(|text| text.parse::<i64>().is_err());
    match MOMENTS.iter().find(|name| wrong(name)) {
        Some(name) => Err(refusal(422, "form_param_format_invalid", &format!("{name} must be Unix milliseconds"))),
        None => Ok(()),
    }
}

/// Whether a user passes the filters.
fn passes(user: &User, parameters: &Parameters) -> bool {
    let within = |value: Option<i64>, before: &str, after: &str| {
        parameters.millis(before).is_none_or(|limit| value.is_some_and(|value| value < limit))
            && parameters.millis(after).is_none_or(|limit| value.is_some_and(|value| value > limit))
    };
    let (unwanted, wanted): (Vec<_>, Vec<_>) = parameters.all("user_id").partition(|id| id.starts_with('-'));
    (wanted.is_empty() || wanted.iter().any(|id| id.strip_prefix('+').unwrap_or(id) == user.id))
        && !unwanted.iter().any(|id| id.strip_prefix('-') == Some(&user.id))
        && parameters.get("banned").is_none_or(|banned| (banned == "true") == user.banned)
        && within(Some(user.created_at), "created_at_before", "created_at_after")
        && within(user.last_active_at, "last_active_at_before", "last_active_at_after")
        && within(user.last_sign_in_at, "last_sign_in_at_before", "last_sign_in_at_after")
        && parameters
            .millis("last_active_at_since")
            .is_none_or(|since| user.last_active_at.is_some_and(|at| at >= since))
}

/// How many users pass the filters.
pub(super) fn count_users(model: &Model, parameters: &Parameters) -> usize {
    model.users.iter().filter(|user| passes(user, parameters)).count()
}

/// In which order rows come that the order asked for does not tell apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ties {
    /// By creation, and by id.
    Stable,
    /// In an order of its own for each number.
    Shuffled(u64),
}

impl Ties {
    /// Compares two rows by their creation and id.
    fn compare(self, left: (i64, &str), right: (i64, &str)) -> Ordering {
        match self {
            Self::Stable => left.cmp(&right),
            Self::Shuffled(number) => {
                let place = |id: &str| {
                    let mut hasher = DefaultHasher::new();
                    (number, id).hash(&mut hasher);
                    hasher.finish()
                };
                place(left.1).cmp(&place(right.1))
            }
        }
    }
}

/// The users that a request asks for.
pub(super) fn users<'a>(
    model: &'a Model,
    parameters: &Parameters,
    part: Part,
    unknown_cursor: UnknownCursor,
    ties: Ties,
) -> Result<Vec<&'a User>, Reply> {
    check_moments(parameters)?;
    let (field, descending) = order(parameters);
    let Some(cursor) = parameters.get("starting_after") else {
        return users_by_offset(model, parameters, part, (field, descending), ties);
    };
    if field != "created_at" {
        return Err(refusal(422, "form_param_invalid", "starting_after requires ordering by created_at"));
    }
    if part.offset > 0 {
        return Err(refusal(422, "form_param_invalid", "starting_after cannot be combined with offset"));
    }
    let Some(key) = model.users.key(cursor) else {
        return match unknown_cursor {
            UnknownCursor::NotFound => {
                Err(refusal(404, "resource_not_found", "No user was found with the cursor's id"))
            }
            UnknownCursor::Unprocessable => Err(refusal(422, "form_param_invalid", "starting_after is not a user")),
            UnknownCursor::EmptyPage => Ok(Vec::new()),
        };
    };
    let rows: Box<dyn Iterator<Item = &User>> =
        if descending { Box::new(model.users.before(key)) } else { Box::new(model.users.after(key)) };
    Ok(rows.filter(|user| passes(user, parameters)).take(part.limit).collect())
}

fn users_by_offset<'a>(
    model: &'a Model,
    parameters: &Parameters,
    part: Part,
    (field, descending): (&str, bool),
    ties: Ties,
) -> Result<Vec<&'a User>, Reply> {
    let first = parameters.millis("created_at_after").map_or(i64::MIN, |after| after.saturating_add(1));
    let passing = model.users.since(first).filter(|user| passes(user, parameters));
    if field == "created_at" {
        return Ok(if descending { slice(passing.rev(), part) } else { slice(passing, part) });
    }
    let key: fn(&User, &User) -> Ordering = match field {
        "updated_at" => |left, right| left.updated_at.cmp(&right.updated_at),
        "last_active_at" => |left, right| left.last_active_at.cmp(&right.last_active_at),
        "last_sign_in_at" => |left, right| left.last_sign_in_at.cmp(&right.last_sign_in_at),
        "first_name" => |left, right| left.first_name.cmp(&right.first_name),
        "last_name" => |left, right| left.last_name.cmp(&right.last_name),
        "username" => |left, right| left.username.cmp(&right.username),
        "email_address" | "phone_number" | "web3wallet" => |left, right| left.id.cmp(&right.id),
        _ => return Err(refusal(422, "form_param_value_invalid", "order_by is invalid")),
    };
    let mut rows: Vec<&User> = passing.collect();
    let order = |left: &&User, right: &&User| {
        let order = if descending { key(right, left) } else { key(left, right) };
        order.then_with(|| ties.compare((left.created_at, &left.id), (right.created_at, &right.id)))
    };
    // Only the rows up to the end of the page need be in order.
    let end = part.offset.saturating_add(part.limit);
    if end < rows.len() {
        rows.select_nth_unstable_by(end, order);
        rows.truncate(end);
    }
    rows.sort_by(order);
    Ok(slice(rows.into_iter(), part))
}

/// The organizations that a request asks for.
pub(super) fn organizations<'a>(
    model: &'a Model,
    parameters: &Parameters,
    part: Part,
    ties: Ties,
) -> Result<Vec<&'a Organization>, Reply> {
    let (field, descending) = order(parameters);
    let members = |organization: &Organization| model.members.get(&organization.id).copied().unwrap_or(0);
    let mut rows: Vec<&Organization> = model.organizations.iter().collect();
    match field {
        "created_at" => rows.sort_by(|left, right| {
            let ids = || ties.compare((0, &left.id), (0, &right.id));
            left.created_at.cmp(&right.created_at).then_with(ids)
        }),
        "name" => rows.sort_by(|left, right| left.name.cmp(&right.name)),
        "members_count" => rows.sort_by_key(|organization| members(organization)),
        _ => return Err(refusal(422, "form_param_value_invalid", "order_by is invalid")),
    }
    if descending {
        rows.reverse();
    }
    Ok(slice(rows.into_iter(), part))
}

/// The sessions that a request asks for, newest first, and how many there are in all.
pub(super) fn sessions<'a>(model: &'a Model, parameters: &Parameters, part: Part) -> (Vec<&'a Session>, usize) {
    let passes = |session: &&Session| {
        parameters.get("client_id").is_none_or(|client| client == session.client_id)
            && parameters.get("status").is_none_or(|status| status == session.status)
    };
    if let Some(user) = parameters.get("user_id") {
        let ids = model.sessions_of.get(user).map(Vec::as_slice).unwrap_or_default();
        let mut rows: Vec<&Session> = ids.iter().filter_map(|id| model.sessions.get(id)).filter(passes).collect();
        rows.sort_by(|left, right| (right.created_at, &right.id).cmp(&(left.created_at, &left.id)));
        let total = rows.len();
        return (slice(rows.into_iter(), part), total);
    }
    if parameters.get("client_id").is_none() && parameters.get("status").is_none() {
        return (slice(model.sessions.iter().rev(), part), model.sessions.len());
    }
    let rows: Vec<&Session> = model.sessions.iter().rev().filter(passes).collect();
    let total = rows.len();
    (slice(rows.into_iter(), part), total)
}

fn slice<'a, T>(rows: impl Iterator<Item = &'a T>, part: Part) -> Vec<&'a T> {
    rows.skip(part.offset).take(part.limit).collect()
}
