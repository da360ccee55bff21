//! The list of users read with a bare HTTP client.

use bytes::Bytes;
use serde::Deserialize;

use crate::clerk::KEY;

/// How many users a full page has.
pub const PAGE_ROWS: usize = 500;

/// The whole list of users, oldest first, page by page.
#[derive(Default)]
pub struct UserList {
    /// The address of each page: with these known, pages can be had in any order.
    pub addresses: Vec<String>,
    /// Their bodies, decompressed.
    pub pages: Vec<Bytes>,
}

/// Reads the list of users of the instance at `url`, in full pages.
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

/// Gets one body, decompressed.
pub async fn body(http: &reqwest::Client, address: &str) -> Bytes {
    let answer = http.get(address).bearer_auth(KEY).send().await.expect("an answer");
    answer.error_for_status().expect("a good answer").bytes().await.expect("a whole body")
}

/// The id of a page's last row.
fn last_id(page: &Bytes) -> Option<String> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
    }
    let rows: Vec<Row> = serde_json::from_slice(page).expect("a list of users");
    rows.into_iter().next_back().map(|row| row.id)
}
