//! A few sessions and organizations, and all results computed by hand.

use serde_json::{Value, json};

use super::tables::{NOON, Tables, assert_answer};

fn session(status: Option<&str>, expire_at: Option<&str>, activity: &Value) -> Value {
    json!({"session_id": "sess", "status": status, "expire_at": expire_at, "latest_activity": activity})
}

fn sessions() -> Tables {
    let firefox = json!({"device_type": "Macintosh", "browser_name": "Firefox", "country": "Germany"});
    let nowhere = json!({"device_type": "Macintosh", "browser_name": "Firefox"});
    let phone = json!({"device_type": "iPhone", "country": "France"});
    let sessions = vec![
        session(Some("active"), Some("2028-03-08T00:00:00Z"), &firefox),
        // At noon, this session has expired and the next one has not.
        session(Some("active"), Some(NOON), &firefox),
        session(Some("active"), Some("2028-03-01T12:00:00.000001Z"), &nowhere),
        session(Some("active"), None, &Value::Null),
        session(Some("ended"), Some("2028-03-08T00:00:00Z"), &phone),
        session(None, Some("2028-03-08T00:00:00Z"), &Value::Null),
        session(Some("a new one"), None, &firefox),
    ];
    Tables { sessions, ..Tables::default() }
}

#[tokio::test]
async fn sessions_are_active_until_they_expire() {
    assert_eq!(sessions().rows("active_sessions", NOON, &[]).await, [json!({"active_sessions": 3})]);
}

#[tokio::test]
async fn sessions_are_counted_by_their_verbatim_status() {
    let wanted = "
        +-----------+----------+
        | status    | sessions |
        +-----------+----------+
        | active    | 4        |
        | (none)    | 1        |
        | a new one | 1        |
        | ended     | 1        |
        +-----------+----------+";
    assert_answer(&sessions(), "sessions_by_status", &[], wanted).await;
}

#[tokio::test]
async fn sessions_are_counted_by_device_browser_and_country() {
    let wanted = "
        +-----------+-----------+-----------+----------+
        | device    | browser   | country   | sessions |
        +-----------+-----------+-----------+----------+
        | Macintosh | Firefox   | Germany   | 3        |
        | (unknown) | (unknown) | (unknown) | 2        |
        | Macintosh | Firefox   | (unknown) | 1        |
        | iPhone    | (unknown) | France    | 1        |
        +-----------+-----------+-----------+----------+";
    assert_answer(&sessions(), "devices", &[], wanted).await;
    assert_answer(&sessions(), "devices", &[("combinations", 4)], wanted).await;
    let wanted = "
        +-----------+-----------+-----------+----------+
        | device    | browser   | country   | sessions |
        +-----------+-----------+-----------+----------+
        | Macintosh | Firefox   | Germany   | 3        |
        | (unknown) | (unknown) | (unknown) | 2        |
        | (others)  | (others)  | (others)  | 2        |
        +-----------+-----------+-----------+----------+";
    assert_answer(&sessions(), "devices", &[("combinations", 2)], wanted).await;
}

#[tokio::test]
async fn organizations_with_two_members_are_active() {
    let members = [Some(2), Some(0), None, Some(1), Some(7), Some(2)];
    let organizations = members.map(|members| json!({"id": "org", "members_count": members})).to_vec();
    let tables = Tables { organizations, ..Tables::default() };
    let wanted = "
        +---------+---------------+--------+
        | members | organizations | active |
        +---------+---------------+--------+
        | 0       | 1             | false  |
        | 1       | 1             | false  |
        | 2       | 2             | true   |
        | 7       | 1             | true   |
        |         | 1             | false  |
        +---------+---------------+--------+";
    assert_answer(&tables, "organizations", &[], wanted).await;
    assert_eq!(tables.rows("active_organizations", NOON, &[]).await, [json!({"active_organizations": 3})]);
}
