//! Tries a list: whether Clerk answers a request for its first row, and how many rows it has.

use crate::api::{ApiError, Client, RowKey};
use crate::resource::{PerParentList, PerUserList, Reading, Resource, USER_LIST};
use crate::sync::known_tables::resource_of_parents;
use crate::sync::list_counts::{ListCounts, ListSize};
use crate::sync::sessions::refuses_unfiltered;

/// What was found in a list that can be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Probed {
    /// The number of rows; `None` if Clerk does not say it.
    pub(super) rows: Option<u64>,
    /// What a reader of the check should know.
    pub(super) note: Option<String>,
}

impl Probed {
    fn noted(note: &str) -> Self {
        Self { rows: None, note: Some(note.to_owned()) }
    }
}

impl From<ListSize> for Probed {
    fn from(size: ListSize) -> Self {
        let ListSize { listed, different, is_counted, .. } = size;
        let is_exact = is_counted && listed == different;
        let note =
            (is_counted && !is_exact).then(|| format!("{different} to {listed} rows, as some may be listed twice"));
        Self { rows: is_exact.then_some(listed), note }
    }
}

/// Tries lists.
#[derive(Clone, Copy)]
pub(super) struct ListProbe<'a> {
    pub(super) client: &'a Client,
    pub(super) counts: &'a ListCounts,
}

impl ListProbe<'_> {
    /// Tries the list of `resource`.
    pub(super) async fn of(self, resource: &'static Resource) -> Result<Probed, ApiError> {
        let size = self.counts.size_of(resource).await;
        match resource.reading {
            Reading::Cursor(list) => {
                let size = size?;
                self.counts.rows_at(list.path, &first_row(), list.decode).await?;
                Ok(size.into())
            }
            Reading::PerUser(list) => match size {
                Err(error) if refuses_unfiltered(&error) => self.of_one_user(list).await,
                size => Ok(size?.into()),
            },
            Reading::PerParent(list) => self.of_one_parent(list).await,
            Reading::Single(object) => {
                self.client.get(object.path, &[], object.decode).await?;
                Ok(size?.into())
            }
            Reading::Offset(_) | Reading::Derived(_) | Reading::Ledger => Ok(size?.into()),
        }
    }

    /// Tries the list of one user.
    async fn of_one_user(self, list: PerUserList) -> Result<Probed, ApiError> {
        let users = self.counts.rows_at(USER_LIST.path, &first_row(), USER_LIST.decode).await?;
        let Some(user) = first_id(users.keys) else {
            return Ok(Probed::noted("listed by user, and there are no users"));
        };
        let query = [("user_id", user), ("limit", "1".to_owned()), ("paginated", "true".to_owned())];
        self.counts.rows_at(list.path, &query, list.decode).await?;
        Ok(Probed::noted("this instance lists them by user only: one request for each user"))
    }

    /// Tries the list of one parent.
    async fn of_one_parent(self, list: PerParentList) -> Result<Probed, ApiError> {
        let Some(Reading::Offset(parents)) = resource_of_parents(list).map(|it| it.reading) else {
            return Ok(Probed::default());
        };
        let rows = self.counts.rows_at(parents.path, &first_row(), parents.decode).await?;
        let Some(parent) = first_id(rows.keys) else {
            return Ok(Probed::noted(&format!("one list for each row of {}, which has none", list.parents.name)));
        };
        let parameters = list.parameters.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let query: Vec<_> = first_row().into_iter().chain(parameters).collect();
        self.counts.rows_at(&list.path_of(&parent), &query, list.decode).await?;
        Ok(Probed::noted(&format!("one list for each row of {}", list.parents.name)))
    }
}

fn first_row() -> [(&'static str, String); 1] {
    [("limit", "1".to_owned())]
}

fn first_id(keys: Vec<Option<RowKey>>) -> Option<String> {
    keys.into_iter().flatten().next().map(|key| key.id)
}
