//! The way to Clerk: requests within a shared budget, and listings as streams of pages.
//!
//! It knows HTTP and the rules of the Backend API, and deliberately nothing of Arrow, of resources or of tables.

mod client;
mod error;
mod head;
mod instance;
pub mod pages;
pub mod quota;
pub mod retry;
pub mod secret;

pub use client::{API_VERSION, Client, ClientConfig, DEFAULT_API_URL, Traffic, parse_api_url};
pub use error::{ApiError, Refusal};
pub use instance::{Instance, instance};
pub use pages::scan::{Lanes, Scan, ScanPosition};
pub use pages::{Decoded, Fingerprints, ListRequest, Listing, Order, Page, RowKey, list};
pub use quota::RateLimit;
pub use retry::RetryPolicy;
pub use secret::SecretKey;
