//! Questions to the lake: DataFusion over snapshots, here or on a cluster, and the catalogue of ready-made queries.
//!
//! It reads what is committed and nothing else, and files of the user's that a question names; it knows neither HTTP
//! nor how tables are written.

pub mod catalogue;
mod changes;
#[cfg(feature = "ballista")]
mod distributed;
mod engine;
mod files;
mod header;
mod instances;
mod names;
mod parameters;
mod run;
mod snapshot;

pub use catalogue::{Catalogue, Chart, Query};
pub use changes::{Since, session_of_changes, tables_asked};
#[cfg(feature = "ballista")]
pub use distributed::Cluster;
pub use engine::Engine;
pub use instances::{INSTANCE, Instance, instances};
pub use parameters::Parameters;
pub(crate) use run::{Owner, active_users, for_each_shown_session, for_each_text, ids_set_aside, session_owners};
pub use run::{failed, session, session_at, sql};
pub use snapshot::Snapshot;
