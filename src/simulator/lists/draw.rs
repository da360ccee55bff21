//! Random values and changes that several lists share.

use rand::RngExt;
use serde_json::{Value, json};

use crate::simulator::generate::HISTORY;
use crate::simulator::json_text::PRIVATE_MARKER;
use crate::simulator::list::List;
use crate::simulator::model::{DAY, Model, StoredRow};

/// Draws one of these values.
pub(super) fn one_of<T: Copy>(model: &mut Model, values: &[T]) -> T {
    values[model.random.random_range(0..values.len())]
}

/// Returns metadata that must not be stored.
pub(super) fn private_metadata() -> Value {
    json!({"note": PRIVATE_MARKER})
}

/// Returns the link by which an invitation is accepted. Whoever has it gets in.
pub(super) fn invitation_url(id: &str) -> String {
    format!("https://accounts.clerk.example/v1/tickets/accept?ticket={PRIVATE_MARKER}-{id}")
}

/// Draws the status of an invitation created at `at`. An invitation that is created now is pending.
pub(super) fn invitation_status(model: &mut Model, at: i64, expires_at: i64) -> &'static str {
    let status = match model.random.random_range(0..10) {
        _ if at >= model.now => "pending",
        0..4 => "accepted",
        4..6 => "revoked",
        _ => "pending",
    };
    if status == "pending" && expires_at <= model.now { "expired" } else { status }
}

/// Draws how a pending invitation ends now.
pub(super) fn invitation_end(model: &mut Model, expires_at: Option<i64>) -> &'static str {
    if expires_at.is_some_and(|at| at <= model.now) {
        return "expired";
    }
    one_of(model, &["accepted", "accepted", "revoked", "expired"])
}

/// Draws the age of a row that exists from the beginning, in milliseconds. Most rows are young.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "an approximate number")]
pub(super) fn age(model: &mut Model) -> i64 {
    let share: f64 = model.random.random_range(0.0..1.0);
    (HISTORY as f64 * share.powi(3)) as i64
}

/// Draws a time between `at` and now. It is `at` for a row that is created now.
pub(super) fn later(model: &mut Model, at: i64) -> i64 {
    let end = model.now.min(at + 30 * DAY);
    if at < end { model.random.random_range(at..=end) } else { at }
}

/// Changes a row and its `updated_at`. Returns `false` if there is no such row.
pub(super) fn update(model: &mut Model, list: List, id: &str, change: impl FnOnce(&mut StoredRow)) -> bool {
    let now = model.now;
    let Some(row) = model.rows_mut(list).get_mut(id) else { return false };
    change(row);
    if row.fields.contains_key("updated_at") {
        row.set("updated_at", now);
    }
    true
}

/// Renames a row whose field `name` ends with a number.
pub(super) fn rename(model: &mut Model, list: List, id: &str) -> bool {
    let number: u32 = model.random.random_range(0..100_000);
    update(model, list, id, |row| {
        let name = row.text("name").trim_end_matches(|last: char| last.is_ascii_digit() || last == ' ').to_owned();
        row.set("name", format!("{name} {number}"));
    })
}

/// Draws an organization and returns its id.
pub(super) fn organization(model: &mut Model) -> Option<String> {
    model.organizations.draw(&mut model.random).map(|organization| organization.id.clone())
}

/// Draws a user and returns the id.
pub(super) fn user(model: &mut Model) -> Option<String> {
    model.users.draw(&mut model.random).map(|user| user.id.clone())
}
