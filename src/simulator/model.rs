//! The data of the instance: users, sessions, organizations, memberships, and the rows of all other lists. They can be
//! created, changed and deleted between two requests. The model does not know about HTTP.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

pub use super::device::Device;
use super::list::List;
pub use super::ordered::Ordered;
use super::selections::Selections;
pub use super::stored::StoredRow;

/// Milliseconds per day.
pub const DAY: i64 = 86_400_000;

/// An e-mail address of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailAddress {
    /// The id.
    pub id: String,
    /// The address.
    pub address: String,
    /// Status of the verification; `None` if the address has no verification.
    pub verification: Option<&'static str>,
}

/// A phone number of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneNumber {
    /// The id.
    pub id: String,
    /// The number.
    pub number: String,
}

/// A user's account at another provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// The id.
    pub id: String,
    /// The provider, such as `oauth_google`.
    pub provider: &'static str,
}

/// A user. All times are Unix milliseconds.
///
/// Fields that only add bulk to a response are not stored; rendering generates them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, clippy::struct_excessive_bools, reason = "the fields are Clerk's")]
pub struct User {
    pub id: String,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub username: Option<String>,
    pub external_id: Option<String>,
    pub primary_email_address_id: Option<String>,
    pub email_addresses: Vec<EmailAddress>,
    pub phone_numbers: Vec<PhoneNumber>,
    pub external_accounts: Vec<ExternalAccount>,
    pub banned: bool,
    pub locked: bool,
    pub password_enabled: bool,
    pub two_factor_enabled: bool,
    pub public_metadata: String,
    pub unsafe_metadata: String,
    pub created_at: i64,
    pub updated_at: i64,
    pub last_sign_in_at: Option<i64>,
    pub last_active_at: Option<i64>,
}

/// A session. All times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are Clerk's")]
pub struct Session {
    pub id: String,
    pub user_id: String,
    pub client_id: String,
    pub status: String,
    pub actor: Option<String>,
    pub has_activity: bool,
    pub last_active_organization_id: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
    pub last_active_at: i64,
    pub expire_at: i64,
    pub abandon_at: i64,
    /// The device and browser; `None` for one that follows from the id.
    pub device: Option<Device>,
}

/// An organization. All times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are Clerk's")]
pub struct Organization {
    pub id: String,
    pub name: String,
    pub slug: String,
    pub created_by: Option<String>,
    pub pending_invitations_count: i64,
    pub max_allowed_memberships: i64,
    pub created_at: i64,
    pub updated_at: i64,
    pub last_active_at: i64,
}

/// The membership of a user in an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are Clerk's")]
pub struct Membership {
    pub id: String,
    pub organization_id: String,
    pub user_id: String,
    pub role: String,
    pub created_at: i64,
    pub updated_at: i64,
}

/// All data of an instance.
#[derive(Debug)]
pub struct Model {
    /// Users, oldest first.
    pub users: Ordered<User>,
    /// Sessions, oldest first.
    pub sessions: Ordered<Session>,
    /// Session ids by user id.
    pub sessions_of: HashMap<String, Vec<String>>,
    /// Organizations, oldest first.
    pub organizations: Ordered<Organization>,
    /// Memberships, oldest first.
    pub memberships: Ordered<Membership>,
    /// Number of members by organization id.
    pub members: HashMap<String, i64>,
    /// The rows of the other lists, by [`List`].
    pub(super) lists: Vec<Ordered<StoredRow>>,
    pub(super) selections: Selections,
    /// The organization and the user of each membership.
    pub(super) member_pairs: HashSet<(String, String)>,
    /// How rows are corrupted in lists, by original id.
    pub corrupt: HashMap<String, super::Corruption>,
    /// Days of activity that no row shows any more, by user id. Days are counted from 1970-01-01.
    pub(super) hidden_days: BTreeMap<String, BTreeSet<i64>>,
    /// Number of days that the activity of users goes back.
    pub(super) activity_days: u32,
    pub(super) random: ChaCha8Rng,
    seed: u64,
    /// The random streams by name, without the current one.
    streams: HashMap<&'static str, ChaCha8Rng>,
    pub(super) now: i64,
}

impl Model {
    /// Creates an empty instance at the time `now` (Unix milliseconds). `seed` determines its random changes.
    #[must_use]
    pub fn new(seed: u64, now: i64) -> Self {
        Self {
            users: Ordered::default(),
            sessions: Ordered::default(),
            sessions_of: HashMap::new(),
            organizations: Ordered::default(),
            memberships: Ordered::default(),
            members: HashMap::new(),
            lists: List::ALL.iter().map(|_| Ordered::default()).collect(),
            selections: Selections::default(),
            member_pairs: HashSet::new(),
            corrupt: HashMap::new(),
            hidden_days: BTreeMap::new(),
            activity_days: super::config::ACTIVITY_DAYS,
            random: ChaCha8Rng::seed_from_u64(seed),
            seed,
            streams: HashMap::new(),
            now,
        }
    }

    /// Returns the instance's time in Unix milliseconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Returns a random id in Clerk's format. Ids do not sort by creation time.
    pub fn id(&mut self, prefix: &str) -> String {
        const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut id = String::with_capacity(prefix.len() + 27);
        id.push_str(prefix);
        for _ in 0..27 {
            id.push(char::from(LETTERS[self.random.random_range(0..LETTERS.len())]));
        }
        id
    }

    /// Calls `act` with the random stream `name` in place of the current one.
    ///
    /// What is drawn from one stream does not change what is drawn from another one. The seed and the name determine
    /// the stream. Calls with the same name must not be nested.
    pub(super) fn in_stream<T>(&mut self, name: &'static str, act: impl FnOnce(&mut Self) -> T) -> T {
        let mut hasher = DefaultHasher::new();
        (self.seed, name).hash(&mut hasher);
        let stream = self.streams.remove(name).unwrap_or_else(|| ChaCha8Rng::seed_from_u64(hasher.finish()));
        let outer = std::mem::replace(&mut self.random, stream);
        let result = act(self);
        let stream = std::mem::replace(&mut self.random, outer);
        self.streams.insert(name, stream);
        result
    }

    /// Returns a number that grows with each change of a row.
    pub(super) fn version(&self) -> u64 {
        let own = self.users.version() + self.organizations.version() + self.memberships.version();
        own + self.lists.iter().map(Ordered::version).sum::<u64>()
    }

    /// Returns the rows of a list, oldest first.
    ///
    /// Empty for users, sessions, organizations, memberships and the instance, which are not stored as JSON.
    #[must_use]
    pub fn rows(&self, list: List) -> &Ordered<StoredRow> {
        &self.lists[list as usize]
    }

    /// Like [`Model::rows`], mutable.
    pub fn rows_mut(&mut self, list: List) -> &mut Ordered<StoredRow> {
        &mut self.lists[list as usize]
    }

    /// Adds a row as it is.
    pub fn insert_row(&mut self, list: List, row: StoredRow) {
        self.rows_mut(list).insert(row.created_at, &row.id.clone(), row);
    }

    /// Draws a row of a list at random and returns its id.
    pub fn draw_row(&mut self, list: List) -> Option<String> {
        self.lists[list as usize].draw(&mut self.random).map(|row| row.id.clone())
    }

    /// Adds a session as it is.
    pub fn insert_session(&mut self, session: Session) {
        self.sessions_of.entry(session.user_id.clone()).or_default().push(session.id.clone());
        self.sessions.insert(session.created_at, &session.id.clone(), session);
    }

    /// Adds a membership as it is, without checking that its organization and user exist.
    pub fn insert_membership(&mut self, membership: Membership) {
        *self.members.entry(membership.organization_id.clone()).or_default() += 1;
        self.member_pairs.insert((membership.organization_id.clone(), membership.user_id.clone()));
        self.memberships.insert(membership.created_at, &membership.id.clone(), membership);
    }

    /// Changes a user's profile. This updates `updated_at`, but not `last_active_at`.
    pub fn update_profile(&mut self, id: &str) {
        let number: u32 = self.random.random_range(0..100_000);
        let now = self.now;
        if let Some(user) = self.users.get_mut(id) {
            user.first_name = Some(format!("Renamed {number}"));
            user.public_metadata = format!("{{\"plan\":\"pro\",\"change\":{number}}}");
            user.updated_at = now;
        }
    }

    /// Adds an e-mail address to a user and makes it the primary one.
    pub fn change_email(&mut self, id: &str) {
        let email_id = self.id("idn_");
        let now = self.now;
        if let Some(user) = self.users.get_mut(id) {
            let address = format!("{}@changed.example", email_id.to_lowercase());
            user.email_addresses.push(EmailAddress { id: email_id.clone(), address, verification: Some("verified") });
            user.primary_email_address_id = Some(email_id);
            user.updated_at = now;
        }
    }

    /// Bans or unbans a user. This updates `updated_at`, but not `last_active_at`.
    pub fn ban(&mut self, id: &str, banned: bool) {
        let now = self.now;
        if let Some(user) = self.users.get_mut(id) {
            user.banned = banned;
            user.updated_at = now;
        }
    }

    /// Makes a user active now, in the user's newest session or in a new one, with equal chances.
    ///
    /// This updates the user's `last_active_at`, but not the user's `updated_at`. Impersonated sessions are not used.
    pub fn record_activity(&mut self, id: &str) {
        let is_own = |session: &&String| self.sessions.get(session).is_some_and(|session| session.actor.is_none());
        let newest = self.sessions_of.get(id).and_then(|sessions| sessions.iter().rev().find(is_own)).cloned();
        match newest.filter(|_| self.random.random_bool(0.5)) {
            Some(session) => self.use_session(&session),
            None => self.sign_in(id),
        }
    }

    /// Signs a user in now.
    pub fn sign_in(&mut self, id: &str) {
        if self.mark_active(id) {
            self.create_session(id);
        }
    }

    /// Makes the user of a session active in it now. Does nothing for an impersonated session.
    pub fn use_session(&mut self, id: &str) {
        let now = self.now;
        let user = self.sessions.get(id).filter(|session| session.actor.is_none()).map(|it| it.user_id.clone());
        if user.is_some_and(|user| self.mark_active(&user))
            && let Some(session) = self.sessions.get_mut(id)
        {
            session.last_active_at = now;
            session.updated_at = now;
        }
    }

    /// Sets a user's `last_active_at` to the current day. Returns `false` if there is no such user.
    fn mark_active(&mut self, id: &str) -> bool {
        let now = self.now;
        self.record_visible_days(id);
        let Some(user) = self.users.get_mut(id) else { return false };
        user.last_active_at = Some(now.max(user.created_at).div_euclid(DAY) * DAY);
        true
    }

    /// Starts a session of a user now and returns its id.
    pub fn create_session(&mut self, user: &str) -> String {
        let now = self.now;
        if let Some(user) = self.users.get_mut(user) {
            user.last_sign_in_at = Some(now);
        }
        self.start_session(user, None)
    }

    /// Starts a session in which someone impersonates a user, and returns its id. The user does not become active.
    pub fn impersonate(&mut self, user: &str) -> String {
        self.start_session(user, Some("{\"sub\":\"user_support\",\"iss\":\"https://support.example\"}".to_owned()))
    }

    fn start_session(&mut self, user: &str, actor: Option<String>) -> String {
        let (id, client_id, now) = (self.id("sess_"), self.id("client_"), self.now);
        self.insert_session(Session {
            id: id.clone(),
            user_id: user.to_owned(),
            client_id,
            status: "active".to_owned(),
            actor,
            has_activity: true,
            last_active_organization_id: None,
            created_at: now,
            updated_at: now,
            last_active_at: now,
            expire_at: now + 7 * DAY,
            abandon_at: now + 30 * DAY,
            device: None,
        });
        id
    }

    /// Sets the status of a session.
    pub fn end_session(&mut self, id: &str, status: &str) {
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(id) {
            status.clone_into(&mut session.status);
            session.updated_at = now;
        }
    }

    /// Removes a session, as Clerk's clean-up does.
    pub fn clean_up_session(&mut self, id: &str) {
        if let Some(user) = self.sessions.get(id).map(|session| session.user_id.clone()) {
            self.record_visible_days(&user);
        }
        if let Some(session) = self.sessions.remove(id)
            && let Some(sessions) = self.sessions_of.get_mut(&session.user_id)
        {
            sessions.retain(|other| other != id);
        }
    }
}
