//! What decides who may sign up: invitations, the waitlist, and the allow and block lists.

mod allowlist_identifier;
mod blocklist_identifier;
mod invitation;
mod waitlist_entry;

pub use allowlist_identifier::ALLOWLIST_IDENTIFIERS;
pub use blocklist_identifier::BLOCKLIST_IDENTIFIERS;
pub use invitation::INVITATIONS;
pub use waitlist_entry::WAITLIST_ENTRIES;
