//! Queries: DataFusion over snapshots of the lake, in this process or on a cluster, and the built-in queries.
//!
//! Queries read only committed data, and files that the SQL names. This module does not depend on HTTP or on how tables
//! are written.

mod changes;
#[cfg(feature = "ballista")]
mod distributed;
mod engine;
mod files;
mod header;
mod instances;
mod names;
mod parameters;
pub mod queries;
mod run;
mod snapshot;

pub use changes::{Since, context_of_changes, tables_asked};
#[cfg(feature = "ballista")]
pub use distributed::Cluster;
pub use engine::Engine;
pub use instances::{INSTANCE, InstanceLake, instances};
pub use parameters::Parameters;
pub use queries::{Chart, Queries, Query};
pub(crate) use run::{Owner, active_users, for_each_shown_session, for_each_text, ids_set_aside, session_owners};
pub use run::{context, context_at, failed, sql};
pub use snapshot::Snapshot;
