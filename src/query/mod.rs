//! Queries: DataFusion over snapshots of the lake, in this process or on a cluster, and the built-in queries.
//!
//! Queries read only committed data, and files that the SQL names. This module does not depend on HTTP or on how tables
//! are written.

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
