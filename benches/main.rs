//! Benches of each stage of the data flow, compared with the stage's lower bound in one table.
//!
//! `cargo bench --bench bench` runs all benches. `cargo bench --bench bench -- write` runs those of one file. All data
//! is generated from a random seed, which differs from run to run and is printed. `CLERK_LAKE_BENCH_SEED` sets it.
//! `CLERK_LAKE_BENCH_ROWS` (writing), `CLERK_LAKE_BENCH_USERS` (commits), `CLERK_LAKE_BENCH_SCAN_USERS` (listing) and
//! `CLERK_LAKE_BENCH_DAU_USERS` (the query) set the sizes.

mod clerk;
#[cfg(feature = "ballista-test")]
#[path = "../tests/ballista/cluster.rs"]
#[expect(dead_code, reason = "shared with the tests, which also stop executors")]
mod cluster;
mod commit;
mod daily_active_users;
mod decode;
mod lakes;
mod pages;
mod parse;
mod plain_read;
mod rows;
mod scan;
mod support;
mod write;

fn main() {
    let _guard = lakes::remove_kept_on_drop();
    divan::main();
}
