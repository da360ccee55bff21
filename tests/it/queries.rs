//! The built-in queries: on small data with results computed by hand, and on random data compared with a simple count
//! without SQL.

mod headers;
mod known_results;
mod random;
mod sessions;
mod tables;
