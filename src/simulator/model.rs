//! The instance itself: users, sessions, organizations and memberships that can be created, changed and deleted
//! between two requests. It knows nothing of HTTP.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

pub use super::ordered::Ordered;

/// A day in milliseconds.
pub const DAY: i64 = 86_400_000;

/// An e-mail address of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailAddress {
    /// Its id.
    pub id: String,
    /// The address.
    pub address: String,
    /// The verification's status; none where it has no verification.
    pub verification: Option<&'static str>,
}

/// A phone number of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneNumber {
    /// Its id.
    pub id: String,
    /// The number.
    pub number: String,
}

/// An account of a user elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// Its id.
    pub id: String,
    /// The provider, such as `oauth_google`.
    pub provider: &'static str,
}

/// A user. All times are Unix milliseconds. What is bulky and says nothing is made up when it is rendered.
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
}

/// Where sessions are active.
const PLACES: [(&str, &str); 7] = [
    ("Aarhus", "DK"),
    ("Berlin", "DE"),
    ("Chicago", "US"),
    ("Kraków", "PL"),
    ("New York", "US"),
    ("São Paulo", "BR"),
    ("Zürich", "CH"),
];

impl Session {
    /// City and country of its latest activity.
    #[must_use]
    pub fn place(&self) -> (&'static str, &'static str) {
        PLACES[usize::try_from(self.created_at.unsigned_abs()).unwrap_or(0) % PLACES.len()]
    }
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

/// That a user is a member of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are Clerk's")]
pub struct Membership {
    pub id: String,
    pub organization_id: String,
    pub user_id: String,
    pub role: &'static str,
    pub created_at: i64,
}

/// Everything that an instance knows.
#[derive(Debug)]
pub struct Model {
    /// Users, oldest first.
    pub users: Ordered<User>,
    /// Sessions, oldest first.
    pub sessions: Ordered<Session>,
    /// Ids of a user's sessions.
    pub sessions_of: HashMap<String, Vec<String>>,
    /// Organizations, oldest first.
    pub organizations: Ordered<Organization>,
    /// Memberships, oldest first.
    pub memberships: Ordered<Membership>,
    /// How many members each organization has.
    pub members: HashMap<String, i64>,
    /// Users, organizations and sessions that are listed broken, by the id that they have.
    pub corrupt: HashMap<String, super::Corruption>,
    /// The days on which users were active and that nothing shows any more, by user: days since 1970.
    pub(super) past: BTreeMap<String, BTreeSet<i64>>,
    /// How many days ago a user may have been active last.
    pub(super) activity_days: u32,
    pub(super) random: ChaCha8Rng,
    pub(super) now: i64,
}

impl Model {
    /// An empty instance at `now`, its changes drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64, now: i64) -> Self {
        Self {
            users: Ordered::default(),
            sessions: Ordered::default(),
            sessions_of: HashMap::new(),
            organizations: Ordered::default(),
            memberships: Ordered::default(),
            members: HashMap::new(),
            corrupt: HashMap::new(),
            past: BTreeMap::new(),
            activity_days: super::config::ACTIVITY_DAYS,
            random: ChaCha8Rng::seed_from_u64(seed),
            now,
        }
    }

    /// What time it is, Unix milliseconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.now
    }

    /// A random id with Clerk's look: not in the order of creation.
    pub fn id(&mut self, prefix: &str) -> String {
        const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut id = String::with_capacity(prefix.len() + 27);
        id.push_str(prefix);
        for _ in 0..27 {
            id.push(char::from(LETTERS[self.random.random_range(0..LETTERS.len())]));
        }
        id
    }

    /// Adds a session that has been made up elsewhere.
    pub fn insert_session(&mut self, session: Session) {
        self.sessions_of.entry(session.user_id.clone()).or_default().push(session.id.clone());
        self.sessions.insert(session.created_at, &session.id.clone(), session);
    }

    /// Adds a membership; does nothing where organization or user are not there.
    pub fn insert_membership(&mut self, membership: Membership) {
        *self.members.entry(membership.organization_id.clone()).or_default() += 1;
        self.memberships.insert(membership.created_at, &membership.id.clone(), membership);
    }

    /// Changes the profile of a user: moves `updated_at`, not the activity.
    pub fn update_profile(&mut self, id: &str) {
        let number: u32 = self.random.random_range(0..100_000);
        let now = self.now;
        if let Some(user) = self.users.get_mut(id) {
            user.first_name = Some(format!("Renamed {number}"));
            user.public_metadata = format!("{{\"plan\":\"pro\",\"change\":{number}}}");
            user.updated_at = now;
        }
    }

    /// Gives a user another primary address.
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

    /// Bans a user, or lifts the ban: moves `updated_at`, not the activity.
    pub fn ban(&mut self, id: &str, banned: bool) {
        let now = self.now;
        if let Some(user) = self.users.get_mut(id) {
            user.banned = banned;
            user.updated_at = now;
        }
    }

    /// Deletes a user with sessions and memberships.
    pub fn delete_user(&mut self, id: &str) {
        self.note_past(id);
        self.users.remove(id);
        for session in self.sessions_of.remove(id).unwrap_or_default() {
            self.sessions.remove(&session);
        }
        let memberships: Vec<_> =
            self.memberships.iter().filter(|it| it.user_id == id).map(|it| it.id.clone()).collect();
        for membership in memberships {
            self.remove_member(&membership);
        }
    }

    /// A user is active now, in the session that began last or in a new one: the day of activity moves, `updated_at` does
    /// not.
    pub fn record_activity(&mut self, id: &str) {
        let is_own = |session: &&String| self.sessions.get(session).is_some_and(|session| session.actor.is_none());
        let newest = self.sessions_of.get(id).and_then(|sessions| sessions.iter().rev().find(is_own)).cloned();
        match newest.filter(|_| self.random.random_bool(0.5)) {
            Some(session) => self.use_session(&session),
            None => self.sign_in(id),
        }
    }

    /// A user signs in now.
    pub fn sign_in(&mut self, id: &str) {
        if self.be_active(id) {
            self.create_session(id);
        }
    }

    /// The user of a session is active in it now.
    pub fn use_session(&mut self, id: &str) {
        let now = self.now;
        let user = self.sessions.get(id).filter(|session| session.actor.is_none()).map(|it| it.user_id.clone());
        if user.is_some_and(|user| self.be_active(&user))
            && let Some(session) = self.sessions.get_mut(id)
        {
            session.last_active_at = now;
            session.updated_at = now;
        }
    }

    /// Stamps a user with the day; whether there is one.
    fn be_active(&mut self, id: &str) -> bool {
        let now = self.now;
        self.note_past(id);
        let Some(user) = self.users.get_mut(id) else { return false };
        user.last_active_at = Some(now.max(user.created_at).div_euclid(DAY) * DAY);
        true
    }

    /// Begins a session of a user now.
    pub fn create_session(&mut self, user: &str) -> String {
        let now = self.now;
        if let Some(user) = self.users.get_mut(user) {
            user.last_sign_in_at = Some(now);
        }
        self.begin_session(user, None)
    }

    /// Somebody begins a session as a user now: the user is not active by that.
    pub fn impersonate(&mut self, user: &str) -> String {
        self.begin_session(user, Some("{\"sub\":\"user_support\",\"iss\":\"https://support.example\"}".to_owned()))
    }

    fn begin_session(&mut self, user: &str, actor: Option<String>) -> String {
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
        });
        id
    }

    /// Gives a session another status.
    pub fn end_session(&mut self, id: &str, status: &str) {
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(id) {
            status.clone_into(&mut session.status);
            session.updated_at = now;
        }
    }

    /// Clerk forgets a session.
    pub fn clean_up_session(&mut self, id: &str) {
        if let Some(user) = self.sessions.get(id).map(|session| session.user_id.clone()) {
            self.note_past(&user);
        }
        if let Some(session) = self.sessions.remove(id)
            && let Some(sessions) = self.sessions_of.get_mut(&session.user_id)
        {
            sessions.retain(|other| other != id);
        }
    }

    /// Founds an organization now.
    pub fn create_organization(&mut self) -> String {
        let (id, now) = (self.id("org_"), self.now);
        let number = self.organizations.len();
        let organization = Organization {
            id: id.clone(),
            name: format!("Founded & Sons {number}"),
            slug: format!("founded-{number}-{}", id.to_lowercase()),
            created_by: None,
            pending_invitations_count: 0,
            max_allowed_memberships: 5,
            created_at: now,
            updated_at: now,
            last_active_at: now,
        };
        self.organizations.insert(now, &id, organization);
        id
    }

    /// Gives an organization another name.
    pub fn rename_organization(&mut self, id: &str) {
        let now = self.now;
        let number: u32 = self.random.random_range(0..100_000);
        if let Some(organization) = self.organizations.get_mut(id) {
            organization.name = format!("Renamed Organization {number}");
            organization.updated_at = now;
        }
    }

    /// Deletes an organization with its memberships.
    pub fn delete_organization(&mut self, id: &str) {
        self.organizations.remove(id);
        let memberships: Vec<_> =
            self.memberships.iter().filter(|it| it.organization_id == id).map(|it| it.id.clone()).collect();
        for membership in memberships {
            self.memberships.remove(&membership);
        }
        self.members.remove(id);
    }

    /// Makes a user a member of an organization now.
    pub fn add_member(&mut self, organization: &str, user: &str) {
        if self.organizations.get(organization).is_none() || self.users.get(user).is_none() {
            return;
        }
        let (id, now) = (self.id("orgmem_"), self.now);
        self.insert_membership(Membership {
            id,
            organization_id: organization.to_owned(),
            user_id: user.to_owned(),
            role: "org:member",
            created_at: now,
        });
    }

    /// Ends a membership.
    pub fn remove_member(&mut self, id: &str) {
        if let Some(membership) = self.memberships.remove(id)
            && let Some(members) = self.members.get_mut(&membership.organization_id)
        {
            *members -= 1;
        }
    }
}
