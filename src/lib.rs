//! clerk-lake brings a Clerk application's users, organizations and sessions into Delta tables on local disk or
//! S3, keeps them right run after run, and answers product questions over them in SQL.

pub mod api;
pub mod clock;
pub mod config;
pub mod error;
pub mod lake;
pub mod query;
pub mod resource;
pub mod simulator;
pub mod sync;
pub mod table;

pub use error::{Error, ErrorKind, Result};
