//! Questions to the lake: DataFusion over snapshots, and the catalogue of ready-made queries.
//!
//! It reads what is committed and nothing else; it knows neither HTTP nor how tables are written.

pub mod catalogue;
mod run;

pub use catalogue::{Parameters, Query};
pub use run::{active_user_ids, failed, ids_set_aside, owners_of_open_sessions, session, session_at, sql};
