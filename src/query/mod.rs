//! Queries: DataFusion over snapshots of the lake, in this process or on a cluster, and the built-in queries.
//!
//! Queries read only committed data, and files that the SQL names. This module does not depend on HTTP or on how tables
//! are written.

mod changes;
mod csv_types;
mod date_trunc;
#[cfg(feature = "ballista")]
mod distributed;
mod engine;
mod excerpt;
mod failure;
mod file_content;
mod files;
mod functions;
mod header;
mod instances;
mod inventory;
mod json_fields;
mod known;
mod limits;
mod names;
mod parameters;
pub mod queries;
mod run;
mod snapshot;
mod statement;
mod suggest;
mod time;
mod value;
mod wording;

pub use changes::{Since, context_of_changes, tables_asked};
#[cfg(feature = "ballista")]
pub use distributed::Cluster;
pub use engine::Engine;
pub use failure::failed;
pub use instances::{InstanceLake, instances};
pub use known::INSTANCE;
pub use parameters::Parameters;
pub use queries::{Chart, ParameterValue, Queries, Query};
pub(crate) use run::{Owner, active_users, for_each_shown_session, for_each_text, ids_set_aside, session_owners};
pub use run::{context, context_at, sql};
pub use snapshot::Snapshot;
pub use suggest::{nearest, suggestion};
