//! The catalogue's queries: as text against small data whose answers were worked out by hand, and on random data
//! against counting one by one.

mod by_hand;
mod headers;
mod random;
mod sessions;
mod tables;
