//! List requests: their parameters, the rows of the response, and the errors of the API contract.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::answer::{Reply, error_reply};
use super::faults::UnknownCursor;
use super::model::{Model, Session, User};

/// The parameters of a query string, decoded.
#[derive(Clone, Debug, Default)]
pub(super) struct QueryString(pub Vec<(String, String)>);

impl QueryString {
    pub(super) fn parse(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the parameters whose names do not start with `prefix`.
    pub(super) fn without(&self, prefix: &str) -> Self {
        Self(self.0.iter().filter(|(name, _)| !name.starts_with(prefix)).cloned().collect())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
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

/// The requested range of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageRange {
    pub limit: usize,
    pub offset: usize,
}

/// Reads `limit` and `offset`. A limit above 500 falls back to 10, as observed with Clerk.
pub(super) fn page_range(parameters: &QueryString, clamp: Option<usize>) -> Result<PageRange, Reply> {
    let invalid = |name: &str| error_reply(422, "form_param_format_invalid", &format!("{name} is invalid"));
    let limit = match parameters.get("limit") {
        None => 10,
        Some(text) => match text.parse::<usize>() {
            Ok(limit @ 1..=500) => limit,
            Ok(501..) => 10,
            _ => return Err(invalid("limit")),
        },
    };
    let offset = match parameters.get("offset") {
        None => 0,
        Some(text) => text.parse::<usize>().map_err(|_| invalid("offset"))?,
    };
    Ok(PageRange { limit: limit.min(clamp.unwrap_or(usize::MAX)), offset })
}

/// Returns the sort field and whether the order is descending. `default` is the order if none is requested.
///
/// An unencoded `+` arrives as a space, which is not accepted as a plus sign.
pub(super) fn order<'a>(parameters: &'a QueryString, default: &'a str) -> (&'a str, bool) {
    let text = parameters.get("order_by").unwrap_or(default);
    match text.strip_prefix('-') {
        Some(field) => (field, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    }
}

/// The filters whose values are times.
const TIME_FILTERS: [&str; 7] = [
    "created_at_before",
    "created_at_after",
    "last_active_at_before",
    "last_active_at_after",
    "last_sign_in_at_before",
    "last_sign_in_at_after",
    "last_active_at_since",
];

/// Returns an error if a time filter is not a whole number of milliseconds.
fn check_time_filters(parameters: &QueryString) -> Result<(), Reply> {
    let is_invalid = |name: &&str| parameters.get(name).is_some_and(|text| text.parse::<i64>().is_err());
    match TIME_FILTERS.iter().find(|name| is_invalid(name)) {
        Some(name) => Err(error_reply(422, "form_param_format_invalid", &format!("{name} must be Unix milliseconds"))),
        None => Ok(()),
    }
}

/// Returns whether a user matches the filters.
fn matches_filters(user: &User, parameters: &QueryString) -> bool {
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

/// Returns the number of users that match the filters.
pub(super) fn count_users(model: &Model, parameters: &QueryString) -> usize {
    model.users.iter().filter(|user| matches_filters(user, parameters)).count()
}

/// Order of rows whose sort keys are equal.
#[derive(Clone, Copy, Debug)]
pub(super) enum TieOrder {
    /// By creation time, then by id.
    Stable,
    /// A pseudorandom order, a different one for each number.
    Shuffled(u64),
}

impl TieOrder {
    /// Compares two rows, each given by creation time and id.
    pub(super) fn compare(self, left: (i64, &str), right: (i64, &str)) -> Ordering {
        match self {
            Self::Stable => left.cmp(&right),
            Self::Shuffled(number) => {
                let rank = |id: &str| {
                    let mut hasher = DefaultHasher::new();
                    (number, id).hash(&mut hasher);
                    hasher.finish()
                };
                rank(left.1).cmp(&rank(right.1))
            }
        }
    }
}

/// Returns the users of the requested page.
pub(super) fn users<'a>(
    model: &'a Model,
    parameters: &QueryString,
    range: PageRange,
    unknown_cursor: UnknownCursor,
    ties: TieOrder,
) -> Result<Vec<&'a User>, Reply> {
    check_time_filters(parameters)?;
    let (field, descending) = order(parameters, "-created_at");
    let Some(cursor) = parameters.get("starting_after") else {
        return users_by_offset(model, parameters, range, (field, descending), ties);
    };
    if field != "created_at" {
        return Err(error_reply(422, "form_param_invalid", "starting_after requires ordering by created_at"));
    }
    if range.offset > 0 {
        return Err(error_reply(422, "form_param_invalid", "starting_after cannot be combined with offset"));
    }
    let Some(key) = model.users.key(cursor) else {
        return match unknown_cursor {
            UnknownCursor::NotFound => {
                Err(error_reply(404, "resource_not_found", "No user was found with the cursor's id"))
            }
            UnknownCursor::Unprocessable => Err(error_reply(422, "form_param_invalid", "starting_after is not a user")),
            UnknownCursor::EmptyPage => Ok(Vec::new()),
        };
    };
    let rows: Box<dyn Iterator<Item = &User>> =
        if descending { Box::new(model.users.before(key)) } else { Box::new(model.users.after(key)) };
    Ok(rows.filter(|user| matches_filters(user, parameters)).take(range.limit).collect())
}

fn users_by_offset<'a>(
    model: &'a Model,
    parameters: &QueryString,
    range: PageRange,
    (field, descending): (&str, bool),
    ties: TieOrder,
) -> Result<Vec<&'a User>, Reply> {
    let first = parameters.millis("created_at_after").map_or(i64::MIN, |after| after.saturating_add(1));
    let matching = model.users.since(first).filter(|user| matches_filters(user, parameters));
    if field == "created_at" {
        return Ok(if descending { slice(matching.rev(), range) } else { slice(matching, range) });
    }
    let key: fn(&User, &User) -> Ordering = match field {
        "updated_at" => |left, right| left.updated_at.cmp(&right.updated_at),
        "last_active_at" => |left, right| left.last_active_at.cmp(&right.last_active_at),
        "last_sign_in_at" => |left, right| left.last_sign_in_at.cmp(&right.last_sign_in_at),
        "first_name" => |left, right| left.first_name.cmp(&right.first_name),
        "last_name" => |left, right| left.last_name.cmp(&right.last_name),
        "username" => |left, right| left.username.cmp(&right.username),
        "email_address" | "phone_number" | "web3wallet" => |left, right| left.id.cmp(&right.id),
        _ => return Err(error_reply(422, "form_param_value_invalid", "order_by is invalid")),
    };
    let mut rows: Vec<&User> = matching.collect();
    let order = |left: &&User, right: &&User| {
        let order = if descending { key(right, left) } else { key(left, right) };
        order.then_with(|| ties.compare((left.created_at, &left.id), (right.created_at, &right.id)))
    };
    // Only the rows up to the end of the page need to be sorted.
    let end = range.offset.saturating_add(range.limit);
    if end < rows.len() {
        rows.select_nth_unstable_by(end, order);
        rows.truncate(end);
    }
    rows.sort_by(order);
    Ok(slice(rows.into_iter(), range))
}

/// Returns the sessions of the requested page, newest first, and the total number of matching sessions.
pub(super) fn sessions<'a>(model: &'a Model, parameters: &QueryString, range: PageRange) -> (Vec<&'a Session>, usize) {
    let matches = |session: &&Session| {
        parameters.get("client_id").is_none_or(|client| client == session.client_id)
            && parameters.get("status").is_none_or(|status| status == session.status)
    };
    if let Some(user) = parameters.get("user_id") {
        let ids = model.sessions_of.get(user).map(Vec::as_slice).unwrap_or_default();
        let mut rows: Vec<&Session> = ids.iter().filter_map(|id| model.sessions.get(id)).filter(matches).collect();
        rows.sort_by(|left, right| (right.created_at, &right.id).cmp(&(left.created_at, &left.id)));
        let total = rows.len();
        return (slice(rows.into_iter(), range), total);
    }
    if parameters.get("client_id").is_none() && parameters.get("status").is_none() {
        return (slice(model.sessions.iter().rev(), range), model.sessions.len());
    }
    let rows: Vec<&Session> = model.sessions.iter().rev().filter(matches).collect();
    let total = rows.len();
    (slice(rows.into_iter(), range), total)
}

fn slice<'a, T>(rows: impl Iterator<Item = &'a T>, range: PageRange) -> Vec<&'a T> {
    rows.skip(range.offset).take(range.limit).collect()
}
