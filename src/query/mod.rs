//! Questions to the lake: DataFusion over snapshots, here or on a cluster, and the catalogue of ready-made queries.
//!
//! It reads what is committed and nothing else; it knows neither HTTP nor how tables are written.

pub mod catalogue;
mod changes;
#[cfg(feature = "ballista")]
mod distributed;
mod engine;
mod run;

pub use catalogue::{Parameters, Query};
pub use changes::{Since, session_of_changes};
#[cfg(feature = "ballista")]
pub use distributed::Cluster;
pub use engine::Engine;
pub use run::{active_user_ids, failed, ids_set_aside, owners_of_open_sessions, session, session_at, sql};
