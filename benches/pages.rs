//! Reads the list of users with a plain HTTP client.

use bytes::Bytes;
use serde::Deserialize;

use crate::clerk::KEY;

/// Number of users on a full page.
pub const PAGE_ROWS: usize = 500;

/// The complete list of users, oldest first, by page.
#[derive(Default)]
pub struct UserList {
    /// The URL of each page. With the URLs known, the pages can be requested in any order.
    pub addresses: Vec<String>,
    /// The body of each page, decompressed.
    pub pages: Vec<Bytes>,
}

/// Reads the list of users of the instance at `url` in full pages.
pub async fn list_users(http: &reqwest::Client, url: &str) -> UserList {
    let first = format!("{url}/v1/users?limit={PAGE_ROWS}&order_by=created_at");
    let mut list = UserList::default();
    let mut address = first.clone();
    loop {
        let page = body(http, &address).await;
        let Some(after) = last_id(&page) else { return list };
        list.addresses.push(std::mem::replace(&mut address, format!("{first}&starting_after={after}")));
        list.pages.push(page);
    }
}

/// Requests `address` and returns the decompressed body.
pub async fn body(http: &reqwest::Client, address: &str) -> Bytes {
    let response = http.get(address).bearer_auth(KEY).send().await.expect("a response");
    response.error_for_status().expect("a success status").bytes().await.expect("a complete body")
}

/// Returns the id of the last row of a page; `None` if the page is empty.
fn last_id(page: &Bytes) -> Option<String> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
    }
    let rows: Vec<Row> = serde_json::from_slice(page).expect("a list of users");
    rows.into_iter().next_back().map(|row| row.id)
}
