//! The Clerk client: sends requests within a shared request budget, and reads lists as streams of pages.
//!
//! This module knows HTTP and the rules of the Backend API. It deliberately knows nothing about Arrow, resources or
//! tables.

mod address;
mod body;
mod client;
mod client_config;
mod connection;
mod error;
mod head;
mod instance;
mod outage;
mod pages;
mod quota;
mod request;
mod retry;
mod secret;
mod server_clock;
mod traffic;

pub use address::{DEFAULT_API_URL, parse_api_url};
pub use client::{API_VERSION, Client};
pub use client_config::ClientConfig;
pub use error::{ApiError, Refusal};
pub use instance::{Instance, instance};
pub use outage::Notice;
pub use pages::scan::{Lanes, Scan, ScanPosition};
pub use pages::{AheadListing, Decoded, Fingerprints, LARGEST_PAGE, ListRequest, Listing, Order, Page, RowKey, list};
pub use quota::RateLimit;
pub use retry::RetryPolicy;
pub use secret::SecretKey;
pub use traffic::Traffic;
